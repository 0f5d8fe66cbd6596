"""Avro's binary form back to columns, and to what a database takes. Without Django.

The blocks are handed to Polars in a file of their own, in memory, with a schema of plain types: it reads
bytes fast, and their meaning is given to them here, from the same columns that wrote them.
"""

import io
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import polars as pl

from .avro_schema import Column, plain_schema
from .container import Header, block_bytes, header_bytes
from .encoding import Block, Value, encode_columns
from .errors import Damaged, OutOfRange

SYNC = b"\0" * 16
DAY = 86_400_000_000


@lru_cache(maxsize=64)
def _plain_header(columns: tuple[Column, ...]) -> bytes:
    return header_bytes(Header(plain_schema(columns), "null", SYNC))


def decode(columns: Sequence[Column], count: int, data: bytes) -> pl.DataFrame:
    """Return a block as a frame of plain types, its columns in the order given; Damaged where it is none."""
    file = io.BytesIO(_plain_header(tuple(columns)) + block_bytes(count, data, SYNC))
    try:
        frame = pl.read_avro(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OverflowError) as error:
        raise Damaged(f"a block cannot be read: {error}") from None
    if frame.height != count:
        raise Damaged(f"a block holds {frame.height} records instead of {count}")
    return frame


def proven(columns: Sequence[Column], frame: pl.DataFrame, data: bytes) -> Block:
    """Return the block that a frame was read from, with the ends of its records; Damaged unless they agree.

    Every record is written once more: nothing that was misread can come out as the same bytes.
    """
    try:
        values = [wire_values(column, frame.to_series(number)) for number, column in enumerate(columns)]
        block = encode_columns(columns, values, frame.height)
    except (OutOfRange, pl.exceptions.PolarsError, OverflowError) as error:
        raise Damaged(f"a record holds what its column cannot: {error}") from None
    if block.data != data:
        raise Damaged("a block does not hold what its records say")
    return block


def wire_values(column: Column, series: pl.Series) -> Sequence[Value]:
    """Return values as the server sent them when the backup was taken."""
    if column.kind == "decimal":
        return _decimal_texts(column, series).cast(pl.Binary).to_list()
    if column.physical == "double":
        return [None if number is None else repr(number).encode() for number in series]
    if column.physical in {"int", "long"}:
        series = series.cast(pl.String)
    return series.cast(pl.Binary).to_list()


def texts(columns: Sequence[Column], frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame as text that MySQL takes for the same values, bytes as hexadecimal."""
    return pl.DataFrame([_text(column, frame.to_series(n)).alias(column.name) for n, column in enumerate(columns)])


def natives(columns: Sequence[Column], frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame of what SQLite takes for the same values: numbers, text and bytes as they are."""
    return frame.rename({old: column.name for old, column in zip(frame.columns, columns)})


def _text(column: Column, series: pl.Series) -> pl.Series:
    if column.kind == "decimal":
        return _decimal_texts(column, series)
    if column.kind == "bytes":
        return series.bin.encode("hex")
    if column.kind == "date":
        return series.cast(pl.Date).dt.strftime("%Y-%m-%d")
    if column.kind in {"datetime", "timestamp"}:
        return series.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    if column.kind == "time":
        return _times(series)
    if column.kind == "double":
        return pl.Series([None if number is None else repr(number) for number in series], dtype=pl.String)
    if column.type.lower().startswith("year"):
        # '0' would become 2000.
        return series.cast(pl.String).str.zfill(4)
    return series.cast(pl.String)


def _times(series: pl.Series) -> pl.Series:
    """Return ±HHH:MM:SS.ffffff."""
    signs = pl.Series(np.where((series.fill_null(0) < 0).to_numpy(), "-", ""))
    seconds = series.abs() // 1_000_000
    parts = pl.DataFrame(
        {
            "sign": signs,
            "hours": (seconds // 3600).cast(pl.String).str.zfill(2),
            "minutes": (seconds // 60 % 60).cast(pl.String).str.zfill(2),
            "seconds": (seconds % 60).cast(pl.String).str.zfill(2),
            "fraction": (series.abs() % 1_000_000).cast(pl.String).str.zfill(6),
        }
    )
    return parts.select(pl.format("{}{}:{}:{}.{}", *parts.columns)).to_series()


def _decimal_texts(column: Column, series: pl.Series) -> pl.Series:
    """Return decimals with exactly their scale."""
    return pl.Series(list(_decimals(column, series)), dtype=pl.String)


def _decimals(column: Column, series: pl.Series) -> Iterator[str | None]:
    for value in series:
        if value is None:
            yield None
            continue
        number = int.from_bytes(value, "big", signed=True)
        digits = str(abs(number)).zfill(column.scale + 1)
        point = len(digits) - column.scale
        sign = "-" if number < 0 else ""
        yield f"{sign}{digits[:point]}.{digits[point:]}" if column.scale else f"{sign}{digits}"
