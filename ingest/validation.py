"""Rows to values: what the columnar filter accepts is taken, everything else the Pydantic model decides."""

from dataclasses import dataclass

import polars as pl

from .accept import accept
from .errors import RowError, row_error
from .rows import Rows
from .schema import Schema


@dataclass
class Checked:
    """A span judged: `frame` holds the good rows (`_n` and canonical text), `rejects` all reasons by position."""

    rows: Rows
    frame: pl.DataFrame
    rejects: dict[int, list[RowError]]


def check_rows(rows: Rows, schema: Schema) -> Checked:
    """Judge every record of a span; the good ones keep the order of the file."""
    rejects = {position: [row_error("", code, message)] for position, code, message in rows.broken}
    if not schema.columnar:
        good = _decide(rows.frame, schema, rejects)
        return Checked(rows, good, rejects)
    judged = accept(rows.frame, schema, plain=rows.plain)
    accepted = judged.filter("_ok").drop("_ok")
    if accepted.height == rows.frame.height:
        return Checked(rows, accepted, rejects)
    doubtful = rows.frame.filter(~judged["_ok"])
    decided = _decide(doubtful, schema, rejects)
    frame = pl.concat([accepted, decided]).sort("_n") if decided.height else accepted
    return Checked(rows, frame, rejects)


def _decide(frame: pl.DataFrame, schema: Schema, rejects: dict[int, list[RowError]]) -> pl.DataFrame:
    """Ask the model about each row; fill `rejects`, return the canonical text of the good ones."""
    names, columns = schema.names, schema.columns
    empties = [None if column.empty_is_null else "" for column in columns]
    positions, texts = list[int](), list[list[str | None]]()
    for position, *fields in frame.select("_n", *names).iter_rows():
        row = {n: empty if text is None else text for n, text, empty in zip(names, fields, empties)}
        values, reasons = schema.check(row)
        if values is None:
            rejects[position] = reasons
        else:
            positions.append(position)
            texts.append([column.text(values[column.name]) for column in columns])
    data = {"_n": pl.Series(positions, dtype=pl.UInt32)}
    for index, name in enumerate(names):
        data[name] = pl.Series([text[index] for text in texts], dtype=pl.String)
    return pl.DataFrame(data)
