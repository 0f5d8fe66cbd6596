"""Records as a Polars frame of text, one column a field; each row keeps its place in the file.

Polars is imported here and in accept.py only, and these only where rows are loaded: a web process
does without its memory.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from .errors import width_problem
from .reader import Layout, Span

Ints = npt.NDArray[np.int64]
BOM = b"\xef\xbb\xbf"


@dataclass
class Rows:
    """The records of a span. `frame` has `_n` (position in the span, from 0) and a text column each.

    `broken` are the records that have no fields: (position, code, message). `starts` and `ends` are
    byte offsets within `data`; `lines` are physical lines of the file.
    """

    span: Span
    frame: pl.DataFrame
    starts: Ints
    ends: Ints
    lines: Ints
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    # No control character, and nothing that could be one: the filter need not look for them.
    plain: bool = False

    def raw(self, position: int) -> bytes:
        """Return the bytes of a record without its line end."""
        return self.span.data[self.starts[position] : self.ends[position]].rstrip(b"\r\n")


def to_rows(span: Span, layout: Layout, columns: dict[str, int], width: int) -> Rows:
    """Return a span's records as a frame. `columns` maps names to positions among `width` fields."""
    return _strict_rows(span, columns, width) if span.records is not None else _clean_rows(span, layout, columns, width)


def _strict_rows(span: Span, columns: dict[str, int], width: int) -> Rows:
    assert span.records is not None
    broken, good = [], []
    for position, record in enumerate(span.records):
        if record.code:
            broken.append((position, record.code, record.message))
        elif len(record.fields) != width:
            broken.append((position, *width_problem(len(record.fields), width)))
        else:
            good.append((position, record.fields))
    data: dict[str, pl.Series] = {"_n": pl.Series([position for position, _ in good], dtype=pl.UInt32)}
    for name, index in columns.items():
        data[name] = pl.Series([fields[index] for _, fields in good], dtype=pl.String)
    starts = np.array([record.start - span.start for record in span.records], dtype=np.int64)
    ends = np.array([record.end - span.start for record in span.records], dtype=np.int64)
    lines = np.array([record.line for record in span.records], dtype=np.int64)
    return Rows(span, pl.DataFrame(data), starts, ends, lines, broken)


def _clean_rows(span: Span, layout: Layout, columns: dict[str, int], width: int) -> Rows:
    """Cut lines without looking at them one by one; short, long and blank ones are set aside."""
    data = span.data if span.data.endswith(b"\n") else span.data + b"\n"
    array = np.frombuffer(data, dtype=np.uint8)
    ends: Ints = np.flatnonzero(array == 10).astype(np.int64) + 1
    starts: Ints = np.concatenate((np.zeros(1, dtype=np.int64), ends[:-1]))
    lines: Ints = span.line + np.arange(len(ends), dtype=np.int64)
    returns = data.count(b"\r")
    rows = Rows(span, pl.DataFrame(), starts, np.minimum(ends, len(span.data)), lines)
    rows.plain = _is_plain(array, data, len(ends) + returns)
    good = _good_lines(array, ord(layout.delimiter), starts, ends, width, 2 if returns else 1)
    body = data
    if good is not None:
        rows.broken = _broken_lines(data, starts, ends, good, layout, width)
        body = array[np.repeat(good, ends - starts)].tobytes()
    if returns:
        body = body.replace(b"\r\n", b"\n")
    if layout.encoding not in {"utf-8", "ascii"}:
        body = body.decode(layout.encoding).encode()
    positions = np.flatnonzero(good) if good is not None else np.arange(len(ends))
    frame = _parse(body, layout.delimiter, columns, width, len(positions))
    rows.frame = frame.select(pl.Series("_n", positions, dtype=pl.UInt32), *columns)
    return rows


def _is_plain(array: npt.NDArray[np.uint8], data: bytes, line_ends: int) -> bool:
    below_space = int(np.count_nonzero(array < 32)) == line_ends + data.count(b"\t")
    # U+0080 to U+009F are C2 80 to C2 9F in UTF-8; other encodings have single bytes there.
    return below_space and b"\x7f" not in data and data.isascii()


def _good_lines(
    array: npt.NDArray[np.uint8], delimiter: int, starts: Ints, ends: Ints, width: int, end_bytes: int
) -> npt.NDArray[np.bool_] | None:
    """Return which lines have the right number of fields; None when all have."""
    marks = np.flatnonzero((array == delimiter) | (array == 10))
    if len(marks) == len(ends) * width and bool((array[marks[width - 1 :: width]] == 10).all()):
        blank = (ends - starts <= 1) if end_bytes == 1 else (ends - starts <= 2)
        if width > 1 or not blank.any():
            return None
    counts = np.diff(np.searchsorted(marks, np.concatenate((starts, ends[-1:]))))
    good: npt.NDArray[np.bool_] = counts == width
    if width == 1:
        short = ends - starts
        good &= ~((short == 1) | ((short == 2) & (array[starts] == 13)))
    return good


def _broken_lines(
    data: bytes, starts: Ints, ends: Ints, good: npt.NDArray[np.bool_], layout: Layout, width: int
) -> list[tuple[int, str, str]]:
    delimiter = layout.delimiter.encode()
    broken = []
    for position in np.flatnonzero(~good).tolist():
        line = data[starts[position] : ends[position]]
        if line in {b"\n", b"\r\n"}:
            broken.append((position, "blank-line", "The line is empty."))
        else:
            broken.append((position, *width_problem(line.count(delimiter) + 1, width)))
    return broken


def _parse(body: bytes, delimiter: str, columns: dict[str, int], width: int, height: int) -> pl.DataFrame:
    """Split clean lines by the delimiter; empty fields become null."""
    names = {index: name for name, index in columns.items()}
    # Polars takes U+FEFF at the start for a mark, and skips empty lines of one column.
    if height and width > 1 and not body.startswith(BOM):
        schema = {names.get(index, f"_ignored_{index}"): pl.String for index in range(width)}
        frame = pl.read_csv(body, has_header=False, schema=schema, separator=delimiter, quote_char=None)
        if frame.height == height:
            return frame
    lines = [line.split(delimiter) for line in body.decode().split("\n")[:-1]]
    return pl.DataFrame(
        {name: pl.Series([line[i] or None for line in lines], dtype=pl.String) for i, name in names.items()}
    )


def integers(data: bytes, delimiter: str, position: int) -> Ints:
    """Return one column of clean lines as integers; ValueError where it is not all integers."""
    try:
        frame = pl.read_csv(
            data, has_header=False, separator=delimiter, quote_char=None, columns=[position], infer_schema=False
        )
        column = frame.to_series().cast(pl.Int64)
    except pl.exceptions.PolarsError as error:
        raise ValueError(str(error)) from None
    if column.null_count():
        raise ValueError("a key is empty")
    return column.to_numpy()
