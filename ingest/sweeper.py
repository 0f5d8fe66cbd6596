"""What is left lying is taken up: files without a run, runs that nobody works on, tables that nobody needs."""

from datetime import timedelta

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from migration_console.broker import prune
from migration_console.lib import swap
from migration_console.lib.progress import Progress, no_progress

from .admission import admit_new_files
from .bell import ring
from .datasets import assign_files
from .models import OPEN, Draft, Part, Run, Status, key_hash
from .services import advance

# Drafts that nobody has touched for so long are forgotten.
DRAFTS_STAY = timedelta(days=14)


def sweep(trigger: str = "sweep", *, everything: bool = False, listing: bool = True) -> list[Run]:
    """Admit files without a run, and ring for every run that is left lying; returns those rung for.

    With `everything`, also for those that were rung for just now: a broker that was down may have lost it.
    Without `listing` the lake is left alone, and new files are not found.
    """
    assign_files()
    new = admit_and_ring(trigger) if listing else []
    if listing:
        # Once it has been listed: where the lake did not answer, the next sweep tries again.
        cache.set(_listed(), True, settings.LAKE_LIST_SECONDS)
    late = timezone.now() - timedelta(seconds=settings.SWEEP_SECONDS)
    left = Run.objects.filter(Run.free(), closed_at=None).exclude(dataset=None).exclude(pk__in=[run.pk for run in new])
    forgotten = Q(rung_at=None) | Q(rung_at__lt=late) | Q(lease_until__isnull=False)
    rung = [run for run in left.order_by("id") if everything or _is_idle(run)]
    rung += [run for run in left.filter(forgotten).order_by("id") if run not in rung]
    for run in rung:
        ring(run)
    _drop_stray_staging()
    prune(settings.BROKER_FOLDER)
    Draft.objects.filter(touched_at__lt=timezone.now() - DRAFTS_STAY).delete()
    return [*new, *rung]


def listing_is_due() -> bool:
    """Tell whether raw/ was not listed for LAKE_LIST_SECONDS from this machine: in a bucket each request costs."""
    return cache.get(_listed()) is None


def _listed() -> str:
    return f"listed-{key_hash(settings.LAKE_URL)}"


def admit_and_ring(trigger: str) -> list[Run]:
    """Admit the files that are complete and have no run, and ring for them once all are admitted."""
    new = list(admit_new_files(trigger))
    for run in new:
        if run.dataset is not None:
            ring(run)
    return new


def _is_idle(run: Run) -> bool:
    """Tell whether a loading run has parts left that nobody holds."""
    return run.status == Status.LOADING and run.parts.filter(Part.free()).filter(Part.unfinished()).exists()


def unfinished() -> list[Run]:
    """Return the runs of datasets that are not at their end, oldest first; of paused ones those that are to end."""
    go_on = Q(dataset__paused=False) | Q(cancel_requested=True) | ~Q(status__in=OPEN)
    return list(Run.objects.filter(go_on, closed_at=None).exclude(dataset=None).order_by("id"))


def work_off(runs: list[Run], progress: Progress = no_progress) -> list[Run]:
    """Advance runs in this process until each has ended, or none gets any further; returns them as they stand."""
    left = {run.pk: run for run in runs}
    while True:
        before = {pk: (run.status, run.closed_at) for pk, run in left.items()}
        for pk, run in left.items():
            if run.closed_at is None:
                left[pk] = advance(pk, progress)
        if all((run.status, run.closed_at) == before[pk] for pk, run in left.items()):
            return list(left.values())


def _drop_stray_staging() -> None:
    """Drop staging tables whose run has ended."""
    stray = swap.leftover_runs(connection)
    for run in Run.objects.filter(pk__in=stray).exclude(status__in=OPEN):
        swap.drop_if_free(connection, stray[run.pk], run.pk)
