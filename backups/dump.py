"""A table to Avro files in the lake: snapshot, parts, manifest last."""

import hashlib
import io
import os
import queue
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib.errors import refuse
from migration_console.lib.lake import lake
from migration_console.lib.ledger import ContainedRun, ledger

from . import manifest as manifests
from .avro_schema import Column, avro_schema
from .container import Header, block_bytes, compress, header_bytes
from .digest import Digest, joined
from .encoding import Block
from .manifest import Manifest, Part
from .meter import Meter, Tell, side_by_side
from .sessions import Session, open_snapshots
from .source import Source, blocks, cut_by, describe, ranges, server_facts

# A part is written to a temporary file of this size at most before it goes to the lake.
PART_BYTES = 128 << 20
# Fewer rows than these are read by one session: taking the lock costs more than it brings.
MANY_ROWS = 100_000
RANGES_A_READER = 4
T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    """What is to be backed up, and how."""

    table: str
    prefix: str
    codec: str
    readers: int
    by: str


class PartWriter:
    """Writes blocks to part files in the lake, each with its size, hash and rows."""

    def __init__(self, order: Order, source: Source, number: int) -> None:
        self.order, self.number, self.parts = order, number, list[Part]()
        self.schema = avro_schema(source.table, source.columns)
        self.file: BinaryIO | None = None

    def write(self, block: Block) -> int:
        """Append a block; return how many bytes it took."""
        if self.file is None:
            self._begin()
        return self._append(
            block_bytes(block.count, compress(self.order.codec, block.data), self.header.sync), block.count
        )

    def _begin(self) -> None:
        self.file = tempfile.TemporaryFile(prefix="console-part-")  # noqa: SIM115  # closed by close
        self.sha256, self.size, self.rows = hashlib.sha256(), 0, 0
        self.header = Header(self.schema, self.order.codec, os.urandom(16))
        self._append(header_bytes(self.header), 0)

    def _append(self, data: bytes, rows: int) -> int:
        assert self.file is not None
        self.file.write(data)
        self.sha256.update(data)
        self.size, self.rows = self.size + len(data), self.rows + rows
        if self.size >= PART_BYTES:
            self.finish()
        return len(data)

    def finish(self) -> None:
        """Put the open part into the lake."""
        if self.file is None:
            return
        name = f"part-{self.number:03d}-{len(self.parts) + 1:04d}.avro"
        self.file.seek(0)
        lake().put(f"{self.order.prefix}/{name}", self.file)
        self.close()
        self.parts.append(Part(name, self.rows, self.size, self.sha256.hexdigest()))

    def close(self) -> None:
        """Let the temporary file go."""
        if self.file is not None:
            self.file.close()
        self.file = None


def dump(connection: BaseDatabaseWrapper, order: Order, tell: Tell, before_manifest: Callable[[], None]) -> Manifest:
    """Back up a table; returns the manifest that was written.

    `before_manifest` is called when everything else is in the lake, and raises where the backup must not
    count: the lease was lost, or somebody cancelled it.
    """
    sessions = open_snapshots(connection, order.table, _readers(connection, order))
    try:
        source = describe(connection, sessions[0], order.table)
        contained = ledger().contents(sessions[0].ask, order.table)
        parts, digest = _write_parts(order, source, sessions, tell)
    finally:
        for session in sessions:
            session.close()
    manifest = _manifest(connection.vendor, order, source, contained, parts, digest)
    before_manifest()
    write_manifest(order.prefix, manifest)
    return manifest


def _readers(connection: BaseDatabaseWrapper, order: Order) -> int:
    """Return how many sessions the table is worth, by the server's estimate of its rows."""
    if connection.vendor != "mysql" or order.readers < 2:
        return 1
    schema, _, name = order.table.rpartition(".")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_rows FROM information_schema.tables"
            " WHERE table_schema = COALESCE(NULLIF(%s, ''), DATABASE()) AND table_name = %s",
            [schema, name],
        )
        row = cursor.fetchone()
    return order.readers if row and (row[0] or 0) >= MANY_ROWS else 1


def over_ranges(
    sessions: Sequence[Session], table: str, cut_by: str, each: Callable[[Session, int, str, Meter], T], tell: Tell
) -> list[T]:
    """Do something with each range of a table, as many at once as there are sessions."""
    wheres = ranges(sessions[0], table, cut_by, len(sessions) * RANGES_A_READER if len(sessions) > 1 else 1)
    meter, free = Meter(), queue.SimpleQueue[Session]()
    for session in sessions:
        free.put(session)

    def one(number: int, where: str) -> T:
        session = free.get()
        try:
            return each(session, number, where, meter)
        finally:
            free.put(session)

    return side_by_side([partial(one, *pair) for pair in enumerate(wheres, start=1)], meter, tell, len(sessions))


def _write_parts(order: Order, source: Source, sessions: Sequence[Session], tell: Tell) -> tuple[list[Part], Digest]:
    """Write the parts of every range."""

    def one(session: Session, number: int, where: str, meter: Meter) -> tuple[list[Part], Digest]:
        writer, digest = PartWriter(order, source, number), Digest()
        try:
            for block in blocks(session, source.table, source.columns, where):
                digest.add(block)
                meter.add(block.count, writer.write(block))
            writer.finish()
        finally:
            writer.close()
        return writer.parts, digest

    results = over_ranges(sessions, source.table, source.cut_by, one, tell)
    return [part for parts, _ in results for part in parts], joined(digest for _, digest in results)


def digest_of(
    connection: BaseDatabaseWrapper, table: str, columns: Sequence[Column], *, readers: int, tell: Tell
) -> Digest:
    """Return the digest of a table as it is now, read as the columns say."""
    sessions = open_snapshots(connection, table, readers)

    def one(session: Session, _number: int, where: str, meter: Meter) -> Digest:
        digest = Digest()
        for block in blocks(session, table, columns, where):
            digest.add(block)
            meter.add(block.count, 0)
        return digest

    try:
        return joined(over_ranges(sessions, table, cut_by(connection, table), one, tell))
    finally:
        for session in sessions:
            session.close()


def _manifest(
    vendor: str, order: Order, source: Source, contained: list[ContainedRun], parts: list[Part], digest: Digest
) -> Manifest:
    return Manifest(
        table=source.table,
        codec=order.codec,
        rows=digest.rows,
        digest=digest.hex,
        parts=tuple(parts),
        columns=source.columns,
        definition=server_facts(source),
        server=source.server,
        vendor=vendor,
        runs=tuple(contained),
        taken_at=datetime.now(UTC).isoformat(),
        taken_by=order.by,
        size=manifests.total_bytes(parts),
    )


def write_manifest(prefix: str, manifest: Manifest) -> None:
    """Write the manifest; one that is there already is never overwritten."""
    key = f"{prefix}/{manifests.NAME}"
    if any(True for version in lake().list(prefix) if version.key == key):
        raise refuse("manifest-exists", f"{key} is there already; a backup is never written over another one")
    lake().put(key, io.BytesIO(manifest.sealed()))
