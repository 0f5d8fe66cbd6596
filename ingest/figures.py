"""What the dashboard and the page of a run tell in numbers. Each is one query that an index answers."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any, TypedDict

from django.db.models import Count, F, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, TruncDate
from django.utils import timezone

from .models import BADLY, CORRECTION, OPEN, Dataset, Run, Status

DAYS, STRIP, DATASETS = 14, 20, 12
# What a list needs not, and what may be large.
HEAVY = ["survey", "problems", "warnings", "errors"]
# The rate that a person sees is that of the last seconds, not that since the beginning.
RATE_SECONDS = 10


def ended_badly(limit: int) -> list[Run]:
    """Return the newest runs that ended badly and that nobody has dealt with; one more than `limit` at most."""
    found = Run.objects.filter(attention=True).select_related("dataset").defer("survey", "errors", "warnings")
    return list(found.order_by("-id")[: limit + 1])


def with_open_rejects(limit: int) -> list[Run]:
    """Return the newest runs with rejects that nobody has looked at; one more than `limit` at most."""
    return list(Run.objects.filter(rejects_open=True).defer(*HEAVY).order_by("-id")[: limit + 1])


def unmatched(limit: int) -> list[Run]:
    """Return the newest files that belong to no dataset; one more than `limit` at most."""
    waiting = Run.objects.filter(dataset=None, status__in=OPEN, closed_at=None)
    return list(waiting.only("key", "received_at").order_by("-id")[: limit + 1])


class Day(TypedDict):
    """What ended on a day, of one dataset; by UTC."""

    day: date
    dataset_id: int | None
    files: int
    badly: int
    loaded: int
    rejected: int


def days(now: datetime | None = None) -> list[Day]:
    """Return the sums of the last days, by day and dataset."""
    since = (now or timezone.now()) - timedelta(days=DAYS - 1)
    ended = Run.objects.filter(finished_at__gte=since.replace(hour=0, minute=0, second=0, microsecond=0))
    sums: Any = (
        ended.order_by()
        .values("dataset_id", day=TruncDate("finished_at"))
        .annotate(
            files=Count("finished_at"),
            badly=Count("finished_at", filter=Q(status__in=BADLY)),
            loaded=Sum("loaded"),
            rejected=Sum("rejected"),
        )
    )
    return list(sums)


class Strip(TypedDict):
    """A dataset and its last runs, newest first."""

    dataset: Dataset
    runs: list[Run]


def strips() -> list[Strip]:
    """Return the last runs of the datasets that were loaded last."""
    newest = Run.objects.filter(dataset=OuterRef("pk")).order_by("-id").values("pk")
    datasets = list(
        Dataset.objects.filter(retired=False)
        .annotate(newest=Subquery(newest[:1]), first=Coalesce(Subquery(newest[STRIP - 1 : STRIP]), 0))
        .order_by(F("newest").desc(nulls_last=True), "name")[:DATASETS]
    )
    wanted = Q(pk__in=[])
    for dataset in datasets:
        wanted |= Q(dataset=dataset, pk__gte=dataset.first)
    found = defaultdict[int | None, list[Run]](list)
    fields = ["dataset_id", "status", "cancel_requested", "read", "loaded", "rejected", "skipped"]
    runs = Run.objects.filter(wanted).only(*fields, "started_at", "finished_at").order_by("-id")
    for run in runs if datasets else ():
        found[run.dataset_id].append(run)
    return [Strip(dataset=dataset, runs=found[dataset.pk][:STRIP]) for dataset in datasets]


def rows_per_second(run: Run) -> float | None:
    """Return how fast an ended run was; None where there was nothing to measure."""
    rows = run.loaded + run.rejected + run.skipped
    return rows / run.seconds if rows and run.seconds and run.finished_at else None


class Live(TypedDict):
    """How far a run is; `total` is None as long as nobody has counted the file's rows."""

    total: int | None
    loaded: int
    rejected: int
    skipped: int
    left: int
    rate: float | None
    seconds_left: float | None
    began: datetime | None


def live(run: Run) -> Live:
    """Return how far a run is: of one that is loading by its ledger, of one that has ended by its sums."""
    recent = timezone.now() - timedelta(seconds=RATE_SECONDS)
    sums = run.batches.aggregate(
        loaded=Sum("loaded"), rejected=Sum("rejected"), skipped=Sum("skipped"), began=Min("created_at"),
        lately=Sum("rows", filter=Q(created_at__gte=recent)),
    )  # fmt: skip
    loading = run.status == Status.LOADING
    counts = sums if loading else {name: getattr(run, name) for name in ("loaded", "rejected", "skipped")}
    loaded, rejected, skipped = (counts[name] or 0 for name in ("loaded", "rejected", "skipped"))
    total = run.read if loading or run.status not in OPEN else None
    left = max((total or 0) - loaded - rejected - skipped, 0)
    rate = rows_per_second(run)
    if loading and sums["began"]:
        seconds = min(max((timezone.now() - sums["began"]).total_seconds(), 0.5), RATE_SECONDS)
        rate = (sums["lately"] or 0) / seconds
    return Live(
        total=total, loaded=loaded, rejected=rejected, skipped=skipped, left=left, rate=rate,
        seconds_left=left / rate if rate and loading else None, began=sums["began"],
    )  # fmt: skip


def children(run: Run) -> QuerySet[Run]:
    """Return the runs that load corrected rows of a run, newest first."""
    return Run.objects.filter(parent=run, trigger=CORRECTION).defer(*HEAVY).order_by("-id")
