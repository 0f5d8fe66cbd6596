"""The body of a request that brings a file, or rows of one."""

from typing import Any

from rest_framework.request import Request

from migration_console.api import FileParser, LengthRequired, TooLarge, kind_of
from migration_console.lib.errors import refuse

# A thousand records of 8 KiB; more is no batch.
MAX_BATCH_BYTES = 8 << 20


class Body:
    """A streamed request body that must come whole: a sender that breaks off has sent nothing."""

    def __init__(self, request: Request, limit: int) -> None:
        length = request.META.get("CONTENT_LENGTH")
        if not length:
            raise LengthRequired
        self.left = int(length)
        if self.left > limit:
            raise TooLarge(f"The body has {length} bytes; {limit} is the limit.")
        # An empty body is no stream.
        self.stream: Any = request.data if self.left else None

    def read(self, size: int = -1) -> bytes:
        """Return up to size bytes."""
        data: bytes = self.stream.read(min(size, self.left) if size >= 0 else self.left) if self.left else b""
        if self.left and not data:
            raise refuse("broken-off", f"the body ended {self.left} bytes too early; send it again")
        self.left -= len(data)
        return data

    def whole(self) -> bytes:
        """Return all of it."""
        parts = []
        while self.left:
            parts.append(self.read())
        return b"".join(parts)


def is_csv(request: Request) -> bool:
    """Tell whether a request brings a file, or rows of one, and no JSON."""
    return kind_of(request) in FileParser.media_types
