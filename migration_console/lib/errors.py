"""Errors whose type says whether trying again can help. Bad rows are data, not exceptions."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: a stable code, a sentence for people, and the place where there is one."""

    code: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as JSON holds it."""
        return asdict(self)


class Refused(Exception):
    """The input is wrong; the same input will be refused again. Carries every problem found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Conflict(Refused):
    """The input is well formed, but not what the present state allows; the same may be right at another time."""


class Unknown(Refused):
    """What the input names does not exist."""


class Unavailable(Exception):
    """The database or the lake is away; nothing was lost, and a later try may succeed."""


class Denied(Unavailable):
    """The lake is there and refuses; it will go on doing so until a person changes that."""


class Busy(Unavailable):
    """A table is being read, and who waits for it would hold up every other reader; says what to wait for."""

    def __init__(self, table: str, who: str = "a backup, a dry run, or a long query") -> None:
        super().__init__(f"whoever reads {table}, or a table that it refers to: {who}")


class Fenced(Exception):
    """Another worker has taken over; this one must stop without writing."""


class Broken(Exception):
    """What must hold does not: never green, never tried again by itself; a person must look."""


class Gone(Exception):
    """The pinned version of an object is no longer there."""


def reason_of(error: Exception) -> object:
    """Return what people are told of an error: an OSError's own text has the server's paths in it."""
    return getattr(error, "strerror", None) or error


def conflict(code: str, message: str, where: str = "") -> Conflict:
    """Return a conflict with one problem, to be raised."""
    return Conflict([Problem(code, message, where)])


def unknown(code: str, message: str, where: str = "") -> Unknown:
    """Return a refusal because something does not exist, to be raised."""
    return Unknown([Problem(code, message, where)])


def refuse(code: str, message: str, where: str = "") -> Refused:
    """Return a refusal with one problem, to be raised."""
    return Refused([Problem(code, message, where)])
