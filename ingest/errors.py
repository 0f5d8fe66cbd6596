"""The stable codes of what can be wrong with a row, each with what a data steward can do about it."""

from collections.abc import Iterable
from typing import TypedDict


class RowError(TypedDict):
    """One reason why a row was set aside. `field` is '' where the whole row is meant."""

    field: str
    code: str
    message: str
    value: str | None


# code: what to do next. The sentence that says what happened is made where it happened.
HINTS = {
    # the shape of the row
    "invalid-encoding": "Save the file in the encoding of the dataset, or declare the file's encoding.",
    "control-character": "Remove the invisible character, or allow control characters for the field.",
    "quote": "Double every quote inside a quoted field, and quote the whole field.",
    "blank-line": "Remove the empty line.",
    "short-row": "Add the missing fields; a delimiter may be missing.",
    "long-row": "Remove the extra fields, or quote a field that contains the delimiter.",
    "unknown-column": "Remove the column, or add it to the dataset.",
    # the value of a field
    "required": "Give a value, or make the field optional in the dataset.",
    "not-an-integer": "Write digits only, such as 1200.",
    "not-a-number": "Write digits with a point for decimals, such as 1234.50.",
    "not-a-boolean": "Use one of the dataset's words for true and false.",
    "not-a-date": "Write the date as the dataset says; the default is 2024-12-31.",
    "not-a-time": "Write the time as 23:59:59.",
    "not-a-datetime": "Write the moment as the dataset says; the default is 2024-12-31T23:59:59Z.",
    "not-a-year": "Write the year with four digits.",
    "not-a-year-month": "Write the month as 2024-12.",
    "not-a-duration": "Write the duration by ISO 8601, such as P1DT2H.",
    "not-a-geopoint": "Write longitude and latitude, such as 13.4,52.5.",
    "not-json": "Write valid JSON of the declared kind.",
    "too-deep": "Nest the JSON at most 100 arrays and objects deep, or load it into a text field.",
    "not-an-email": "Write an address such as ann@example.org.",
    "not-a-uri": "Write a full address such as https://example.org/.",
    "not-a-uuid": "Write a UUID such as 123e4567-e89b-12d3-a456-426614174000.",
    "not-binary": "Encode the bytes as base64.",
    "nonexistent-time": "The clock skipped this hour in the dataset's time zone; give the offset.",
    "ambiguous-time": "The clock showed this hour twice in the dataset's time zone; give the offset.",
    "too-many-decimals": "The column keeps fewer decimals; round where the data comes from, or widen the column.",
    "too-many-digits": "The column keeps fewer digits; correct the value, or widen the column.",
    "out-of-range": "The column's type does not hold this value; correct it, or widen the column.",
    "below-minimum": "Correct the value, or the minimum in the dataset.",
    "above-maximum": "Correct the value, or the maximum in the dataset.",
    "too-short": "Correct the value, or the minLength in the dataset.",
    "too-long": "Shorten the value, or widen the field in the dataset and the table.",
    "pattern": "Correct the value, or the pattern in the dataset.",
    "not-in-list": "Use one of the listed values, with the same capitals, or add the value to the dataset.",
    "character-set": "The column's character set cannot hold this character; remove it, or widen the column.",
    "rule": "Correct the value by the rule that the message names.",
    # what only the database knows
    "duplicate-key": "The key exists already; correct it, or load the dataset with mode upsert.",
    "foreign-key": "Load the row that it points at first, or correct the value.",
    "check": "Correct the value by the table's CHECK, which the message names.",
    "refused-by-database": "The message is the server's own.",
}


def row_error(field: str, code: str, message: str, value: object = None) -> RowError:
    """Return one reason; the value is cut at 500 characters, the row's raw text has all of it."""
    text = None if value is None else str(value)
    if text is not None and len(text) > 500:
        text = text[:499] + "…"
    return RowError(field=field, code=code, message=message, value=text)


def width_problem(fields: int, width: int) -> tuple[str, str]:
    """Return code and sentence for a row of another width."""
    code = "short-row" if fields < width else "long-row"
    return code, f"The row has {fields} fields; the file has {width} columns."


class ErrorGroup(TypedDict):
    """All errors of one field and code in a run."""

    field: str
    code: str
    count: int
    sample: str | None


def merge_groups(groups: list[ErrorGroup], more: list[ErrorGroup]) -> list[ErrorGroup]:
    """Add counts per (field, code); the first sample stays. Most frequent first."""
    merged: dict[tuple[str, str], ErrorGroup] = {}
    for group in [*groups, *more]:
        known = merged.setdefault((group["field"], group["code"]), ErrorGroup(**{**group, "count": 0}))
        known["count"] += group["count"]
    kept = [group for group in merged.values() if group["count"] > 0]
    return sorted(kept, key=lambda group: (-group["count"], group["field"], group["code"]))


def group_errors(errors: Iterable[RowError], sign: int = 1) -> list[ErrorGroup]:
    """Count errors per (field, code); `sign` -1 makes groups that take counts away."""
    merged: dict[tuple[str, str], ErrorGroup] = {}
    for error in errors:
        new = ErrorGroup(field=error["field"], code=error["code"], count=0, sample=error["value"])
        merged.setdefault((error["field"], error["code"]), new)["count"] += sign
    return list(merged.values())
