"""What a restore would change: told at once, or found by a worker; and the restore that was decided upon by it."""

import hashlib
import json
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from migration_console.lib.definition import read_definition
from migration_console.lib.errors import Problem, Refused, conflict, refuse
from migration_console.lib.lease import Heartbeat
from migration_console.lib.ledger import ledger
from migration_console.lib.progress import Progress, no_progress
from migration_console.lib.swap import check_exchange
from migration_console.lib.tables import resolve

from .bell import ring
from .difference import difference
from .errors import Damaged, OutOfRange
from .manifest import Manifest
from .meter import Tell, silent
from .models import Backup, BackupStatus, DryRun, Restore
from .restore import Plan, check_plan, plan
from .restoring import LATEST, find_backup, manifest_of, request_restore, target_of
from .taking import estimate
from .working import MAX_TAKEOVERS, failures, teller

# How long people may think about what they were shown.
GOOD_FOR = timedelta(hours=1)
KEPT_FOR = timedelta(days=7)


def dry_run(table: str, *, backup: int | str = LATEST, into: str | None = None) -> dict[str, Any]:
    """Return what a restore would change; changes nothing."""
    chosen = find_backup(resolve(table), backup)
    return foresee(chosen, target_of(table, into))


def outlook(manifest: Manifest, target: str) -> tuple[Plan, list[str]]:
    """Return how a backup would get into a table, and what forbids it; no row is looked at."""
    found = plan(manifest, target)
    try:
        check_plan(found, target, take_schema=found.how != "exchange")
        if found.how == "exchange" and (definition := read_definition(connection, target)):
            check_exchange(connection, definition, manifest.rows)
    except Refused as refused:
        return found, [problem.message for problem in refused.problems]
    return found, []


def foresee(chosen: Backup, target: str, tell: Tell = silent) -> dict[str, Any]:
    """Return what a restore would change; every row of both sides is looked at."""
    manifest = manifest_of(chosen)
    found, problems = outlook(manifest, target)
    result: dict[str, Any] = {"backup": chosen.pk, "table": target, "how": found.how, "problems": problems}
    if found.how == "create":
        counts = {"rows_now": 0, "rows_then": manifest.rows, "added": manifest.rows, "removed": 0, "changed": 0}
        return {**result, **counts, "only_then": [], "only_now": [], "roll_back": [], "waits_for": []}
    then = manifest.runs if target == chosen.table else ()
    known = {run["run"] for run in then} - {run["run"] for run in ledger().strangers(target, then)}
    now = ledger().contents(ask, target)
    try:
        rows = difference(connection, manifest, chosen.prefix, target, tell).as_dict()
    except Damaged as damage:
        raise refuse("damaged", f"{chosen} cannot be restored: {damage}") from None
    except OutOfRange as value:
        raise refuse("out-of-range", f"{target} cannot be compared with {chosen}: {value}") from None
    return {
        **result,
        **rows,
        "only_then": found.only_then,
        "only_now": found.only_now,
        "roll_back": [run for run in now if run["run"] not in known],
        "waits_for": ledger().loading(target),
    }


def ask(sql: str, parameters: Any) -> list[tuple[Any, ...]]:
    """Ask the console's own session."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def request_dry_run(
    table: str, *, backup: int | str = LATEST, into: str | None = None, user: Any = None, bell: bool = True
) -> DryRun:
    """Ask what a restore would change; the same question that is being answered already is not asked twice."""
    chosen = find_backup(resolve(table), backup)
    target = target_of(table, into)
    question = f"{chosen.pk} {target} {user.pk if user else ''}"
    try:
        with transaction.atomic():
            seen = DryRun.objects.create(
                backup=chosen,
                table=target,
                under_way=question,
                requested_by=user,
                trigger="page",
                rows_expected=chosen.rows,
            )
    except IntegrityError:
        under_way = DryRun.objects.filter(under_way=question).first()
        # It may have ended between the two statements; then this is a question of its own.
        return under_way or request_dry_run(table, backup=backup, into=into, user=user, bell=bell)
    if bell:
        ring(seen)
    return seen


def try_out(pk: int, progress: Progress = no_progress) -> DryRun:
    """Find out what a restore would change; a dry run that was interrupted begins again."""
    seen = DryRun.objects.select_related("backup").get(pk=pk)
    if seen.status in DryRun.OPEN and seen.claim():
        with seen.holding() as heartbeat, failures(seen, heartbeat, partial(_end, seen)):
            _try_out(seen, heartbeat, progress)
    seen.refresh_from_db()
    return seen


def _end(seen: DryRun, status: str, problems: list[dict[str, str]]) -> None:
    seen.end(BackupStatus(status), problems=problems)


def _try_out(seen: DryRun, heartbeat: Heartbeat, progress: Progress) -> None:
    if seen.cancel_requested:
        seen.end(BackupStatus.CANCELLED)
        return
    if seen.takeovers > MAX_TAKEOVERS:
        message = f"{MAX_TAKEOVERS} workers died or failed while comparing; see their logs"
        seen.end(BackupStatus.FAILED, problems=[Problem("takeovers", message).as_dict()])
        return
    # Taken before the rows are compared: what changes meanwhile shows as a change.
    stand = _stand(seen.backup, seen.table)
    expected = seen.backup.rows + estimate(seen.table)
    begun = {"status": BackupStatus.RUNNING, "started_at": timezone.now(), "waiting_for": "", "rows": 0}
    DryRun.objects.filter(seen.held()).update(**begun, rows_expected=expected)
    seen.refresh_from_db()
    result = foresee(seen.backup, seen.table, teller(seen, heartbeat, progress))
    DryRun.objects.filter(seen.held(), status=BackupStatus.RUNNING).update(
        status=BackupStatus.DONE, under_way=None, finished_at=timezone.now(), result={**result, "stand": stand}
    )


def _stand(backup: Backup, target: str) -> str:
    """Return a digest of all that is quickly known of a table: its definition, and what was loaded into it."""
    found, problems = outlook(manifest_of(backup), target)
    runs = (
        sorted([run["run"], run["loaded"]] for run in ledger().contents(ask, target)) if found.how != "create" else []
    )
    return hashlib.sha256(json.dumps([vars(found), problems, runs]).encode()).hexdigest()


def cancel_dry_run(seen: DryRun) -> DryRun:
    """Ask a dry run to stop; one that nobody works on stops now."""
    DryRun.objects.filter(pk=seen.pk, status__in=DryRun.OPEN).update(cancel_requested=True)
    # Whoever works on it sees the wish at its next block; where nobody does, this ends it now.
    return try_out(seen.pk)


def restore_as_seen(seen: DryRun, *, user: Any, back_up_first: bool = True, take_schema: bool = False) -> Restore:
    """Ask for the restore whose dry run somebody has seen; Conflict where the table is no longer as it was then."""
    again = "make the dry run again"
    if seen.status != BackupStatus.DONE:
        raise conflict("not-done", f"{seen} is {seen.status}; {again}")
    if seen.result["problems"]:
        raise conflict("refused", "; ".join(seen.result["problems"]))
    under_way = Restore.objects.filter(under_way=seen.table, backup=seen.backup).first()
    if under_way is not None:
        return under_way
    if seen.finished_at is None or timezone.now() - seen.finished_at > GOOD_FOR:
        raise conflict("too-old", f"the dry run is older than an hour; {again}")
    find_backup(seen.backup.table, seen.backup_id)
    if _stand(seen.backup, seen.table) != seen.result["stand"]:
        raise conflict("table-changed", f"{seen.table} has changed since the dry run; {again}")
    return request_restore(
        seen.backup.table, backup=seen.backup_id, into=seen.table, user=user, trigger="page",
        back_up_first=back_up_first, take_schema=take_schema,
    )  # fmt: skip


def forget_old_dry_runs() -> None:
    """Delete what nobody decides upon any more."""
    DryRun.objects.filter(created_at__lt=timezone.now() - KEPT_FOR).exclude(status__in=DryRun.OPEN).delete()
