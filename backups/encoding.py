"""Rows to Avro's binary form, a column at a time. Without Django.

fastavro's writer takes one dictionary a row; benchmarks/backup.py shows what that costs. Here a block
is laid out with numpy: the length of every field first, then each column is put into its places. The
files are read back by fastavro and by Polars in the tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from .avro_schema import Column, base_of
from .errors import OutOfRange

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
# A value as the server sends it.
Value = bytes | None


@dataclass
class Block:
    """Records in Avro's binary form, and where each of them ends."""

    count: int
    data: bytes
    ends: Ints


@dataclass
class Layer:
    """A piece of every record: `data` are the pieces one behind the other, `lengths` their sizes."""

    data: Bytes
    lengths: Ints


def encode(columns: Sequence[Column], rows: Sequence[Sequence[Value]]) -> Block:
    """Return rows as one block."""
    return encode_columns(columns, list(zip(*rows)), len(rows))


def encode_columns(columns: Sequence[Column], values: Sequence[Sequence[Value]], count: int) -> Block:
    """Return the values of each column as one block of records."""
    layers = [layer for column, column_values in zip(columns, values) for layer in _layers(column, column_values)]
    lengths = np.stack([layer.lengths for layer in layers], axis=1)
    ends = np.cumsum(lengths.ravel()).reshape(lengths.shape)
    out = np.empty(int(ends[-1, -1]), dtype=np.uint8)
    for number, layer in enumerate(layers):
        _put(out, layer, ends[:, number] - layer.lengths)
    return Block(count, out.tobytes(), ends[:, -1])


def _put(out: Bytes, layer: Layer, starts: Ints) -> None:
    """Copy the pieces of a layer to where they start."""
    lengths = layer.lengths
    width = int(lengths.max(initial=0))
    if width and lengths.min() == width and width <= 16:
        # All of one size, the common case of flags and numbers: byte by byte, without an index a byte.
        pieces = layer.data.reshape(-1, width)
        for at in range(width):
            out[starts + at] = pieces[:, at]
        return
    sources = np.cumsum(lengths) - lengths
    places = np.repeat(starts - sources, lengths)
    places += np.arange(len(layer.data))
    out[places] = layer.data


def _layers(column: Column, values: Sequence[Value]) -> list[Layer]:
    """Return a column as the pieces that follow one another in each record."""
    texts = pl.Series(values, dtype=pl.Binary)
    present = texts.is_not_null().to_numpy() if texts.null_count() else None
    if present is not None and not column.nullable:
        raise OutOfRange(f"column {column.name}: NULL in a column that is NOT NULL")
    if column.physical in {"int", "long"}:
        return [_varints(column, _whole_numbers(column, texts), present)]
    if column.kind == "double":
        pieces = _parsed(column, texts, pl.Float64).fill_null(0.0).to_numpy().astype("<f8").view(np.uint8)
        return [_flagged(pieces.reshape(-1, 8), np.full(len(values), 8), column, present)]
    if column.kind == "decimal":
        layer = _decimals(column, texts, present)
    else:
        lengths = texts.bin.size().fill_null(0).cast(pl.Int64).to_numpy()
        layer = Layer(np.frombuffer(b"".join(value for value in values if value is not None), np.uint8), lengths)
    return [_varints(column, layer.lengths, present), layer]


def _parsed(column: Column, texts: pl.Series, kind: pl.DataType | type[pl.DataType]) -> pl.Series:
    """Return numbers of their digits; OutOfRange where one is none."""
    try:
        return texts.cast(pl.String).cast(kind)
    except pl.exceptions.PolarsError as error:
        raise OutOfRange(f"column {column.name}: {error}") from None


def _whole_numbers(column: Column, texts: pl.Series) -> Ints:
    """Return numbers, 0 for NULL; OutOfRange where Avro's type is too small: other writers cut such numbers."""
    numbers = _parsed(column, texts, pl.Int64).fill_null(0).to_numpy()
    if column.physical == "int" and len(numbers) and (numbers.min() < -(2**31) or numbers.max() >= 2**31):
        raise OutOfRange(f"column {column.name}: a number does not fit Avro's int")
    return numbers


def _decimals(column: Column, texts: pl.Series, present: npt.NDArray[np.bool_] | None) -> Layer:
    """Return decimals without their point, in the fewest bytes of two's complement, the highest first."""
    digits = texts.cast(pl.String).str.replace(".", "", literal=True)
    # BIGINT UNSIGNED, and what a machine word holds; a DECIMAL(20,0) may be longer.
    fits = pl.UInt64 if base_of(column.type) == "bigint" else pl.Int64 if column.precision <= 18 else None
    if fits is None:
        # Python's whole numbers have no limit; Decimal would round at 28 digits.
        pieces = [_fewest_bytes(int(text)) for text in digits.drop_nulls()]
        lengths = np.zeros(len(texts), dtype=np.int64)
        lengths[slice(None) if present is None else present] = [len(piece) for piece in pieces]
        return Layer(np.frombuffer(b"".join(pieces), np.uint8), lengths)
    numbers = _parsed(column, digits.cast(pl.Binary), fits).fill_null(0).to_numpy()
    magnitudes = (numbers if fits == pl.UInt64 else numbers ^ (numbers >> 63)).view(np.uint64)
    lengths = np.ones(len(numbers), dtype=np.int64)
    for bits in range(7, 64, 8):
        lengths += magnitudes >= np.uint64(1 << bits)
    wide = np.zeros((len(numbers), 9), dtype=np.uint8)
    wide[:, 1:] = numbers.astype(numbers.dtype.newbyteorder(">")).view(np.uint8).reshape(-1, 8)
    if present is not None:
        lengths[~present] = 0
    return Layer(wide[np.arange(9) >= 9 - lengths[:, None]], lengths)


def _fewest_bytes(number: int) -> bytes:
    size = (number if number >= 0 else ~number).bit_length() // 8 + 1
    return number.to_bytes(size, "big", signed=True)


def _varints(column: Column, numbers: Ints, present: npt.NDArray[np.bool_] | None) -> Layer:
    """Return numbers as Avro writes them: zigzag, seven bits a byte, the lowest first."""
    folded = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    lengths = np.ones(len(folded), dtype=np.int64)
    width = (int(folded.max(initial=0)).bit_length() + 6) // 7 or 1
    for at in range(1, width):
        lengths += folded >= np.uint64(1 << (7 * at))
    pieces = np.empty((len(folded), width), dtype=np.uint8)
    for at in range(width):
        pieces[:, at] = ((folded >> np.uint64(7 * at)) & np.uint64(127)) | ((lengths > at + 1) * np.uint64(128))
    return _flagged(pieces, lengths, column, present)


def _flagged(pieces: Bytes, lengths: Ints, column: Column, present: npt.NDArray[np.bool_] | None) -> Layer:
    """Return fixed rows of bytes as a layer, behind the branch of a nullable column: 2 for a value, 0 for null."""
    if column.nullable:
        flags = np.full((len(pieces), 1), 2, dtype=np.uint8)
        if present is not None:
            flags[~present] = 0
            lengths = np.where(present, lengths, 0)
        pieces, lengths = np.concatenate((flags, pieces), axis=1), lengths + 1
    width = pieces.shape[1]
    if len(lengths) and lengths.min() == width:
        return Layer(pieces.ravel(), lengths)
    return Layer(pieces[np.arange(width) < lengths[:, None]], lengths)
