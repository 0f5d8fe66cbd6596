"""The first half of a run's way: surveyed, held against what it depends on, cut into parts."""

from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from migration_console.lib.errors import Gone, Problem, Refused
from migration_console.lib.lake import lake
from migration_console.lib.lease import TableLease, reserved

from .admission import files_without_run, pin_upload
from .amending import in_the_table
from .archive import version_of
from .bell import ring
from .datasets import parent_tables, parents_to_wait_for
from .descriptor import Descriptor
from .finish import left_of, totals_of, withdraw
from .handwritten import model_hash
from .models import CORRECTION, OPEN, RESTORED, UPLOADING, Dataset, Part, Reject, Run, SchemaVersion, Status
from .newer import newer_version
from .schema import Schema
from .survey import Survey, stored_survey, survey
from .target import ensure_table

MAX_TAKEOVERS = 5


def start(run: Run) -> bool:
    """Survey a run and cut its parts; False where it must wait, or has come to an end."""
    if not run.claim():
        return False
    with run.holding():
        if run.takeovers > MAX_TAKEOVERS:
            return gave_up(run, "surveying it")
        Run.objects.filter(pk=run.pk, started_at=None).update(started_at=timezone.now())
        _pin_version(run)
        version = _pin_schema(run)
        found = _survey(run, version.schema)
        if waits := _waits_for_parents(run, version):
            run.wait(waits)
            return False
        _ensure_tables(version, set())
        return _begin(run, version, found)


def gave_up(run: Run, at: str) -> bool:
    """End a run that kills its workers; returns False, since there is nothing to go on with."""
    message = f"{MAX_TAKEOVERS} workers died or failed while {at}; see their logs, then load the file again"
    run.end(Status.FAILED, problems=[problem("takeovers", message)], **left_of(run))
    return False


def problem(code: str, message: str) -> dict[str, str]:
    """Return one reason for the end of a run, as JSON holds it."""
    return {"code": code, "message": message, "where": ""}


def _pin_version(run: Run) -> None:
    """Find out which version an upload has become whose sender died before telling."""
    if run.version == UPLOADING:
        there = lake().versions(run.key)
        if not there:
            raise Gone(f"the upload of {run.key} was broken off")
        pin_upload(there[-1])
        run.refresh_from_db()


def _pin_schema(run: Run) -> SchemaVersion:
    """Take the dataset's newest version for good: what has been surveyed by it is loaded by it."""
    if run.schema_version is None:
        assert run.dataset is not None
        with transaction.atomic():
            # Locked: a version that a run has does not change any more, nor does its dataset's table.
            run.schema_version = Dataset.objects.select_for_update().get(pk=run.dataset.pk).current
            run.save(update_fields=["schema_version"])
    version = run.schema_version
    if version.model_hash and version.model_hash != model_hash(version.parsed.model):
        message = f"the model {version.parsed.model} has changed since version {version.number}; save the dataset again"
        raise Refused([Problem("model-changed", message)])
    return version


def _ensure_tables(version: SchemaVersion, seen: set[str]) -> None:
    """Make the target table, and first the tables that its foreign keys point at."""
    seen.add(version.dataset.name)
    for name in {key.reference.resource for key in version.parsed.schema_.foreign_keys} - {"", *seen}:
        _ensure_tables(Dataset.objects.get(name=name).current, seen)
    ensure_table(connection, version.schema, parent_tables(version.schema))


def _survey(run: Run, schema: Schema) -> Survey:
    if run.sha256:
        return stored_survey(run.survey)
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
        # Locks the table's lease: a restore that reserves it now sees this run loading, or we see the restore.
        if waits := reserved(descriptor.target) or _waits_for_another(run, descriptor):
            run.wait(waits)
            return False
        if _ends_unloaded(run, descriptor) or _has_lost_its_parent(run, found):
            return False
        _cut(run, found)
    run.refresh_from_db()
    _call_more_workers(run, descriptor, found)
    return run.status == Status.LOADING


def _waits_for_another(run: Run, descriptor: Descriptor) -> str:
    """Say which run must come to its end first."""
    if turn := _waits_for_its_turn(run):
        return turn
    loading = _same_bytes(run).filter(status=Status.LOADING).first() if _loads_once(run, descriptor) else None
    return f"run {loading.pk}, which loads the same bytes" if loading else ""


def _ends_unloaded(run: Run, descriptor: Descriptor) -> bool:
    """End a run whose rows are in the table already, or shall not come there any more."""
    if _loads_once(run, descriptor):
        loaded = _same_bytes(run).filter(status__in=[Status.LOADED, Status.ARCHIVED]).order_by("id").first()
        if loaded is not None:
            run.end(Status.DUPLICATE, duplicate_of=loaded)
            return True
    if descriptor.mode == "append" and not descriptor.whole and not run.reason:
        _refuse_the_rest_of_another(run)
    if descriptor.mode != "append" and newer_version(run):
        run.end(Status.SUPERSEDED)
        return True
    return False


def _has_lost_its_parent(run: Run, found: Survey) -> bool:
    """End corrected rows that waited while a restore took the file that they are of out of the table.

    They come back with that file when it is loaded again; loaded from here as well, they would be there twice.
    """
    parent = run.parent
    if run.trigger != CORRECTION or parent is None:
        return False
    if in_the_table(parent) and Reject.objects.filter(child=run).count() >= found.records:
        return False
    words = (
        f"a restore has taken rows of run {parent.pk} out of the table, to which these belong; send them again there"
    )
    run.end(Status.CANCELLED, problems=[problem("rolled-back", words)])
    return True


def _loads_once(run: Run, descriptor: Descriptor) -> bool:
    return descriptor.mode == "append" and descriptor.duplicates == "refuse" and not run.reason


def _same_bytes(run: Run) -> QuerySet[Run]:
    return Run.objects.filter(dataset=run.dataset, sha256=run.sha256).exclude(pk=run.pk)


def _cut(run: Run, found: Survey) -> None:
    """Cut the parts as the survey found them, and call the run loading."""
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


def _call_more_workers(run: Run, descriptor: Descriptor, found: Survey) -> None:
    """Ring for the parts beside the first, where they may load side by side."""
    ordered = descriptor.schema_.primary_key and not found.rising
    side_by_side = descriptor.mode == "append" and not descriptor.whole and not ordered
    if len(found.parts) > 1 and side_by_side:
        ring(run, times=min(len(found.parts) - 1, 8))


def _waits_for_its_turn(run: Run) -> str:
    """Say which run goes first where files are loaded again after a restore: upserts depend on their order."""
    if run.trigger != RESTORED or run.dataset is None:
        return ""
    others = Run.objects.filter(dataset__table=run.dataset.table, trigger=RESTORED, status__in=OPEN, pk__lt=run.pk)
    first = others.order_by("pk").first()
    return f"run {first.pk}, whose file came before this one" if first else ""


def _refuse_the_rest_of_another(run: Run) -> None:
    """Refuse a file of which a run that did not end well has loaded rows: appending all of it would double them."""
    other = _partly_loaded(run)
    if (
        other is None
        or Run.objects.filter(dataset=run.dataset, pk__gt=other.pk, parent=None).exclude(reason="").exists()
    ):
        return
    message = (
        f"run {other.pk} has loaded {other.in_table} rows of this file and then ended ({other.status});"
        f" retry run {other.pk} to go on behind them, or delete them (_run = {other.pk}) and load the file again"
        " with a reason"
    )
    raise Refused([Problem("partly-loaded", message)])


def _partly_loaded(run: Run) -> Any:
    """Return the newest run of the same file that ended with rows in the table, and how many (`in_table`), or None.

    By the ledger: the run's own count was taken when it ended, perhaps before another worker's last batch.
    """
    ended = Q(status__in=[Status.FAILED, Status.CANCELLED], reason="")
    same = Q(sha256=run.sha256) | Q(bucket=run.bucket, key_hash=run.key_hash, status=Status.FAILED)
    others = Run.objects.filter(ended, same, dataset=run.dataset).exclude(pk=run.pk).select_related("schema_version")
    counted = others.annotate(in_table=Sum("batches__loaded")).filter(in_table__gt=0).order_by("-pk")
    # What was to be published whole, and was not, has never been in the table.
    return next((other for other in counted if other.schema_version and not other.schema_version.parsed.whole), None)


def makes_way(run: Run, schema: Schema, lease: TableLease | None) -> bool:
    """End a run that has begun where a newer version of its file is loaded meanwhile; False where it goes on."""
    if schema.descriptor.mode == "append" or not (newer := newer_version(run)):
        return False
    totals = totals_of(run)
    if schema.descriptor.whole or not totals["loaded"]:
        withdraw(run, lease)
        return True
    message = (
        f"a newer version of this file is loaded, by run {newer.pk}, so that nothing more of this one is;"
        f" {totals['loaded']} rows of it were loaded before, and have _run = {run.pk} where nothing newer has come"
    )
    run.end(Status.FAILED, problems=[problem("superseded", message)], **totals)
    return True
