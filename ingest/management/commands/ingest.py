"""manage.py ingest FILE...: bring files into raw/ and load them in this process."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ingest.admission import admit_upload
from ingest.console import ended_well, run_lines
from ingest.datasets import match_dataset
from ingest.dryrun import dry_run
from ingest.models import Dataset, Run
from ingest.sweeper import work_off
from migration_console.lib.command import BADLY, MISUSED, WELL, ConsoleCommand
from migration_console.lib.progress import progress_bar


class Command(ConsoleCommand):
    """Load files."""

    help = "Load CSV files: each is copied into raw/, loaded, and archived."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the files and what to do with them."""
        super().add_arguments(parser)
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--dataset", help="the dataset, where the file's name does not say it")
        parser.add_argument("--again", metavar="REASON", default="", help="load bytes again that are loaded already")
        parser.add_argument("--dry-run", action="store_true", help="survey and validate; load nothing")

    def run(self, *, files: list[Path], dataset: str | None, again: str, dry_run: bool, **options: Any) -> Any:
        """Admit all files first, so that files that refer to one another find each other."""
        chosen = self._dataset(dataset)
        for file in files:
            if not file.is_file():
                raise CommandError(f"{file}: there is no such file. Nothing was loaded.", returncode=MISUSED)
        if dry_run:
            return self._dry_run(files, chosen)
        runs = [self._admit(file, chosen, again) for file in files]
        with progress_bar(quiet=options["json"]) as progress:
            runs = work_off(runs, progress)
        well = all(ended_well(run) for run in runs)
        return {"runs": [run.as_dict() for run in runs]}, WELL if well else BADLY

    def _dataset(self, name: str | None) -> Dataset | None:
        if name is None:
            return None
        found = Dataset.objects.filter(name=name).first()
        if found is None:
            known = ", ".join(Dataset.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no dataset {name!r}; there are: {known}.", returncode=MISUSED)
        return found

    def _admit(self, file: Path, dataset: Dataset | None, again: str) -> Run:
        with file.open("rb") as source:
            return admit_upload(f"raw/{file.name}", source, trigger="command", dataset=dataset, reason=again)

    def _dry_run(self, files: list[Path], dataset: Dataset | None) -> Any:
        results = [dry_run(file, dataset or match_dataset(f"raw/{file.name}")) for file in files]
        return {"runs": results}, BADLY if any(result["problems"] for result in results) else WELL

    def show(self, result: dict[str, Any]) -> None:
        """Print each run."""
        for data in result["runs"]:
            if data["id"] is None:
                super().show(data)
                continue
            for line in run_lines(Run.objects.select_related("dataset").get(pk=data["id"])):
                self.stdout.write(line)
