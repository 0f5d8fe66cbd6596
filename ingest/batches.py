"""A part of a file as prepared batches: read, cut, validated, ready for one transaction each."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import polars as pl
from django.conf import settings

from migration_console.lib.errors import refuse
from migration_console.lib.lake import Version, lake

from .errors import RowError
from .models import MAX_REJECT_BYTES
from .reader import LOOK_AHEAD, Scanner, Span
from .rejects import RejectedRow
from .rows import Rows, to_rows
from .schema import Schema
from .stream import decoded, limited, skip
from .survey import Survey, layout_of
from .validation import Checked, check_rows


@dataclass
class Prepared:
    """A batch: what to load (`_n` counts from 0 in the batch), what is set aside, and where it is in the file."""

    start: int
    end: int
    first_row: int
    first_line: int
    rows: int
    lines: int
    frame: pl.DataFrame
    rejects: dict[int, list[RowError]]
    digest: str
    parts: list[tuple[int, Rows]]

    def rejected(self, number: int, errors: list[RowError]) -> RejectedRow:
        """Return the row at a position of the batch as a reject."""
        base, rows = next((base, rows) for base, rows in reversed(self.parts) if base <= number)
        at = number - base
        return RejectedRow(
            row=self.first_row + number,
            line=int(rows.lines[at]),
            start=rows.span.start + int(rows.starts[at]),
            end=rows.span.start + int(rows.ends[at]),
            raw=rows.raw(at)[:MAX_REJECT_BYTES],
            errors=errors,
        )


def prepare(
    version: Version, found: Survey, schema: Schema, *, start: int, end: int, row: int, line: int
) -> Iterator[Prepared]:
    """Yield the batches of the byte range [start, end), which begins with the given row and line."""
    layout = layout_of(schema, found.encoding)
    scanner = Scanner(layout, start=start, row=row, line=line)
    with lake().open(version, start if found.seekable else 0) as source:
        stream = decoded(source, gzip=found.gzip, encoding=found.encoding, max_bytes=settings.MAX_FILE_BYTES)
        if not found.seekable:
            skip(stream, start)
        waiting: list[Span] = []
        # Read on behind the end: whether a quote closes is decided by the same bytes that the survey saw.
        ahead_of_end = limited(stream, end - start + LOOK_AHEAD)
        for span in scanner.scan(ahead_of_end, block=settings.BATCH_BYTES, until=end):
            waiting.append(span)
            # A span with strict records is small; several make a batch.
            if span.end - waiting[0].start >= settings.BATCH_BYTES // 2:
                # Nothing is loaded of a file that somebody is writing to.
                lake().check(version, source)
                yield _batch(waiting, found, schema)
                waiting = []
        if waiting:
            lake().check(version, source)
            yield _batch(waiting, found, schema)


def prepare_sent(data: bytes, found: Survey, schema: Schema, *, start: int, row: int, line: int) -> Prepared:
    """Return the batch that a client sent: whole lines of a file that the survey found plain."""
    scanner = Scanner(layout_of(schema, found.encoding), start=start, row=row, line=line)
    spans = list(scanner.scan(io.BytesIO(data).read, block=len(data) + 1))
    if any(span.records is not None for span in spans) or scanner.position != start + len(data):
        raise refuse("not-plain", "the rows hold what the file does not: a quote, NUL, lone CR or invalid character")
    return _batch(spans, found, schema)


def _batch(spans: list[Span], found: Survey, schema: Schema) -> Prepared:
    layout = layout_of(schema, found.encoding)
    digest = hashlib.sha256()
    checked: list[tuple[int, Checked]] = []
    base = 0
    for span in spans:
        digest.update(span.data)
        checked.append((base, check_rows(to_rows(span, layout, found.columns, found.width), schema)))
        base += span.count
    frames = [part.frame.with_columns(pl.col("_n") + offset) for offset, part in checked]
    return Prepared(
        start=spans[0].start,
        end=spans[-1].end,
        first_row=spans[0].row,
        first_line=spans[0].line,
        rows=base,
        lines=sum(span.lines for span in spans),
        frame=pl.concat(frames).cast({"_n": pl.UInt32}),
        rejects={offset + n: errors for offset, part in checked for n, errors in part.rejects.items()},
        digest=digest.hexdigest(),
        parts=[(offset, part.rows) for offset, part in checked],
    )


T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Make the next item in a thread while the caller works on this one: the database and we take turns no more."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool:
        future = pool.submit(next, items, end)
        while (item := future.result()) is not end:
            future = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def prepared_rejects(raws: list[bytes], found: Survey, schema: Schema) -> pl.DataFrame:
    """Return rejected rows as canonical text again, `_n` their position; rows that do not pass are left out."""
    layout = layout_of(schema, found.encoding)
    records = [next(Scanner(layout).strict(raw, 0, len(raw), final=True)) for raw in raws]
    span = Span(b"", 0, 1, 1, len(records), len(records), records)
    return check_rows(to_rows(span, layout, found.columns, found.width), schema).frame
