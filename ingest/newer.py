"""Newer versions of a file: upsert and replace must not put older rows over theirs."""

from django.db import connection
from django.db.models import Q

from migration_console.lib import swap
from migration_console.lib.errors import conflict

from .models import Run, SchemaVersion, Status


def newer_version(run: Run) -> Run | None:
    """Return a run of a newer version of the same object of which rows are in the table; None where there is none.

    What it says stays true as long as the caller has the table's writing lease.
    """
    same = Run.objects.filter(bucket=run.bucket, key_hash=run.key_hash, dataset=run.dataset).order_by("-pk")
    newer = same.filter(Q(sequence__gt=run.sequence) | Q(sequence=run.sequence, pk__gt=run.pk))
    loaded = newer.filter(status__in=[Status.LOADED, Status.ARCHIVED]).first()
    partly = newer.filter(status__in=[Status.LOADING, Status.FAILED, Status.CANCELLED])
    return loaded or next((other for other in partly.select_related("schema_version") if _has_rows(other)), None)


def _has_rows(run: Run) -> bool:
    """Tell whether rows of a run are in the table that is still loading, or has ended in the middle."""
    if run.schema_version is None:
        return False
    descriptor = run.schema_version.parsed
    if descriptor.mode == "replace":
        return swap.swapped(connection, descriptor.target, run.pk)
    return not descriptor.whole and run.batches.filter(loaded__gt=0).exists()


def refuse_older(run: Run, version: SchemaVersion) -> None:
    """Raise Conflict where taking up a run again would put older rows over those of a newer version."""
    if version.parsed.mode != "append" and (newer := newer_version(run)):
        message = f"a newer version of this file is loaded, by run {newer.pk}; send that one again, or a newer one"
        raise conflict("superseded", message)
