"""What people do to rejects before they are sent again: correct, restore, dismiss, reopen.

Each deed holds the run's row: of two at once, the second sees what the first has done. Nothing is lost when a
browser closes: a correction is kept with its reject at once, and sent later (corrections.py).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import transaction

from migration_console.lib.audit import record
from migration_console.lib.errors import Refused, conflict, refuse

from .cells import BY_THE_DATABASE, Cells
from .models import CORRECTION, UNSENT, Reject, Run, Status
from .rejects import Choice, page_behind, save_rejects

# So many rows are changed in one transaction.
SLICE = 2000
EDITED = ["corrected", "corrected_by", "state"]


@contextmanager
def holding(run: Run) -> Iterator[Run]:
    """Hold a run's row for a transaction; Conflict for a run whose rejects cannot be worked on."""
    with transaction.atomic():
        # Who retries the run, sends its rejects or edits them waits here for us, or we for them.
        held = Run.objects.select_for_update().get(pk=run.pk)
        check_workable(held)
        yield held
        held.note_open_rejects()


def check_workable(run: Run) -> None:
    """Raise Conflict for a run whose rejects cannot be worked on."""
    if run.closed_at is None or run.schema_version_id is None or run.dataset_id is None:
        raise conflict("not-ended", f"{run} is {run.status}; its rejects can be corrected once it has ended")
    if run.trigger == CORRECTION:
        raise conflict("correction", f"its rejects go on as those of run {run.parent_id}; correct them there", "run")
    if not in_the_table(run):
        # Whoever loads the file again loads these rows too: those sent from here would be there twice.
        message = (
            f"{run} is {run.status}, and nothing of it is in the table; correct the file, or take up the run again"
        )
        raise conflict("not-loaded", message)


def in_the_table(run: Run) -> bool:
    """Tell whether the good rows of a run that has ended are in the table, and stay there when it is taken up again."""
    if run.status in {Status.LOADED, Status.ARCHIVED}:
        return True
    assert run.schema_version is not None
    return run.status in {Status.FAILED, Status.CANCELLED} and not run.schema_version.parsed.whole


def why_not_workable(run: Run) -> str:
    """Return why the rejects of a run cannot be worked on; '' where they can."""
    try:
        check_workable(run)
    except Refused as refused:
        return str(refused)
    return ""


def edit(run: Run, row: int, values: Mapping[str, str | None], *, user: Any = None) -> Reject:
    """Keep corrected values of a row, by column; an empty text means no value."""
    cells = Cells(run)
    if unknown := sorted(values.keys() - set(cells.names)):
        raise refuse("unknown-column", f"the dataset has no column {unknown[0]!r}", unknown[0])
    with holding(run):
        reject = _unsent(run, row)
        came = cells.original(reject)
        if came is None and not reject.is_whole:
            raise refuse("too-long", f"row {row} is longer than what is kept of it; correct the file and send it again")
        base = reject.corrected or (cells.guess(reject) if came is None else None) or {}
        correct(reject, cells, {**base, **{name: text or None for name, text in values.items()}}, user=user)
        reject.save(update_fields=EDITED)
        record("reject.edited", run, user=user, rows=1, row=row, columns=sorted(values))
    return reject


def restore(run: Run, row: int, column: str | None = None, *, user: Any = None) -> Reject:
    """Take the correction of a cell, or of the whole row, back."""
    cells = Cells(run)
    with holding(run):
        reject = _unsent(run, row)
        kept = {name: value for name, value in cells.renamed(reject.corrected or {}).items() if name != column}
        correct(reject, cells, kept if column is not None else {}, user=user)
        reject.save(update_fields=EDITED)
        record("reject.edited", run, user=user, rows=1, row=row, columns=[column or "all"], restored=True)
    return reject


def correct(reject: Reject, cells: Cells, corrected: Mapping[str, Any], *, user: Any) -> None:
    """Give a reject its corrected values, and the state that follows from them; what is as it came is left out."""
    came = cells.original(reject)
    renamed = cells.renamed(corrected).items()
    kept = {n: v for n, v in renamed if came is None or n not in came or not same_text(v, came[n])}
    reject.corrected, reject.corrected_by = kept or None, user if kept else None
    reject.state = Reject.State.OPEN
    if kept:
        reject.state = Reject.State.EDITED if cells.judge(cells.current(reject) or {}) else Reject.State.READY


def same_text(one: object, other: object) -> bool:
    """Tell whether two values are the same text, whatever a browser or a spreadsheet makes of line ends and of none."""
    return _plain(one) == _plain(other)


def _plain(value: object) -> str:
    return "" if value is None else str(value).replace("\r\n", "\n").replace("\r", "\n")


def _unsent(run: Run, row: int) -> Reject:
    reject = run.rejects.filter(row=row).first()
    if reject is None:
        raise refuse("no-such-row", f"row {row} of {run} was not rejected", str(row))
    if reject.state not in UNSENT:
        raise conflict(
            "not-open", f"row {row} is {reject.get_state_display()}; somebody has been here before", str(row)
        )
    return reject


def dismiss(run: Run, choice: Choice, reason: str, *, user: Any = None) -> int:
    """Set rejects aside for good, with a reason; return how many."""
    note = reason.strip()[:255]
    if not note:
        raise refuse("reason", "say why these rows need not be loaded", "reason")

    def move(rejects: list[Reject]) -> int:
        count = _update(rejects, state=Reject.State.DISMISSED, note=note)
        record("reject.dismissed", run, user=user, rows=count, reason=note, **where(choice))
        return count

    return in_slices(run, choice, move)


def reopen(run: Run, choice: Choice, *, user: Any = None) -> int:
    """Take dismissed rejects up again, with the corrections that they had; return how many."""
    cells = Cells(run)

    def move(rejects: list[Reject]) -> int:
        for reject in rejects:
            reject.note = ""
            correct(reject, cells, reject.corrected or {}, user=reject.corrected_by)
        save_rejects(rejects, [*EDITED, "note"])
        record("reject.reopened", run, user=user, rows=len(rejects), **where(choice))
        return len(rejects)

    return in_slices(run, replace(choice, states=[Reject.State.DISMISSED]), move)


def recheck(run: Run, *, database: bool = False) -> int:
    """Judge a run's rejects by the newest rules: what passes now is ready; return how many have become so.

    What only the database has refused stays as it is, unless it shall be asked again.
    """
    cells = Cells(run)

    def move(rejects: list[Reject]) -> int:
        changed = []
        for reject in rejects:
            state = judged(reject, cells, database=database)
            if state != reject.state:
                reject.state = state
                changed.append(reject)
        save_rejects(changed, ["state"])
        return sum(reject.state == Reject.State.READY for reject in changed)

    return in_slices(run, Choice(), move)


def judged(reject: Reject, cells: Cells, *, database: bool = False) -> Reject.State:
    """Return how an unsent reject stands by the newest rules."""
    values = cells.current(reject)
    passes = values is not None and not cells.judge(values)
    again = database or reject.state != Reject.State.OPEN or not by_the_database(reject)
    if passes and again:
        return Reject.State.READY
    return Reject.State.EDITED if reject.corrected and reject.state != Reject.State.OPEN else Reject.State.OPEN


def by_the_database(reject: Reject) -> bool:
    """Tell whether only the database has refused a row: the rules let it pass, and always did."""
    return {error["code"] for error in reject.errors} <= BY_THE_DATABASE


def in_slices(run: Run, choice: Choice, change: Callable[[list[Reject]], int]) -> int:
    """Change the rejects that are meant, a slice in a transaction; return the sum of what `change` says."""
    total = 0
    last: int | None = 0
    while last is not None:
        with holding(run):
            found, last = page_behind(run, choice, last, SLICE)
            total += change(found) if found else 0
    return total


def where(choice: Choice) -> dict[str, Any]:
    """Return the words of the audit log for a choice."""
    words: dict[str, Any] = {
        "field": choice.field,
        "code": choice.code,
        "first": choice.rows and list(choice.rows)[:20],
    }
    return {name: word for name, word in words.items() if word is not None}


def _update(rejects: list[Reject], **change: Any) -> int:
    return Reject.objects.filter(pk__in=[reject.pk for reject in rejects]).update(**change)
