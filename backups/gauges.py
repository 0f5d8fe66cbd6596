"""Numbers for Prometheus: a backup that nobody has verified lately is what an operator wants to be woken for."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from .plans import tables


def gauges() -> Iterable[Metric]:
    """Yield the age of the newest verified backup of each table; a table without one has no such number."""
    ages = GaugeMetricFamily(
        "console_newest_verified_backup_age_seconds", "Age of a table's newest verified backup", labels=["table"]
    )
    counts = GaugeMetricFamily("console_backups", "Finished backups by table", labels=["table"])
    for table in tables():
        counts.add_metric([table["table"]], table["backups"])
        if table["newest_verified_age"] is not None:
            ages.add_metric([table["table"]], table["newest_verified_age"])
    yield ages
    yield counts
