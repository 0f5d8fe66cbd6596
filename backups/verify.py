"""What a backup's files hold, proved: hashes first, then every record, then the digest of all of them.

Avro by itself proves nothing: a file cut between two blocks reads cleanly, and a flipped bit often passes.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

import polars as pl

from migration_console.lib.errors import Gone
from migration_console.lib.lake import lake

from .avro_schema import avro_schema
from .container import decompress, read_blocks, read_header
from .decoding import decode, proven
from .digest import Digest, joined
from .errors import Damaged
from .manifest import NAME, Manifest, Part
from .meter import Meter, Tell, ahead, side_by_side


def read_manifest(prefix: str, sha256: str = "") -> Manifest:
    """Return the manifest of a backup; Damaged where there is none, or where it was exchanged for another one."""
    try:
        with lake().open(lake().stat(f"{prefix}/{NAME}")) as file:
            data = file.read()
    except Gone as gone:
        raise Damaged(f"the manifest is missing: {gone}") from None
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise Damaged("the manifest is not the one that the console wrote")
    return Manifest.opened(data)


@contextmanager
def fetched(prefix: str, part: Part) -> Iterator[BinaryIO]:
    """Yield a copy of a part whose bytes are proved: nothing is parsed that is not as it was written."""
    digest, size = hashlib.sha256(), 0
    with tempfile.TemporaryFile(prefix="console-part-") as copy:
        try:
            with lake().open(lake().stat(f"{prefix}/{part.name}")) as source:
                while chunk := source.read(1 << 20):
                    digest.update(chunk)
                    size += len(chunk)
                    copy.write(chunk)
        except Gone as gone:
            raise Damaged(f"{part.name} is missing: {gone}") from None
        if size != part.size:
            raise Damaged(f"{part.name} has {size} bytes instead of {part.size}")
        if digest.hexdigest() != part.sha256:
            raise Damaged(f"{part.name} is not as it was written: its SHA-256 is another one")
        copy.seek(0)
        yield copy


def read_part(manifest: Manifest, prefix: str, part: Part) -> Iterator[tuple[pl.DataFrame, bytes, int]]:
    """Yield a part's blocks as frames, with their plain bytes and their compressed size; Damaged where it is wrong."""
    with fetched(prefix, part) as file:
        header = read_header(file)
        if header.codec != manifest.codec or header.schema != avro_schema(manifest.table, manifest.columns):
            raise Damaged(f"{part.name} does not have the schema and the codec of the manifest")
        rows = 0
        for count, data in read_blocks(file, header):
            plain = decompress(header.codec, data)
            yield decode(manifest.columns, count, plain), plain, len(data)
            rows += count
        if rows != part.rows:
            raise Damaged(f"{part.name} holds {rows} rows instead of {part.rows}")


def check_part(manifest: Manifest, prefix: str, part: Part, meter: Meter) -> Digest | str:
    """Return the digest of a part's records, or what is wrong with it."""
    digest = Digest()
    try:
        for frame, plain, size in ahead(read_part(manifest, prefix, part)):
            digest.add(proven(manifest.columns, frame, plain))
            meter.add(frame.height, size)
    except Damaged as damage:
        return str(damage)
    return digest


def check_files(manifest: Manifest, prefix: str, tell: Tell, threads: int = 1) -> list[str]:
    """Return everything that is wrong with a backup's files; nothing, where every record is as it was."""
    meter = Meter()
    work = [partial(check_part, manifest, prefix, part, meter) for part in manifest.parts]
    results = side_by_side(work, meter, tell, threads)
    problems = [result for result in results if isinstance(result, str)]
    if problems:
        return problems
    digest = joined(result for result in results if isinstance(result, Digest))
    if (digest.rows, digest.hex) != (manifest.rows, manifest.digest):
        wanted = f"{manifest.rows} rows with digest {manifest.digest}"
        problems.append(f"the files hold {digest.rows} rows with digest {digest.hex}; {wanted} were written")
    return problems
