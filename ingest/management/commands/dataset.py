"""manage.py dataset add|list|show|draft: datasets from the command line."""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ingest.datasets import save_dataset
from ingest.draft import draft_from_csv, draft_from_table
from ingest.models import Dataset
from migration_console.lib.command import MISUSED, WELL, ConsoleCommand


class Command(ConsoleCommand):
    """Add, list, show and draft datasets."""

    help = "Datasets: add FILE.json, list, show NAME, draft NAME --csv FILE or --table TABLE."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the four verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="add|list|show|draft")
        add = verbs.add_parser("add", help="save a descriptor as the dataset's newest version")
        add.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
        verbs.add_parser("list", help="list the datasets")
        show = verbs.add_parser("show", help="print a dataset's descriptor")
        show.add_argument("name")
        draft = verbs.add_parser("draft", help="draft a descriptor from a sample file or a table")
        draft.add_argument("name", nargs="?")
        source = draft.add_mutually_exclusive_group(required=True)
        source.add_argument("--csv", type=Path, metavar="FILE")
        source.add_argument("--table", metavar="TABLE")
        for verb in verbs.choices.values():
            super().add_arguments(verb)

    def run(self, *, verb: str, **options: Any) -> Any:
        """Call the verb."""
        verbs: dict[str, Callable[..., dict[str, Any]]] = {
            "add": self._add,
            "list": self._list,
            "show": self._show,
            "draft": self._draft,
        }
        return verbs[verb](**options), WELL

    def _add(self, *, files: list[Path], **_: Any) -> dict[str, Any]:
        saved = []
        for file in files:
            try:
                data = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise CommandError(f"{file}: {error}. Nothing was saved.", returncode=MISUSED) from None
            version = save_dataset(data)
            saved.append({"name": version.dataset.name, "version": version.number, "table": version.dataset.table})
        return {"datasets": saved}

    def _list(self, **_: Any) -> dict[str, Any]:
        datasets = []
        for dataset in Dataset.objects.order_by("name"):
            version = dataset.current
            parsed = version.parsed
            datasets.append(
                {"name": dataset.name, "version": version.number, "table": dataset.table, "mode": parsed.mode,
                 "files": parsed.file_patterns, "paused": dataset.paused}
            )  # fmt: skip
        return {"datasets": datasets}

    def _show(self, *, name: str, **_: Any) -> dict[str, Any]:
        dataset = Dataset.objects.filter(name=name).first()
        if dataset is None:
            raise CommandError(f"There is no dataset {name!r}.", returncode=MISUSED)
        return dict(dataset.current.descriptor)

    def _draft(self, *, name: str | None, csv: Path | None, table: str | None, **_: Any) -> dict[str, Any]:
        if table is not None:
            return draft_from_table(table, name)
        assert csv is not None
        if not csv.is_file():
            raise CommandError(f"{csv}: there is no such file.", returncode=MISUSED)
        return draft_from_csv(csv, name)

    def show(self, result: dict[str, Any]) -> None:
        """Print a line a dataset, or the descriptor."""
        if "datasets" not in result:
            super().show(result)
            return
        for dataset in result["datasets"]:
            mode = f", {dataset['mode']}" if "mode" in dataset else ""
            self.stdout.write(f"{dataset['name']} (version {dataset['version']}) → table {dataset['table']}{mode}")
        if not result["datasets"]:
            self.stdout.write("No datasets yet: manage.py dataset draft --csv FILE makes a first descriptor.")
