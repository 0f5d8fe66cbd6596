"""Texts that look like a value and are none, or another one: refused, never guessed."""

import time
from decimal import Decimal
from typing import Any

import pytest

from ingest.schema import compile_schema


def read(field: dict[str, Any], text: str) -> Any:
    """Return the value of a text, or the code of the first reason against it."""
    values, reasons = compile_schema({"name": "x", "schema": {"fields": [{"name": "v", **field}]}}).check({"v": text})
    return reasons[0]["code"] if values is None else values["v"]


PRICE = {"type": "number", "bareNumber": False}
BAD = "not-a-number"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$5.00", Decimal("5.00")), ("5.00 EUR", Decimal("5.00")), ("€-5", Decimal(-5)), ("95%", Decimal(95)),
        ("1e3", Decimal(1000)), ("(5.00)", BAD), ("−5", BAD), ("5-", BAD), ("5–", BAD), ("12e3x", BAD), ("-$5", BAD),
        ("٣5", BAD), ("5½", BAD), ("<5", BAD), ("EUR", BAD), ("5 of 6", BAD),
    ],
)  # fmt: skip
def test_what_stands_around_a_number_may_not_change_it(text: str, value: object) -> None:
    assert read(PRICE, text) == value


def test_a_long_field_around_a_number_is_read_in_linear_time() -> None:
    began = time.process_time()
    assert read(PRICE, "1" + "a" * 500_000 + "1") == BAD
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("pattern", "text", "value"),
    [
        ("%d%m%Y", "01112024", "2024-11-01"), ("%d%m%Y", "1112024", "not-a-date"), ("%Y%m%d", "2024111", "not-a-date"),
        ("%d.%m.%Y", "1.1.2024", "2024-01-01"), ("%d%b%Y", "1Nov2024", "2024-11-01"),
    ],
)  # fmt: skip
def test_a_digit_that_is_left_out_makes_no_other_day(pattern: str, text: str, value: str) -> None:
    assert str(read({"type": "date", "format": pattern}, text)) == value


def test_a_fraction_behind_the_seconds_may_be_short() -> None:
    field = {"type": "datetime", "format": "%Y%m%d%H%M%S%f"}
    assert str(read(field, "20240102030405120")) == "2024-01-02 03:04:05.120000"
    assert read(field, "2024010203045") == "not-a-datetime"


KNOWN = "12345678-1234-5678-1234-567812345678"


@pytest.mark.parametrize("text", [KNOWN, KNOWN.upper(), KNOWN.replace("-", ""), f"{{{KNOWN}}}", f"urn:uuid:{KNOWN}"])
def test_a_uuid(text: str) -> None:
    assert read({"type": "string", "format": "uuid"}, text) == text


@pytest.mark.parametrize(
    "text",
    [
        "1_2_3_4_5_6_7_8_9_0_1_2_3_4_5_67", "１" * 32, "+1234567812345678123456781234567", f"{{{KNOWN}", f"{KNOWN}}}",
        "1-2-3-456781234567812345678-12345678", "urn:uuid:{" + KNOWN, KNOWN + "\n",
    ],
)  # fmt: skip
def test_no_uuid(text: str) -> None:
    assert read({"type": "string", "format": "uuid"}, text) == "not-a-uuid"


def test_an_empty_field_is_what_a_hand_written_model_says_of_a_missing_one() -> None:
    schema = compile_schema({"name": "tickets", "model": "tests.models:Ticket"})
    assert schema.check({"id": "1", "status": None}) == ({"id": 1, "status": "new"}, [])
    assert schema.check({"id": "2", "status": "done"}) == ({"id": 2, "status": "done"}, [])
    assert schema.check({"id": None, "status": "done"})[1][0]["code"] == "required"
