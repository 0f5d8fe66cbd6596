"""Tables on the list, and their plans: when they are backed up and rehearsed, and which backups are kept."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, Q
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from migration_console.lib.audit import record
from migration_console.lib.definition import read_definition
from migration_console.lib.errors import Refused, conflict, refuse, unknown
from migration_console.lib.tables import is_own, listed, proper, resolve

from .models import Backup, BackupStatus, Check, ListedTable, Restore
from .proof import request_check
from .retention import Kept, reasons_to_keep
from .schedule import is_late, next_times, parsed
from .taking import delete_backup, request_backup

# Until when a schedule was served.
SERVED = {"schedule": "backed_up_until", "rehearsal_schedule": "rehearsed_until"}
# By how much beat's clock may be ahead of a worker's.
AHEAD = timedelta(seconds=30)


def add_table(name: str, *, user: Any = None) -> ListedTable:
    """Put a table on the list, by its proper name; the console's own tables are none."""
    name = proper(name)
    if is_own(name):
        raise refuse("own-table", f"{name} is the console's own; it can be neither backed up nor restored")
    if read_definition(connection, name) is None:
        raise unknown("unknown-table", f"there is no table {name} in the database")
    with transaction.atomic():
        table, new = ListedTable.objects.get_or_create(name=name, defaults={"created_by": user})
        if new or ListedTable.objects.filter(pk=table.pk, added=False).update(added=True):
            record("table.listed", table, user=user)
    table.refresh_from_db()
    return table


def candidates() -> list[str]:
    """Return the tables of the console's database that could be put on the list."""
    known = {name.lower() for name in listed()}
    with connection.cursor() as cursor:
        found = [table.name for table in connection.introspection.get_table_list(cursor) if table.type == "t"]
    return sorted(name for name in found if name.lower() not in known and not is_own(name))


def remove_table(name: str, *, user: Any = None) -> None:
    """Take a table off the list, and forget its plan; its backups stay in the lake."""
    table = ListedTable.objects.filter(name=name, added=True).first()
    if table is None:
        resolve(name)
        raise conflict("of-a-dataset", f"{name} is on the list because a dataset loads into it; retire the dataset")
    open_work = Q(under_way=name) | Q(table=name, lease_until__isnull=False)
    for kind in (Backup, Restore):
        if work := kind._default_manager.filter(open_work).first():
            raise conflict("under-way", f"{work} is under way; wait for it, or cancel it")
    with transaction.atomic():
        gone = ListedTable.objects.select_for_update().get(pk=table.pk)
        PeriodicTask.objects.filter(name__in=[f"{what} {name}" for what in ("backup", "rehearse")]).delete()
        table.delete()
        record("table.unlisted", gone, user=user)


def table_plan(name: str) -> ListedTable:
    """Return the plan of a listed table; a new one for a dataset's table that has none yet."""
    table, _ = ListedTable.objects.get_or_create(name=resolve(name), defaults={"added": False})
    return table


def set_plan(name: str, *, user: Any = None, seen: dict[str, Any] | None = None, **changes: Any) -> ListedTable:
    """Change a table's plan: `schedule`, `rehearsal_schedule`, `codec`, `keep_last` and so on.

    With `seen`, only where the plan is still as somebody saw it.
    """
    for schedule in (changes.get("schedule"), changes.get("rehearsal_schedule")):
        _check_schedule(schedule or "")
    with transaction.atomic():
        table = ListedTable.objects.select_for_update().get(pk=table_plan(name).pk)
        if seen is not None and seen != table.plan:
            raise conflict("plan-changed", f"somebody else has changed the plan of {name} meanwhile; look at it again")
        before = table.plan
        for field, value in changes.items():
            setattr(table, field, value)
        # A new schedule begins now: it has missed nothing.
        new = [served for field, served in SERVED.items() if getattr(table, field) != before[field]]
        for served in new:
            setattr(table, served, timezone.now())
        table.save(update_fields=[*changes, *new])
        _beat(table, "backup", "backups.scheduled_backup", table.schedule)
        _beat(table, "rehearse", "backups.scheduled_rehearsal", table.rehearsal_schedule)
        if table.plan != before:
            record("table.planned", table, user=user, **table.plan)
    return table


def _check_schedule(schedule: str) -> None:
    if not schedule:
        return
    try:
        parsed(schedule)
    except ValueError as error:
        raise refuse("schedule", f"{schedule!r} is no schedule such as 0 3 * * *: {error}") from None


def _beat(table: ListedTable, what: str, task: str, schedule: str) -> None:
    """Make Celery's beat say so: one entry a table and a purpose."""
    name = f"{what} {table.name}"
    if not schedule:
        PeriodicTask.objects.filter(name=name).delete()
        return
    crontab, _ = CrontabSchedule.objects.get_or_create(**parsed(schedule), timezone="UTC")
    PeriodicTask.objects.update_or_create(
        name=name, defaults={"task": task, "crontab": crontab, "args": f'["{table.name}"]', "enabled": True}
    )


def scheduled_backup(name: str, *, rung: bool = False) -> Backup | None:
    """Take what a schedule asks for, have it verified, and delete what the plan no longer keeps; None if not due."""
    backup = _served(name, "schedule", _request_verified, rung)
    if backup is not None:
        prune(name)
    return backup


def _request_verified(name: str) -> Backup:
    backup = request_backup(name, trigger="schedule")
    Backup.objects.filter(pk=backup.pk, check_wanted=Check.NONE).update(check_wanted=Check.VERIFY)
    return backup


def scheduled_rehearsal(name: str, *, rung: bool = False) -> Backup | None:
    """Rehearse a table's newest backup, if its schedule says so now."""
    return _served(name, "rehearsal_schedule", _request_rehearsal, rung)


def _request_rehearsal(name: str) -> Backup | None:
    newest = finished(name)[:1]
    return request_check(newest[0], rehearse=True) if newest else None


def _served(name: str, field: str, ask: Callable[[str], Backup | None], rung: bool) -> Backup | None:
    """Ask for what a schedule is due for, once: beat, which may be ahead a little, and every sweep come for it."""
    plan = ListedTable.objects.filter(name=name).first()
    due = None if plan is None else _due(plan, field)
    if plan is None or due is None or due - (AHEAD if rung else timedelta(0)) > timezone.now():
        return None
    before = {field: getattr(plan, field), SERVED[field]: getattr(plan, SERVED[field])}
    mine = ListedTable.objects.filter(pk=plan.pk, **before)
    now = {SERVED[field]: max(due, timezone.now())}
    try:
        with transaction.atomic():
            # Conditional: of two who come at once, the second waits here and matches nothing.
            return ask(name) if mine.update(**now) else None
    except Refused:
        # Not lost, but refused: it is asked for again when it is due next, not each minute.
        mine.update(**now)
        raise


def _due(plan: ListedTable, field: str) -> datetime | None:
    """Return when a schedule is due that was served until some time; None where there is none."""
    since: datetime | None = getattr(plan, SERVED[field])
    if since is None:  # a plan of an older console
        newest = Backup.objects.filter(table=plan.name).aggregate(at=Max("created_at"))["at"]
        since = max(plan.created_at, newest or plan.created_at)
    try:
        return next_times(getattr(plan, field), since, 1)[0] if getattr(plan, field) else None
    except (ValueError, KeyError, RuntimeError):
        return None


def finished(name: str) -> list[Backup]:
    """Return the finished backups of a table, newest first."""
    return list(Backup.objects.filter(table=name, status=BackupStatus.DONE).order_by("-started_at", "-pk"))


def prune(
    name: str,
    *,
    dry_run: bool = False,
    keeps: dict[str, int] | None = None,
    user: Any = None,
    expected: set[int] | None = None,
) -> list[dict[str, Any]]:
    """Delete the backups of a table that its plan no longer keeps; returns all, each with why it stays.

    Backups that an open restore needs stay too. With `expected`, only where these very ones would go.
    """
    backups = finished(name)
    kept = [Kept(b.pk, b.taken_at, verified=b.verified_at is not None, pinned=b.kept) for b in backups]
    reasons = reasons_to_keep(kept, keeps if keeps is not None else table_plan(name).keeps)
    restoring = set(Restore.objects.filter(under_way__isnull=False).values_list("backup_id", flat=True))
    reasons |= {pk: ["being restored"] for pk in restoring if pk not in reasons}
    going = [backup for backup in backups if backup.pk not in reasons]
    if expected is not None and expected != {backup.pk for backup in going}:
        raise conflict("prune-changed", f"the plan would delete other backups of {name} by now; look at them again")
    for backup in [] if dry_run else going:
        delete_backup(backup, user=user, by="plan")
    return [
        {"id": b.pk, "taken_at": b.taken_at.isoformat(), "keep": b.pk in reasons, "reasons": reasons.get(b.pk, [])}
        for b in backups
    ]


def tables() -> list[dict[str, Any]]:
    """Return every listed table with its plan and the age of its newest verified backup."""
    plans = {plan.name: plan for plan in ListedTable.objects.all()}
    done = Backup.objects.filter(status=BackupStatus.DONE)
    counts = dict(done.order_by().values_list("table").annotate(Count("pk")))
    newest = _newest()
    return [
        {**_table(name, plans.get(name) or ListedTable(name=name), newest.get(name)), "backups": counts.get(name, 0)}
        for name in sorted(listed())
    ]


def _newest() -> dict[str, Backup]:
    """Return each table's newest verified backup, in two queries however many there are."""
    verified = Backup.objects.filter(status=BackupStatus.DONE, verified_at__isnull=False).order_by()
    moments = dict(verified.values_list("table").annotate(Max("started_at")))
    found = verified.filter(table__in=moments, started_at__in=moments.values()).order_by("pk")
    return {backup.table: backup for backup in found if backup.started_at == moments[backup.table]}


def _table(name: str, plan: ListedTable, newest: Backup | None) -> dict[str, Any]:
    return {
        "table": name,
        "schedule": plan.schedule,
        "rehearsal_schedule": plan.rehearsal_schedule,
        "codec": plan.codec,
        "keep": plan.keeps if plan.pk else {},
        "newest_verified": newest.pk if newest else None,
        "newest_verified_age": round(newest.age) if newest else None,
        "standing": standing(plan.schedule, newest),
    }


def standing(schedule: str, newest: Backup | None) -> str:
    """Return how a table is protected: good, stale by its own schedule, unplanned where it has none, or none."""
    if newest is None:
        return "none"
    if not schedule:
        return "unplanned"
    return "stale" if is_late(schedule, newest.taken_at, timezone.now()) else "good"
