"""Files loaded again that a restore has rolled back."""

from collections.abc import Iterator, Sequence

from django.db import transaction

from migration_console.lib.errors import Gone, conflict
from migration_console.lib.lake import lake
from migration_console.lib.ledger import LoadedAgain

from .admission import admit_upload
from .archive import version_of
from .bell import ring
from .models import CORRECTION, IN_THE_TABLE, PARTLY, RESTORED, Run, Status


def load_again(runs: Sequence[int]) -> Iterator[LoadedAgain]:
    """Load the files of runs that were rolled back once more, in their order; yield each as soon as it has a run.

    A run that has been loaded again already is left out. So are corrections: their rows are ready to be sent once
    more, in their parent, or in the run that loads the parent's file again.
    """
    rolled_back = Run.objects.filter(pk__in=runs, status=Status.ROLLED_BACK).exclude(trigger=CORRECTION)
    for run in rolled_back.select_related("dataset", "parent").order_by("pk"):
        if not run.archived_key or _children(run) or _is_back(run):
            continue
        try:
            again = _admit(run)
        except Gone:
            yield LoadedAgain(run.pk, None, f"{run.archived_key} of run {run.pk} is not there: send the file again")
            continue
        ring(again)
        yield LoadedAgain(run.pk, again.pk)


def _children(run: Run) -> int:
    return run.children.filter(trigger=RESTORED).exclude(status=Status.GONE).count()


def _is_back(run: Run) -> bool:
    """Tell whether the file was loaded again of a run whose rows a later restore has brought back."""
    while run.trigger == RESTORED and run.parent is not None:
        run = run.parent
        if run.status in IN_THE_TABLE or (run.status in PARTLY and run.batches.exists()):
            return True
    return False


def _admit(run: Run) -> Run:
    def only_once(_again: Run) -> None:
        # The run's row is the lock: of two who ask at once, the second finds the first one's child.
        with transaction.atomic():
            Run.objects.select_for_update().get(pk=run.pk)
            if _children(run) > 1:
                raise conflict("under-way", f"{run} is being loaded again already")

    with lake().open(version_of(run)) as source:
        return admit_upload(
            f"raw/again/{run.key.removeprefix('raw/')}",
            source,
            trigger=RESTORED,
            dataset=run.dataset,
            reason=f"run {run.pk} was rolled back by a restore",
            parent=run,
            then=only_once,
        )
