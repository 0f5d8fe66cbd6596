"""Tables on the list, and their plans: when they are backed up and rehearsed, and which backups are kept."""

from typing import Any

from celery.schedules import crontab_parser
from django.db import connection, transaction
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from migration_console.lib.definition import read_definition
from migration_console.lib.errors import refuse, unknown
from migration_console.lib.tables import is_own, listed, resolve

from .models import Backup, BackupStatus, Check, ListedTable
from .proof import request_check
from .retention import Kept, reasons_to_keep
from .taking import delete_backup, request_backup

FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
LIMITS = ((60, 0), (24, 0), (31, 1), (12, 1), (7, 0))


def add_table(name: str, *, user: Any = None) -> ListedTable:
    """Put a table on the list; the console's own tables are none."""
    if is_own(name):
        raise refuse("own-table", f"{name} is the console's own; it can be neither backed up nor restored")
    if read_definition(connection, name) is None:
        raise unknown("unknown-table", f"there is no table {name} in the database")
    table, _ = ListedTable.objects.get_or_create(name=name, defaults={"created_by": user})
    ListedTable.objects.filter(pk=table.pk).update(added=True)
    table.refresh_from_db()
    return table


def table_plan(name: str) -> ListedTable:
    """Return the plan of a listed table; a new one for a dataset's table that has none yet."""
    table, _ = ListedTable.objects.get_or_create(name=resolve(name), defaults={"added": False})
    return table


def set_plan(name: str, *, user: Any = None, **changes: Any) -> ListedTable:
    """Change a table's plan: `schedule`, `rehearsal_schedule`, `codec`, `keep_last` and so on."""
    for schedule in (changes.get("schedule"), changes.get("rehearsal_schedule")):
        _check_schedule(schedule or "")
    with transaction.atomic():
        table = table_plan(name)
        for field, value in changes.items():
            setattr(table, field, value)
        table.save(update_fields=list(changes))
        _beat(table, "backup", "backups.scheduled_backup", table.schedule)
        _beat(table, "rehearse", "backups.scheduled_rehearsal", table.rehearsal_schedule)
    return table


def _check_schedule(schedule: str) -> None:
    parts = schedule.split()
    if not parts:
        return
    try:
        if len(parts) != len(FIELDS):
            raise ValueError("five fields are needed")
        for part, (size, start) in zip(parts, LIMITS):
            crontab_parser(size, start).parse(part)
    except ValueError as error:
        raise refuse("schedule", f"{schedule!r} is no schedule such as 0 3 * * *: {error}") from None


def _beat(table: ListedTable, what: str, task: str, schedule: str) -> None:
    """Make Celery's beat say so: one entry a table and a purpose."""
    name = f"{what} {table.name}"
    if not schedule:
        PeriodicTask.objects.filter(name=name).delete()
        return
    crontab, _ = CrontabSchedule.objects.get_or_create(**dict(zip(FIELDS, schedule.split())), timezone="UTC")
    PeriodicTask.objects.update_or_create(
        name=name, defaults={"task": task, "crontab": crontab, "args": f'["{table.name}"]', "enabled": True}
    )


def scheduled_backup(name: str) -> Backup:
    """Take what a schedule asks for, have it verified, and delete what the plan no longer keeps."""
    backup = request_backup(name, trigger="schedule")
    Backup.objects.filter(pk=backup.pk, check_wanted=Check.NONE).update(check_wanted=Check.VERIFY)
    prune(name)
    return backup


def scheduled_rehearsal(name: str) -> Backup | None:
    """Rehearse a table's newest backup."""
    newest = finished(name)[:1]
    return request_check(newest[0], rehearse=True) if newest else None


def finished(name: str) -> list[Backup]:
    """Return the finished backups of a table, newest first."""
    return list(Backup.objects.filter(table=name, status=BackupStatus.DONE).order_by("-started_at", "-pk"))


def prune(name: str, *, dry_run: bool = False, keeps: dict[str, int] | None = None) -> list[dict[str, Any]]:
    """Delete the backups of a table that its plan no longer keeps; returns all, each with why it stays.

    Backups that an open restore needs stay too.
    """
    backups = finished(name)
    kept = [Kept(b.pk, b.taken_at, verified=b.verified_at is not None, pinned=b.kept) for b in backups]
    reasons = reasons_to_keep(kept, keeps if keeps is not None else table_plan(name).keeps)
    result = []
    for backup in backups:
        why = reasons.get(backup.pk, [])
        if not why and backup.restores.filter(under_way__isnull=False).exists():
            why = ["being restored"]
        if not why and not dry_run:
            delete_backup(backup)
        result.append({"id": backup.pk, "taken_at": backup.taken_at.isoformat(), "keep": bool(why), "reasons": why})
    return result


def tables() -> list[dict[str, Any]]:
    """Return every listed table with its plan and the age of its newest verified backup."""
    plans = {plan.name: plan for plan in ListedTable.objects.all()}
    return [_table(name, plans.get(name)) for name in sorted(listed())]


def _table(name: str, plan: ListedTable | None) -> dict[str, Any]:
    newest = newest_verified(name)
    return {
        "table": name,
        "schedule": plan.schedule if plan else "",
        "rehearsal_schedule": plan.rehearsal_schedule if plan else "",
        "codec": plan.codec if plan else ListedTable._meta.get_field("codec").default,
        "keep": plan.keeps if plan else {},
        "backups": Backup.objects.filter(table=name, status=BackupStatus.DONE).count(),
        "newest_verified": newest.pk if newest else None,
        "newest_verified_age": round(newest.age) if newest else None,
    }


def newest_verified(name: str) -> Backup | None:
    """Return the newest backup of a table that was verified."""
    done = Backup.objects.filter(table=name, status=BackupStatus.DONE, verified_at__isnull=False)
    return done.order_by("-started_at", "-pk").first()
