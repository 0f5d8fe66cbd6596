"""manage.py sweep: take up everything that was left behind."""

from argparse import ArgumentParser
from typing import Any

from ingest import sweeper
from ingest.console import ended_well, run_lines
from ingest.models import OPEN, Run
from migration_console.lib.command import BADLY, WELL, ConsoleCommand
from migration_console.lib.progress import progress_bar


class Command(ConsoleCommand):
    """Admit files without a run and finish runs that nobody works on."""

    help = "Admit files without a run, and finish what was left behind, in this process."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --ring."""
        super().add_arguments(parser)
        parser.add_argument("--ring", action="store_true", help="only ring for the workers, do nothing here")

    def run(self, *, ring: bool, **options: Any) -> Any:
        """Sweep, then work."""
        rung = sweeper.sweep()
        if ring:
            return {"runs": [run.as_dict() for run in rung]}, WELL
        with progress_bar(quiet=options["json"]) as progress:
            runs = sweeper.work_off(sweeper.unfinished(), progress)
        well = all(ended_well(run) or run.status in OPEN for run in runs)
        return {"runs": [run.as_dict() for run in runs]}, WELL if well else BADLY

    def show(self, result: dict[str, Any]) -> None:
        """Print each run that was taken up."""
        for data in result["runs"]:
            for line in run_lines(Run.objects.select_related("dataset").get(pk=data["id"])):
                self.stdout.write(line)
        self.stdout.write(
            f"{len(result['runs'])} runs were left; {Run.objects.filter(closed_at=None).count()} are open now."
        )
