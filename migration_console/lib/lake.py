"""The lake: raw/, processed/, errors/, backups/, in a folder or in a versioned S3 bucket.

An object version is pinned: `Version.id` names the very bytes, and reading or deleting another version
than the one asked for raises Gone. Files are touched here and nowhere else.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol

from django.conf import settings


@dataclass(frozen=True)
class Version:
    """One version of an object: what it is called, which bytes, and when they came."""

    key: str
    id: str
    size: int
    # Orders versions of one key; where it is equal, the order of admission does.
    sequence: str = ""
    # Seconds since the epoch at which the bytes last changed; 0 where an object appears whole.
    changed: float = 0


class Lake(Protocol):
    """What a folder and a bucket have in common. Keys begin with raw/, processed/, errors/ or backups/."""

    # '' for a folder.
    bucket: str

    def stat(self, key: str) -> Version:
        """Return the present version of an object; Gone where there is none."""

    def list(self, prefix: str) -> Iterator[Version]:
        """Yield every version under a prefix, those of one key oldest first."""

    def versions(self, key: str) -> Sequence[Version]:
        """Return the versions of one key, oldest first."""

    def open(self, version: Version, start: int = 0) -> AbstractContextManager[BinaryIO]:
        """Open the very bytes of a version, from an offset, as a stream."""

    def check(self, version: Version, file: BinaryIO) -> None:
        """Raise Gone where an open file was written to: what was read of it is no version at all."""

    def put(self, key: str, source: BinaryIO) -> Version:
        """Write an object: it appears whole, and stays when this returns."""

    def copy(self, version: Version, key: str) -> Version:
        """Put the very bytes of a version under another key too; done already is done."""

    def delete(self, version: Version) -> None:
        """Delete this very version; another one under the same key stays."""

    def discard(self, prefix: str) -> None:
        """Delete what writers that died have left under a prefix: bytes of objects that never appeared."""


def lake() -> Lake:
    """Return the lake that LAKE_URL names."""
    # By process: connections must not be shared with a parent.
    return _lake(settings.LAKE_URL, os.getpid())


@lru_cache(maxsize=8)
def _lake(url: str, _process: int) -> Lake:
    from .bucket import Bucket, split_url
    from .folder import Folder

    if url.startswith("s3:"):
        return Bucket(*split_url(url))
    path = Path(url.removeprefix("file:").removeprefix("//"))
    return Folder(path if path.is_absolute() else settings.BASE_DIR / path)
