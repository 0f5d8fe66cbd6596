"""Rows set aside: how they are kept in the database and written in reports."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson
import polars as pl
from django.db import connection
from django.db.models import QuerySet

from migration_console.lib.engine import engine

from .errors import RowError
from .models import UNSENT, Reject, Run


@dataclass
class RejectedRow:
    """A row set aside, with its place in the file and every reason."""

    row: int
    line: int
    start: int
    end: int
    raw: bytes
    errors: list[RowError]

    def as_dict(self) -> dict[str, object]:
        """Return the row as the report holds it; bytes that are no UTF-8 are given in hex."""
        place: dict[str, object] = {"row": self.row, "line": self.line, "start": self.start, "end": self.end}
        try:
            place["raw"] = bytes(self.raw).decode()
        except UnicodeDecodeError:
            place["raw_hex"] = self.raw.hex()
        return {**place, "errors": self.errors}


@dataclass(frozen=True)
class Choice:
    """Which rejects of a run are meant: those of some states, with an error, or by their rows."""

    states: Sequence[str] = tuple(UNSENT)
    field: str | None = None
    code: str | None = None
    rows: Sequence[int] | None = None

    def rejects(self, run: Run) -> QuerySet[Reject]:
        """Return them in the order of the file, as far as the database can tell: see `has`."""
        found = run.rejects.filter(state__in=self.states) if self.states else run.rejects.all()
        return (found if self.rows is None else found.filter(row__in=self.rows)).order_by("row")

    @property
    def by_error(self) -> bool:
        """Tell whether errors decide."""
        return self.field is not None or self.code is not None

    def has(self, errors: Iterable[RowError]) -> bool:
        """Tell whether a row with these errors is meant."""
        return not self.by_error or any(
            self.field in {None, error["field"]} and self.code in {None, error["code"]} for error in errors
        )


ALL = Choice(states=())


def pages(run: Run, size: int = 5000, *, choice: Choice = ALL) -> Iterator[list[Reject]]:
    """Yield a run's rejects in the order of the file, some at a time: the MySQL driver fetches whole results."""
    after: int | None = 0
    while after is not None:
        found, after = page_behind(run, choice, after, size)
        if found:
            yield found


def page_behind(run: Run, choice: Choice, after: int, size: int) -> tuple[list[Reject], int | None]:
    """Look at up to `size` rejects behind a row; return those meant, and the last row looked at, None at the end."""
    page = list(choice.rejects(run).filter(row__gt=after)[:size])
    return [reject for reject in page if choice.has(reject.errors)], page[-1].row if len(page) == size else None


def save_rejects(rejects: list[Reject], columns: Sequence[str]) -> None:
    """Write columns of many rejects that are there, in a few statements; the caller holds their run."""
    target = ["id"] if connection.features.supports_update_conflicts_with_target else None
    Reject.objects.bulk_create(
        rejects, update_conflicts=True, update_fields=list(columns), unique_fields=target, batch_size=1000
    )


def insert_rejects(run: Run, batch: int, rejects: list[RejectedRow]) -> None:
    """Insert rejects in bulk, by the same road as the data: a bad file has as many as good rows."""
    if not rejects:
        return
    frame = pl.DataFrame(
        {
            "row": [reject.row for reject in rejects],
            "line": [reject.line for reject in rejects],
            "start": [reject.start for reject in rejects],
            "end": [reject.end for reject in rejects],
            "raw": [reject.raw.hex() for reject in rejects],
            "errors": [orjson.dumps(reject.errors).decode() for reject in rejects],
        }
    ).with_columns(state=pl.lit(Reject.State.OPEN.value))
    constants = {"run_id": run.pk, "batch_id": batch}
    if run.dataset_id is not None:
        constants["dataset_id"] = run.dataset_id
    engine(connection).insert_rows(connection, Reject._meta.db_table, frame, {"raw": "UNHEX({})"}, constants)
