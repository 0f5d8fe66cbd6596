"""python -m tests.sabotage NAME CELERY ARGUMENTS: a worker with one guarantee taken out.

Negative controls of the crash tests: a checker that passes one of these proves nothing.
"""

import sys
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction

from migration_console.lib.engine import engine


def insert(loader: Any, batch: Any) -> None:
    """Insert a batch's rows, and commit them: all at once, as SQLite else waits for the disk at each row."""
    rows = batch.frame.drop("_n")
    with transaction.atomic():
        engine(connection).insert_rows(connection, loader.to.table, rows, loader.to.wraps, loader.to.constants)


def rows_first() -> None:
    """Commit the rows before the ledger knows of them: a crash in between loads them twice."""
    from ingest import loader

    def straight(self: Any, part: Any, batch: Any) -> None:
        insert(self, batch)
        pause()
        from ingest.isolation import Outcome

        with transaction.atomic(durable=True):
            row = self._ledger(part, batch, Outcome(loaded=batch.frame.height))
            self._close(part, batch, Outcome(loaded=batch.frame.height), row)

    loader.Loader._straight = straight  # type: ignore[method-assign]
    vars(loader)["transaction"] = _NoTransaction


def ledger_first() -> None:
    """Commit the ledger before the rows: a crash in between loses them."""
    from ingest import loader

    def straight(self: Any, part: Any, batch: Any) -> None:
        from ingest.isolation import Outcome

        with transaction.atomic(durable=True):
            row = self._ledger(part, batch, Outcome(loaded=batch.frame.height))
            self._close(part, batch, Outcome(loaded=batch.frame.height), row)
        pause()
        insert(self, batch)

    loader.Loader._straight = straight  # type: ignore[method-assign]
    vars(loader)["transaction"] = _NoTransaction


def no_fence() -> None:
    """Neither epoch nor time-out: a worker that was stopped goes on beside the one that took over.

    The test drops the batch key, the third fence.
    """
    from ingest import models

    def advance(self: Any, *, start: int, byte: int, row: int, line: int) -> bool:
        models.Part.objects.filter(pk=self.pk).update(next_byte=byte, next_row=row, next_line=line)
        return True

    from migration_console.lib import mysql

    mysql.prepare_session = lambda *_: None
    models.Part.advance = advance  # type: ignore[method-assign]
    models.Part.renew = lambda self: True  # type: ignore[method-assign]


class _NoTransaction:
    """Stands in for django.db.transaction in the loader: every statement commits by itself."""

    @staticmethod
    def atomic() -> Any:
        """Return a context that does nothing."""
        from contextlib import nullcontext

        return nullcontext()


def pause() -> None:
    """Widen the gap that a crash must hit."""
    import time

    time.sleep(0.15)


SABOTAGE: dict[str, Callable[[], None]] = {
    "rows_first": rows_first,
    "ledger_first": ledger_first,
    "no_fence": no_fence,
}

if __name__ == "__main__":
    import django

    name, *arguments = sys.argv[1:]
    from migration_console.celery import app

    django.setup()
    SABOTAGE[name]()
    app.worker_main(arguments)
