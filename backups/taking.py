"""Backups, from the request to the manifest; and their deletion."""

import hashlib
import logging
import uuid
from functools import partial
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from migration_console.lib.audit import record
from migration_console.lib.errors import Fenced, Problem, Unavailable, conflict, refuse
from migration_console.lib.lake import lake
from migration_console.lib.lease import Heartbeat
from migration_console.lib.progress import Progress, no_progress
from migration_console.lib.tables import resolve

from .bell import ring
from .container import CODECS
from .dump import Order, dump
from .manifest import NAME, Manifest
from .models import Backup, BackupStatus, Check, ListedTable
from .proof import check
from .working import MAX_TAKEOVERS, failures, note, teller

log = logging.getLogger(__name__)
# Triggers of backups that the console asks for; the log is of what people do.
BY_ITSELF = ("schedule", "restore ")


def request_backup(
    table: str, *, user: Any = None, codec: str = "", trigger: str = "command", bell: bool = True
) -> Backup:
    """Ask for a backup of a listed table; the one that is under way already is the answer to a second request."""
    table = resolve(table)
    plan = ListedTable.objects.filter(name=table).first()
    codec = codec or (plan.codec if plan else "deflate")
    if codec not in CODECS:
        raise refuse("codec", f"{codec!r} is none of {', '.join(CODECS)}")
    try:
        with transaction.atomic():
            backup = Backup.objects.create(
                table=table, under_way=table, codec=codec, requested_by=user, trigger=trigger[:20]
            )
            if not trigger.startswith(BY_ITSELF):
                record("backup.requested", backup, user=user, codec=codec, trigger=trigger)
    except IntegrityError:
        under_way = Backup.objects.filter(under_way=table).first()
        # It may have ended between the two statements; then this is a request of its own.
        return under_way or request_backup(table, user=user, codec=codec, trigger=trigger, bell=bell)
    if bell:
        ring(backup)
    return backup


def take(pk: int, progress: Progress = no_progress) -> Backup:
    """Bring a backup as far as it can go now: take it, then prove of it what somebody asked for."""
    backup = Backup.objects.get(pk=pk)
    if backup.status in Backup.OPEN and backup.claim():
        with backup.holding() as heartbeat, failures(backup, heartbeat, partial(_end, backup)):
            _take(backup, heartbeat, progress)
    backup.refresh_from_db()
    if backup.status == BackupStatus.DONE and backup.check_wanted:
        backup = check(pk, progress)
    return backup


def _end(backup: Backup, status: str, problems: list[dict[str, str]]) -> None:
    if backup.end(BackupStatus(status), problems=problems):
        try:
            delete_files(backup.prefix)
        except (Unavailable, OSError) as error:
            log.warning("%s has ended; what it left at %s stays there: %s", backup, backup.prefix, error)


def _take(backup: Backup, heartbeat: Heartbeat, progress: Progress) -> None:
    if backup.cancel_requested:
        _end(backup, BackupStatus.CANCELLED, [])
        return
    if backup.takeovers > MAX_TAKEOVERS:
        message = f"{MAX_TAKEOVERS} workers died or failed while taking it; see their logs"
        _end(backup, BackupStatus.FAILED, [Problem("takeovers", message).as_dict()])
        return
    left = backup.prefix
    _begin(backup)
    # What an interrupted try has left never had a manifest.
    delete_files(left)
    by = f"{backup.trigger} {backup.requested_by or ''}".strip()
    order = Order(backup.table, backup.prefix, backup.codec, settings.BACKUP_READERS, by)
    try:
        manifest = dump(connection, order, teller(backup, heartbeat, progress), lambda: _still_ours(backup))
        _done(backup, manifest)
    except Fenced:
        # Nobody else knows this place: whoever has taken over works in another one.
        delete_files(order.prefix)
        raise


def _begin(backup: Backup) -> None:
    """Choose a place in the lake that no other try has: names never collide."""
    stamp = timezone.now().strftime("%Y%m%dT%H%M%SZ")
    prefix = f"backups/{backup.table}/{stamp}-{uuid.uuid4().hex[:8]}"
    mine = Backup.objects.filter(backup.held())
    started = {"status": BackupStatus.RUNNING, "prefix": prefix, "started_at": timezone.now(), "waiting_for": ""}
    if not mine.update(**started, rows_expected=estimate(backup.table)):
        raise Fenced(str(backup))
    backup.refresh_from_db()


def estimate(table: str) -> int:
    """Return about how many rows a table has."""
    schema, _, name = table.rpartition(".")
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            return 0
        cursor.execute(
            "SELECT table_rows FROM information_schema.tables"
            " WHERE table_schema = COALESCE(NULLIF(%s, ''), DATABASE()) AND table_name = %s",
            [schema, name],
        )
        row = cursor.fetchone()
    return int(row[0] or 0) if row else 0


def _still_ours(backup: Backup) -> None:
    """Raise where the backup must not count: somebody cancelled it, or another worker takes it again."""
    note(backup, backup.rows, backup.bytes)


def _done(backup: Backup, manifest: Manifest) -> None:
    done = {
        "rows": manifest.rows,
        "rows_expected": manifest.rows,
        "bytes": manifest.size,
        "digest": manifest.digest,
        "parts": len(manifest.parts),
        "runs": len(manifest.runs),
        "manifest_sha256": hashlib.sha256(manifest.sealed()).hexdigest(),
    }
    ended = {"status": BackupStatus.DONE, "under_way": None, "finished_at": timezone.now(), "waiting_for": ""}
    if not Backup.objects.filter(backup.held(), prefix=backup.prefix).update(**ended, **done):
        raise Fenced(str(backup))


def cancel_backup(backup: Backup, *, user: Any = None) -> Backup:
    """Ask a backup, or its proof, to stop; one that nobody works on stops now."""
    with transaction.atomic():
        mine = Backup.objects.filter(pk=backup.pk)
        changed = mine.filter(status__in=Backup.OPEN, cancel_requested=False).update(cancel_requested=True)
        changed += mine.exclude(check_wanted=Check.NONE).update(check_wanted=Check.NONE)
        if changed:
            record("backup.cancelled", backup, user=user)
    # Whoever works on it sees the wish at its next block; where nobody does, this ends it now.
    take(backup.pk)
    backup.refresh_from_db()
    return backup


def newest_verified(name: str) -> Backup | None:
    """Return the newest backup of a table that was verified."""
    done = Backup.objects.filter(table=name, status=BackupStatus.DONE, verified_at__isnull=False)
    return done.order_by("-started_at", "-pk").first()


def keep_backup(backup: Backup, kept: bool, *, user: Any = None) -> Backup:
    """Keep a backup from being deleted by its table's plan, or let it go again."""
    with transaction.atomic():
        if Backup.objects.filter(pk=backup.pk, status=BackupStatus.DONE, kept=not kept).update(kept=kept):
            record("backup.kept" if kept else "backup.released", backup, user=user)
    backup.refresh_from_db()
    return backup


def delete_backup(
    backup: Backup, *, user: Any = None, by: str = "person", spare_newest_verified: bool = False
) -> Backup:
    """Delete a backup's files, the manifest first, so that none counts that is half gone."""
    with transaction.atomic():
        # Locked: whoever restores this very backup comes before, or behind and finds it gone.
        backup = Backup.objects.select_for_update().get(pk=backup.pk)
        if backup.status in Backup.OPEN:
            raise conflict("under-way", f"{backup} is under way; cancel it first")
        if backup.restores.filter(under_way__isnull=False).exists():
            raise conflict("in-use", f"{backup} is being restored")
        if spare_newest_verified and newest_verified(backup.table) == backup:
            raise conflict("newest-verified", f"{backup} is the newest one of {backup.table} that is known to be whole")
        if backup.status != BackupStatus.DELETED:
            Backup.objects.filter(pk=backup.pk).update(status=BackupStatus.DELETED, check_wanted=Check.NONE)
            record("backup.deleted", backup, user=user, by=by, prefix=backup.prefix)
    delete_files(backup.prefix)
    backup.refresh_from_db()
    return backup


def delete_files(prefix: str) -> None:
    """Delete everything under a backup's place in the lake."""
    if not prefix:
        return
    versions = sorted(lake().list(prefix), key=lambda version: not version.key.endswith(f"/{NAME}"))
    for version in versions:
        lake().delete(version)
    lake().discard(prefix)
