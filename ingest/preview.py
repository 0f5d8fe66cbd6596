"""A draft tried on its sample: how many rows would pass, and why the others would not.

The Pydantic model judges each row, without the columnar filter: a web process does without Polars' memory.
"""

import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from migration_console.lib.errors import Problem, Refused

from .errors import ErrorGroup, RowError, group_errors, merge_groups, row_error, width_problem
from .header import MAX_COLUMNS, match_header, other_delimiter
from .reader import Layout, Record, Scanner
from .schema import Schema, compile_schema
from .stream import GZIP, decoded
from .survey import layout_of, refuse_other_formats

SAMPLE_BYTES = 1 << 20
SAMPLE_ROWS = 1000
# Header, preamble and footer.
MOST_ASIDE = 201


@dataclass
class Tried:
    """One record of the sample: its cells as they came, and every reason against it."""

    row: int
    line: int
    cells: list[str | None]
    reasons: list[RowError]

    def reasons_of(self, name: str) -> list[str]:
        """Return the sentences about one field."""
        return [reason["message"] for reason in self.reasons if reason["field"] == name]


@dataclass
class Preview:
    """What the sample says about a schema. `columns` has the position of each field in the file."""

    header: list[str] = field(default_factory=list)
    columns: dict[str, int] = field(default_factory=dict)
    rows: list[Tried] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    # Whether the rows were held against rules at all.
    judged: bool = True

    @property
    def good(self) -> int:
        """Count the rows that would pass."""
        return sum(not row.reasons for row in self.rows)

    @property
    def bad(self) -> int:
        """Count the others."""
        return len(self.rows) - self.good

    @property
    def groups(self) -> list[ErrorGroup]:
        """Return the reasons by field and code, most frequent first."""
        return merge_groups([], group_errors(reason for row in self.rows for reason in row.reasons))


def head_of(source: BinaryIO) -> tuple[bytes, bool]:
    """Return the first MiB of a file, unpacked, and whether that is not all of it."""
    data = source.read(SAMPLE_BYTES + 1)
    if data.startswith(GZIP):
        data = _unpacked(data)
    return data[:SAMPLE_BYTES], len(data) > SAMPLE_BYTES


def _unpacked(data: bytes) -> bytes:
    """Unpack as much as the start of a gzip file gives."""
    try:
        return zlib.decompressobj(31).decompress(data, SAMPLE_BYTES + 1)
    except zlib.error:
        raise Refused([Problem("gzip-damaged", "the gzip file is damaged; send it again")]) from None


def preview(data: bytes, schema: Schema, *, cut: bool = False) -> Preview:
    """Try the first rows of a sample on a schema; `cut` says that the sample ends in the middle of a row."""
    found = Preview()
    try:
        records = _records(data, schema, cut)
    except Refused as refused:
        found.problems = refused.problems
        return found
    dialect = schema.descriptor.dialect
    if dialect.header and records:
        header = records.pop(0)
        found.columns, found.problems = match_header(header.fields, schema)
        found.header, width = _named(header), len(header.fields)
    else:
        width = len(schema.columns)
        found.columns = {name: index for index, name in enumerate(schema.names)}
        if records and (guess := other_delimiter([v or "" for v in records[0].fields], schema.descriptor)):
            found.problems = [guess]
    if not records:
        found.problems.append(Problem("empty-file", "the sample has no rows"))
    found.rows = [_tried(number, record, schema, found.columns, width) for number, record in enumerate(records, 1)]
    _mark_repeated_keys(found.rows, schema, found.columns)
    return found


def raw_rows(data: bytes, layout: Layout, *, cut: bool) -> list[Record]:
    """Return the first records of a sample, blank lines at the end left out; a row that is cut off is none."""
    strict = Scanner(layout).strict(data, 0, len(data), final=not cut)
    records = list(islice(strict, SAMPLE_ROWS + MOST_ASIDE))
    while records and records[-1].code == "blank-line":
        records.pop()
    return records


def _named(header: Record) -> list[str]:
    """Return the names of a header; no page shows more than a file may have."""
    return [name or "" for name in header.fields[:MAX_COLUMNS]]


def _records(data: bytes, schema: Schema, cut: bool) -> list[Record]:
    refuse_other_formats(data)
    descriptor = schema.descriptor
    layout = layout_of(schema, descriptor.encoding)
    stream = decoded(io.BytesIO(data), gzip=False, encoding=descriptor.encoding, max_bytes=SAMPLE_BYTES)
    text = b"".join(iter(lambda: stream.read(1 << 20), b"")).removeprefix(b"\xef\xbb\xbf")
    refuse_other_formats(text)
    records = raw_rows(text, layout, cut=cut)
    if descriptor.dialect.footer and not cut and len(records) <= SAMPLE_ROWS:
        records = records[: -descriptor.dialect.footer]
    first = descriptor.dialect.preamble
    return records[first : first + SAMPLE_ROWS + descriptor.dialect.header]


def _tried(number: int, record: Record, schema: Schema, columns: dict[str, int], width: int) -> Tried:
    if record.code:
        return Tried(number, record.line, [], [row_error("", record.code, record.message)])
    if len(record.fields) != width:
        return Tried(number, record.line, record.fields, [row_error("", *width_problem(len(record.fields), width))])
    row = {
        column.name: None if text is None and column.empty_is_null else text or ""
        for column in schema.columns
        if column.name in columns
        for text in [record.fields[columns[column.name]]]
    }
    _, reasons = schema.check(row)
    return Tried(number, record.line, record.fields, reasons)


def _mark_repeated_keys(rows: Iterable[Tried], schema: Schema, columns: dict[str, int]) -> None:
    """Set aside what repeats a key of the sample, as far as texts tell: the database compares by its collation."""
    rules = schema.descriptor.schema_
    keys = [*rules.unique_keys, *([c.name] for c in schema.columns if c.field.constraints.unique)]
    if rules.primary_key and schema.descriptor.mode != "upsert":
        keys.append(rules.primary_key)
    for key in keys:
        seen: dict[tuple[str | None, ...], int] = {}
        for row in rows:
            if row.reasons or not all(name in columns for name in key):
                continue
            values = tuple(row.cells[columns[name]] for name in key)
            first = seen.setdefault(values, row.row)
            if first != row.row and None not in values:
                shown = ", ".join(str(value) for value in values)
                message = f"{', '.join(key)} {shown} is in row {first} already."
                row.reasons.append(row_error(key[0], "duplicate-key", message, shown))


def unjudged(data: bytes, descriptor: object, *, cut: bool = False) -> Preview:
    """Return the sample's rows where the rules have mistakes: cut by the dialect as far as that can be read."""
    given = descriptor if isinstance(descriptor, dict) else {}
    for keep in ({"dialect", "encoding"}, set[str]()):
        plain = {key: given[key] for key in keep if key in given} | {"name": "x", "schema": {"fields": [{"name": "x"}]}}
        try:
            schema = compile_schema(plain)
            records = _records(data, schema, cut)
        except Refused:
            continue
        found = Preview()
        if schema.descriptor.dialect.header and records:
            found.header = _named(records.pop(0))
        found.rows = [Tried(number, record.line, record.fields, []) for number, record in enumerate(records, 1)]
        found.judged = False
        return found
    return Preview(judged=False)
