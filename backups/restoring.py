"""Restores, from the request to the last trace of the shadow table; and the files that are loaded again."""

import re
from contextlib import suppress
from functools import partial
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from migration_console.lib.audit import record
from migration_console.lib.definition import read_definition
from migration_console.lib.errors import Busy, Fenced, Problem, conflict, refuse, unknown
from migration_console.lib.lease import Heartbeat, TableLease, reserve, unreserve, writing
from migration_console.lib.ledger import ledger
from migration_console.lib.progress import Progress, no_progress
from migration_console.lib.tables import is_own, resolve
from migration_console.numbers import number

from .bell import ring
from .errors import Damaged
from .manifest import Manifest
from .meter import Tell
from .models import Backup, BackupStatus, Restore, RestoreStatus
from .restore import (
    bring_triggers,
    call_off,
    check_plan,
    drop_replaced,
    drop_shadows,
    fill,
    has_swapped,
    impatient,
    plan,
    put_in_place,
    tell_ledger,
    unknown_runs,
)
from .taking import request_backup, take
from .verify import read_manifest
from .working import MAX_TAKEOVERS, failures, note, teller

LATEST = "latest"
# How the trigger of a backup begins that a restore takes first.
SAFETY = "restore "
# The code of a problem: a file that was to be loaded again is not in the lake any more.
GONE = "file-gone"
# From here on a restore goes on to its end: it can no longer be cancelled.
TOO_LATE = (RestoreStatus.SWAPPED,)


def find_backup(table: str, backup: int | str = LATEST) -> Backup:
    """Return a finished backup of a listed table, by its id or the latest that somebody, or a schedule, asked for.

    What a restore has put aside is no `latest`: a second restore would bring back what the first one mended.
    """
    done = Backup.objects.filter(table=table, status=BackupStatus.DONE)
    if backup == LATEST:
        found = done.exclude(trigger__startswith=SAFETY).order_by("-started_at", "-pk").first()
    else:
        found = done.filter(pk=number(str(backup)) or 0).first()
    if found is None:
        raise unknown("unknown-backup", f"there is no finished backup {'' if backup == LATEST else backup} of {table}")
    return found


def manifest_of(backup: Backup) -> Manifest:
    """Return what a backup holds; Refused where it cannot be believed."""
    try:
        manifest = read_manifest(backup.prefix, backup.manifest_sha256)
    except Damaged as damage:
        raise refuse("damaged", f"{backup} cannot be restored: {damage}") from None
    if manifest.vendor != connection.vendor:
        raise refuse("other-server", f"{backup} was taken on {manifest.server['version']}; it can only go back to such")
    return manifest


def target_of(table: str, into: str | None) -> str:
    """Return where the rows go: the table itself, a listed one, or a new one."""
    if not into or into == table:
        return table
    # MySQL takes no name that ends in a space, nor one with a character beyond U+FFFF.
    if is_own(into) or not re.fullmatch(r"[\w$ -]{1,64}", into) or into.endswith(" ") or max(into) > "\uffff":
        raise refuse("bad-name", f"{into!r} is no name for a table of yours")
    return resolve(into) if read_definition(connection, into) is not None else into


def request_restore(
    table: str,
    *,
    backup: int | str = LATEST,
    into: str | None = None,
    user: Any = None,
    back_up_first: bool = True,
    take_schema: bool = False,
    trigger: str = "command",
    bell: bool = True,
) -> Restore:
    """Ask for a restore; the same plan that is under way already is the answer to a second request."""
    chosen = find_backup(resolve(table), backup)
    target = target_of(table, into)
    same = Restore.objects.filter(under_way=target).first()
    if same is not None and same.backup_id == chosen.pk:
        return same
    if same is not None:
        raise conflict("under-way", f"{same} from {same.backup} is under way; wait for it, or cancel it")
    check_plan(plan(manifest_of(chosen), target), target, take_schema=take_schema)
    try:
        with transaction.atomic():
            # Locked: whoever deletes this very backup comes before, or behind and finds it in use.
            if not Backup.objects.select_for_update().filter(pk=chosen.pk, status=BackupStatus.DONE).first():
                raise unknown("unknown-backup", f"{chosen} was deleted just now")
            restore = Restore.objects.create(
                backup=chosen,
                table=target,
                under_way=target,
                requested_by=user,
                back_up_first=back_up_first,
                take_schema=take_schema,
                trigger=trigger[:20],
                rows_expected=chosen.rows,
            )
            how = {"backup": chosen.pk, "back_up_first": back_up_first, "take_schema": take_schema}
            record("restore.requested", restore, user=user, **how, trigger=trigger)
    except IntegrityError:  # another request got there first: answer as if this one had come behind it
        return request_restore(table, backup=chosen.pk, into=into, user=user, take_schema=take_schema, bell=bell)
    if bell:
        ring(restore)
    return restore


def bring_back(pk: int, progress: Progress = no_progress) -> Restore:
    """Bring a restore as far as it can go now; one that waits, or was interrupted, stays open."""
    restore = Restore.objects.select_related("backup").get(pk=pk)
    if restore.status in Restore.OPEN and restore.claim():
        with restore.holding() as heartbeat, failures(restore, heartbeat, partial(_end, restore)):
            _restore(restore, heartbeat, progress)
    restore.refresh_from_db()
    return restore


def _restore(restore: Restore, heartbeat: Heartbeat, progress: Progress) -> None:
    if restore.status == RestoreStatus.SWAPPING and has_swapped(restore):
        restore.step(RestoreStatus.SWAPPED)
    if restore.status == RestoreStatus.SWAPPED:
        _finish(restore, _manifest(restore))
        return
    # Before anything is read: a lake that is away keeps nobody from cancelling.
    if restore.cancel_requested:
        _end(restore, RestoreStatus.CANCELLED, [])
        return
    if restore.takeovers > MAX_TAKEOVERS:
        message = f"{MAX_TAKEOVERS} workers died or failed at it; see their logs. The table is as it was"
        _end(restore, RestoreStatus.FAILED, [Problem("takeovers", message).as_dict()])
        return
    if waits := _waits(restore):
        restore.wait(waits)
        return
    manifest = _manifest(restore)
    with writing(restore.table) as ours:
        if not ours:
            restore.wait(f"the writing lease of {restore.table}, which somebody else holds")
            return
        if not _backed_up(restore):
            return
        shadow = _filled(restore, manifest, teller(restore, heartbeat, progress))
        note(restore, manifest.rows, manifest.size)
        put_in_place(restore, manifest, shadow)
        _finish(restore, manifest)


def _manifest(restore: Restore) -> Manifest:
    return read_manifest(restore.backup.prefix, restore.backup.manifest_sha256)


def _by(restore: Restore) -> str:
    return f"{SAFETY}{restore.pk}"


def _waits(restore: Restore) -> str:
    """Keep new runs from beginning, and say which one has not ended yet: its rows must not go to the old table."""
    with transaction.atomic():
        # Locked: who was taken over, and wakes up behind the end of the restore, reserves nothing any more.
        if not Restore.objects.filter(restore.held(), status__in=Restore.OPEN).update(epoch=restore.epoch):
            raise Fenced(str(restore))
        ours = reserve(restore.table, _by(restore))
    if not ours:
        return f"{restore.table}, which somebody else has reserved"
    loading = ledger().loading(restore.table)
    return f"{loading[0]}, which is loading into {restore.table}" if loading else ""


def _backed_up(restore: Restore) -> bool:
    """Back up the present table first; False where that has to wait."""
    if not restore.back_up_first or read_definition(connection, restore.table) is None:
        return True
    if restore.safety is None:
        safety = request_backup(restore.table, user=restore.requested_by, trigger=_by(restore), bell=False)
        if safety.trigger != _by(restore):
            restore.wait(f"{safety}, which is under way")
            return False
        restore.step(RestoreStatus.BACKING_UP, safety=safety)
    assert restore.safety is not None
    safety = take(restore.safety.pk)
    if safety.status in Backup.OPEN:
        restore.wait(f"{safety}: {safety.waiting_for or safety.status}")
        return False
    if safety.status != BackupStatus.DONE:
        why = "; ".join(problem["message"] for problem in safety.problems) or safety.status
        raise conflict("no-backup", f"{restore.table} could not be backed up first: {why}. Nothing was changed")
    return True


def _filled(restore: Restore, manifest: Manifest, tell: Tell) -> str:
    """Return a shadow that holds the backup: where an earlier try had compared its own, only the swap is left."""
    if restore.shadow and read_definition(connection, restore.shadow) is not None:
        return restore.shadow
    begun = {"started_at": restore.started_at or timezone.now(), "rows": 0, "bytes": 0}
    restore.step(RestoreStatus.LOADING, **begun, shadow="", replaces=False)
    return fill(restore, manifest, tell)


def _finish(restore: Restore, manifest: Manifest) -> None:
    """Tell the ledger, and clear away what is no longer needed; every step may be done again."""
    with impatient():
        tell_ledger(restore, manifest)
    problems = [problem.as_dict() for problem in [*unknown_runs(restore, manifest), *bring_triggers(restore, manifest)]]
    drop_replaced(restore)
    drop_shadows(restore)
    _let_go(restore, RestoreStatus.DONE, rows=manifest.rows, bytes=manifest.size, problems=problems)


def _end(restore: Restore, status: str, problems: list[dict[str, str]]) -> None:
    """End a restore that has changed nothing; one that has swapped stays open until the ledger knows."""
    mine = Restore.objects.filter(restore.held(), status__in=Restore.OPEN)
    # Read anew: a step that was rolled back is not in the database.
    stands = mine.values_list("status", flat=True).first()
    if stands == RestoreStatus.SWAPPED or (stands and restore.shadow and not call_off(restore)):
        mine.update(status=RestoreStatus.SWAPPED)
        why = "; ".join(problem["message"] for problem in problems) or "the table was swapped just now"
        restore.wait(f"the ledger, which has yet to be told that {restore.table} was swapped: {why}")
    elif _let_go(restore, RestoreStatus(status), problems=problems):
        with suppress(Busy):  # the sweep drops what is left
            drop_shadows(restore)


def _let_go(restore: Restore, status: RestoreStatus, **fields: Any) -> bool:
    """End the restore and let runs begin to load again: a table stays reserved for no restore that has ended."""
    with transaction.atomic():
        ended = restore.end(status, **fields)
        if ended:
            unreserve(restore.table, _by(restore))
    ledger().ring_waiting()
    return ended


def let_go_of_ended() -> None:
    """Let runs begin again where a table is still reserved for a restore that has ended."""
    gone = False
    for lease in TableLease.objects.filter(reserved_by__startswith=SAFETY):
        pk = number(lease.reserved_by.removeprefix(SAFETY))
        if not Restore.objects.filter(pk=pk or 0, status__in=Restore.OPEN).exists():
            unreserve(lease.table, lease.reserved_by)
            gone = True
    if gone:
        ledger().ring_waiting()


def cancel_restore(restore: Restore, *, user: Any = None) -> Restore:
    """Ask a restore to stop; one that has swapped goes on to its end."""
    stoppable = Restore.objects.filter(pk=restore.pk, status__in=Restore.OPEN).exclude(status__in=TOO_LATE)
    with transaction.atomic():
        if stoppable.filter(cancel_requested=False).update(cancel_requested=True):
            record("restore.cancelled", restore, user=user)
    restore.refresh_from_db()
    if restore.cancel_requested:
        # Whoever works on it sees the wish at its next block; where nobody does, this ends it now.
        bring_back(restore.pk)
        restore.refresh_from_db()
    return restore


def load_again(restore: Restore, *, user: Any = None) -> list[int]:
    """Load the files of the runs that a restore rolled back once more, in one action; return the new runs.

    Files that are gone become problems of the restore, and keep no other from being loaded.
    """
    if restore.status != RestoreStatus.DONE:
        raise conflict("not-done", f"{restore} is {restore.status}")
    runs, missing = list[int](), list[str]()
    try:
        for found in ledger().load_again(restore.rolled_back):
            if found.again is None:
                missing.append(found.problem)
                continue
            runs.append(found.again)
            # One by one: a later one that fails leaves none of them out.
            _note_again(restore, found.again)
    finally:
        if runs:
            record("restore.loaded_again", restore, user=user, runs=runs)
    _note_missing(restore, missing)
    restore.refresh_from_db()
    return runs


def _note_again(restore: Restore, run: int) -> None:
    with transaction.atomic():
        # Locked: of two who ask at once, each adds its own runs.
        locked = Restore.objects.select_for_update().get(pk=restore.pk)
        locked.loaded_again = [*locked.loaded_again, run]
        locked.save(update_fields=["loaded_again"])


def _note_missing(restore: Restore, missing: list[str]) -> None:
    with transaction.atomic():
        locked = Restore.objects.select_for_update().get(pk=restore.pk)
        others = [problem for problem in locked.problems if problem["code"] != GONE]
        locked.problems = [*others, *(Problem(GONE, message).as_dict() for message in missing)]
        locked.save(update_fields=["problems"])
