"""Text of one field to a value: strict, in ASCII digits, never rounded, never guessed.

Each parser takes the text and the field's descriptor and returns the value or raises Bad.
"""

import base64
import binascii
import json
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from .descriptor import FieldDescriptor

INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME = re.compile(r"([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?")
DATETIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9:.]{8,})(Z|[+-][0-9]{2}:?[0-9]{2})?")
YEAR_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
DURATION = re.compile(
    r"-?P(?=[0-9T])([0-9]+Y)?([0-9]+M)?([0-9]+W)?([0-9]+D)?(T(?=[0-9])([0-9]+H)?([0-9]+M)?([0-9]+(\.[0-9]+)?S)?)?"
)
# Around a number: brackets, dashes, other digits, fractions, signs of arithmetic.
CHANGES_VALUE = {"Ps", "Pe", "Pi", "Pf", "Pd", "Nd", "Nl", "No", "Sm"}
NUMERIC = "0123456789.,"
UUID = re.compile(
    r"(?P<open>\{)?(?:urn:uuid:)?(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?(open)\})"
)
# Numbers that follow each other without a sign between them.
TOUCHING = re.compile(r"%[dmyYHMSjIf]%[dmyYHMSjIf]")
EMAIL = re.compile(r"[^@\s\"]+@[^@\s.\"]+(\.[^@\s.\"]+)+")
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+")
# MySQL keeps no deeper JSON.
MAX_JSON_DEPTH = 100


class Bad(ValueError):
    """A value that is not what the field says: a code of errors.py and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def shown(text: object) -> str:
    """Quote a value for a sentence, cut at 60 characters."""
    value = str(text)
    return f"“{value if len(value) <= 60 else value[:59] + '…'}”"


def plain_number(text: str, field: FieldDescriptor) -> str:
    """Return a number's text with a point and no group separators, checking that the groups are whole."""
    if not field.bare_number:
        text = _without_words(text)
    if field.group_char and field.group_char in text:
        whole, mark, rest = text.partition(field.decimal_char)
        if not re.fullmatch(rf"[+-]?[0-9]{{1,3}}(?:{re.escape(field.group_char)}[0-9]{{3}})+", whole):
            return f"?{text}"
        text = whole.replace(field.group_char, "") + mark + rest
    if field.decimal_char != ".":
        text = text.replace(".", "?").replace(field.decimal_char, ".")
    return text


def _without_words(text: str) -> str:
    """Return a number's text without what stands before and behind it, such as a currency; no number where that
    could change its value: a bracket or a dash at the end may be a sign, x behind 12e3 makes that no power of ten.
    """
    first, last = 0, len(text)
    while first < last and text[first] not in NUMERIC + "+-":
        first += 1
    while last > first and text[last - 1] not in NUMERIC:
        last -= 1
    around = text[:first] + text[last:]
    doubtful = any(unicodedata.category(sign) in CHANGES_VALUE for sign in around)
    return f"?{text}" if doubtful or (around and "e" in text[first:last].lower()) else text[first:last]


def parse_integer(text: str, field: FieldDescriptor) -> int:
    """1200, +5, -3; no 1_000, no 1e5, no spaces."""
    plain = plain_number(text, field)
    if not INTEGER.fullmatch(plain):
        raise Bad("not-an-integer", f"{shown(text)} is not a whole number.")
    if len(plain) > 80:
        raise Bad("out-of-range", f"A whole number with {len(plain)} digits is too large.")
    return int(plain)


def parse_number(text: str, field: FieldDescriptor) -> Decimal:
    """1234.50, 1e5; no NaN, no Infinity, no separators unless declared."""
    plain = plain_number(text, field)
    if not NUMBER.fullmatch(plain):
        raise Bad("not-a-number", f"{shown(text)} is not a number.")
    return Decimal(plain)


def parse_boolean(text: str, field: FieldDescriptor) -> bool:
    """Only the words that the dataset lists."""
    if text in field.true_values:
        return True
    if text in field.false_values:
        return False
    words = ", ".join([*field.true_values, *field.false_values])
    raise Bad("not-a-boolean", f"{shown(text)} is none of {words}.")


def parse_date(text: str, field: FieldDescriptor) -> date:
    """2024-12-31, or one of the declared formats."""
    if formats := declared_formats(field):
        return by_format(text, formats, "not-a-date").date()
    if DATE.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise Bad("not-a-date", f"{shown(text)} is not a day of the calendar.") from None
    raise Bad("not-a-date", f"{shown(text)} is not a date of the form 2024-12-31.")


def parse_time(text: str, field: FieldDescriptor) -> time:
    """23:59:59 with up to six decimals, or one of the declared formats."""
    if formats := declared_formats(field):
        return by_format(text, formats, "not-a-time").time()
    return clock(text, "not-a-time", text)


def clock(text: str, code: str, whole: str) -> time:
    """Parse hh:mm:ss[.f]; 24:00:00 and a 60th second do not exist in the database."""
    match = TIME.fullmatch(text)
    if match is None:
        raise Bad(code, f"{shown(whole)} has no time of the form 23:59:59.")
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > 6:
        raise Bad("too-many-decimals", f"{shown(whole)} has more than 6 decimals of a second.")
    try:
        return time.fromisoformat(match[1]).replace(microsecond=int(fraction.ljust(6, "0") or 0))
    except ValueError:
        raise Bad(code, f"{shown(whole)} is not a time of day.") from None


def parse_datetime(text: str, field: FieldDescriptor) -> datetime:
    """2024-12-31T23:59:59Z; an offset is turned into UTC, and the result carries no zone."""
    if formats := declared_formats(field):
        return to_utc(by_format(text, formats, "not-a-datetime"), field, text)
    match = DATETIME.fullmatch(text)
    if match is None:
        raise Bad("not-a-datetime", f"{shown(text)} is not of the form 2024-12-31T23:59:59Z.")
    try:
        day = date.fromisoformat(match[1])
    except ValueError:
        raise Bad("not-a-datetime", f"{shown(text)} is not a day of the calendar.") from None
    moment = datetime.combine(day, clock(match[2], "not-a-datetime", text))
    if match[3]:
        try:
            moment = datetime.fromisoformat(moment.isoformat() + match[3])
        except ValueError:
            raise Bad("not-a-datetime", f"{shown(text)} has an offset that does not exist.") from None
    return to_utc(moment, field, text)


def to_utc(moment: datetime, field: FieldDescriptor, text: str) -> datetime:
    """Return the moment in UTC without a zone; a local time without an offset stays as it is."""
    if moment.tzinfo is None and field.timezone:
        zone = ZoneInfo(field.timezone)
        early, late = moment.replace(tzinfo=zone, fold=0), moment.replace(tzinfo=zone, fold=1)
        if early.utcoffset() != late.utcoffset():
            if early.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
                raise Bad("nonexistent-time", f"{shown(text)} did not exist in {field.timezone}: clocks were put on.")
            if field.ambiguous == "refuse":
                raise Bad("ambiguous-time", f"{shown(text)} happened twice in {field.timezone}: clocks were put back.")
        moment = late if field.ambiguous == "later" else early
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise Bad("out-of-range", f"{shown(text)} is outside the years 1 to 9999 in UTC.") from None


def declared_formats(field: FieldDescriptor) -> list[str]:
    """Return the strptime patterns of a field; none means ISO 8601."""
    return [*([] if field.format == "default" else [field.format]), *field.formats]


def by_format(text: str, formats: list[str], code: str) -> datetime:
    """Parse by the first pattern that fits; strptime takes any Unicode digit, we do not."""
    if text.isascii() and text == text.strip():
        for pattern in formats:
            try:
                found = datetime.strptime(text, pattern)
            except ValueError:
                continue
            if not TOUCHING.search(pattern) or _is_written(text, found, pattern):
                return found
    raise Bad(code, f"{shown(text)} is not of the form {' or '.join(formats)}.")


def _is_written(text: str, moment: datetime, pattern: str) -> bool:
    """Tell whether a moment is written like this: a digit that is left out makes another day of %d%m%Y."""
    written = moment.strftime(pattern)
    return text == written or (pattern.endswith("%f") and text.rstrip("0") == written.rstrip("0"))


def parse_year(text: str, _field: FieldDescriptor) -> int:
    """Four digits."""
    if not re.fullmatch(r"[0-9]{4}", text):
        raise Bad("not-a-year", f"{shown(text)} is not a year of four digits.")
    return int(text)


def parse_year_month(text: str, _field: FieldDescriptor) -> str:
    """2024-12."""
    if not YEAR_MONTH.fullmatch(text):
        raise Bad("not-a-year-month", f"{shown(text)} is not of the form 2024-12.")
    return text


def parse_duration(text: str, _field: FieldDescriptor) -> str:
    """ISO 8601, kept as written."""
    if not DURATION.fullmatch(text):
        raise Bad("not-a-duration", f"{shown(text)} is not an ISO 8601 duration.")
    return text


def parse_geopoint(text: str, field: FieldDescriptor) -> str:
    """ "lon,lat" (default), [lon, lat] (array) or {"lon":, "lat":} (object); returned as "lon,lat"."""
    if field.format == "default":
        parts = [part.strip() for part in text.split(",")]
    else:
        data = parse_json(text)
        pair = [data.get("lon"), data.get("lat")] if isinstance(data, dict) else data
        parts = [str(part) for part in pair] if isinstance(pair, list) else []
    if len(parts) != 2 or not all(re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", part) for part in parts):
        raise Bad("not-a-geopoint", f"{shown(text)} is not a longitude and a latitude.")
    if abs(Decimal(parts[0])) > 180 or abs(Decimal(parts[1])) > 90:
        raise Bad("not-a-geopoint", f"{shown(text)}: longitude runs to ±180, latitude to ±90.")
    return ",".join(parts)


def parse_json(text: str) -> Any:
    """Any JSON value by RFC 8259 that the database keeps exactly: no repeated key, no number beyond 64 bits."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_json_integer,
            parse_float=_json_float,
            parse_constant=_no_constant,
        )
        if not (deep := _deeper(value, MAX_JSON_DEPTH)):
            orjson.dumps(value)  # refuses half a surrogate pair
    except RecursionError:
        deep = True
    except (ValueError, TypeError) as error:
        raise Bad("not-json", f"{shown(text)} is not JSON that can be kept exactly: {error}.") from None
    if deep:
        raise Bad("too-deep", f"{shown(text)} is nested more than {MAX_JSON_DEPTH} deep.")
    return value


def _deeper(value: Any, depth: int) -> bool:
    """Tell whether arrays and objects are nested deeper."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (depth == 0 or any(_deeper(one, depth - 1) for one in inner))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _json_integer(digits: str) -> int:
    number = int(digits) if len(digits) < 30 else 2**99
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"{digits[:40]} has more than 64 bits")
    return number


def _json_float(digits: str) -> float:
    number = float(digits)
    if Decimal(repr(number)) != Decimal(digits):
        raise ValueError(f"{digits[:40]} has more digits than a double keeps")
    return number


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def parse_json_kind(kind: type, name: str) -> Callable[[str, FieldDescriptor], Any]:
    """Return a parser for JSON of one kind."""

    def parse(text: str, _field: FieldDescriptor) -> Any:
        value = parse_json(text)
        if not isinstance(value, kind):
            raise Bad("not-json", f"{shown(text)} is not a JSON {name}.")
        return value

    return parse


def parse_geojson(text: str, _field: FieldDescriptor) -> Any:
    """A JSON object with a GeoJSON type."""
    value = parse_json(text)
    kinds = {"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"}
    if not isinstance(value, dict) or value.get("type") not in kinds | {"Feature", "FeatureCollection", "Topology"}:
        raise Bad("not-json", f"{shown(text)} is not GeoJSON.")
    return value


def parse_string(text: str, field: FieldDescriptor) -> str | bytes:
    """Text, checked by its format."""
    if field.format == "binary":
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            raise Bad("not-binary", f"{shown(text)} is not base64.") from None
    if field.format == "email" and not EMAIL.fullmatch(text):
        raise Bad("not-an-email", f"{shown(text)} is not an e-mail address.")
    if field.format == "uri" and not URI.fullmatch(text):
        raise Bad("not-a-uri", f"{shown(text)} is not a full address.")
    if field.format == "uuid" and not UUID.fullmatch(text):
        raise Bad("not-a-uuid", f"{shown(text)} is not a UUID.")
    return text


PARSERS: dict[str, Callable[[str, FieldDescriptor], Any]] = {
    "string": parse_string,
    "any": parse_string,
    "integer": parse_integer,
    "number": parse_number,
    "boolean": parse_boolean,
    "date": parse_date,
    "time": parse_time,
    "datetime": parse_datetime,
    "year": parse_year,
    "yearmonth": parse_year_month,
    "duration": parse_duration,
    "geopoint": parse_geopoint,
    "geojson": parse_geojson,
    "object": parse_json_kind(dict, "object"),
    "array": parse_json_kind(list, "array"),
}
