"""What a restore would change, found without changing anything: rows by their keys, definitions line by line.

Neither side is held in memory: the hashes of keys and rows go to files by the key's hash, and one pair of
files is compared at a time.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from django.db.backends.base.base import BaseDatabaseWrapper

from .avro_schema import Column
from .decoding import wire_values
from .digest import row_hashes
from .encoding import Block, Value, encode_columns
from .manifest import Manifest
from .meter import Tell, ahead, silent
from .sessions import Session, open_snapshots
from .shadow import definition_lines
from .source import batches, describe
from .verify import read_part

BUCKETS = 64
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Difference:
    """What a restore would change. Rows that differ count as changed where the table has a primary key."""

    rows_now: int
    rows_then: int
    added: int
    removed: int
    changed: int
    # Lines of the definition that only the backup has, and that only the table has.
    only_then: list[str]
    only_now: list[str]

    def as_dict(self) -> dict[str, object]:
        """Return the difference as JSON holds it."""
        return asdict(self)


class Buckets:
    """Pairs of hashes on disk: of a row's key and of the whole row."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.rows = 0
        self.files: list[BinaryIO] = [(folder / str(number)).open("w+b") for number in range(BUCKETS)]

    def add(self, keys: Hashes, rows: Hashes) -> None:
        """Write pairs to where their key belongs."""
        self.rows += len(keys)
        pairs = np.stack((keys, rows), axis=1)
        order = np.argsort(keys % BUCKETS, kind="stable")
        bounds = np.searchsorted((keys % BUCKETS)[order], np.arange(BUCKETS + 1, dtype=np.uint64))
        for file, start, end in zip(self.files, bounds, bounds[1:]):
            if end > start:
                file.write(pairs[order[start:end]].tobytes())

    def read(self, number: int) -> tuple[Hashes, Hashes]:
        """Return a bucket's keys and rows, both in the order of the keys, and of the rows where keys are equal."""
        self.files[number].seek(0)
        pairs = np.frombuffer(self.files[number].read(), dtype=np.uint64).reshape(-1, 2)
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        return pairs[:, 0], pairs[:, 1]

    def close(self) -> None:
        """Give the files back."""
        for file in self.files:
            file.close()


def schema_difference(manifest: Manifest, table: str, create: str) -> tuple[list[str], list[str]]:
    """Return the lines of the definition that only the backup has, and those that only the table has."""
    then = definition_lines(manifest.definition["create"], manifest.table)
    now = definition_lines(create, table)
    return sorted(then - now), sorted(now - then)


def difference(
    connection: BaseDatabaseWrapper, manifest: Manifest, prefix: str, table: str, tell: Tell = silent
) -> Difference:
    """Compare a backup with a table as it is now; `tell` is told the rows of both that were looked at."""
    (session,) = open_snapshots(connection, table, 1)
    try:
        source = describe(connection, session, table)
        only_then, only_now = schema_difference(manifest, table, source.create)
        columns = _comparable(manifest.columns, source.columns)
        key = [name for name in manifest.definition["primary_key"] if name in {column.name for column in columns}]
        key = key if key == list(source.key) else []
        with tempfile.TemporaryDirectory(prefix="console-difference-") as folder:
            now, then = Buckets(Path(folder) / "now"), Buckets(Path(folder) / "then")
            try:
                for values, count in ahead(_values_now(session, table, columns)):
                    now.add(*_pair(columns, key, values, count))
                    tell(now.rows, 0)
                for values, count in ahead(_values_then(manifest, prefix, columns)):
                    then.add(*_pair(columns, key, values, count))
                    tell(now.rows + then.rows, 0)
                added, removed, changed = _count(now, then, keyed=bool(key))
            finally:
                now.close()
                then.close()
        return Difference(now.rows, then.rows, added, removed, changed, only_then, only_now)
    finally:
        session.close()


def _comparable(then: Sequence[Column], now: Sequence[Column]) -> list[Column]:
    """Return the columns that are the same on both sides; odd dates make text of a column on one side only."""
    today = {column.name: column for column in now}
    return [c for c in then if c.name in today and (c.type, c.kind) == (today[c.name].type, today[c.name].kind)]


Values = tuple[list[Sequence[Value]], int]


def _values_now(session: Session, table: str, columns: list[Column]) -> Iterator[Values]:
    for batch in batches(session, table, columns):
        yield list(zip(*batch)), len(batch)


def _values_then(manifest: Manifest, prefix: str, columns: list[Column]) -> Iterator[Values]:
    places = [manifest.columns.index(column) for column in columns]
    for part in manifest.parts:
        for frame, _, _ in read_part(manifest, prefix, part):
            yield [wire_values(manifest.columns[at], frame.to_series(at)) for at in places], frame.height


def _pair(columns: list[Column], key: list[str], values: list[Sequence[Value]], count: int) -> tuple[Hashes, Hashes]:
    rows = row_hashes(_encoded(columns, values, count))
    chosen = [(column, v) for column, v in zip(columns, values) if column.name in key]
    if not chosen:
        return rows, rows
    return row_hashes(_encoded([c for c, _ in chosen], [v for _, v in chosen], count)), rows


def _encoded(columns: Sequence[Column], values: Sequence[Sequence[Value]], count: int) -> Block:
    """Return rows as a block in which every column may be null: the two sides may differ in that."""
    return encode_columns([replace(column, nullable=True) for column in columns], values, count)


def _count(now: Buckets, then: Buckets, *, keyed: bool) -> tuple[int, int, int]:
    """Count the rows that only the backup has, that only the table has, and that differ."""
    added = removed = changed = 0
    for number in range(BUCKETS):
        keys_now, rows_now = now.read(number)
        keys_then, rows_then = then.read(number)
        if keyed:
            _, at_now, at_then = np.intersect1d(keys_now, keys_then, return_indices=True)
            changed += int((rows_now[at_now] != rows_then[at_then]).sum())
            both = len(at_now)
        else:
            both = _common(rows_now, rows_then)
        added += len(keys_then) - both
        removed += len(keys_now) - both
    return added, removed, changed


def _common(left: Hashes, right: Hashes) -> int:
    """Return how many rows two bags have in common, equal rows counted as often as both have them."""
    values_left, counts_left = np.unique(left, return_counts=True)
    values_right, counts_right = np.unique(right, return_counts=True)
    _, at_left, at_right = np.intersect1d(values_left, values_right, return_indices=True)
    return int(np.minimum(counts_left[at_left], counts_right[at_right]).sum())
