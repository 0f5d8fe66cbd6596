"""Rows that come as JSON, judged and given back as the table would hold them; nothing is loaded.

Same idea as for files: the columnar filter accepts what the model would certainly accept with the same
value, and the model alone decides about every other row.
"""

import base64
from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

import orjson
import polars as pl

from migration_console.lib.sqltype import BINARY

from .accept import accept
from .column import Column
from .errors import RowError, row_error
from .rows import width_problem
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
    doubtful = set[int](range(len(rows))) if not schema.columnar else set()
    good: list[tuple[int, dict[str, Any]]] = []
    if schema.columnar:
        frame = _frame(rows, schema, doubtful)
        judged = accept(frame, schema, plain=False)
        # The filter keeps the order of the rows.
        accepted = judged.filter(judged["_ok"] & pl.Series([n not in doubtful for n in range(len(rows))]))
        good = list(zip(accepted["_n"], _objects(accepted, schema)))
        if accepted.height < len(rows):
            doubtful = set(range(len(rows))) - set(accepted["_n"].to_list())
    decided = sorted(doubtful - rejects.keys())
    for position in decided:
        values, reasons = schema.check(_as_dict(rows[position], schema))
        if values is None:
            rejects[position] = reasons
        else:
            texts = pl.DataFrame({c.name: pl.Series([c.text(values[c.name])], dtype=pl.String) for c in schema.columns})
            good += [(position, found) for found in _objects(texts, schema)]
    if decided:
        good.sort(key=itemgetter(0))
    return [found for _, found in good], dict(sorted(rejects.items()))


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
    names, width = schema.names, len(schema.columns)
    pick: Callable[[Any], tuple[Any, ...]] = itemgetter(*names) if width > 1 else lambda row: (row[names[0]],)
    nothing = (None,) * width
    cells: list[Sequence[Any]] = []
    for position, row in enumerate(rows):
        try:
            cell = (pick(row) if isinstance(row, dict) else row) if len(row) == width else None
        except KeyError:
            cell = None
        if cell is None:
            doubtful.add(position)
        cells.append(nothing if cell is None else cell)
    data = {"_n": pl.Series(range(len(rows)), dtype=pl.UInt32)}
    for column, values in zip(schema.columns, zip(*cells)):
        data[column.name] = _series(column, values, doubtful)
    return pl.DataFrame(data)


def _series(column: Column, values: Sequence[Any], doubtful: set[int]) -> pl.Series:
    kinds = set(map(type, values))
    nulls_differ = not column.empty_is_null and type(None) in kinds
    if kinds <= {str, type(None)} and not nulls_differ:
        return pl.Series(values, dtype=pl.String)
    native = PLAIN_KINDS.get(column.field.type, frozenset()) if _reads_plainly(column) else frozenset()
    if native and kinds <= {int, type(None)} and int in native and not nulls_differ:
        try:
            return pl.Series(values, dtype=pl.Int64).cast(pl.String)
        except OverflowError:
            pass  # larger than 64 bits: one by one
    texts: list[str | None] = []
    for position, value in enumerate(values):
        kind = type(value)
        if kind is str or (value is None and not nulls_differ):
            texts.append(value)
        elif kind in native:
            texts.append(_text(column, value))
        else:
            doubtful.add(position)
            texts.append(None)
    return pl.Series(texts, dtype=pl.String)


def _reads_plainly(column: Column) -> bool:
    """Tell whether the text of a JSON number or boolean means that value: no words are mapped, no signs declared."""
    field = column.field
    signs = field.decimal_char == "." and not field.group_char and field.bare_number
    words = bool(field.true_values) and bool(field.false_values)
    return not field.map and not column.missing and field.case == "keep" and signs and words


def _text(column: Column, value: Any) -> str:
    if isinstance(value, bool):
        return (column.field.true_values if value else column.field.false_values)[0]
    return str(value)


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
        return texts.str.replace(" ", "T", literal=True).to_list()
    if kind in {"object", "array", "geojson"}:
        return [None if text is None else orjson.loads(text) for text in texts]
    return texts.to_list()
