"""One column: text or JSON value in, checked value out, and the text that the database takes exactly."""

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import orjson
from pydantic_core import PydanticCustomError

from migration_console.lib.sqltype import BINARY, BLOB_BYTES, TEXT_BYTES, SqlType

from .descriptor import FieldDescriptor
from .text import PARSERS, Bad, shown

# Category Cc but for tab, line feed and carriage return.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
CODECS = {"utf8mb4": "utf-8", "latin1": "cp1252", "ascii": "ascii"}
TIMESTAMP_RANGE = (datetime(1970, 1, 1, 0, 0, 1), datetime(2038, 1, 19, 3, 14, 7, 999999))
NATIVE: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "year": (int,),
    "number": (int, float, Decimal),
    "boolean": (bool,),
    "date": (date,),
    "time": (time,),
    "datetime": (datetime,),
    "array": (list,),
    "object": (dict,),
    "geojson": (dict,),
}

Reason = tuple[str, str]


@dataclass(frozen=True)
class Column:
    """A field with its column type and everything that a value must satisfy."""

    field: FieldDescriptor
    sql: SqlType
    required: bool
    missing: frozenset[str]
    # Whether an empty unquoted field is NULL; quoted, "" is the empty text.
    empty_is_null: bool = True
    checks: tuple[Callable[[Any], Reason | None], ...] = ()
    default: Any = None

    @property
    def name(self) -> str:
        """Return the name in the schema and in the table."""
        return self.field.name

    def convert(self, value: object) -> Any:
        """Return the checked value of a text or a JSON value; a Pydantic error carries every reason."""
        reasons: list[Reason] = []
        try:
            result = self.parse(value)
        except Bad as bad:
            reasons = [(bad.code, bad.message)]
        else:
            if result is not None:
                reasons = [reason for check in self.checks if (reason := check(result))]
            elif self.required:
                reasons = [("required", f"{self.name} is empty; a value is required.")]
        if not reasons:
            return result
        raise PydanticCustomError("row", "{text}", {"reasons": reasons, "text": reasons[0][1]})

    def parse(self, value: object) -> Any:
        """Return the value before its constraints; None where it is missing."""
        kinds = NATIVE.get(self.field.type, ())
        if value is None:
            return self.default
        if not isinstance(value, str):
            if kinds and isinstance(value, kinds) and (self.field.type == "boolean") == isinstance(value, bool):
                return self._native(value)
            raise Bad(f"not-{_article(self.field.type)}", f"{shown(value)} is not of the type {self.field.type}.")
        text = value.strip() if self.field.strip else value
        if text in self.missing or (text == "" and self.field.strip and self.empty_is_null):
            return self.default
        text = self.field.map.get(text, text)
        if self.field.case != "keep":
            text = text.lower() if self.field.case == "lower" else text.upper()
        allowed = self.field.control_characters == "allow"
        if (found := CONTROL.search(text)) and (not allowed or "\0" in text):
            raise Bad("control-character", f"{shown(text)} holds the invisible character U+{ord(found[0]):04X}.")
        return PARSERS[self.field.type](text, self.field)

    def _native(self, value: Any) -> Any:
        if self.field.type != "number":
            return value
        if isinstance(value, float) and not math.isfinite(value):
            raise Bad("not-a-number", f"{shown(value)} is not a number.")
        return Decimal(str(value))

    def text(self, value: Any) -> str | None:
        """Return a checked value as the text that the database reads as exactly that value.

        Binary values are hexadecimal: the loader wraps their columns in UNHEX.
        """
        if value is None:
            return None
        if isinstance(value, bool):
            return "1" if value else "0"
        if self.sql.base == "DECIMAL":
            # Through Decimal: format() of an int goes through a float.
            return format(Decimal(value) if value else Decimal(0), f".{self.sql.scale or 0}f")
        if isinstance(value, Decimal):
            return str(value)
        if isinstance(value, datetime):
            return value.isoformat(" ")
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, dict | list):
            return orjson.dumps(value).decode()
        return str(value) if self.sql.base != "SET" else _in_order(str(value), self.sql)


def _article(kind: str) -> str:
    names = {"integer": "an-integer", "number": "a-number", "boolean": "a-boolean", "date": "a-date", "time": "a-time"}
    return names.get(kind, "json" if kind in {"object", "array", "geojson"} else "a-datetime")


def _in_order(text: str, sql: SqlType) -> str:
    chosen = set(text.split(","))
    return ",".join(value for value in sql.values if value in chosen)


def float32(value: Decimal) -> float:
    """Return the nearest single-precision number, which is what a FLOAT column keeps."""
    return float(struct.unpack("f", struct.pack("f", float(value)))[0])


def column_checks(sql: SqlType, kind: str) -> list[Callable[[Any], Reason | None]]:
    """Return what a value must satisfy so that the column stores it unchanged."""
    if sql.integer_range is not None:
        return [lambda value: integer_fits(value, sql)]
    if sql.base == "DECIMAL":
        return [lambda value: decimal_fits(value, sql)]
    if sql.base in {"FLOAT", "DOUBLE"}:
        return [lambda value: float_fits(value, sql)]
    if sql.base in {"DATE", "TIME", "DATETIME", "TIMESTAMP"}:
        return [lambda value: moment_fits(value, sql)]
    if sql.base in BINARY:
        return [lambda value: bytes_fit(value, sql)]
    if sql.is_text and kind in {"object", "array", "geojson"}:
        return [lambda value: text_fits(orjson.dumps(value).decode(), sql)]
    return [lambda value: text_fits(str(value), sql)] if sql.is_text else []


def integer_fits(value: int, sql: SqlType) -> Reason | None:
    """Check the range of an integer type."""
    assert sql.integer_range is not None
    low, high = sql.integer_range
    if low <= value <= high:
        return None
    return "out-of-range", f"{value} is outside {low} to {high}, which {sql.base} holds."


def decimal_fits(value: Decimal | int, sql: SqlType) -> Reason | None:
    """Check digits and decimals; nothing is ever rounded."""
    number = Decimal(value)
    whole = (sql.length or 10) - (sql.scale or 0)
    if number and number.adjusted() >= whole:
        return "too-many-digits", f"{shown(value)} has more than {whole} digits before the point."
    _, digits, exponent = number.as_tuple()
    decimals = -int(exponent) - (len(digits) - len(bytes(digits).rstrip(b"\0")))
    if number and decimals > (sql.scale or 0):
        return "too-many-decimals", f"{shown(value)} has more than {sql.scale or 0} decimals."
    if sql.unsigned and number < 0:
        return "out-of-range", f"{shown(value)} is negative; the column is unsigned."
    return None


def float_fits(value: Decimal, sql: SqlType) -> Reason | None:
    """Check that a floating-point number neither overflows nor vanishes nor loses digits."""
    value = Decimal(str(value))
    try:
        number = float32(value) if sql.base == "FLOAT" else float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or (number == 0) != (value == 0):
        return "out-of-range", f"{shown(value)} does not fit {sql.base}."
    # So many digits always survive; more only where the number is met exactly.
    digits = len(bytes(value.as_tuple().digits).strip(b"\0"))
    if digits > (6 if sql.base == "FLOAT" else 15) and Decimal(number) != value:
        return "too-many-digits", f"{shown(value)} has more digits than {sql.base} keeps."
    if sql.unsigned and number < 0:
        return "out-of-range", f"{shown(value)} is negative; the column is unsigned."
    return None


def moment_fits(value: date | time, sql: SqlType) -> Reason | None:
    """Check range and fractional digits; MySQL would round, or cut with a mere note."""
    step = 10 ** (6 - (sql.length or 0))
    if isinstance(value, datetime | time) and value.microsecond % step:
        return "too-many-decimals", f"{shown(value)} has more than {sql.length or 0} decimals of a second."
    if isinstance(value, date) and value.year < 1000:
        return "out-of-range", f"{shown(value)} is before the year 1000."
    if sql.base == "TIMESTAMP" and isinstance(value, datetime):
        low, high = TIMESTAMP_RANGE
        if not low <= value <= high:
            return "out-of-range", f"{shown(value)} is outside 1970 to 2038, which TIMESTAMP holds."
    if sql.base == "DATE" and isinstance(value, datetime) and value.time() != time():
        return "too-many-decimals", f"{shown(value)} has a time of day; the column holds dates."
    return None


def bytes_fit(value: bytes, sql: SqlType) -> Reason | None:
    """Check the length in bytes; BINARY would pad."""
    most = BLOB_BYTES.get(sql.base) or sql.length or 0
    if len(value) > most:
        return "too-long", f"The value has {len(value)} bytes; the column holds {most}."
    if sql.base == "BINARY" and len(value) != most:
        return "too-short", f"The value has {len(value)} bytes; the column holds exactly {most}."
    return None


def text_fits(value: str, sql: SqlType) -> Reason | None:
    """Check characters, length, and the list of an ENUM or SET."""
    try:
        size = len(value.encode(CODECS.get(sql.charset, "utf-8")))
    except UnicodeEncodeError as error:
        character = value[error.start]
        return "character-set", f"“{character}” (U+{ord(character):04X}) does not fit the column's {sql.charset}."
    if sql.charset == "utf8mb3" and (wide := next((c for c in value if ord(c) > 0xFFFF), "")):
        return "character-set", f"“{wide}” (U+{ord(wide):04X}) does not fit the column's utf8mb3."
    if sql.base == "SET":
        unknown = [part for part in value.split(",") if part and part not in sql.values]
        return ("not-in-list", f"{shown(unknown[0])} is none of {', '.join(sql.values)}.") if unknown else None
    if sql.base == "ENUM":
        listed = value in sql.values
        return None if listed else ("not-in-list", f"{shown(value)} is none of {', '.join(sql.values)}.")
    if sql.base in TEXT_BYTES:
        most = TEXT_BYTES[sql.base]
        return ("too-long", f"The text has {size} bytes; the column holds {most}.") if size > most else None
    if len(value) > (sql.length or 0):
        return "too-long", f"The text has {len(value)} characters; the column holds {sql.length}."
    if sql.base == "CHAR" and value.endswith(" "):
        return "rule", f"{shown(value)} ends in a space, which a CHAR column drops."
    return None
