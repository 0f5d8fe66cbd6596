"""A run's way: survey, begin, load, finish, archive. Each step may be done by any worker, any time again;
leases decide who works, the database says what is left.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from migration_console.lib import swap
from migration_console.lib.errors import Broken, Fenced, Gone, Problem, Refused, Unavailable
from migration_console.lib.lake import lake
from migration_console.lib.lease import writing
from migration_console.lib.sqltype import BINARY

from .admission import admit_new_files, files_without_run
from .archive import archive, version_of
from .bell import ring, ring_waiting
from .datasets import assign_files, parent_tables, parents_to_wait_for
from .finish import finish, totals_of
from .isolation import Destination
from .loader import Cancelled, LimitPassed, Loader, transient_errors
from .models import OPEN, Dataset, Part, Run, SchemaVersion, Status
from .schema import Schema, model_hash
from .survey import PartRange, Survey, survey
from .target import RUN_COLUMN, ensure_table

log = logging.getLogger(__name__)
MAX_TAKEOVERS = 5
MAX_RESTARTS = 3
Progress = Callable[[int, int], None]


def no_progress(_done: int, _total: int) -> None:
    """Show nothing."""


def advance(pk: int, progress: Progress = no_progress) -> Run:
    """Bring a run as far as it can go now; returns it as it then stands.

    `progress` is told how many records of how many are through. Waiting, fenced and interrupted runs
    stay open: another worker, or the sweep, goes on with them.
    """
    run = Run.objects.select_related("dataset").get(pk=pk)
    try:
        with transient_errors():
            _advance(run, progress)
    except (Unavailable, OSError) as error:
        log.warning("%s waits: %s", run, error)
        _note_wait(run, f"the database or the lake did not answer: {error}")
    except Fenced as error:
        log.warning("%s: fenced: %s", run, error)
    run.refresh_from_db()
    return run


def _note_wait(run: Run, why: str) -> None:
    try:
        run.wait(why)
    except DatabaseError:
        log.warning("%s: the database is still away", run)


def _advance(run: Run, progress: Progress) -> None:
    if run.status in OPEN and run.dataset is not None and not run.dataset.paused:
        try:
            if run.status == Status.LOADING or _start(run):
                _load(run, progress)
        except Refused as refused:
            _end(run, Status.REFUSED, refused)
        except Gone as gone:
            _end(run, Status.GONE, gone)
        except Broken as broken:
            log.error("%s does not add up: %s", run, broken)
            run.end(Status.FAILED, **totals_of(run), problems=[_problem("ledger", f"{broken}; nothing more is loaded")])
        except Cancelled:
            run.end(Status.CANCELLED, **totals_of(run))
    run.refresh_from_db()
    if run.status not in OPEN and run.closed_at is None and run.claim():
        with run.holding():
            archive(run)
        ring_waiting()


def _end(run: Run, status: Status, error: Refused | Gone) -> None:
    problems = error.problems if isinstance(error, Refused) else []
    totals = (
        {**totals_of(run), "loaded": 0} if run.batches.exists() and _schema(run).descriptor.whole else totals_of(run)
    )
    run.end(status, problems=[problem.as_dict() for problem in problems], **totals)
    if run.schema_version is not None:
        swap.drop_leftovers(connection, _schema(run).descriptor.target, run.pk)


def _schema(run: Run) -> Schema:
    assert run.schema_version is not None
    return run.schema_version.schema


# Survey and begin


def _start(run: Run) -> bool:
    """Survey a run and cut its parts; False where it must wait, or has come to an end."""
    if not run.claim():
        return False
    with run.holding():
        if run.takeovers > MAX_TAKEOVERS:
            return _gave_up(run, "surveying it")
        Run.objects.filter(pk=run.pk, started_at=None).update(started_at=timezone.now())
        version = _pin_schema(run)
        found = _survey(run, version.schema)
        if waits := _waits_for_parents(run, version):
            run.wait(waits)
            return False
        ensure_table(connection, version.schema, parent_tables(version.schema))
        return _begin(run, version, found)


def _gave_up(run: Run, at: str) -> bool:
    """End a run that kills its workers; returns False, since there is nothing to go on with."""
    message = f"{MAX_TAKEOVERS} workers died while {at}; see their logs, then load the file again"
    run.end(Status.FAILED, problems=[_problem("takeovers", message)], **totals_of(run))
    return False


def _problem(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message, "where": ""}


def _pin_schema(run: Run) -> SchemaVersion:
    """Take the dataset's newest version for good: what has been surveyed by it is loaded by it."""
    if run.schema_version is None:
        assert run.dataset is not None
        run.schema_version = run.dataset.current
        run.save(update_fields=["schema_version"])
    version = run.schema_version
    if version.model_hash and version.model_hash != model_hash(version.parsed.model):
        message = f"the model {version.parsed.model} has changed since version {version.number}; save the dataset again"
        raise Refused([Problem("model-changed", message)])
    return version


def _survey(run: Run, schema: Schema) -> Survey:
    if run.sha256:
        return _stored_survey(run)
    with lake().open(version_of(run)) as source:
        found = survey(
            source,
            schema,
            name=run.key,
            size=run.size,
            max_bytes=settings.MAX_FILE_BYTES,
            part_bytes=settings.PART_BYTES,
        )
    stored = {**found.as_dict(), "parts": [vars(part) for part in found.parts]}
    run.survey, run.sha256, run.read, run.warnings = stored, found.sha256, 0, found.warnings
    run.save(update_fields=["survey", "sha256", "warnings"])
    return found


def _stored_survey(run: Run) -> Survey:
    return Survey(**{**run.survey, "parts": [PartRange(**part) for part in run.survey["parts"]]})


def _waits_for_parents(run: Run, version: SchemaVersion) -> str:
    """Say which datasets must load first: their files may have come with this one, in any order."""
    names = parents_to_wait_for(version.parsed)
    if not names:
        return ""
    other = Run.objects.filter(dataset__name__in=names, status__in=OPEN).select_related("dataset").first()
    if other is not None:
        return f"run {other.pk} of dataset {other.dataset}, which this one refers to"
    files = files_without_run(names)
    return f"{files[0]}, which this file refers to" if files else ""


def _begin(run: Run, version: SchemaVersion, found: Survey) -> bool:
    """Decide between loading, waiting and ending, with the dataset locked: of two runs with the same bytes,
    the second sees the first.
    """
    descriptor = version.parsed
    with transaction.atomic():
        Dataset.objects.select_for_update().get(name=version.dataset.name)
        same = Run.objects.filter(dataset=run.dataset, sha256=run.sha256).exclude(pk=run.pk)
        if descriptor.mode == "append" and descriptor.duplicates == "refuse" and not run.reason:
            if loading := same.filter(status=Status.LOADING).first():
                run.wait(f"run {loading.pk}, which loads the same bytes")
                return False
            if loaded := same.filter(status__in=[Status.LOADED, Status.ARCHIVED]).order_by("id").first():
                run.end(Status.DUPLICATE, duplicate_of=loaded)
                return False
        if descriptor.mode != "append" and _is_superseded(run):
            run.end(Status.SUPERSEDED)
            return False
        Part.objects.bulk_create(
            Part(
                run=run,
                number=number,
                start=part.start,
                end=part.end,
                first_row=part.first_row,
                first_line=part.first_line,
                next_byte=part.start,
                next_row=part.first_row,
                next_line=part.first_line,
            )
            for number, part in enumerate(found.parts, start=1)
        )
        Run.objects.filter(pk=run.pk, status=Status.RECEIVED).update(
            status=Status.LOADING, waiting_for="", read=found.records
        )
    run.refresh_from_db()
    if len(found.parts) > 1 and run.survey["rising"]:
        ring(run, times=min(len(found.parts) - 1, 8))
    return run.status == Status.LOADING


def _is_superseded(run: Run) -> bool:
    """Tell whether a newer version of the same object has been loaded already."""
    newer = Run.objects.filter(bucket=run.bucket, key_hash=run.key_hash, sequence__gt=run.sequence, dataset=run.dataset)
    return newer.filter(status__in=[Status.LOADED, Status.ARCHIVED]).exists()


# Load and finish


def _load(run: Run, progress: Progress) -> None:
    schema, found = _schema(run), _stored_survey(run)
    table = schema.descriptor.target
    exclusive = schema.descriptor.mode != "append" or schema.descriptor.whole
    guard: AbstractContextManager[bool] = writing(table) if exclusive else nullcontext(True)
    with guard as ours:
        if not ours:
            run.wait(f"the writing lease of {table}, which another run holds")
            return
        if schema.descriptor.mode != "append" and run.parts.filter(next_byte=0).exists() and _is_superseded(run):
            run.end(Status.SUPERSEDED)
            return
        to = destination(run, schema)
        passed_limit = False
        try:
            _load_parts(run, schema, found, to, progress)
        except LimitPassed:
            passed_limit = True  # the rest need not be read: finish refuses the file
        _finish(run, schema, found, to, early=passed_limit)


def destination(run: Run, schema: Schema) -> Destination:
    """Return where a run's rows go: the target, or a staging table beside it."""
    descriptor = schema.descriptor
    table = ensure_table(connection, schema, parent_tables(schema))
    writes, known = table.name, [table.name]
    if descriptor.whole:
        writes = swap.staging_name(table.name, run.pk)
        replaces = descriptor.mode == "replace"
        if not (replaces and swap.can_rename(connection, table) and swap.swapped(connection, table.name, run.pk)):
            swap.create_staging(connection, table, run.pk, replaces=replaces)
        known = [writes] if replaces else [writes, table.name]
    return Destination(
        table=writes,
        definition=table,
        names=tuple(schema.names),
        wraps={column.name: wrap for column in schema.columns if (wrap := WRAPS.get(column.sql.base))},
        run=run.pk,
        upsert=descriptor.mode == "upsert",
        known=tuple(known),
        run_column=table.column(RUN_COLUMN) is not None,
    )


# Column types whose canonical text needs a function around it.
WRAPS = dict.fromkeys(BINARY, "UNHEX({})") | {"BIT": "CAST({} AS UNSIGNED)"}


def _load_parts(run: Run, schema: Schema, found: Survey, to: Destination, progress: Progress) -> None:
    done = run.batches.aggregate(rows=Sum("rows"))["rows"] or 0

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, found.records)

    loader = Loader(run, schema, found, to, tell)
    while (part := _claim_part(run, to)) is not None:
        loader.load(part, version_of(run))


def _claim_part(run: Run, to: Destination) -> Part | None:
    """Take a part that is left and free; the parts of a run in any order only where order cannot show."""
    left = run.parts.filter(Part.unfinished()).order_by("number")
    for part in left if any_order(run, to) else left[:1]:
        if part.claim(Part.unfinished()):
            if part.takeovers > MAX_TAKEOVERS:
                _gave_up(run, f"loading {part}")
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
            _gave_up(run, "finishing it")
            return
        try:
            finish(run, schema, found, to)
        except IntegrityError as error:
            _restart(run, str(error))


def _restart(run: Run, why: str) -> None:
    """Load a whole file anew: the table has changed between staging and publishing. Nothing was published."""
    if sum(warning.startswith("Loaded anew") for warning in run.warnings) >= MAX_RESTARTS:
        run.end(
            Status.FAILED, problems=[_problem("conflict", f"the table kept changing while the file was loaded: {why}")]
        )
        return
    swap.drop_leftovers(connection, _schema(run).descriptor.target, run.pk)
    with transaction.atomic():
        run.rejects.all().delete()
        run.batches.all().delete()
        run.parts.update(next_byte=F("start"), next_row=F("first_row"), next_line=F("first_line"))
        run.warnings = [*run.warnings, f"Loaded anew, since the table had changed: {why}"]
        run.save(update_fields=["warnings"])
    ring(run)


# Cancel and sweep


def cancel(run: Run) -> None:
    """Ask a run to stop at its next batch; one that has not begun stops now."""
    Run.objects.filter(pk=run.pk, status__in=OPEN).update(cancel_requested=True)
    if run.status == Status.RECEIVED:
        run.end(Status.CANCELLED)
    ring(run)


def sweep(trigger: str = "sweep", *, everything: bool = False) -> list[Run]:
    """Admit files without a run, and ring for every run that is left lying; returns those rung for.

    With `everything`, also for those that were rung for just now: a broker that was down may have lost it.
    """
    assign_files()
    new = admit_and_ring(trigger)
    late = timezone.now() - timedelta(seconds=settings.SWEEP_SECONDS)
    left = Run.objects.filter(Run.free(), closed_at=None).exclude(dataset=None).exclude(pk__in=[run.pk for run in new])
    forgotten = Q(rung_at=None) | Q(rung_at__lt=late) | Q(lease_until__isnull=False)
    rung = [run for run in left.order_by("id") if everything or _is_idle(run)]
    rung += [run for run in left.filter(forgotten).order_by("id") if run not in rung]
    for run in rung:
        ring(run)
    _drop_stray_staging()
    return [*new, *rung]


def admit_and_ring(trigger: str) -> list[Run]:
    """Admit the files that are complete and have no run, and ring for them once all are admitted."""
    new = list(admit_new_files(trigger))
    for run in new:
        if run.dataset is not None:
            ring(run)
    return new


def _is_idle(run: Run) -> bool:
    """Tell whether a loading run has parts left that nobody holds."""
    return run.status == Status.LOADING and run.parts.filter(Part.free()).filter(Part.unfinished()).exists()


def unfinished() -> list[Run]:
    """Return the runs of datasets that are not at their end, oldest first."""
    return list(Run.objects.filter(closed_at=None, dataset__paused=False).exclude(dataset=None).order_by("id"))


def work_off(runs: list[Run], progress: Progress = no_progress) -> list[Run]:
    """Advance runs in this process until each has ended, or none gets any further; returns them as they stand."""
    left = {run.pk: run for run in runs}
    while True:
        before = {pk: (run.status, run.closed_at) for pk, run in left.items()}
        for pk, run in left.items():
            if run.closed_at is None:
                left[pk] = advance(pk, progress)
        if all((run.status, run.closed_at) == before[pk] for pk, run in left.items()):
            return list(left.values())


def _drop_stray_staging() -> None:
    """Drop staging tables whose run has ended."""
    stray = swap.leftover_runs(connection)
    ended = Run.objects.filter(pk__in=stray).exclude(status__in=OPEN).values_list("pk", flat=True)
    for pk in {*ended, *(pk for pk in stray if not Run.objects.filter(pk=pk).exists())}:
        swap.drop_leftovers(connection, stray[pk], pk)
