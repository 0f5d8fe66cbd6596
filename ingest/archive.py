"""A finished run's file to processed/ or errors/, with its report; outside any transaction, each step
may be done again.
"""

import logging
from contextlib import suppress

from django.utils import timezone

from migration_console.lib.errors import Gone
from migration_console.lib.lake import Version, lake

from .models import OPEN, TO_ERRORS, UPLOADING, Run, Status, key_hash
from .report import write_report

log = logging.getLogger(__name__)
MAX_KEY = 1024
# What file systems allow between two slashes.
MAX_NAME = 255


def archive(run: Run) -> None:
    """Copy and verify the file, write the report, note both, and only then delete the file from raw/."""
    if run.status in OPEN or run.closed_at is not None:
        return
    try:
        _keep(run)
    except Gone as gone:
        if run.status != Status.GONE:
            log.error("%s ended as %s, but its file is no longer in raw/: %s", run, run.status, gone)
            run.warnings = [*run.warnings, f"The file was taken from raw/ before it was archived: {gone}"]
    if run.version != UPLOADING:
        lake().delete(arrived(run))
    if run.attempt > 1:
        _leave_errors(run)
    run.closed_at = timezone.now()
    run.save(update_fields=["closed_at", "warnings"])


def _keep(run: Run) -> None:
    """Bring the bytes and the report to where they stay."""
    version = version_of(run)
    key = archive_key(run, "errors" if run.status in TO_ERRORS else "processed")
    # Once the report is written, the rejects that only the ledger's batches held are let go of.
    noted = run.archived_key == key and (run.status == Status.ARCHIVED or run.report_key)
    if run.status == Status.GONE or noted:
        return
    kept = version if version.key == key else lake().copy(version, key)
    if lake().stat(key).size != version.size:
        raise OSError(f"{key} is not the size of {version.key}; {version.key} stays where it is")
    report = write_report(
        run, f"{archive_key(run, 'errors')}.report{f'-{run.attempt}' if run.attempt > 1 else ''}.jsonl"
    )
    Run.objects.filter(pk=run.pk).update(archived_key=key, archived_version=kept.id, report_key=report)
    # Only where a restore has not rolled the run back meanwhile.
    Run.objects.filter(pk=run.pk, status=Status.LOADED).update(status=Status.ARCHIVED)
    run.refresh_from_db(fields=["archived_key", "archived_version", "report_key", "status"])
    run.batches.exclude(overflow=None).update(overflow=None)


def _leave_errors(run: Run) -> None:
    """Take the copy of an earlier attempt out of errors/, once a later one has brought the file to processed/."""
    key = archive_key(run, "errors")
    if run.archived_key != key:
        with suppress(Gone):
            lake().delete(lake().stat(key))


def arrived(run: Run) -> Version:
    """Return the object version that a run is about, as it came into raw/."""
    return Version(run.key, run.version, run.size, run.sequence)


def version_of(run: Run) -> Version:
    """Return the object version that holds a run's bytes now: the one that came, or the archived one."""
    if run.archived_key:
        return Version(run.archived_key, run.archived_version, run.size)
    return arrived(run)


def archive_key(run: Run, folder: str) -> str:
    """Return where a run's file goes; it holds the run's id, so that no two files meet."""
    path = run.key.removeprefix("raw/")
    key = f"{folder}/{run.pk}/{path}"
    room = len(".report-999.jsonl")
    if len(key.encode()) + room > MAX_KEY or len(key.rpartition("/")[2].encode()) + room > MAX_NAME:
        suffix = ".csv.gz" if path.endswith(".gz") else ".csv"
        key = f"{folder}/{run.pk}/{key_hash(run.key)}{suffix}"
    return key
