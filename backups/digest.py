"""The digest of a table's contents: how many rows, and the sum of their hashes. Without Django.

Each row's hash is BLAKE2b over its Avro record, in which every field carries its length and its branch, so
that ('ab', 'c') and ('a', 'bc'), NULL and '' differ. A sum modulo 2^64 does not depend on the order, and two
equal rows do not cancel each other, as they would with XOR.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from .encoding import Block


@dataclass
class Digest:
    """Rows counted and summed up."""

    rows: int = 0
    total: int = 0

    def add(self, block: Block) -> None:
        """Count a block's records."""
        self.rows += block.count
        self.total = (self.total + int(row_hashes(block).sum(dtype=np.uint64))) % 2**64

    @property
    def hex(self) -> str:
        """Return the sum as 16 hexadecimal digits."""
        return f"{self.total:016x}"


def joined(digests: Iterable[Digest]) -> Digest:
    """Return the digest of several parts of a table together."""
    digests = list(digests)
    return Digest(sum(digest.rows for digest in digests), sum(digest.total for digest in digests) % 2**64)


def row_hashes(block: Block) -> npt.NDArray[np.uint64]:
    """Return the hash of each record."""
    data, hashes, start = block.data, [], 0
    for end in block.ends.tolist():
        hashes.append(blake2b(data[start:end], digest_size=8).digest())
        start = end
    return np.frombuffer(b"".join(hashes), dtype="<u8")
