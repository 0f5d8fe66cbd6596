"""Rows set aside: how they are kept in the database and written in reports."""

from collections.abc import Iterator
from dataclasses import dataclass

import orjson
import polars as pl
from django.db import connection

from migration_console.lib.engine import engine

from .errors import RowError
from .models import Reject, Run


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


def pages(run: Run, size: int = 5000) -> Iterator[list[Reject]]:
    """Yield a run's rejects in the order of the file, some at a time: the MySQL driver fetches whole results."""
    last = 0
    while page := list(run.rejects.filter(row__gt=last).order_by("row")[:size]):
        last = page[-1].row
        yield page


def insert_rejects(run: int, batch: int, rejects: list[RejectedRow]) -> None:
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
    constants = {"run_id": run, "batch_id": batch}
    engine(connection).insert_rows(connection, Reject._meta.db_table, frame, {"raw": "UNHEX({})"}, constants)
