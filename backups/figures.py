"""How old each table's newest verified backup is, and whether it should be younger: in a handful of queries."""

from datetime import datetime
from typing import Literal, TypedDict

from django.db.models import Max
from django.utils import timezone

from migration_console.lib.tables import listed

from .models import Backup, BackupStatus, ListedTable
from .schedule import is_late


class Age(TypedDict):
    """A table's newest verified backup against its plan."""

    table: str
    taken_at: datetime | None
    schedule: str
    state: Literal["fresh", "stale", "missing", "unplanned"]


def ages() -> list[Age]:
    """Return every listed table with the age of its newest verified backup, by name."""
    now, names = timezone.now(), sorted(listed())
    plans = dict(ListedTable.objects.values_list("name", "schedule"))
    done = Backup.objects.filter(table__in=names, status=BackupStatus.DONE, verified_at__isnull=False)
    newest = dict(done.order_by().values_list("table").annotate(Max("started_at")))
    return [
        Age(table=name, taken_at=newest.get(name), schedule=plans.get(name, ""),
            state=_state(plans.get(name, ""), newest.get(name), now))
        for name in names
    ]  # fmt: skip


def _state(schedule: str, taken: datetime | None, now: datetime) -> Literal["fresh", "stale", "missing", "unplanned"]:
    if not schedule:
        return "unplanned"
    if taken is None:
        return "missing"
    return "stale" if is_late(schedule, taken, now) else "fresh"
