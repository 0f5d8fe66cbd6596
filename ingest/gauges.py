"""Numbers for Prometheus, read from the ledger."""

from collections.abc import Iterable

from django.db.models import Count, Max, Min, Sum
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .models import OPEN, Reject, Run


def gauges() -> Iterable[Metric]:
    """Yield runs by status, rows by dataset, rejects by state, and how long the oldest run has been waiting."""
    runs = GaugeMetricFamily("console_runs", "Runs by status", labels=["status"])
    for status, count in Run.objects.order_by().values_list("status").annotate(Count("id")):
        runs.add_metric([status], count)
    yield runs
    rows = CounterMetricFamily(
        "console_rows", "Rows of ended runs by dataset and outcome", labels=["dataset", "outcome"]
    )
    last = GaugeMetricFamily(
        "console_last_run_timestamp_seconds", "When a dataset's last run ended", labels=["dataset"]
    )
    sums = Run.objects.order_by().exclude(dataset=None).values_list("dataset__name")
    totals = sums.annotate(Sum("loaded"), Sum("rejected"), Sum("skipped"), Max("finished_at"))
    for name, loaded, rejected, skipped, finished in totals:
        for outcome, count in (("loaded", loaded), ("rejected", rejected), ("skipped", skipped)):
            rows.add_metric([name, outcome], count)
        if finished:
            last.add_metric([name], finished.timestamp())
    yield rows
    yield last
    rejects = GaugeMetricFamily("console_rejects", "Rejected rows by state", labels=["state"])
    for state, count in Reject.objects.order_by().values_list("state").annotate(Count("id")):
        rejects.add_metric([state], count)
    yield rejects
    oldest = Run.objects.filter(status__in=OPEN, closed_at=None).aggregate(oldest=Min("received_at"))["oldest"]
    age = (timezone.now() - oldest).total_seconds() if oldest else 0
    yield GaugeMetricFamily("console_oldest_open_run_seconds", "Age of the oldest run that has not ended", value=age)
