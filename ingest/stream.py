"""The bytes of a file as the reader wants them: gunzipped, and in UTF-8 or a single-byte encoding.

Offsets count in the gunzipped stream. A file in a multi-byte encoding such as UTF-16 is turned into
UTF-8 on the way, and its offsets count there; what cannot be decoded becomes invalid UTF-8, which the
reader sets aside row by row.
"""

import codecs
import hashlib
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import BinaryIO, Protocol

from migration_console.lib.errors import refuse

GZIP = b"\x1f\x8b"
MAX_RATIO = 100
# Below this size a high ratio harms nobody.
RATIO_FROM = 10 << 20
CHUNK = 1 << 20
# Of gzip less at a time: what is left behind the end of a member is copied, and a file may have a million of them.
PACKED = 1 << 14

Read = Callable[[int], bytes]


class Readable(Protocol):
    """Something with read(size)."""

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes, b'' at the end."""


class Hashing:
    """Reads through, hashing every byte as it is stored."""

    def __init__(self, source: BinaryIO) -> None:
        self.source = source
        self.sha256 = hashlib.sha256()
        self.count = 0

    def read(self, size: int) -> bytes:
        """Return up to size bytes."""
        data = self.source.read(size)
        self.sha256.update(data)
        self.count += len(data)
        return data


class Gunzip:
    """Reads concatenated gzip members; a truncated or damaged file, or a bomb, is refused."""

    def __init__(self, source: Readable, max_bytes: int) -> None:
        self.source, self.max_bytes = source, max_bytes
        self.member = zlib.decompressobj(31)
        self.waiting = b""
        self.taken = self.given = 0
        self.over = False

    def read(self, size: int) -> bytes:
        """Return up to size bytes of the gunzipped stream."""
        while not self.over:
            if not self.waiting:
                self.waiting = self.source.read(PACKED)
                self.taken += len(self.waiting)
                if not self.waiting:
                    self._finish()
                    break
            data = self._inflate(size)
            if data:
                self._measure(len(data))
                return data
        return b""

    def _inflate(self, size: int) -> bytes:
        if self.member.eof:
            if not self.waiting.strip(b"\0"):  # padding behind the last member
                self.waiting = b""
                return b""
            self.member = zlib.decompressobj(31)
        try:
            data = self.member.decompress(self.waiting, size)
        except zlib.error as error:
            raise refuse("gzip-damaged", f"the gzip file is damaged ({error}); send it again") from None
        self.waiting = self.member.unused_data if self.member.eof else self.member.unconsumed_tail
        return data

    def _finish(self) -> None:
        self.over = True
        if not self.member.eof:
            raise refuse("gzip-truncated", "the gzip file ends in the middle; send it again")

    def _measure(self, count: int) -> None:
        self.given += count
        if self.given > self.max_bytes:
            raise refuse("too-large", f"the file unpacks to more than the limit of {self.max_bytes} bytes")
        if self.given > RATIO_FROM and self.given > MAX_RATIO * self.taken:
            raise refuse("gzip-ratio", f"the file unpacks to more than {MAX_RATIO} times its size")


class Transcoder:
    """Reads a multi-byte encoding as UTF-8; what cannot be decoded comes out as invalid UTF-8."""

    def __init__(self, source: Readable, encoding: str) -> None:
        self.source, self.encoding = source, encoding
        errors = "surrogatepass" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
        self.decoder = codecs.getincrementaldecoder(encoding)(errors)
        self.over = False
        self.surplus = b""

    def read(self, size: int) -> bytes:
        """Return up to size bytes of UTF-8, b'' at the end."""
        while not self.surplus and not self.over:
            data = self.source.read(size)
            self.over = not data
            try:
                text = self.decoder.decode(data, final=self.over)
            except UnicodeError as error:  # no UnicodeDecodeError where the byte order mark is missing
                raise refuse("encoding", _undecoded(data, self.encoding, error)) from None
            self.surplus = text.encode("utf-8", "surrogatepass")
        # UTF-8 may be longer than what it was made of; callers count on getting no more than they asked for.
        data, self.surplus = self.surplus[:size], self.surplus[size:]
        return data


def _undecoded(data: bytes, encoding: str, error: UnicodeError) -> str:
    """Say that a file is of another encoding than its dataset, and what to do about it."""
    why = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
        other = "" if b"\0" in data else "it reads as UTF-8: set the dataset's encoding to utf-8"
    except UnicodeDecodeError:
        other = ""
    if not other and encoding in {"utf-16", "utf-32"}:
        other = f"without a byte order mark the dataset's encoding must say {encoding}-le or {encoding}-be"
    other = other or "set the dataset's encoding to that of the file"
    return f"the file is not {encoding} ({why}); {other}, or save the file as {encoding}"


@lru_cache(maxsize=64)
def is_single_byte(encoding: str) -> bool:
    """Tell whether every byte is one character and ASCII means ASCII; a lead byte would swallow the A behind it."""
    alone = all(len(bytes([n, 65]).decode(encoding, "replace")) == 2 for n in range(256))
    return alone and bytes(range(128)).decode(encoding, "replace") == bytes(range(128)).decode("ascii")


def reading_encoding(encoding: str) -> str:
    """Return the encoding of the stream that `decoded` gives: itself where single-byte, else UTF-8."""
    if encoding in {"utf-8", "utf-8-sig"}:
        return "utf-8"
    return encoding if is_single_byte(encoding) else "utf-8"


def decoded(source: Readable, *, gzip: bool, encoding: str, max_bytes: int) -> Readable:
    """Return the stream that the reader cuts into records."""
    stream: Readable = Gunzip(source, max_bytes) if gzip else source
    if encoding in {"utf-8", "utf-8-sig"} or is_single_byte(encoding):
        return stream
    return Transcoder(stream, encoding)


def seekable(*, gzip: bool, encoding: str) -> bool:
    """Tell whether an offset of the stream is an offset of the file."""
    return not gzip and (encoding in {"utf-8", "utf-8-sig"} or is_single_byte(encoding))


def limited(stream: Readable, count: int) -> Read:
    """Return a read function that ends after `count` bytes."""
    left = count

    def read(size: int) -> bytes:
        nonlocal left
        data = stream.read(min(size, left))
        left -= len(data)
        return data

    return read


def skip(stream: Readable, count: int) -> None:
    """Read past `count` bytes."""
    while count > 0 and (data := stream.read(min(CHUNK, count))):
        count -= len(data)


class Behind:
    """Some bytes that were read already, then the rest of a stream."""

    def __init__(self, head: bytes, stream: Readable) -> None:
        self.head, self.stream = head, stream

    def read(self, size: int) -> bytes:
        """Return up to size bytes."""
        if self.head:
            data, self.head = self.head[:size], self.head[size:]
            return data
        return self.stream.read(size)
