"""Rows that come as JSON, judged and given back as the table would hold them; nothing is loaded.

Same idea as for files: the columnar filter accepts what the model would certainly accept with the same
value, and the model alone decides about every other row.
"""

import base64
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from operator import itemgetter
from typing import Any

import orjson
import polars as pl

from migration_console.lib.sqltype import BINARY

from .accept import accept
from .column import Column
from .errors import RowError, row_error, width_problem
from .schema import Schema

Row = dict[str, Any] | list[Any]
PLAIN_KINDS: dict[str, frozenset[type]] = {
    "integer": frozenset({int}),
    "year": frozenset({int}),
    "number": frozenset({int, float, Decimal}),
    "boolean": frozenset({bool}),
}


def check_objects(rows: Sequence[Row], schema: Schema) -> tuple[list[dict[str, Any]], dict[int, list[RowError]]]:
    """Return the good rows in their order, as JSON values by column, and every reason by position of the others.

    A row is an object by column name, or a list in the order of the columns. Decimals come back as text.
    """
    rejects = _wrong_widths(rows, schema)
    doubtful = set[int]()
    accepted, good = list[int](), list[dict[str, Any]]()
    if schema.columnar:
        judged = accept(_frame(rows, schema, doubtful), schema, plain=False)
        # The filter keeps the order of the rows.
        oks = [ok and n not in doubtful for n, ok in enumerate(judged["_ok"].to_list())]
        accepted = [n for n, ok in enumerate(oks) if ok]
        good = _objects(judged if all(oks) else judged.filter(pl.Series(oks)), schema)
    decided: dict[int, dict[str, Any]] = {}
    for position in sorted(set(range(len(rows))) - set(accepted) - rejects.keys()):
        values, reasons = schema.check(_as_dict(rows[position], schema))
        if values is None:
            rejects[position] = reasons
        else:
            texts = pl.DataFrame({c.name: pl.Series([c.text(values[c.name])], dtype=pl.String) for c in schema.columns})
            (decided[position],) = _objects(texts, schema)
    if decided:
        merged = {**dict(zip(accepted, good)), **decided}
        good = [merged[position] for position in sorted(merged)]
    return good, dict(sorted(rejects.items()))


def _wrong_widths(rows: Sequence[Row], schema: Schema) -> dict[int, list[RowError]]:
    width = len(schema.columns)
    return {
        position: [row_error("", *width_problem(len(row), width))]
        for position, row in enumerate(rows)
        if isinstance(row, list) and len(row) != width
    }


def _as_dict(row: Row, schema: Schema) -> dict[str, Any]:
    return row if isinstance(row, dict) else dict(zip(schema.names, row))


def _frame(rows: Sequence[Row], schema: Schema, doubtful: set[int]) -> pl.DataFrame:
    """Return the rows as text, which is how files come; what has no such form goes into `doubtful`."""
    data = {"_n": pl.Series(range(len(rows)), dtype=pl.UInt32)}
    for column, values in zip(schema.columns, zip(*_cells(rows, schema.names, doubtful))):
        data[column.name] = _series(column, values, doubtful)
    return pl.DataFrame(data)


def _cells(rows: Sequence[Row], names: list[str], doubtful: set[int]) -> list[Sequence[Any]]:
    """Return the rows as lists in the order of the columns; nothing for those that are no such list."""
    width = len(names)
    pick: Callable[[Any], tuple[Any, ...]] = itemgetter(*names) if width > 1 else lambda row: (row[names[0]],)
    alike = set(map(type, rows)) == {dict} and set(map(len, rows)) == {width}
    try:
        if alike:
            return list(map(pick, rows))
    except KeyError:
        pass  # one row has other names: look at each
    cells: list[Sequence[Any]] = []
    for position, row in enumerate(rows):
        good = len(row) == width and (isinstance(row, list) or row.keys() == set(names))
        if not good:
            doubtful.add(position)
        cells.append((None,) * width if not good else row if isinstance(row, list) else pick(row))
    return cells


def _series(column: Column, values: Sequence[Any], doubtful: set[int]) -> pl.Series:
    kinds = set(map(type, values))
    nulls_differ = not column.empty_is_null and type(None) in kinds
    if kinds <= {str, type(None)} and not nulls_differ:
        return pl.Series(values, dtype=pl.String)
    native = PLAIN_KINDS.get(column.field.type, frozenset()) if _reads_plainly(column) else frozenset()
    if not nulls_differ and len(kinds - {type(None)}) == 1 and kinds - {type(None)} <= native - {float, Decimal}:
        with suppress(OverflowError):  # larger than 64 bits: one by one
            # As Polars writes them: 12, true, false; the words are among the column's own.
            return pl.Series(values, dtype=pl.Boolean if bool in kinds else pl.Int64).cast(pl.String)
    texts: list[str | None] = []
    for position, value in enumerate(values):
        kind = type(value)
        if kind is str or (value is None and not nulls_differ):
            texts.append(value)
        elif kind in native:
            texts.append(str(value).lower() if kind is bool else str(value))
        else:
            doubtful.add(position)
            texts.append(None)
    return pl.Series(texts, dtype=pl.String)


def _reads_plainly(column: Column) -> bool:
    """Tell whether the text of a JSON number or boolean means that value: no words are mapped, no signs declared."""
    field = column.field
    signs = field.decimal_char == "." and not field.group_char and field.bare_number
    words = "true" in field.true_values and "false" in field.false_values
    return not field.map and not column.missing and field.case == "keep" and signs and words


def _objects(frame: pl.DataFrame, schema: Schema) -> list[dict[str, Any]]:
    """Return canonical text as JSON values, an object a row."""
    names = schema.names
    lists = [_values(column, frame[column.name]) for column in schema.columns]
    return [dict(zip(names, values)) for values in zip(*lists)]


def _values(column: Column, texts: pl.Series) -> list[Any]:
    kind = column.field.type
    if column.sql.base in BINARY:
        return [text and base64.b64encode(bytes.fromhex(text)).decode() for text in texts]
    if kind in {"integer", "year"}:
        numbers = texts.cast(pl.Int64, strict=False)
        fits = numbers.null_count() == texts.null_count()
        return numbers.to_list() if fits else [None if text is None else int(text) for text in texts]
    if kind == "boolean":
        return (texts == "1").to_list()
    if kind == "datetime":
        return [text and text.replace(" ", "T") for text in texts.to_list()]
    if kind in {"object", "array", "geojson"}:
        return [None if text is None else orjson.loads(text) for text in texts]
    return texts.to_list()
