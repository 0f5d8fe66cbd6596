"""What becomes of rejects that were sent: fixed once their row is in the table, else theirs to mend who sent them.

Where the child refuses the row, or ends badly, the reject is open again with the child's reasons.
"""

from itertools import islice

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from .amending import SLICE
from .models import CORRECTION, OPEN, RESTORED, Reject, Run, Status
from .rejects import save_rejects
from .report import report_lines


def settle(child: Run) -> bool:
    """Tell the rejects that a run was made of what became of them; done already is done.

    False where that is not certain yet: the run has ended, and a worker is still at one of its parts.
    """
    if child.parent_id is None or child.trigger != CORRECTION or child.status in OPEN:
        return True
    with transaction.atomic():
        # A restore that takes rows out of the table waits for us here, or we for it and see what it has done.
        parent, child = Run.objects.select_for_update().filter(pk__in=[child.parent_id, child.pk]).order_by("pk")
        if child.parts.filter(lease_until__gt=Now()).exists():
            return False
        _tell_rejects(child)
        # They go on as rows of the parent: nobody should mend them twice.
        words = f"goes on as a row of run {parent.pk}"
        child.rejects.filter(state=Reject.State.OPEN).update(state=Reject.State.DISMISSED, note=words)
        for run in (parent, child):
            run.note_open_rejects()
    return True


def _tell_rejects(child: Run) -> None:
    sent = Reject.objects.filter(child=child, state=Reject.State.RESUBMITTED)
    if child.status != Status.ROLLED_BACK:
        _give_back_refused(child)
        if child.status in {Status.LOADED, Status.ARCHIVED}:
            sent.filter(child_row__lte=child.read).update(state=Reject.State.FIXED)
        elif child.schema_version is not None and not child.version_schema.descriptor.whole:
            # Ended in the middle: what the ledger has is in the table, and must not be sent once more.
            for first, rows in child.batches.values_list("first_row", "rows"):
                sent.filter(child_row__gte=first, child_row__lt=first + rows).update(state=Reject.State.FIXED)
    sent.filter(corrected__isnull=True).update(state=Reject.State.OPEN)
    sent.update(state=Reject.State.READY)


def inherit(again: Run) -> None:
    """Give the rejects of a file that is loaded again after a restore what people had done to them before."""
    before = again.parent
    if before is None or again.trigger != RESTORED:
        return
    states = [Reject.State.FIXED, Reject.State.READY, Reject.State.RESUBMITTED, Reject.State.DISMISSED]
    done = before.rejects.filter(Q(state__in=states) | Q(corrected__isnull=False))
    after = 0
    while some := {old.row: old for old in done.filter(row__gt=after).order_by("row")[:SLICE]}:
        after = max(some)
        with transaction.atomic():
            fresh = list(again.rejects.filter(row__in=some, state=Reject.State.OPEN, corrected__isnull=True))
            for reject in fresh:
                _take_over(reject, some[reject.row])
            save_rejects(fresh, ["state", "corrected", "corrected_by", "note", "errors"])
    again.note_open_rejects()


def _take_over(reject: Reject, old: Reject) -> None:
    reject.corrected, reject.corrected_by, reject.note = old.corrected, old.corrected_by, old.note
    if old.state == Reject.State.OPEN:
        reject.errors = old.errors  # what its child said of the row as it was corrected
    elif old.state in {Reject.State.EDITED, Reject.State.DISMISSED}:
        reject.state = Reject.State(old.state)
    else:
        # Sent once, and to be sent again; whether it still passes the rules is asked then.
        reject.state = Reject.State.READY


def _give_back_refused(child: Run) -> None:
    """Open the rejects again that their child refused, with its reasons."""
    lines = report_lines(child)
    while some := {line["row"]: line["errors"] for line in islice(lines, SLICE)}:
        with transaction.atomic():
            back = list(Reject.objects.filter(child=child, child_row__in=some, state=Reject.State.RESUBMITTED))
            for reject in back:
                reject.errors, reject.state = some[reject.child_row or 0], Reject.State.OPEN
            save_rejects(back, ["errors", "state"])
