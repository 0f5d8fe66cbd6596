"""The line that must add up once rejects are corrected: read = loaded here + loaded by children + dismissed + open."""

from dataclasses import dataclass

from django.db.models import Count, QuerySet

from .errors import ErrorGroup, group_errors, merge_groups
from .models import UNSENT, WRONG, Reject, Run

PAGE = 10_000


@dataclass(frozen=True)
class Reckoning:
    """What became of each row of a run."""

    read: int
    loaded: int
    skipped: int
    # Of the rejected ones:
    by_children: int
    under_way: int
    dismissed: int
    open: int
    # Of the open ones: corrected and right, corrected and still wrong, and kept in the report only.
    ready: int
    edited: int
    only_in_report: int

    @property
    def adds_up(self) -> bool:
        """Tell whether no row was lost; while a run loads, some are still to come."""
        here = self.loaded + self.skipped
        return self.read == here + self.by_children + self.under_way + self.dismissed + self.open


def reckon(run: Run) -> Reckoning:
    """Return what became of each row of a run, in one query."""
    counts = dict(run.rejects.order_by().values_list("state").annotate(Count("id")))
    beyond = max(run.rejected - sum(counts.values()), 0)
    return Reckoning(
        read=run.read,
        loaded=run.loaded,
        skipped=run.skipped,
        by_children=counts.get(Reject.State.FIXED, 0),
        under_way=counts.get(Reject.State.RESUBMITTED, 0),
        dismissed=counts.get(Reject.State.DISMISSED, 0),
        open=sum(counts.get(state, 0) for state in UNSENT) + beyond,
        ready=counts.get(Reject.State.READY, 0),
        edited=counts.get(Reject.State.EDITED, 0),
        only_in_report=beyond,
    )


def groups_left(run: Run) -> list[ErrorGroup]:
    """Return the errors of the rejects that are still wrong, by field and code; reads at most a run's table of them."""
    merged: list[ErrorGroup] = []
    after = 0
    while page := list(_left(run).filter(row__gt=after).values_list("row", "errors")[:PAGE]):
        after = page[-1][0]
        merged = merge_groups(merged, group_errors(error for _, errors in page for error in errors))
    return merged


def _left(run: Run) -> QuerySet[Reject]:
    return run.rejects.filter(state__in=WRONG).order_by("row")
