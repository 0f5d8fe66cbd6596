"""The manifest: what a backup holds, written last and never overwritten. Without it there is no backup."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from migration_console.lib.ledger import ContainedRun

from .avro_schema import Column
from .errors import Damaged

FORMAT = 1
NAME = "manifest.json"


@dataclass(frozen=True)
class Part:
    """One Avro file of a backup."""

    name: str
    rows: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is needed to prove a backup, and to bring its table back."""

    table: str
    codec: str
    rows: int
    digest: str
    parts: tuple[Part, ...]
    columns: tuple[Column, ...]
    # The statements that make the table and its triggers; keys and foreign keys beside them.
    definition: dict[str, Any]
    server: dict[str, str]
    vendor: str
    # The runs that the table contains, read in the same snapshot as its rows.
    runs: tuple[ContainedRun, ...]
    taken_at: str
    taken_by: str
    format: int = FORMAT
    size: int = 0

    def sealed(self) -> bytes:
        """Return the manifest as JSON, with the hash of everything else in it."""
        content = asdict(self)
        return json.dumps({**content, "sha256": _hash(content)}, ensure_ascii=False, indent=1).encode()

    @classmethod
    def opened(cls, data: bytes) -> Self:
        """Return the manifest of its JSON; Damaged where a bit of it is not as it was written."""
        try:
            content = json.loads(data)
            sealed = content.pop("sha256")
            if content["format"] != FORMAT:
                raise Damaged(f"the manifest has format {content['format']}; this console knows {FORMAT}")
            if sealed != _hash(content):
                raise Damaged("the manifest is not as it was written: its hash is another one")
            parts = tuple(Part(**part) for part in content.pop("parts"))
            columns = tuple(Column(**column) for column in content.pop("columns"))
            manifest = cls(**{**content, "runs": tuple(content["runs"])}, parts=parts, columns=columns)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(f"the manifest cannot be read: {error}") from None
        if manifest.sealed() != data:
            raise Damaged("the manifest is not written as the console writes it")
        return manifest

    def column_names(self) -> list[str]:
        """Return the names of the columns that the files hold."""
        return [column.name for column in self.columns]


def _hash(content: dict[str, Any]) -> str:
    """Return the SHA-256 of the content, written in one way."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def total_bytes(parts: Sequence[Part]) -> int:
    """Return the size of all parts."""
    return sum(part.size for part in parts)
