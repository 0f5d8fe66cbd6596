"""Bytes to records: strict RFC 4180, which decides, and a fast road for stretches that are plainly clean.

Offsets count bytes of the gunzipped stream; rows count records from 1, the header left out; lines
count physical lines from 1. A stretch without quotes, NUL, lone CR and invalid characters is plainly
clean: there a line is a record, and nobody needs to look at single bytes.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from migration_console.lib.errors import refuse

MAX_FIELD = 1 << 20
MAX_RECORD = 8 << 20
BLOCK = 4 << 20
# A record needs no more bytes behind its start than these to be told well formed or not.
LOOK_AHEAD = MAX_RECORD + 2 * MAX_FIELD
# A stretch that is not clean as a whole is looked at in slices of this size.
SLICE = 32 << 10
# … and strict records are Python objects: not too many at a time.
STRICT = 1 << 20


class Record(NamedTuple):
    """One logical record. `fields` holds None for an empty unquoted field; with a code it holds nothing."""

    start: int
    end: int
    line: int
    fields: list[str | None]
    code: str = ""
    message: str = ""


@dataclass(frozen=True)
class Layout:
    """How the bytes of a file are cut: from the dialect and the encoding (UTF-8 or a single-byte one)."""

    delimiter: str = ","
    quote: str | None = '"'
    bare_quotes: bool = False
    quoted_empty_is_missing: bool = False
    encoding: str = "utf-8"

    @cached_property
    def quoted(self) -> re.Pattern[str]:
        """Match one quoted field."""
        return re.compile(self._quoted(), re.DOTALL)

    @cached_property
    def record(self) -> re.Pattern[bytes]:
        """Match the fields of one record as far as they are well formed, without the line end."""
        d, q = re.escape(self.delimiter), re.escape(self.quote or "")
        if self.quote is None:
            one = f"[^{d}\r\n]*+"
        elif self.bare_quotes:
            one = f"(?>{self._quoted()}|(?:(?!{q})[^{d}\r\n]++)?+)"
        else:
            one = f"(?>{self._quoted()}|[^{d}{q}\r\n]*+)"
        return re.compile(f"{one}(?:{d}{one})*+".encode("latin-1"), re.DOTALL)

    def _quoted(self) -> str:
        q = re.escape(self.quote or "")
        return f"{q}[^{q}]*+(?:{q}{q}[^{q}]*+)*+{q}"

    def split(self, text: str) -> list[str | None]:
        """Return the fields of one well-formed record."""
        quote = self.quote
        if quote is None or quote not in text:
            return [value or None for value in text.split(self.delimiter)]
        fields: list[str | None] = []
        position = 0
        while True:
            if match := text.startswith(quote, position) and self.quoted.match(text, position):
                value = match[0][1:-1].replace(quote * 2, quote)
                fields.append(value or (None if self.quoted_empty_is_missing else ""))
                position = match.end() + 1
            else:
                end = text.find(self.delimiter, position)
                end = len(text) if end < 0 else end
                fields.append(text[position:end] or None)
                position = end + 1
            if position > len(text):
                return fields


@dataclass
class Span:
    """Consecutive records. `records` is None where the stretch is plainly clean: a line is a record."""

    data: bytes
    start: int
    row: int
    line: int
    count: int
    lines: int
    records: list[Record] | None = field(default=None, repr=False)

    @property
    def end(self) -> int:
        """Return the offset behind the last record."""
        return self.start + len(self.data)


def line_ends(data: bytes) -> int:
    """Count CRLF, LF and CR."""
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)


class Scanner:
    """Cuts a stream of bytes into spans; knows where it is."""

    def __init__(self, layout: Layout, *, start: int = 0, row: int = 1, line: int = 1) -> None:
        self.layout = layout
        self.position, self.row, self.line = start, row, line
        self.pending = b""
        self._quote = (layout.quote or "\0").encode()

    def scan(
        self, read: Callable[[int], bytes], *, tail: bool = False, block: int = BLOCK, until: int | None = None
    ) -> Iterator[Span]:
        """Yield the spans of a stream, up to the offset `until`, at which a record ends.

        With `tail`, blank lines at its very end are left in `pending`.
        """
        while until is None or self.position < until:
            chunk = read(block)
            self.pending += chunk
            final = not chunk
            if self.pending:
                yield from self._cut(final, tail, until)
            if final:
                return
            if len(self.pending) > MAX_RECORD:
                message = f"a record is longer than {MAX_RECORD >> 20} MiB; a quote may be open, or a line end missing"
                raise refuse("record-too-long", message, self._where())

    def _where(self) -> str:
        return f"line {self.line}, row {self.row}"

    def _cut(self, final: bool, tail: bool, until: int | None) -> Iterator[Span]:
        data = self.pending
        end = len(data) if final else data.rfind(b"\n") + 1
        if until is not None:
            end = min(end or len(data), until - self.position)
        if tail:
            # Only a later byte tells whether blank lines are inside the file or at its end.
            text = len(data.rstrip(b"\r\n"))
            if text == 0:
                return
            limit = _line_end(data, text, final) or text
            end = min(end or limit, limit)
        used = 0
        if end and self._whole_lines(data, end, final) and self.clean(data, 0, end):
            yield self._span(data[:end], None)
            used = end
        else:
            for span in self._mixed(data, end or len(data), final):
                used += len(span.data)
                yield span
        self.pending = data[used:]

    def _whole_lines(self, data: bytes, end: int, final: bool) -> bool:
        return data[end - 1 : end] == b"\n" or (final and end == len(data.rstrip(b"\r\n")))

    def clean(self, data: bytes, start: int, end: int) -> bool:
        """Tell whether data[start:end], whole lines, is plainly clean."""
        part = data[start:end]
        if self._quote in part or b"\0" in part:
            return False
        returns = part.count(b"\r")
        if returns and returns != part.count(b"\r\n"):
            return False
        if part.isascii():
            return True
        try:
            part.decode(self.layout.encoding)
        except UnicodeDecodeError:
            return False
        return True

    def _span(self, data: bytes, records: list[Record] | None) -> Span:
        lines = line_ends(data) + (not data.endswith((b"\n", b"\r")))
        count = lines if records is None else len(records)
        span = Span(data, self.position, self.row, self.line, count, lines, records)
        self.position += len(data)
        self.row += count
        self.line += lines
        return span

    def _mixed(self, data: bytes, end: int, final: bool) -> Iterator[Span]:
        def plain(start: int, stop: int) -> bool:
            return self._whole_lines(data, stop, final) and self.clean(data, start, stop)

        def after(start: int) -> int:
            # Old files have lines that end in CR alone; without a cut a whole block would go the slow way at once.
            return data.find(b"\n", start + SLICE, end) + 1 or data.find(b"\r", start + SLICE, end) + 1 or end

        position = run = 0
        while position < end:
            stop = after(position)
            if plain(position, stop):
                position = stop
                continue
            if position > run:
                yield self._span(data[run:position], None)
            # Neighbours that are not clean either go together: large frames are cheap, many small ones are not.
            while stop < end and stop - position < STRICT and not plain(stop, after(stop)):
                stop = after(stop)
            records = list(self.strict(data, position, stop, final=final))
            if records:
                past = records[-1].end - self.position + position
                yield self._span(data[position:past], records)
                position = past
            run = position
            if not records or position < stop:
                return  # the rest of the stretch needs more bytes
        if position > run:
            yield self._span(data[run:position], None)

    def strict(self, data: bytes, position: int, stop: int, *, final: bool) -> Iterator[Record]:
        """Yield records from `position` until one ends at or behind `stop`, or needs bytes that are not here."""
        shift = self.position - position
        line, row = self.line, self.row
        while position < stop:
            match = self.layout.record.match(data, position)
            assert match is not None
            end = match.end()
            after = _line_end(data, end, final)
            code = message = ""
            if after is None:
                return
            if after < 0:
                # The same answer whatever the blocks: a quote is closed within MAX_FIELD bytes, or never.
                if self._unclosed(data, position, end) or end - position > MAX_FIELD:
                    if final or len(data) - end > MAX_FIELD or end - position > MAX_FIELD:
                        raise refuse(
                            "unclosed-quote", "a quote opens a field and is never closed", f"line {line}, row {row}"
                        )
                    return
                if (after := _next_line(data, position, final)) is None:
                    return
                code, message = "quote", _quote_message(data, end, self._quote)
            raw = data[position:after]
            yield self._record(raw, position + shift, line, code, message)
            line += line_ends(raw)
            row += 1
            position = after

    def _unclosed(self, data: bytes, start: int, end: int) -> bool:
        """Tell whether the record stops at a quote that opens a field."""
        opens = end == start or data[end - 1 : end] == self.layout.delimiter.encode()
        return opens and data[end : end + 1] == self._quote

    def _record(self, raw: bytes, start: int, line: int, code: str, message: str) -> Record:
        if len(raw) > MAX_RECORD:
            raise refuse("record-too-long", f"a record is longer than {MAX_RECORD >> 20} MiB", f"line {line}")
        try:
            text = "" if code else raw.decode(self.layout.encoding).rstrip("\r\n")
        except UnicodeDecodeError as error:
            code = "invalid-encoding"
            byte = raw[error.start]
            message = f"The byte 0x{byte:02X} at position {error.start + 1} of the row is not {self.layout.encoding}."
        if not code and text == "":
            code, message = "blank-line", "The line is empty."
        fields = [] if code else self.layout.split(text)
        if len(raw) > MAX_FIELD and any(len(value or "") > MAX_FIELD for value in fields):
            raise refuse("field-too-long", f"a field is longer than {MAX_FIELD >> 20} MiB", f"line {line}")
        return Record(start, start + len(raw), line, fields, code, message)


def _line_end(data: bytes, end: int, final: bool) -> int | None:
    """Return the offset behind the line end at `end`; None to wait for more bytes, -1 where no line ends."""
    if end == len(data):
        return end if final else None
    if data[end] == 10:
        return end + 1
    if data[end] == 13:
        if end + 1 == len(data):
            return end + 1 if final else None
        return end + 2 if data[end + 1] == 10 else end + 1
    return -1


def _next_line(data: bytes, position: int, final: bool) -> int | None:
    """Return the offset behind the first line end from `position` on."""
    ends = [found for found in (data.find(b"\n", position), data.find(b"\r", position)) if found >= 0]
    if not ends:
        return len(data) if final else None
    return _line_end(data, min(ends), final)


def _quote_message(data: bytes, end: int, quote: bytes) -> str:
    after = data[end - 1 : end] == quote
    what = "Text follows a closing quote" if after else "A quote stands inside an unquoted field"
    return f"{what}; the row was cut at the end of its line."
