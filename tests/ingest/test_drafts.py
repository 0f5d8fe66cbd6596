"""Drafts from samples that are no CSV, or hardly: said in a sentence, and soon."""

import time

import pytest

from ingest.draft import draft_from_sample
from ingest.preview import preview
from ingest.schema import compile_schema
from migration_console.lib.errors import Refused

# What one long line took for ever with: the time went up with its square.
LONG = 128 << 10


def drafted(data: bytes) -> dict[str, object]:
    """Return the dialect of a draft."""
    dialect: dict[str, object] = draft_from_sample(data, file_name="x.csv")["dialect"]
    return dialect


@pytest.mark.parametrize(
    "line",
    [
        b'<b c="1,2">x;y</b>',
        b'{"a": 1, "b": [2, 3]}, ',
        b"function(a,b){return a|b};",
        b"M 1.5,2 L 3.5,4 ",
        b',"',
        b'"" ',
        b"a\t;",
    ],
)
def test_one_long_line_takes_no_longer_than_many_short_ones(line: bytes) -> None:
    data = line * (LONG // len(line))
    schema = compile_schema({"name": "x", "schema": {"fields": [{"name": "a"}, {"name": "b"}]}})
    began = time.monotonic()
    try:
        drafted(data)
    except Refused as refused:
        assert refused.problems[0].code in {"too-many-columns", "empty-file"}
    preview(data, schema)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html>" + b"<p>a,b</p>" * 9, "a web page or XML"),
        (b"<?xml version='1.0'?><a>1,2</a>", "a web page or XML"),
        (b'<feed xmlns="http://www.w3.org/2005/Atom"><id>1</id></feed>', "a web page or XML"),
        ("<?xml version='1.0' encoding='utf-16'?><a>1,2</a>".encode("utf-16"), "a web page or XML"),
        (b"PK\x03\x04\x14\0" + b"\xff,;" * 99, "an Excel workbook"),
        (b"%PDF-1.7\n1 0 obj, x\n", "a PDF document"),
    ],
)
def test_what_is_no_csv_is_called_by_its_name(data: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        drafted(data)
    schema = compile_schema({"name": "x", "encoding": "utf-16" if data[:1] == b"\xff" else "utf-8", "schema": FIELDS})
    assert words in preview(data, schema).problems[0].message


FIELDS = {"fields": [{"name": "a"}, {"name": "b"}]}


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2\n2,5;3\n", ";"),
        ("1,5;2\n2,5;3\n", ";"),
        ('a,b\n"x;y;z",2\n"x;y;z",3\n', ","),
        ('a|b\n"1,""2,\n3,"|4\n"5,6"|7\n', "|"),
        ("a\tb\nHello, you; there\t1\nyes, no\t2\n", "\t"),
        ("name\nAnn\nBob\n", ","),
        ("id,tags\n1,x;y;z\n2,x;y;z\n3,x\n", ","),
        ("title\n" * 3 + "a;b;c\n1;2;3\n4;5;6\n7;8;9\n", ";"),
        ("a,b\n" + "1,2\n" * 40_000, ","),
    ],
)
def test_the_delimiter_is_what_most_lines_hold_equally_often(text: str, delimiter: str) -> None:
    assert drafted(text.encode())["delimiter"] == delimiter


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a,b\n1,2\n", "it reads as UTF-8: set the dataset's encoding to utf-8, or save the file as utf-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), "the dataset's encoding must say utf-16-le or utf-16-be"),
    ],
)
def test_a_sample_without_a_byte_order_mark_is_told_what_to_do(data: bytes, words: str) -> None:
    schema = compile_schema({"name": "x", "encoding": "utf-16", "schema": FIELDS})
    found = preview(data, schema)
    assert [problem.code for problem in found.problems] == ["encoding"]
    assert words in found.problems[0].message
