"""manage.py watch: admit files as they arrive in the lake, and ring for the workers."""

import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.db import DatabaseError, close_old_connections

from ingest import sweeper
from migration_console.lib.command import WELL, ConsoleCommand


class Command(ConsoleCommand):
    """Watch raw/."""

    help = "Watch raw/ in the lake: a complete file (in a folder: unchanged for 2 s) is handed to the workers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the interval."""
        super().add_arguments(parser)
        parser.add_argument("--interval", type=float, default=1.0, help="seconds between two looks")
        parser.add_argument("--looks", type=int, default=0, help="stop after so many looks (0: never)")

    def run(self, *, interval: float, looks: int, **_options: Any) -> Any:
        """Look, ring, wait."""
        self.stderr.write(f"watching raw/ in {settings.LAKE_URL}")
        admitted, look = 0, 0
        while True:
            try:
                close_old_connections()
                new = sweeper.admit_and_ring("watch")
                for run in new:
                    self.stderr.write(f"{run.key}: run {run.pk}, {run.dataset or 'no dataset matches'}")
                admitted += len(new)
            except DatabaseError as error:
                self.stderr.write(f"the database does not answer, the files wait: {error}")
            look += 1
            if look == looks:
                return {"admitted": admitted}, WELL
            time.sleep(interval)
