"""What is left lying is taken up: backups and restores that nobody works on, tables that nobody needs or holds."""

import logging
import re
from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from migration_console.lib.errors import Busy, Refused, Unavailable
from migration_console.lib.progress import Progress, no_progress

from .bell import ring
from .dryrun import forget_old_dry_runs
from .models import Backup, BackupStatus, DryRun, ListedTable, Restore
from .plans import scheduled_backup, scheduled_rehearsal
from .restoring import bring_back, let_go_of_ended
from .shadow import REHEARSAL, SHADOW, drop_tables
from .taking import take

log = logging.getLogger(__name__)
STRAY = re.compile(rf"({SHADOW}|{REHEARSAL})([0-9]+)_([0-9]+)")


def unfinished() -> list[Backup | Restore | DryRun]:
    """Return what has not come to its end, oldest first."""
    asked = Q(status=BackupStatus.DONE) & ~Q(check_wanted="")
    backups = Backup.objects.filter(Q(status__in=Backup.OPEN) | asked).order_by("pk")
    restores = Restore.objects.filter(status__in=Restore.OPEN).order_by("pk")
    return [*backups, *restores, *DryRun.objects.filter(status__in=DryRun.OPEN).order_by("pk")]


def sweep(*, everything: bool = False) -> list[Backup | Restore | DryRun]:
    """Ring for all that nobody works on; with `everything`, also for what was rung for just now."""
    late = timezone.now() - timedelta(seconds=settings.SWEEP_SECONDS)
    left: list[Backup | Restore | DryRun] = []
    for work in unfinished():
        free = type(work)._default_manager.filter(work.free(), pk=work.pk).exists()
        if free and (everything or work.rung_at is None or work.rung_at < late or work.lease_until is not None):
            ring(work)
            left.append(work)
    _serve_schedules()
    let_go_of_ended()
    _drop_strays()
    forget_old_dry_runs()
    return left


def _serve_schedules() -> None:
    """Ask for what schedules are due for: the message of beat may have been lost, as any message."""
    for plan in ListedTable.objects.exclude(schedule="", rehearsal_schedule=""):
        for serve in (scheduled_backup, scheduled_rehearsal):
            try:
                serve(plan.name)
            except (Refused, Unavailable, OSError) as error:
                log.warning("the plan of %s: %s", plan.name, error)


def _drop_strays() -> None:
    """Drop scratch tables whose restore or rehearsal has ended."""
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    for match in filter(None, map(STRAY.fullmatch, names)):
        model: type[Backup] | type[Restore] = Restore if match[1] == SHADOW else Backup
        busy = Q(under_way__isnull=False) | Q(lease_until__isnull=False)
        if not model._default_manager.filter(busy, pk=match[2]).exists():
            with suppress(Busy):  # a table that it refers to is being read: then the next sweep
                drop_tables("", [match[0]])


def work_off(work: Backup | Restore, progress: Progress = no_progress) -> Backup | Restore:
    """Advance one piece of work in this process as far as it gets now."""
    return bring_back(work.pk, progress) if isinstance(work, Restore) else take(work.pk, progress)
