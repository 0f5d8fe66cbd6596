"""What somebody has retyped in a spreadsheet, as the text that the column's rules read as the same value.

Cells that went out are text and stay text; a retyped one may be a number, a date or a truth. Where no text says that to
the rules, it is told: 16 digits in a number cell, the year 1950 by %y, seconds by %H:%M.
"""

import math
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from .column import Column
from .text import Bad, declared_formats

Told = tuple[str | None, str]
MOMENTS = {"date", "datetime", "time"}
MIDNIGHT = time()


def as_column_text(value: Any, column: Column) -> Told:
    """Return a cell as text for its column, and what is wrong with it."""
    kind, given = column.field.type, column.field
    if value is None or value == "":
        return None, ""
    if isinstance(value, bool):
        words = (given.true_values if value else given.false_values) if kind == "boolean" else [str(value).lower()]
        return words[0], ""
    if isinstance(value, int | float):
        return _number_text(value, column)
    if isinstance(value, date | time | timedelta):
        return _moment_text(_as_typed(value, kind), column)
    return str(value), ""


def _number_text(value: float, column: Column) -> Told:
    if not math.isfinite(value):
        return None, f"the cell holds {value}, which is no number; type what is meant"
    number = Decimal(repr(value))
    if abs(number) >= 10**15:
        told = f"{number:f} came as a number, and spreadsheets keep 15 digits of a number; format the cell as text"
        return None, told
    text = f"{number.normalize():f}" if number else "0"
    return text.replace(".", column.field.decimal_char) if column.field.type == "number" else text, ""


def _as_typed(value: date | time | timedelta, kind: str) -> date | time | timedelta:
    """Return what somebody has typed: a spreadsheet knows no day without a time, and takes times for lengths."""
    if isinstance(value, timedelta):
        return (datetime.min + value).time() if timedelta() <= value < timedelta(days=1) else value
    if kind == "datetime" and isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, MIDNIGHT)
    if kind != "datetime" and isinstance(value, datetime) and value.time() == MIDNIGHT:
        return value.date()
    return value


def _moment_text(value: date | time | timedelta, column: Column) -> Told:
    """Return a moment by the first format that brings it back as it is."""
    plain = str(value) if isinstance(value, timedelta) else value.isoformat()
    if column.field.type not in MOMENTS:
        return plain, ""
    formats = declared_formats(column.field)
    for text in [_formatted(value, pattern) for pattern in formats] or [plain]:
        if _reads(column, text, value):
            return text, ""
    told = (
        f"{value} came as a date or time, and the column's {' or '.join(formats) or 'ISO 8601'} does not say all of it"
    )
    return None, f"{told}; format the cell as text and type it in full, or give the column another format"


def _formatted(value: date | time | timedelta, pattern: str) -> str:
    try:
        return "" if isinstance(value, timedelta) else value.strftime(pattern)
    except ValueError:
        return ""


def _reads(column: Column, text: str, value: object) -> bool:
    """Tell whether the rules read a text as this value; on the clock of the file, before it is turned into UTC."""
    local = replace(column, field=column.field.model_copy(update={"timezone": None}))
    try:
        return bool(local.parse(text) == value)
    except Bad:
        return False
