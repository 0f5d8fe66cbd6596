"""The first look at a whole file, before anything is written: one streaming pass that decides every
reason for refusing the file, counts the records, and cuts the parts.
"""

import re
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

from migration_console.lib.errors import Problem, Refused, refuse

from .header import match_header, other_delimiter
from .reader import BLOCK, MAX_RECORD, Layout, Record, Scanner, Span, line_ends
from .schema import Schema
from .stream import GZIP, Behind, Hashing, Readable, decoded, reading_encoding, seekable

HEAD = 1 << 20
BOMS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
MAGIC = {
    b"PK\x03\x04": "a zip archive or an Excel workbook (.xlsx)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
    b"%PDF": "a PDF document",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"SQLite format 3": "an SQLite database",
}
XML = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|!--|html|\?xml|[\w:.-]+\s+xmlns\b)", re.I)
FOOTER = re.compile(
    r"\W*(total|sum|summe|subtotal|count|end|eof|rows?|records?)\b|\W*\d+ (rows?|records?|lines?)\b|\(|#|-{2}", re.I
)


@dataclass(frozen=True)
class PartRange:
    """A byte range on record boundaries, and the row and line that it starts with."""

    start: int
    end: int
    first_row: int
    first_line: int


@dataclass
class Survey:
    """What the first look found; stored with the run as JSON."""

    gzip: bool
    encoding: str
    width: int
    columns: dict[str, int]
    records: int = 0
    data_start: int = 0
    data_end: int = 0
    sha256: str = ""
    size: int = 0
    # Whether the integer key rises from row to row, so that parts may load in any order.
    rising: bool = False
    # Whether every line is a record, so that somebody without a CSV reader may cut the file.
    plain: bool = True
    warnings: list[str] = field(default_factory=list)
    parts: list[PartRange] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the survey as JSON holds it, parts left out."""
        data = asdict(self)
        del data["parts"]
        return data

    @property
    def seekable(self) -> bool:
        """Tell whether a part can be read without reading what is before it."""
        return seekable(gzip=self.gzip, encoding=self.encoding)


def stored_survey(data: dict[str, Any]) -> Survey:
    """Return a survey from the JSON that a run keeps of it."""
    return Survey(**{**data, "parts": [PartRange(**part) for part in data["parts"]]})


def layout_of(schema: Schema, encoding: str) -> Layout:
    """Return how the reader cuts the stream."""
    dialect = schema.descriptor.dialect
    return Layout(
        delimiter=dialect.delimiter,
        quote=dialect.quote_char,
        bare_quotes=dialect.bare_quote == "literal",
        quoted_empty_is_missing=dialect.quoted_empty == "missing",
        encoding=reading_encoding(encoding),
    )


def survey(source: BinaryIO, schema: Schema, *, name: str, size: int, max_bytes: int, part_bytes: int) -> Survey:
    """Read a file to its end and return what it holds, or raise Refused with every reason found."""
    if size > max_bytes:
        raise refuse("too-large", f"the file has {size} bytes; the limit is {max_bytes}")
    hashing = Hashing(source)
    first = hashing.read(HEAD)
    gzip = first.startswith(GZIP)
    if name.endswith(".gz") and not gzip and first:
        raise refuse("gzip-damaged", "the file is named .gz and is no gzip file; send it again")
    encoding = schema.descriptor.encoding
    stream = decoded(Behind(first, hashing), gzip=gzip, encoding=encoding, max_bytes=max_bytes)
    _refuse_mistaken(first if not gzip and encoding.startswith("utf-8") else b"")
    head = _head(stream)
    _refuse_mistaken(head)
    found = Survey(gzip, encoding, len(schema.columns), {})
    look = _Look(found, schema, layout_of(schema, encoding), Behind(head, stream), part_bytes)
    look.through(head, size)
    while hashing.read(1 << 20):
        pass
    found.sha256, found.size = hashing.sha256.hexdigest(), hashing.count
    return found


def _head(stream: Readable) -> bytes:
    head = b""
    while len(head) < HEAD and (data := stream.read(HEAD)):
        head += data
    if not head:
        raise refuse("empty-file", "the file is empty (0 bytes); not even a header")
    return head


def refuse_other_formats(head: bytes) -> None:
    """Say of a file what it is where its first bytes tell that it is no CSV."""
    for magic, what in MAGIC.items():
        if head.startswith(magic):
            raise refuse("not-csv", f"the file is {what}, not CSV; export it as CSV")
    if XML.match(head):
        raise refuse("not-csv", "the file is a web page or XML, not CSV; was a login page saved?")


def _refuse_mistaken(head: bytes) -> None:
    refuse_other_formats(head)
    for mark, kind in BOMS.items():
        if head.startswith(mark):
            raise refuse("encoding", f"the file is {kind.upper()}; set the dataset's encoding to {kind}")


class _Look:
    """One pass over the records of a file."""

    def __init__(self, found: Survey, schema: Schema, layout: Layout, stream: Readable, part_bytes: int) -> None:
        self.found, self.schema, self.layout, self.stream = found, schema, layout, stream
        self.dialect = schema.descriptor.dialect
        self.part_bytes = part_bytes
        self.header = b""
        self.endings: set[str] = set()
        self.last: Span | None = None
        # The places of the last records, so that a footer can be left out.
        self.tail: deque[int] = deque(maxlen=self.dialect.footer or 1)
        self.last_key = -(2**63)

    def through(self, head: bytes, size: int) -> None:
        """Read to the end; fill the survey."""
        start, line = self._start(head)
        records = first_records(head, self.layout, start, line, 11)
        if self.dialect.header:
            start, line = self._take_header(records, head, start, line)
        else:
            self._check_width(records)
        self.found.rising = size > self.part_bytes and self._key_position() is not None
        scanner = Scanner(self.layout, start=start, line=line)
        self._skip_to(start)
        self.found.data_start = start
        begin, first_row, first_line = start, 1, line
        for span in scanner.scan(self.stream.read, tail=True, block=min(BLOCK, self.part_bytes)):
            self._look_at(span)
            if span.end - begin >= self.part_bytes and self.found.seekable:
                self.found.parts.append(PartRange(begin, span.end, first_row, first_line))
                begin, first_row, first_line = scanner.position, scanner.row, scanner.line
        self.found.data_end, self.found.records = scanner.position, scanner.row - 1
        if begin < scanner.position:
            self.found.parts.append(PartRange(begin, scanner.position, first_row, first_line))
        self._leave_footer()
        if len(self.endings) > 1:
            self.found.warnings.append(f"the lines end in different ways: {', '.join(sorted(self.endings))}")

    def _start(self, head: bytes) -> tuple[int, int]:
        start = 3 if head.startswith(b"\xef\xbb\xbf") and self.layout.encoding == "utf-8" else 0
        line = 1
        for _ in range(self.dialect.preamble):
            match = re.compile(rb"[^\r\n]*(\r\n|\n|\r)").match(head, start)
            if match is None:
                raise refuse("preamble", f"the file has fewer lines than the preamble of {self.dialect.preamble}")
            start, line = match.end(), line + 1
        return start, line

    def _skip_to(self, start: int) -> None:
        while start > 0:
            start -= len(self.stream.read(start))

    def _take_header(self, records: list[Record], head: bytes, start: int, line: int) -> tuple[int, int]:
        if not records or records[0].code:
            why = records[0].message if records else "it is longer than 1 MiB, or empty"
            raise refuse("header", f"the header cannot be read: {why}", f"line {line}")
        header = records[0]
        columns, problems = match_header(header.fields, self.schema)
        if problems:
            raise Refused(problems + _preamble_hint(records, self.schema))
        self.found.columns, self.found.width = columns, len(header.fields)
        raw = head[header.start : header.end]
        self.header = raw.rstrip(b"\r\n")
        return header.end, line + line_ends(raw)

    def _check_width(self, records: list[Record]) -> None:
        """Without a header every record must have the schema's columns; refuse when the first ones do not."""
        names = self.schema.names
        self.found.columns = {name: index for index, name in enumerate(names)}
        good = [record for record in records if not record.code]
        if not good:
            return
        first = [value or "" for value in good[0].fields]
        if guess := other_delimiter(first, self.schema.descriptor):
            raise Refused([guess])
        if all(len(record.fields) != len(names) for record in good):
            width = len(first)
            hint = "; the lines end in a delimiter" if width == len(names) + 1 and not first[-1] else ""
            message = f"the first rows have {width} fields, the dataset has {len(names)} columns{hint}"
            raise refuse("width", message, f"line {good[0].line}")
        if first == names:
            raise refuse("header", "the file has a header; set dialect.header to true", "line 1")

    def _key_position(self) -> int | None:
        """Return where the integer key stands in the file, if it is one column."""
        key = self.schema.descriptor.schema_.primary_key or []
        kinds = {column.name: column.field.type for column in self.schema.columns}
        return self.found.columns[key[0]] if len(key) == 1 and kinds[key[0]] == "integer" else None

    def _look_at(self, span: Span) -> None:
        self.last = span
        self.found.plain &= span.records is None
        self._note_endings(span)
        self._refuse_repeated_header(span)
        if self.dialect.footer:
            self._note_tail(span)
        if self.found.rising:
            self.found.rising = self._rises(span)

    def _note_endings(self, span: Span) -> None:
        pairs = span.data.count(b"\r\n")
        if pairs:
            self.endings.add("CRLF")
        if span.records is None:
            self.endings |= {"LF"} if span.data.count(b"\n") > pairs else set()
            return
        for record in span.records:
            end = span.data[record.end - span.start - 2 : record.end - span.start]
            if end.endswith(b"\n") and end != b"\r\n":
                self.endings.add("LF")
            elif end.endswith(b"\r"):
                self.endings.add("CR")

    def _refuse_repeated_header(self, span: Span) -> None:
        if not self.header or self.header not in span.data:
            return
        found = re.search(rb"(?:\A|[\r\n])" + re.escape(self.header) + rb"(?=[\r\n]|\Z)", span.data)
        if found:
            line = span.line + line_ends(span.data[: found.start() + 1])
            raise refuse(
                "repeated-header", "the header is there again in the middle; were files joined?", f"line {line}"
            )

    def _note_tail(self, span: Span) -> None:
        if span.records is not None:
            self.tail.extend(record.start for record in span.records[-self.dialect.footer :])
            return
        starts, at = list[int](), len(span.data) - 1
        for _ in range(min(self.dialect.footer, span.count)):
            at = span.data.rfind(b"\n", 0, at)
            starts.append(at + 1 + span.start)
        self.tail.extend(reversed(starts))

    def _rises(self, span: Span) -> bool:
        """Tell whether the key rises through the span; decided by the first row that is no plain integer."""
        position = self._key_position()
        if position is None or span.records is not None:
            return False
        from .rows import integers  # Polars, only where a large file is surveyed

        try:
            keys = integers(span.data, self.layout.delimiter, position)
        except ValueError:
            return False
        if not len(keys) or keys[0] <= self.last_key or not (keys[1:] > keys[:-1]).all():
            return False
        self.last_key = int(keys[-1])
        return True

    def _leave_footer(self) -> None:
        if self.dialect.footer:
            end = self.tail[0] if self.tail else self.found.data_end
            self.found.records -= len(self.tail)
            self.found.data_end = end
            kept = [p for p in self.found.parts if p.start < end]
            self.found.parts = [PartRange(p.start, min(p.end, end), p.first_row, p.first_line) for p in kept]
        elif self.last is not None and self.found.records > 1 and self.found.width > 1:
            text = self._last_text(self.last)
            if FOOTER.match(text):
                raise refuse(
                    "footer",
                    f"the last line, “{text[:60]}”, looks like a footer; set dialect.footer to 1, or remove it",
                )

    def _last_text(self, span: Span) -> str:
        """Return the last record where it is a single field, else ''."""
        if span.records is not None:
            fields = span.records[-1].fields
        else:
            line = span.data.rstrip(b"\r\n").rpartition(b"\n")[2]
            fields = self.layout.split(line.decode(self.layout.encoding))
        return (fields[0] or "") if len(fields) == 1 else ""


def _preamble_hint(records: list[Record], schema: Schema) -> list[Problem]:
    """Name the line that is the header, where lines stand before it."""
    wanted = {word for column in schema.columns for word in (column.name, *column.field.aliases)}
    for number, record in enumerate(records[1:], start=1):
        if len(wanted & {value or "" for value in record.fields}) * 2 > len(schema.columns):
            message = f"line {record.line} looks like the header; set dialect.preamble to {number}, or remove the lines"
            return [Problem("preamble", message, f"line {record.line}")]
    return []


def first_records(head: bytes, layout: Layout, start: int, line: int, count: int) -> list[Record]:
    """Return the first records behind `start`, blank lines at the end of a short file left out."""
    scanner = Scanner(layout, start=start, line=line)
    records: list[Record] = []
    final = len(head) < HEAD
    data = head[start : start + MAX_RECORD]
    for record in scanner.strict(data, 0, len(data), final=final):
        records.append(record)
        if len(records) == count:
            break
    while records and records[-1].code == "blank-line":
        records.pop()
    return records
