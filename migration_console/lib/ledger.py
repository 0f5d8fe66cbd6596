"""What a restore must tell the ledger of runs, and a backup must ask it: a table of names, kept by ingest.

`ingest` and `backups` never import each other, so ingest registers its ledger here when Django starts.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypedDict

# Runs SQL with parameters in a session of the caller's, and returns the rows.
Ask = Callable[[str, Sequence[Any]], Sequence[Sequence[Any]]]


class ContainedRun(TypedDict):
    """A run of which a table contains rows; `sha256` is its file's, since another console numbers its own runs.

    Where more batches were still to come, `whole` is False, and `starts` are the first bytes of those that were in.
    """

    run: int
    dataset: str
    key: str
    sha256: str
    status: str
    batches: int
    loaded: int
    whole: bool
    starts: list[int]


class LoadedAgain(NamedTuple):
    """A run that was rolled back, and the one that loads its file again; None where that is gone, and what to do."""

    run: int
    again: int | None
    problem: str = ""


class Ledger(Protocol):
    """The ledger of the runs that load into tables."""

    def contents(self, ask: Ask, table: str) -> list[ContainedRun]:
        """Return the runs that a table contains, as the caller's session sees them."""

    def loading(self, table: str) -> list[str]:
        """Return what is loading into a table now, in words."""

    def rewind(self, table: str, contained: Sequence[ContainedRun]) -> list[int]:
        """Make the ledger say that the table contains these runs and no others; return those rolled back."""

    def strangers(self, table: str, contained: Sequence[ContainedRun]) -> list[ContainedRun]:
        """Return those of the runs that the ledger knows nothing of: they were another console's, or are lost."""

    def load_again(self, runs: Sequence[int]) -> Iterator[LoadedAgain]:
        """Load the files of runs that were rolled back once more, in their order; yield each once it has a run."""

    def ring_waiting(self) -> None:
        """Ring for the runs that wait for something; it may be there now."""


_ledgers: list[Ledger] = []


def register(ledger: Ledger) -> None:
    """Name the ledger; done once a process."""
    _ledgers[:] = [ledger]


def ledger() -> Ledger:
    """Return the ledger."""
    return _ledgers[0]
