"""A lake in a local folder."""

import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import Gone
from .lake import Version

UNFINISHED = (".part", ".tmp")


@dataclass(frozen=True)
class Prepared:
    """A file that is written and not visible yet."""

    path: Path
    version: Version


class Folder:
    """A lake in a local folder. The version of a file is its inode, time of change and size."""

    bucket = ""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        for name in ("raw", "processed", "errors"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Return the path of a key; a key that would leave the lake is refused."""
        path = Path(os.path.normpath(self.root / key))
        if self.root not in path.parents:
            raise ValueError(f"the key {key!r} leaves the lake")
        return path

    def stat(self, key: str) -> Version:
        """Return the present version of an object."""
        try:
            found = os.stat(self.path(key))
        except (OSError, ValueError):  # ValueError: no path at all, or one out of the lake
            raise Gone(f"{key} is not there") from None
        if not stat.S_ISREG(found.st_mode):
            raise Gone(f"{key} is no file")
        return _version(key, found)

    def list(self, prefix: str) -> Iterator[Version]:
        """Yield the files under a prefix; dotfiles, .part and .tmp are not files yet."""
        for folder, folders, names in os.walk(self.root / prefix):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if name.startswith(".") or name.endswith(UNFINISHED):
                    continue
                key = os.path.relpath(os.path.join(folder, name), self.root)
                try:
                    key.encode()
                    yield self.stat(key)
                except (Gone, UnicodeEncodeError):
                    continue  # gone meanwhile, or a name that is no text: nothing that a run could name

    def versions(self, key: str) -> Sequence[Version]:
        """Return the one version that a file has."""
        try:
            return [self.stat(key)]
        except Gone:
            return []

    @contextmanager
    def open(self, version: Version, start: int = 0) -> Iterator[BinaryIO]:
        """Open the very bytes of a version, from an offset."""
        try:
            file = open(self.path(version.key), "rb")  # noqa: SIM115  # closed by the with below
        except (OSError, ValueError):
            raise Gone(f"{version.key} is not there") from None
        with file:
            self._check(version, os.fstat(file.fileno()))
            file.seek(start)
            yield file
            self.check(version, file)

    def check(self, version: Version, file: BinaryIO) -> None:
        """Raise Gone where an open file was written to: what was read of it is no version at all."""
        self._check(version, os.fstat(file.fileno()))

    def _check(self, version: Version, found: os.stat_result) -> None:
        if _version(version.key, found).id != version.id:
            raise Gone(f"{version.key} has changed; the version {version.id} is no longer there")

    def put(self, key: str, source: BinaryIO) -> Version:
        """Write an object in one step: it appears whole, and is on the disk when this returns."""
        prepared = self.prepare(key, source)
        os.replace(prepared.path, self.path(key))
        _sync(self.path(key).parent)
        return prepared.version

    def prepare(self, key: str, source: BinaryIO) -> "Prepared":
        """Write an object that is not visible yet; `publish` makes it so without changing its version."""
        folder = self.path(key).parent
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".{uuid.uuid4().hex}.part"
        try:
            with open(path, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Prepared(path, _version(key, path.stat()))

    def publish(self, prepared: "Prepared", key: str) -> bool:
        """Make a prepared object visible under a key; False where that key is taken."""
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Taken keys stay as they are: another file of that name may be waiting to be read.
            os.link(prepared.path, target)
        except FileExistsError:
            return False
        prepared.path.unlink()
        _sync(target.parent)
        return True

    def copy(self, version: Version, key: str) -> Version:
        """Put the very bytes of a version under another key too; done already is done."""
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.stat().st_size != version.size:
            target.unlink()  # the rest of a copy that was interrupted
        try:
            # A second name for the same bytes: nothing is copied that could be copied wrong.
            os.link(self.path(version.key), target)
        except FileExistsError:
            return self.stat(key)
        except FileNotFoundError:
            raise Gone(f"{version.key} is not there") from None
        except OSError:  # another disk, or a file system without links
            with self.open(version) as source:
                return self.put(key, source)
        if _version(version.key, os.stat(target)).id != version.id:
            target.unlink()
            raise Gone(f"{version.key} has changed; the version {version.id} is no longer there")
        _sync(target.parent)
        return self.stat(key)

    def delete(self, version: Version) -> None:
        """Delete this very version; another one under the same key stays."""
        path = self.path(version.key)
        aside = path.with_name(f".{hashlib.sha256(f'{path.name} {version.id}'.encode()).hexdigest()[:16]}.tmp")
        aside.unlink(missing_ok=True)
        try:
            if self.stat(version.key).id != version.id:
                return
            # Taken aside before deleting: after the look above another version could have arrived.
            os.rename(path, aside)
        except (Gone, FileNotFoundError):
            return
        if _version(version.key, os.stat(aside)).id != version.id and not path.exists():
            os.rename(aside, path)
        aside.unlink(missing_ok=True)
        _sync(path.parent)

    def discard(self, prefix: str) -> None:
        """Delete the files under a prefix that were never finished, and the folders that are empty without them."""
        for folder, _, names in os.walk(self.path(prefix), topdown=False):
            for name in names:
                if name.startswith(".") and name.endswith(UNFINISHED):
                    Path(folder, name).unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                Path(folder).rmdir()


def _version(key: str, found: os.stat_result) -> Version:
    id_ = f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"
    return Version(key, id_, found.st_size, f"{found.st_mtime_ns:020d}", found.st_mtime)


def _sync(folder: Path) -> None:
    """Bring a rename to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
