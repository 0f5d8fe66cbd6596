"""The columnar filter: accepts a row only where the Pydantic model would certainly accept it with the
same values. It never rejects; every row that it does not accept goes to the model.

For each column it returns two series: whether the value is accepted, and the value's canonical text.
Columns whose rules have no columnar form are judged once a distinct value, by the column itself.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

import polars as pl
from pydantic_core import PydanticCustomError

from .column import Column
from .schema import Schema
from .text import PARSERS

CONTROL = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F\x{80}-\x{9F}]"
Judged = tuple[pl.Expr, pl.Expr]  # accepted (Boolean), canonical text (String)
# MySQL's years begin at 1000.
DAY, CLOCK = r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}", r" ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"
INT64 = (-(2**63), 2**63 - 1)


def accept(frame: pl.DataFrame, schema: Schema, *, plain: bool) -> pl.DataFrame:
    """Return the frame with canonical text, and `_ok`, which tells the rows that are accepted.

    `plain` says that no field holds a control character.
    """
    judged = frame
    for column in by_value(schema, plain=plain):
        judged = judged.with_columns(_by_distinct_value(judged, column))
    return judged.select("_n", *judgements(schema, plain=plain))


@lru_cache(maxsize=64)
def by_value(schema: Schema, *, plain: bool) -> tuple[Column, ...]:
    """Return the columns whose rules have no columnar form."""
    return tuple(column for column in schema.columns if _expressions(column, _raw(column), plain=plain) is None)


@lru_cache(maxsize=64)
def judgements(schema: Schema, *, plain: bool) -> tuple[pl.Expr, ...]:
    """Return the expressions of canonical text, a column each, and of `_ok`; made once a schema, not once a batch."""
    texts, oks = list[pl.Expr](), list[pl.Expr]()
    for column in schema.columns:
        raw, name = _raw(column), column.name
        ok, text = _expressions(column, raw, plain=plain) or (pl.col(f"_ok {name}"), pl.col(f"_text {name}"))
        oks.append((ok & raw.is_not_null()) | (raw.is_null() & _null_is_fine(column)))
        texts.append(pl.when(raw.is_not_null()).then(text).alias(name))
    return *texts, pl.all_horizontal(oks).fill_null(False).alias("_ok")


def _raw(column: Column) -> pl.Expr:
    """Return the text of a column after strip, missing values and nothing else."""
    raw = pl.col(column.name)
    if not column.empty_is_null:
        raw = raw.fill_null("")
    if column.field.strip:
        raw = raw.str.strip_chars()
        if column.empty_is_null:
            raw = pl.when(raw != "").then(raw)
    if column.missing:
        raw = pl.when(~raw.is_in(list(column.missing))).then(raw)
    return raw


def _null_is_fine(column: Column) -> pl.Expr:
    return pl.lit(not column.required and column.default is None)


def _expressions(column: Column, raw: pl.Expr, *, plain: bool) -> Judged | None:
    """Return the columnar form of a column's rules; None where it has none."""
    field, rules = column.field, column.field.constraints
    if field.map or field.case != "keep" or field.control_characters == "allow" or rules.pattern is not None:
        return None
    if field.type in {"integer", "number"} and (field.decimal_char != "." or field.group_char or not field.bare_number):
        return None
    if rules.enum is not None and field.type != "string":
        return None
    make = FORMS.get(field.type)
    return make(column, raw, plain) if make else None


def _integer(column: Column, raw: pl.Expr, _plain: bool) -> Judged | None:
    limits = column.sql.integer_range
    if limits is None:
        return None
    rules = column.field.constraints
    low, high = max(limits[0], INT64[0]), min(limits[1], INT64[1])
    if rules.minimum is not None:
        low = max(low, int(rules.minimum))
    if rules.maximum is not None:
        high = min(high, int(rules.maximum))
    if low > high:
        return None
    number = raw.cast(pl.Int64, strict=False)
    return number.is_between(low, high), number.cast(pl.String)


def _number(column: Column, raw: pl.Expr, _plain: bool) -> Judged | None:
    rules, sql = column.field.constraints, column.sql
    if sql.base == "DOUBLE" and rules.minimum is None and rules.maximum is None and not sql.unsigned:
        return raw.str.contains(r"^-?[0-9]{1,9}(\.[0-9]{1,6})?$"), raw
    if sql.base != "DECIMAL" or (sql.length or 0) > 38:
        return None
    scale = sql.scale or 0
    whole = (sql.length or 0) - scale
    if whole < 1:
        return None
    sign = "" if sql.unsigned else "-?"
    fraction = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
    ok = raw.str.contains(f"^{sign}[0-9]{{1,{whole}}}{fraction}$")
    number = raw.cast(pl.Decimal(38, scale), strict=False)
    if rules.minimum is not None or rules.maximum is not None:
        # Compared as floats, equality left to the model: rounding keeps the order.
        approximate = raw.cast(pl.Float64, strict=False)
        if rules.minimum is not None:
            ok &= approximate > float(Decimal(str(rules.minimum)))
        if rules.maximum is not None:
            ok &= approximate < float(Decimal(str(rules.maximum)))
    return ok & number.is_not_null(), number.cast(pl.String)


def _boolean(column: Column, raw: pl.Expr, _plain: bool) -> Judged | None:
    true, false = raw.is_in(column.field.true_values), raw.is_in(column.field.false_values)
    return true | false, pl.when(true).then(pl.lit("1")).otherwise(pl.lit("0"))


def _string(column: Column, raw: pl.Expr, plain: bool) -> Judged | None:
    rules, sql = column.field.constraints, column.sql
    if column.field.format != "default" or sql.charset not in {"", "utf8mb4"} or sql.base == "SET":
        return None
    ok = pl.lit(True) if plain else ~raw.str.contains(CONTROL)
    if sql.values:
        ok &= raw.is_in(list(sql.values))
    elif sql.base in {"VARCHAR", "CHAR"}:
        most = min(sql.length or 0, rules.max_length if rules.max_length is not None else sql.length or 0)
        # Bytes first: they are stored, characters must be counted.
        ok &= (raw.str.len_bytes() <= most) | (raw.str.len_chars() <= most)
    else:
        ok &= raw.str.len_bytes() <= min(65_535 if sql.base == "TEXT" else 255, rules.max_length or 65_535)
    if sql.base == "CHAR":
        ok &= ~raw.str.ends_with(" ")
    if rules.min_length is not None:
        ok &= raw.str.len_chars() >= rules.min_length
    if rules.enum is not None:
        ok &= raw.is_in([str(value) for value in rules.enum])
    return ok, raw


def _date(column: Column, raw: pl.Expr, _plain: bool) -> Judged | None:
    if column.field.format != "default" or column.field.formats or column.sql.base != "DATE":
        return None
    day = raw.str.to_date("%Y-%m-%d", strict=False)
    ok = raw.str.contains(DAY + "$") & day.is_not_null()
    for limit, compare in _limits(column):
        ok &= compare(day, limit)
    return ok, raw


def _datetime(column: Column, raw: pl.Expr, _plain: bool) -> Judged | None:
    """Accept 2024-12-31T23:59:59 with a space or a T, with or without Z; fractions go to the model."""
    field = column.field
    if field.format != "default" or field.formats or column.sql.base not in {"DATETIME", "TIMESTAMP"}:
        return None
    plain = (
        raw.str.strip_suffix("Z")
        if not field.timezone
        else pl.when(raw.str.ends_with("Z")).then(raw.str.strip_suffix("Z"))
    )
    text = plain.str.replace("T", " ", literal=True)
    # The form by a pattern and the day by the calendar: cheaper than reading the moment and writing it again.
    day = text.str.head(10).str.to_date("%Y-%m-%d", strict=False)
    ok = text.str.contains(DAY + CLOCK) & day.is_not_null()
    if column.sql.base == "TIMESTAMP":
        ok &= (day.dt.year() > 1970) & (day.dt.year() < 2038)
    if limits := _limits(column):
        moment = text.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us")
        for limit, compare in limits:
            ok &= compare(moment, limit)
    return ok, text


def _limits(column: Column) -> list[tuple[Any, Callable[[pl.Expr, Any], pl.Expr]]]:
    """Return a date's limits as the model has them, in UTC; by strict comparison, equality left to the model."""
    rules = column.field.constraints
    pairs: list[tuple[object, Callable[[pl.Expr, Any], pl.Expr]]] = [
        (rules.minimum, lambda value, limit: value > limit),
        (rules.maximum, lambda value, limit: value < limit),
    ]
    parse = PARSERS[column.field.type]
    return [(parse(str(limit), column.field), compare) for limit, compare in pairs if limit is not None]


FORMS: dict[str, Callable[[Column, pl.Expr, bool], Judged | None]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
    "any": _string,
    "date": _date,
    "datetime": _datetime,
}


def _by_distinct_value(frame: pl.DataFrame, column: Column) -> list[pl.Series]:
    """Ask the column itself, once a distinct value."""
    raw = frame.select(_raw(column).alias("raw"))["raw"]
    values = raw.drop_nulls().unique().to_list()
    judged = pl.DataFrame(
        {"raw": values, "ok": [_accepts(column, v) for v in values], "text": [_text(column, v) for v in values]},
        schema={"raw": pl.String, "ok": pl.Boolean, "text": pl.String},
    )
    found = raw.to_frame("raw").join(judged, on="raw", how="left", maintain_order="left")
    return [found["ok"].alias(f"_ok {column.name}"), found["text"].alias(f"_text {column.name}")]


def _accepts(column: Column, value: str) -> bool:
    try:
        return column.convert(value) is not None
    except PydanticCustomError:
        return False


def _text(column: Column, value: str) -> str | None:
    return column.text(column.convert(value)) if _accepts(column, value) else None
