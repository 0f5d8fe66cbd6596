"""A run's way: survey, begin, load, finish, archive. Each step may be done by any worker, any time again;
leases decide who works, the database says what is left.
"""

import logging
from contextlib import nullcontext
from typing import Any

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F, Sum
from django.db.models.functions import Now
from django.utils import timezone

from migration_console.lib import swap
from migration_console.lib.audit import record
from migration_console.lib.definition import TableDefinition
from migration_console.lib.errors import Broken, Busy, Fenced, Gone, Refused, Unavailable, conflict, refuse
from migration_console.lib.lease import reserved, writing
from migration_console.lib.progress import Progress, no_progress

from .archive import archive, version_of
from .begin import MAX_TAKEOVERS, gave_up, makes_way, problem, start
from .bell import ring, ring_waiting
from .datasets import parent_tables
from .destination import Destination
from .finish import finish, left_of, totals_of
from .loader import Cancelled, LimitPassed, Loader, transient_errors
from .models import CORRECTION, OPEN, Part, Run, Status
from .newer import refuse_older
from .schema import Schema
from .settling import inherit, settle
from .survey import Survey, stored_survey
from .target import destination, ensure_table

log = logging.getLogger(__name__)
MAX_RESTARTS = 3


def advance(pk: int, progress: Progress = no_progress, *, load: bool = True) -> Run:
    """Bring a run as far as it can go now; returns it as it then stands. Without `load`, no further than the survey.

    `progress` is told how many records of how many are through. Waiting, fenced and interrupted runs
    stay open: another worker, or the sweep, goes on with them.
    """
    run = Run.objects.select_related("dataset").get(pk=pk)
    try:
        with transient_errors():
            _advance(run, progress, load=load)
    except Busy as busy:
        _note_wait(run, str(busy))
    except (Unavailable, OSError) as error:
        log.warning("%s waits: %s", run, error)
        _note_wait(run, f"the database or the lake did not answer: {error}")
    except Fenced as error:
        log.warning("%s: fenced: %s", run, error)
    except Exception as error:
        log.exception("%s failed", run)
        _note_failure(run, error)
    run.refresh_from_db()
    return run


def _note_wait(run: Run, why: str) -> None:
    try:
        run.wait(why)
    except DatabaseError:
        log.warning("%s: the database is still away", run)


def _note_failure(run: Run, error: Exception) -> None:
    """Count what nobody foresaw; a run that fails again and again ends, so that a person sees it."""
    connection.close()
    Run.objects.filter(pk=run.pk).update(takeovers=F("takeovers") + 1)
    run.refresh_from_db()
    words = f"{type(error).__name__}: {error}"
    if run.takeovers > MAX_TAKEOVERS and run.status in OPEN:
        run.end(Status.FAILED, problems=[problem("failure", words)], **left_of(run))
    else:
        run.wait(f"another try after {words}")


def _advance(run: Run, progress: Progress, *, load: bool) -> None:
    if run.status in OPEN and run.dataset is not None and not run.dataset.paused:
        try:
            if (run.status == Status.LOADING or start(run)) and load:
                _load(run, progress)
        except (Refused, Gone) as error:
            _end(run, error)
        except Broken as broken:
            log.error("%s does not add up: %s", run, broken)
            run.end(Status.FAILED, **left_of(run), problems=[problem("ledger", f"{broken}; nothing more is loaded")])
        except Cancelled:
            run.end(Status.CANCELLED, **left_of(run))
    elif run.status == Status.LOADING and run.cancel_requested and not run.parts.filter(lease_until__gt=Now()).exists():
        # Its dataset is paused: nobody comes to the batch at which it would see the wish.
        run.end(Status.CANCELLED, **left_of(run))
    run.refresh_from_db()
    if load and run.status not in OPEN and run.closed_at is None and run.claim():
        with run.holding():
            if not settle(run):
                return  # another worker is still at a part of it
            inherit(run)
            archive(run)
        ring_waiting()


def _end(run: Run, error: Refused | Gone) -> None:
    """End a run for what its file is; with rows of it in the table already, it has failed and says so."""
    status = Status.REFUSED if isinstance(error, Refused) else Status.GONE
    problems = [found.as_dict() for found in error.problems] if isinstance(error, Refused) else []
    totals = totals_of(run)
    if run.schema_version is not None and schema_of(run).descriptor.whole:
        totals["loaded"] = 0
        swap.drop_leftovers(connection, schema_of(run).descriptor.target, run.pk)
    elif totals["loaded"]:
        status = Status.FAILED
        message = f"{error}; {totals['loaded']} rows of it are in the table already, with _run = {run.pk}"
        problems = [*problems, problem("changed-while-loading", message)]
    run.end(status, problems=problems, **totals)


def schema_of(run: Run) -> Schema:
    """Return the schema that a run is pinned to."""
    assert run.schema_version is not None
    return run.schema_version.schema


def _load(run: Run, progress: Progress) -> None:
    schema, found = schema_of(run), stored_survey(run.survey)
    table = schema.descriptor.target
    exclusive = schema.descriptor.mode != "append" or schema.descriptor.whole
    with writing(table) if exclusive else nullcontext() as lease:
        if exclusive and lease is None:
            run.wait(f"the writing lease of {table}, which another run holds")
            return
        if makes_way(run, schema, lease):
            return
        to = destination(run, schema, target_of(schema), lease)
        passed_limit = False
        try:
            _load_parts(run, schema, found, to, progress)
        except LimitPassed:
            passed_limit = True  # the rest need not be read: finish refuses the file
        _finish(run, schema, found, to, early=passed_limit)


def target_of(schema: Schema) -> TableDefinition:
    """Return the target table of a schema, made when it is missing."""
    return ensure_table(connection, schema, parent_tables(schema))


def _load_parts(run: Run, schema: Schema, found: Survey, to: Destination, progress: Progress) -> None:
    done = run.batches.aggregate(rows=Sum("rows"))["rows"] or 0

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, found.records)

    loader = Loader(run, schema, found, to, tell)
    while (part := _claim_part(run, to)) is not None:
        loader.load(part, version_of(run))
        if part.next_byte != part.end:
            raise Broken(f"{part} ended at byte {part.next_byte} instead of {part.end}")


def _claim_part(run: Run, to: Destination) -> Part | None:
    """Take a part that is left and free; the parts of a run in any order only where order cannot show."""
    left = run.parts.filter(Part.unfinished()).order_by("number")
    for part in left if any_order(run, to) else left[:1]:
        if part.claim(Part.unfinished()):
            if part.takeovers > MAX_TAKEOVERS:
                part.release(failed=True)  # who has the run tried again shall not wait for this lease
                gave_up(run, f"loading {part}")
                return None
            return part
    return None


def any_order(run: Run, to: Destination) -> bool:
    """Tell whether parts may load side by side: no key at all, or one key that the survey saw rising."""
    if to.upsert or any(to.is_self(key) for key in to.foreign_keys):
        return False
    keys = to.definition.keys
    return not keys or (len(keys) == 1 and keys[0].primary and bool(run.survey["rising"]))


def _finish(run: Run, schema: Schema, found: Survey, to: Destination, *, early: bool) -> None:
    run.refresh_from_db()
    if run.status != Status.LOADING or (not early and run.parts.filter(Part.unfinished()).exists()):
        return  # parts are left that somebody else holds
    if not run.claim():
        return  # another worker finished the last part at the same time, and finishes the run
    with run.holding():
        if run.takeovers > MAX_TAKEOVERS:
            gave_up(run, "finishing it")
            return
        try:
            finish(run, schema, found, to)
        except IntegrityError as error:
            if not schema.descriptor.whole:
                raise
            _restart(run, str(error))


def _restart(run: Run, why: str) -> None:
    """Load a whole file anew: the table has changed between staging and publishing. Nothing was published."""
    if sum(warning.startswith("Loaded anew") for warning in run.warnings) >= MAX_RESTARTS:
        run.end(
            Status.FAILED, problems=[problem("conflict", f"the table kept changing while the file was loaded: {why}")]
        )
        return
    swap.drop_leftovers(connection, schema_of(run).descriptor.target, run.pk)
    with transaction.atomic():
        run.rejects.all().delete()
        run.batches.all().delete()
        run.parts.update(next_byte=F("start"), next_row=F("first_row"), next_line=F("first_line"))
        run.warnings = [*run.warnings, f"Loaded anew, since the table had changed: {why}"]
        run.save(update_fields=["warnings"])
    ring(run)


AGAIN = {Status.REFUSED, Status.FAILED, Status.CANCELLED, Status.DUPLICATE}


def may_retry(run: Run) -> bool:
    """Tell whether a run can be taken up again: it did not end well, and is no correction."""
    return run.status in AGAIN and run.closed_at is not None and run.trigger != CORRECTION


def retry(run: Run, *, user: Any = None, reason: str = "") -> None:
    """Take up a run that did not end well: behind what its ledger holds, or from the start where that is nothing."""
    if run.status not in AGAIN or run.closed_at is None:
        raise conflict("not-ended", f"{run} is {run.status}; only refused, failed, cancelled and duplicate runs can be")
    if run.parent is not None and run.trigger == CORRECTION:
        raise conflict("correction", f"its rows are open again in run {run.parent_id}; send them from there", "run")
    if run.status == Status.DUPLICATE and not reason:
        raise refuse("reason", "these bytes are loaded already; say why they shall be loaded again", "reason")
    goes_on = run.batches.exists() and not schema_of(run).descriptor.whole
    if not goes_on and run.children.filter(trigger=CORRECTION, loaded__gt=0).exists():
        raise conflict(
            "corrected", f"corrected rows of {run} are in the table already; send the others from its rejects"
        )
    if run.dataset is not None:
        refuse_older(run, (goes_on and run.schema_version) or run.dataset.current)
    fields: dict[str, Any] = {"status": Status.LOADING if goes_on else Status.RECEIVED}
    if not goes_on:
        fields |= {"schema_version": None, "survey": {}, "sha256": None, "started_at": None, "duplicate_of": None}
        fields |= dict.fromkeys(["read", "loaded", "rejected", "skipped"], 0) | {"errors": []}
    with transaction.atomic():
        if goes_on:
            _refuse_reserved(run)
        # Of two who ask at once, the second finds the run open.
        taken = Run.objects.filter(pk=run.pk, attempt=run.attempt, status=run.status, closed_at=run.closed_at).update(
            attempt=F("attempt") + 1, takeovers=0, cancel_requested=False, problems=[], report_key="",
            finished_at=None, closed_at=None, user=user, reason=reason or run.reason, attention=False,
            rejects_open=goes_on and run.rejects_open, **fields,
        )  # fmt: skip
        if not taken:
            raise conflict("not-ended", f"{run} has just been taken up by somebody else")
        run.parts.update(takeovers=0)
        if not goes_on:
            run.rejects.all().delete()
            run.batches.all().delete()
            run.parts.all().delete()
        record("run.retried", run, user=user, attempt=run.attempt + 1, reason=reason)
    run.refresh_from_db()
    ring(run)


def _refuse_reserved(run: Run) -> None:
    """Keep a run from going on where a restore wants its table: its rows would go into the one that is replaced.

    Locks the table's lease, as whoever begins to load does: a restore sees this run loading, or we see the restore.
    """
    table = schema_of(run).descriptor.target
    if by := reserved(table):
        raise conflict("reserved", f"{by} is about to replace {table}; wait for its end, or cancel it, then try again")


def cancel(run: Run, *, user: Any = None) -> None:
    """Ask a run to stop at its next batch; one that has not begun stops now, one that has ended stays as it is."""
    with transaction.atomic():
        asked = Run.objects.filter(pk=run.pk, status__in=OPEN, cancel_requested=False).update(cancel_requested=True)
        # By its status now: one that a worker has begun meanwhile ends with the counts of its ledger.
        Run.objects.filter(pk=run.pk, status=Status.RECEIVED).update(
            status=Status.CANCELLED, finished_at=timezone.now(), waiting_for=""
        )
        if asked:
            record("run.cancelled", run, user=user)
    ring(run)
