"""One correction for a whole group of rejects: replace, map, set, strip, case. First looked at, then applied."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from migration_console.lib.audit import record
from migration_console.lib.errors import Problem, Refused, refuse

from .amending import EDITED, correct, holding, where
from .cells import Cells
from .models import Reject, Run
from .rejects import Choice, page_behind, pages, save_rejects

# So many rows are changed in one request: the page asks on behind them.
SLICE = 5000
MAX_DISTINCT = 10_000
SAMPLES = 12
Texts = list[str | None]


class Fix(BaseModel):
    """What to do to the values of one column."""

    model_config = ConfigDict(extra="ignore")

    how: Literal["replace", "pattern", "map", "set", "strip", "upper", "lower", "restore"]
    column: str
    find: str = Field(default="", max_length=200)
    to: str = Field(default="", max_length=4000)
    words: dict[str, str] = {}


# More than a reject may be long, and little enough for a page of them.
MAX_GROWTH = 1 << 20


def parse_fix(data: object) -> Fix:
    """Return a checked fix, or raise Refused with every mistake."""
    try:
        fix = Fix.model_validate(data)
    except ValidationError as error:
        raise Refused(Problem("fix", e["msg"], str(e["loc"][0]) if e["loc"] else "") for e in error.errors()) from None
    if fix.how in {"replace", "pattern"} and not fix.find:
        raise refuse("find", "say what to look for", "find")
    if fix.how == "pattern":
        _by_pattern(fix, [""])  # one that cannot be read is a mistake of now
    return fix


def changer(fix: Fix) -> Callable[[Sequence[str | None]], Texts]:
    """Return a function from values to better ones; None stays, but where a value is set for all."""
    simple: dict[str, Callable[[str], str]] = {
        "replace": lambda text: _bounded(text, text.count(fix.find), fix).replace(fix.find, fix.to),
        "map": lambda text: fix.words.get(text, text),
        "strip": str.strip,
        "upper": str.upper,
        "lower": str.lower,
    }
    if fix.how == "pattern":
        return lambda texts: _by_pattern(fix, texts)
    if fix.how == "set":
        return lambda texts: [fix.to or None] * len(texts)
    change = simple[fix.how]
    if fix.how == "map":  # an empty cell may be mapped too
        return lambda texts: [change(text or "") or None for text in texts]
    return lambda texts: [None if text is None else change(text) or None for text in texts]


def _bounded(text: str, matches: int, fix: Fix) -> str:
    """Refuse a replacement that could make megabytes of a cell: thousands of letters, each by thousands."""
    # Each $ may stand for as much as all of the text.
    if matches * (len(fix.to) + fix.to.count("$") * len(text)) > MAX_GROWTH:
        raise refuse(
            "to", f"a cell has this {matches} times, and would become too long; look for less, or put less", "to"
        )
    return text


def _by_pattern(fix: Fix, texts: Sequence[str | None]) -> Texts:
    """Replace by Rust's regular expressions, which take time in proportion to the text, whatever the pattern."""
    import polars as pl

    try:
        series = pl.Series(texts, dtype=pl.String)
        for text, matches in zip(texts, series.str.count_matches(fix.find)):
            _bounded(text or "", matches or 0, fix)
        found = series.str.replace_all(fix.find, fix.to)
    except pl.exceptions.PolarsError as error:
        raise refuse("find", f"this is no regular expression: {str(error).splitlines()[0]}", "find") from None
    return [text or None for text in found.to_list()]


@dataclass(frozen=True)
class Sample:
    """A value before and after, and why its row would still be wrong."""

    row: int
    before: str | None
    after: str | None
    problem: str


@dataclass
class Effect:
    """What a fix does, or would do."""

    rows: int = 0
    changed: int = 0
    passing: int = 0
    samples: list[Sample] = field(default_factory=list)
    # Behind which row to go on; None at the end.
    after: int | None = None

    @property
    def still_wrong(self) -> int:
        """Return how many changed rows break a rule still."""
        return self.changed - self.passing


def preview(run: Run, choice: Choice, fix: Fix) -> Effect:
    """Say what a fix would do to all rejects that are meant; nothing is written."""
    cells, effect = _cells(run, fix), Effect()
    for page in pages(run, SLICE, choice=choice):
        effect.rows += len(page)
        _note(effect, _change(page, fix, cells, user=None), fix, cells)
    return effect


def apply(run: Run, choice: Choice, fix: Fix, *, after: int = 0, user: Any = None) -> Effect:
    """Correct up to SLICE rejects behind a row, in one transaction with its line in the audit log."""
    cells, effect = _cells(run, fix), Effect()
    with holding(run):
        page, effect.after = page_behind(run, choice, after, SLICE)
        effect.rows = len(page)
        changes = _change(page, fix, cells, user=user)
        _note(effect, changes, fix, cells)
        save_rejects([reject for reject, _before in changes], EDITED)
        if changes:
            said = {"rows": len(changes), "columns": [fix.column], "how": fix.how}
            record("reject.edited", run, user=user, **said, **where(choice))
    return effect


def _cells(run: Run, fix: Fix) -> Cells:
    cells = Cells(run)
    if fix.column not in cells.names:
        raise refuse("unknown-column", f"the dataset has no column {fix.column!r}", "column")
    return cells


def _change(page: list[Reject], fix: Fix, cells: Cells, *, user: Any) -> list[tuple[Reject, str | None]]:
    """Correct rejects in memory; return those that changed, with the value before. Rows without fields stay."""
    current = [(reject, values) for reject in page if (values := cells.current(reject)) is not None]
    before = [values[fix.column] for _, values in current]
    if fix.how == "restore":
        after: Texts = [(cells.original(reject) or {}).get(fix.column) for reject, _ in current]
    else:
        after = changer(fix)(before)
    changed = []
    for (reject, _), old, new in zip(current, before, after):
        if old != new:
            correct(reject, cells, {**(reject.corrected or {}), fix.column: new}, user=user)
            changed.append((reject, old))
    return changed


def _note(effect: Effect, changes: list[tuple[Reject, str | None]], fix: Fix, cells: Cells) -> None:
    """Count changes, and keep samples: each pair of values once."""
    effect.changed += len(changes)
    effect.passing += sum(reject.state == Reject.State.READY for reject, _ in changes)
    seen = {(sample.before, sample.after) for sample in effect.samples}
    for reject, before in changes:
        if len(effect.samples) == SAMPLES:
            return
        values = cells.current(reject) or {}
        after = values.get(fix.column)
        if (before, after) not in seen:
            seen.add((before, after))
            problem = next((error["message"] for error in cells.judge(values)), "")
            effect.samples.append(Sample(reject.row, before, after, problem))


def distinct(run: Run, choice: Choice, column: str) -> tuple[list[tuple[str, int]], bool]:
    """Return the values of a column among the rejects that are meant, most frequent first, and whether that is all."""
    cells, counts = Cells(run), Counter[str]()
    for page in pages(run, SLICE, choice=choice):
        for reject in page:
            if (values := cells.current(reject)) is not None:
                counts[values.get(column) or ""] += 1
        if len(counts) > MAX_DISTINCT:
            return counts.most_common(100), False
    return counts.most_common(100), len(counts) <= 100
