"""Bytes to records: strict, resynchronised, and the same whatever the blocks and whichever the road."""

import gzip
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.reader import SLICE, STRICT, Layout, Scanner, Span
from ingest.rows import to_rows
from ingest.stream import decoded
from migration_console.lib.errors import Refused

LINES = st.lists(st.sampled_from(["a", "bc", ",", ",,", '"', '""', "\n", "\r\n", "\r", "\x00", "é", " "]), max_size=25)


def spans(data: bytes, block: int, layout: Layout | None = None, *, tail: bool = True) -> list[Span]:
    scanner = Scanner(layout or Layout())
    return list(scanner.scan(io.BytesIO(data).read, tail=tail, block=block))


def records(found: list[Span]) -> list[object]:
    """Return fields or code of each record, clean stretches read line by line."""
    rows: list[object] = []
    for span in found:
        if span.records is None:
            lines = span.data.decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
            rows += [[value or None for value in line.split(",")] if line else "blank-line" for line in lines]
        else:
            rows += [record.code or record.fields for record in span.records]
    return rows


@given(LINES.map("".join), st.integers(1, 9))
def test_blocks_do_not_show(text: str, block: int) -> None:
    data = text.encode()
    try:
        expected: object = records(spans(data, 1 << 20))
    except Refused as refused:
        expected = refused.problems[0].code
    try:
        found: object = records(spans(data, block))
    except Refused as refused:
        found = refused.problems[0].code
    assert found == expected


@given(LINES.map("".join), st.integers(1, 9))
def test_every_byte_belongs_to_a_record_or_to_the_blank_tail(text: str, block: int) -> None:
    data = text.encode()
    try:
        found = spans(data, block)
    except Refused:
        return
    position, row, line = 0, 1, 1
    for span in found:
        assert (span.start, span.row, span.line) == (position, row, line)
        position, row, line = span.end, span.row + span.count, span.line + span.lines
    assert data[position:].strip(b"\r\n") == b""


@given(
    st.lists(st.lists(st.sampled_from(["", "a", "1.5", "é", " x "]), min_size=1, max_size=4), min_size=1, max_size=30)
)
def test_the_fast_road_gives_the_rows_of_the_strict_one(rows: list[list[str]]) -> None:
    data = "".join(",".join(row) + "\n" for row in rows).encode()
    columns = {"a": 0, "b": 1, "c": 2}
    layout = Layout()
    fast = Span(data, 0, 1, 1, len(rows), len(rows))
    strict = Span(data, 0, 1, 1, len(rows), len(rows), list(Scanner(layout).strict(data, 0, len(data), final=True)))
    left, right = to_rows(fast, layout, columns, 3), to_rows(strict, layout, columns, 3)
    assert left.frame.rows() == right.frame.rows()
    assert left.broken == right.broken
    assert [left.starts.tolist(), left.ends.tolist(), left.lines.tolist()] == [
        right.starts.tolist(), right.ends.tolist(), right.lines.tolist(),
    ]  # fmt: skip


def test_one_column_knows_a_blank_line_from_an_empty_field() -> None:
    data = b"a\n\nb\n"
    rows = to_rows(Span(data, 0, 1, 1, 3, 3), Layout(), {"x": 0}, 1)
    assert [code for _, code, _ in rows.broken] == ["blank-line"]
    assert rows.frame["x"].to_list() == ["a", "b"]


def test_a_byte_order_mark_inside_the_file_is_text() -> None:
    data = "\ufeffa,b\nc,d\n".encode()
    rows = to_rows(Span(data, 0, 1, 1, 2, 2), Layout(), {"x": 0, "y": 1}, 2)
    assert rows.frame.rows() == [(0, "\ufeffa", "b"), (1, "c", "d")]


def test_one_stray_quote_costs_one_row() -> None:
    data = b'1,a\n2,"b\n3,c\n4,"d"\n5,e\n'
    assert records(spans(data, 1 << 20)) == [["1", "a"], "quote", ["3", "c"], ["4", "d"], ["5", "e"]]


def test_a_quote_that_never_closes_refuses_the_file_with_its_line() -> None:
    with pytest.raises(Refused) as refused:
        spans(b'1,a\n2,"b\n3,c\n', 1 << 20)
    assert refused.value.problems[0].where == "line 2, row 2"


def test_lines_count_line_ends_inside_quotes() -> None:
    (span,) = spans(b'"a\nb",1\n"c\r\nd",2\ne,3\n', 1 << 20)
    assert span.records is not None
    assert [record.line for record in span.records] == [1, 3, 5]


def test_without_a_quote_character_quotes_are_text() -> None:
    assert records(spans(b'"a,b"\n', 8, Layout(quote=None))) == [['"a', 'b"']]


def test_a_file_of_lone_carriage_returns_is_read_in_stretches() -> None:
    found = spans(b"1,2\r" * (1 << 19), 4 << 20)
    assert max(len(span.data) for span in found) <= STRICT + SLICE + 4
    assert sum(span.count for span in found) == 1 << 19


def test_a_million_empty_members_cost_no_more_than_their_bytes() -> None:
    member = gzip.compress(b"", mtime=0)
    packed = member * 300_000 + gzip.compress(b"id\n1\n")
    began = time.process_time()
    stream = decoded(io.BytesIO(packed), gzip=True, encoding="utf-8", max_bytes=1 << 20)
    assert stream.read(1 << 20) == b"id\n1\n"
    assert time.process_time() - began < 6
