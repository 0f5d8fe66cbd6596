"""python -m tests.sabotage NAME CELERY ARGUMENTS: a worker with one guarantee taken out.

Negative controls of the crash tests: a checker that passes one of these proves nothing.
"""

import sys
from collections.abc import Callable
from typing import Any

from django.db import transaction


def rows_first() -> None:
    """Commit the rows before the ledger knows of them: a crash in between loads them twice."""
    from ingest import loader

    def straight(self: Any, part: Any, batch: Any) -> None:
        loader.engine(loader.connection).insert_rows(
            loader.connection, self.to.table, batch.frame.drop("_n"), self.to.wraps, self.to.constants
        )
        pause()
        with transaction.atomic(durable=True):
            row = self._ledger(part, batch, loader.Outcome(loaded=batch.frame.height))
            self._close(part, batch, loader.Outcome(loaded=batch.frame.height), row)

    loader.Loader._straight = straight  # type: ignore[method-assign]
    loader.transaction = _NoTransaction  # type: ignore[assignment]


def ledger_first() -> None:
    """Commit the ledger before the rows: a crash in between loses them."""
    from ingest import loader

    def straight(self: Any, part: Any, batch: Any) -> None:
        with transaction.atomic(durable=True):
            row = self._ledger(part, batch, loader.Outcome(loaded=batch.frame.height))
            self._close(part, batch, loader.Outcome(loaded=batch.frame.height), row)
        pause()
        loader.engine(loader.connection).insert_rows(
            loader.connection, self.to.table, batch.frame.drop("_n"), self.to.wraps, self.to.constants
        )

    loader.Loader._straight = straight  # type: ignore[method-assign]
    loader.transaction = _NoTransaction  # type: ignore[assignment]


def no_fence() -> None:
    """Neither epoch nor batch key: a worker that was stopped goes on beside the one that took over."""
    from ingest import loader, models

    def advance(self: Any, *, start: int, byte: int, row: int, line: int) -> bool:
        models.Part.objects.filter(pk=self.pk).update(next_byte=byte, next_row=row, next_line=line)
        return True

    def ledger(self: Any, part: Any, batch: Any, outcome: Any) -> Any:
        found = models.Batch.objects.filter(run=self.run, start=batch.start).first()
        return found or original(self, part, batch, outcome)

    original = loader.Loader._ledger
    models.Part.advance = advance  # type: ignore[method-assign]
    loader.Loader._ledger = ledger  # type: ignore[method-assign]
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
