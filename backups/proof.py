"""What is proved of a backup: its files, and on request a restore into a scratch table."""

from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from migration_console.lib.audit import record
from migration_console.lib.errors import Fenced, Problem, conflict
from migration_console.lib.lease import Heartbeat
from migration_console.lib.progress import Progress, no_progress
from migration_console.lib.statements import beside

from .bell import ring
from .errors import Damaged
from .meter import Tell
from .models import Backup, BackupStatus, Check
from .shadow import REHEARSAL, check_shadow, drop_tables, fill_shadow, make_shadow
from .verify import check_files, read_manifest
from .working import MAX_TAKEOVERS, Cancelled, failures, telling


def request_check(backup: Backup, *, rehearse: bool = False, user: Any = None, bell: bool = True) -> Backup:
    """Ask for the proof of a backup: its files, and on request a restore into a scratch table."""
    with transaction.atomic():
        done = Backup.objects.filter(pk=backup.pk, status=BackupStatus.DONE)
        if not done.update(check_wanted=Check.REHEARSE if rehearse else Check.VERIFY):
            backup.refresh_from_db()
            raise conflict("not-done", f"{backup} is {backup.status}; there is nothing to verify")
        if user is not None:
            record("backup.verified", backup, user=user, rehearse=rehearse)
    backup.refresh_from_db()
    if bell:
        ring(backup)
    return backup


def check(pk: int, progress: Progress = no_progress) -> Backup:
    """Prove a backup, if somebody asked for it and nobody else is at it."""
    backup = Backup.objects.get(pk=pk)
    if backup.check_wanted and backup.claim():
        wanted = backup.check_wanted

        def end(status: str, problems: list[dict[str, str]]) -> None:
            if status != BackupStatus.CANCELLED:  # whoever cancelled it wants it no more; nothing was proved
                _checked(backup, wanted, problems)

        with backup.holding() as heartbeat, failures(backup, heartbeat, end):
            end("", _check(backup, wanted, heartbeat, progress))
    backup.refresh_from_db()
    return backup


def _check(backup: Backup, wanted: str, heartbeat: Heartbeat, progress: Progress) -> list[dict[str, str]]:
    if backup.takeovers > MAX_TAKEOVERS:
        message = f"{MAX_TAKEOVERS} workers died or failed while checking it; see their logs"
        return [Problem("takeovers", message).as_dict()]
    Backup.objects.filter(backup.held()).update(check_started_at=timezone.now(), checked_rows=0, checked_bytes=0)

    def round_of(number: int) -> Tell:
        return _teller(backup, heartbeat, progress, number * backup.rows)

    found = _verify(backup, round_of(0))
    if found or wanted != Check.REHEARSE:
        return found
    # Proved by now, however the rehearsal goes: a server that refuses it says nothing about the files.
    Backup.objects.filter(backup.held()).update(verified_at=timezone.now())
    return _rehearse(backup, round_of(1), round_of(2))


def _teller(backup: Backup, heartbeat: Heartbeat, progress: Progress, before: int) -> Tell:
    """Return what a round of a check tells its rows and bytes; `before` are the rows of earlier rounds."""
    return telling(
        backup, heartbeat, lambda rows, _: progress(before + rows, backup.rows_to_check), partial(_note, backup, before)
    )


def _note(backup: Backup, before: int, rows: int, size: int) -> None:
    """Write progress down where the lease is still ours; Cancelled where nobody wants the check any more."""
    mine = Backup.objects.filter(backup.held())
    if not mine.update(checked_rows=before + rows, checked_bytes=size):
        raise Fenced(str(backup))
    if mine.filter(check_wanted=Check.NONE).exists():
        raise Cancelled


def _verify(backup: Backup, tell: Tell) -> list[dict[str, str]]:
    try:
        manifest = read_manifest(backup.prefix, backup.manifest_sha256)
        problems = check_files(manifest, backup.prefix, tell, settings.BACKUP_READERS)
    except Damaged as damage:
        problems = [str(damage)]
    return [Problem("damaged", problem).as_dict() for problem in problems]


def _rehearse(backup: Backup, tell_filling: Tell, tell_comparing: Tell) -> list[dict[str, str]]:
    """Restore into a scratch table, compare, drop."""
    manifest = read_manifest(backup.prefix, backup.manifest_sha256)
    scratch = f"{REHEARSAL}{backup.pk}_{backup.epoch}"
    table = beside(backup.table, scratch)
    try:
        make_shadow(backup.table, manifest, table, f"h{backup.pk}", foreign_keys=False)
        fill_shadow(manifest, backup.prefix, table, tell_filling, settings.BACKUP_READERS)
        check_shadow(manifest, table, tell_comparing, settings.BACKUP_READERS)
    finally:
        drop_tables(backup.table, [scratch])
    return []


def _checked(backup: Backup, wanted: str, problems: list[dict[str, str]]) -> None:
    """Write down what was proved; a damaged backup loses its marks, one that could not be checked keeps them."""
    now = timezone.now()
    marks: dict[str, Any] = {} if problems else {"verified_at": now}
    if wanted == Check.REHEARSE:
        marks["rehearsed_at"] = None if problems else now
    if any(problem["code"] == "damaged" for problem in problems):
        marks = {"verified_at": None, "rehearsed_at": None}
    mine = Backup.objects.filter(backup.held())
    mine.update(
        check_problems=problems, check_started_at=None, checked_rows=0, checked_bytes=0, waiting_for="", **marks
    )
    # A rehearsal that was asked for meanwhile is still to be done.
    mine.filter(check_wanted=wanted).update(check_wanted=Check.NONE)
