"""Rejects as a grid: what each cell and row of a page shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from migration_console.shown import Badge

from ..amending import same_text
from ..cells import Cells, marked
from ..errors import HINTS, ErrorGroup, RowError
from ..models import UNSENT, Reject, Run
from ..rejects import Choice, page_behind

PAGE = 50
# A wide row shows its keys, what is wrong, and the first columns.
MAX_COLUMNS = 24
# So many rows are looked at for one page of those with an error.
WINDOW, WINDOWS = 2000, 10

STATES: dict[str, Badge] = {
    Reject.State.OPEN: Badge("Open", "bad", "error"),
    Reject.State.EDITED: Badge("Still wrong", "warn", "edit"),
    Reject.State.READY: Badge("Ready to send", "good", "check"),
    Reject.State.RESUBMITTED: Badge("Sent, under way", "busy", "sync"),
    Reject.State.FIXED: Badge("Fixed and loaded", "good", "check_circle"),
    Reject.State.DISMISSED: Badge("Dismissed", "quiet", "do_not_disturb_on"),
}


@dataclass(frozen=True)
class Cell:
    """A value on the page; an input where it is wrong or corrected."""

    name: str
    text: str
    came: str
    wrong: bool
    corrected: bool
    asked: bool

    @property
    def long(self) -> bool:
        """Tell whether one line is too little."""
        return len(self.text) > 60 or "\n" in self.text or "\r" in self.text


@dataclass(frozen=True)
class Row:
    """A reject on the page."""

    reject: Reject
    cells: list[Cell]
    reasons: list[RowError]
    badge: Badge
    # The bytes as text, where they are no row of fields.
    raw: str | None
    editable: bool
    alert: str = ""


@dataclass(frozen=True)
class Group:
    """Errors of one field and code."""

    field: str
    code: str
    count: int
    sample: str | None
    hint: str


def rows_behind(run: Run, choice: Choice, after: int) -> tuple[list[Reject], int | None]:
    """Return a page of the rejects that are meant, and behind which row to go on; None at the end."""
    if not choice.by_error:
        return page_behind(run, choice, after, PAGE)
    found: list[Reject] = []
    last: int | None = after
    for _ in range(WINDOWS):
        some, last = page_behind(run, choice, last or 0, WINDOW)
        found += some
        if len(found) >= PAGE:
            return found[:PAGE], found[PAGE - 1].row
        if last is None:
            break
    return found, last


def columns_of(cells: Cells, rejects: Sequence[Reject]) -> list[str]:
    """Return the columns that a page shows, in their order: all, or the most telling ones of a wide table."""
    names = cells.names
    if len(names) <= MAX_COLUMNS:
        return names
    wrong = [name for reject in rejects for name in marked(reject.errors, names)]
    corrected = [name for reject in rejects for name in cells.renamed(reject.corrected or {})]
    keys = cells.schema.descriptor.schema_.primary_key or []
    chosen = list(dict.fromkeys([*keys, *wrong, *corrected, *names]))[:MAX_COLUMNS]
    return [name for name in names if name in chosen]


def grid_row(reject: Reject, cells: Cells, columns: Sequence[str], *, may: bool, alert: str = "") -> Row:
    """Return a reject as the page shows it."""
    came = cells.original(reject)
    values = cells.current(reject)
    touched = reject.state in {Reject.State.EDITED, Reject.State.READY}
    reasons = cells.judge(values) if touched and values is not None else reject.errors
    guess = values if values is not None else (cells.guess(reject) or {})
    wrong, first = set(marked(reasons, cells.names)), set(marked(reject.errors, cells.names))
    editable = may and reject.state in UNSENT and reject.is_whole
    shown = []
    for name in columns:
        text, original = guess.get(name) or "", (came or {}).get(name) or ""
        corrected = bool(reject.corrected) and came is not None and not same_text(text, original)
        asked = came is None or corrected or name in wrong or name in first
        shown.append(Cell(name, text, original, name in wrong, corrected, editable and asked))
    raw = reject.text if came is None else None
    return Row(reject, shown, reasons, STATES[reject.state], raw, editable, alert)


def groups_of(groups: Sequence[ErrorGroup]) -> list[Group]:
    """Return error groups with what a steward can do about them."""
    return [Group(g["field"], g["code"], g["count"], g["sample"], HINTS.get(g["code"], "")) for g in groups]
