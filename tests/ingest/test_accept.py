"""The columnar filter never accepts what the Pydantic model would not, and never with another value."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.accept import accept
from ingest.schema import Schema, compile_schema

FIELDS: list[dict[str, Any]] = [
    {"type": "integer"},
    {"type": "integer", "sqlType": "TINYINT UNSIGNED", "constraints": {"required": True}},
    {"type": "integer", "constraints": {"minimum": -5, "maximum": 500}, "strip": True},
    {"type": "integer", "groupChar": ","},
    {"type": "number", "sqlType": "DECIMAL(5,2)"},
    {"type": "number", "sqlType": "DECIMAL(38,9)", "constraints": {"minimum": "0.1", "maximum": "99.5"}},
    {"type": "number", "sqlType": "DOUBLE"},
    {"type": "number", "sqlType": "FLOAT"},
    {"type": "boolean"},
    {"type": "boolean", "trueValues": ["y"], "falseValues": ["n", ""]},
    {"type": "string", "constraints": {"minLength": 2, "maxLength": 4}},
    {"type": "string", "sqlType": "CHAR(3)"},
    {"type": "string", "sqlType": "TINYTEXT", "strip": True},
    {"type": "string", "constraints": {"enum": ["a", "é", "1"]}},
    {"type": "string", "sqlType": "ENUM('a','b c')", "missingValues": ["", "NA"]},
    {"type": "string", "sqlType": "VARCHAR(4) CHARACTER SET utf8mb3"},
    {"type": "string", "constraints": {"pattern": "[a-z]+"}, "case": "lower"},
    {"type": "string", "missingValues": []},
    {"type": "string", "map": {"a": "b"}, "default": "zz"},
    {"type": "string", "controlCharacters": "allow"},
    {"type": "date"},
    {"type": "date", "constraints": {"minimum": "2000-01-01", "maximum": "2024-02-29"}},
    {"type": "date", "format": "%d/%m/%Y"},
    {"type": "datetime"},
    {"type": "datetime", "sqlType": "TIMESTAMP"},
    {"type": "datetime", "sqlType": "DATETIME", "timezone": "Europe/Berlin"},
    {"type": "datetime", "timezone": "Europe/Berlin", "constraints": {"maximum": "2024-01-01T00:00:00"}},
    {"type": "datetime", "timezone": "America/New_York", "constraints": {"minimum": "2024-01-01T00:00:00"}},
    {"type": "datetime", "constraints": {"maximum": "2024-01-01T00:00:00+02:00"}},
    {"type": "time"},
    {"type": "year"},
    {"type": "object"},
]
SCHEMAS = [compile_schema({"name": "x", "schema": {"fields": [{"name": "v", **field}]}}) for field in FIELDS]
ODD: list[str | None] = [
    None, "", " ", "0", "-0", "+5", "007", "255", "256", "-1", "1_000", "５", "٣", "0x10", "1e5", "inf",
    "NaN", "1.", ".5", "1.005", "-0.00", "999.99", "1000.00", "0.1", "99.5", "9223372036854775808",
    "1,234", "12,34", "true", "TRUE", "y", "a", "é", "ab ", "abc", "😀", "a\x07", "a\x85", "a\tb", "a\\b",
    "NA", "NULL", "\\N", "\xa05", "5\u2003", "\x1c5", "2024-02-29", "2024-02-30", "2023-02-29",
    "0000-00-00", "0999-12-31", "+2024-01-01", "2024-1-1", "24-01-01", "31/12/2024",
    "2024-01-01T00:00:00", "2024-01-01 00:00:00Z", "2024-01-01T24:00:00", "2024-01-01T23:59:60",
    "2023-12-31T23:30:00Z", "2023-12-31T22:30:00Z", "2024-01-01T02:00:00Z", "2024-01-01T07:00:00Z",
    "1970-01-01T00:00:00Z", "2038-01-19T03:14:08Z", "2024-03-31T02:30:00", "2024-01-01T00:00:00.5Z",
    "2024-01-01T00:00:00+02:00", "23:59:59", "2024", "{}", '{"a":1}', "[]", "1e400", "-1.5", "1.23E+12",
    "²", "Ⅷ", "ａ", "ﬁ", "\ufeff1", "1\n", "a\nb",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.text(max_size=6),
    st.text("0123456789+-.eE_ ,", max_size=8),
    st.integers().map(str),
    st.decimals(allow_nan=False, places=2).map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.dates().map(str),
)


def check(schema: Schema, values: list[str | None]) -> int:
    """Hold the filter against the model; return how many values it accepted."""
    (column,) = schema.columns
    frame = pl.DataFrame({"_n": range(len(values)), "v": pl.Series(values, dtype=pl.String)})
    judged = accept(frame, schema, plain=False)
    for value, text, accepted in zip(values, judged["v"], judged["_ok"]):
        if not accepted:
            continue
        given = value if value is not None or column.empty_is_null else ""
        result, reasons = schema.check({"v": given})
        assert result is not None, (column.field, value, reasons)
        assert _same(column.text(result["v"]), text, column.sql.base), (column.field, value, text)
    return int(judged["_ok"].sum())


def _same(left: str | None, right: str | None, base: str) -> bool:
    if base == "DOUBLE" and left is not None and right is not None:
        return float(left) == float(right)
    return left == right


@pytest.mark.parametrize("schema", SCHEMAS, ids=[str(field) for field in FIELDS])
def test_what_the_filter_accepts_the_model_accepts_with_the_same_value(schema: Schema) -> None:
    check(schema, ODD)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SCHEMAS), st.lists(VALUES, min_size=1, max_size=20))
def test_whatever_the_value(schema: Schema, values: list[str | None]) -> None:
    check(schema, values)


@pytest.mark.torture
@settings(max_examples=50_000, deadline=None)
@given(st.sampled_from(SCHEMAS), st.lists(VALUES, min_size=1, max_size=20))
def test_whatever_the_value_for_long(schema: Schema, values: list[str | None]) -> None:
    check(schema, values)


def test_the_filter_accepts_what_plain_files_hold() -> None:
    plain = [
        "1",
        "1",
        "1",
        "1,234",
        "1.50",
        "1.5",
        "0.1",
        "0.5",
        "true",
        "y",
        "abc",
        "abc",
        "abc",
        "a",
        "a",
        "abc",
        "abc",
    ]
    plain += ["x", "x", "x", "2024-02-28", "2024-02-28", "31/12/2024", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"]
    plain += ["2024-01-01T00:00:00Z"]
    plain += ["2023-12-31T22:59:59Z", "2024-01-01T05:00:01Z", "2023-12-31T21:59:59Z", "23:59:59", "2024", "{}"]
    for schema, value in zip(SCHEMAS, plain, strict=True):
        assert check(schema, [value]) == 1, schema.columns[0].field


def test_the_filter_accepts_no_row_of_a_model_with_rules_of_its_own() -> None:
    schema = compile_schema({"name": "x", "model": "tests.models:Booking"})
    assert not schema.columnar
