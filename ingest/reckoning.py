"""The line that must add up once rejects are corrected: read = loaded here + loaded by children + dismissed + open."""

from dataclasses import dataclass

from django.db.models import Count

from .models import UNSENT, Reject, Run


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
