"""The end of loading: foreign keys tried once more, the sums checked, whole files published."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F, Sum

from migration_console.lib import swap
from migration_console.lib.definition import TableDefinition
from migration_console.lib.engine import engine
from migration_console.lib.errors import Broken, Fenced, refuse
from migration_console.lib.lake import lake
from migration_console.lib.lease import TableLease
from migration_console.lib.statements import columns_sql, quote

from .archive import version_of
from .batches import prepared_rejects
from .destination import Destination
from .errors import ErrorGroup, group_errors, merge_groups
from .isolation import Isolation
from .loader import limit_of
from .models import Batch, Reject, Run, Status
from .newer import newer_version
from .rejects import pages
from .schema import Schema
from .survey import Survey

log = logging.getLogger(__name__)
NO_PARENT = 1452


def finish(run: Run, schema: Schema, found: Survey, to: Destination) -> None:
    """Bring a run whose parts are all loaded to its end; a run that does not add up is never green."""
    done = schema.descriptor.mode == "replace" and swap.swapped(connection, to.definition.name, run.pk)
    if not done and to.foreign_keys and _parents_may_have_come(run, to):
        while retry_orphans(run, schema, found, to):
            continue
    totals, limit = totals_of(run), limit_of(schema, found)
    if limit is not None and totals["rejected"] > limit:
        drop(run, to.definition)
        raise refuse(
            "too-many-errors",
            f"{totals['rejected']} rows were rejected; the dataset allows {limit}. Nothing was loaded.",
        )
    check_sums(run, found)
    if run.parts.filter(sent=True).exists():
        check_sent(run, found)
    if schema.descriptor.whole:
        publish(run, schema, to, totals)
    run.end(Status.LOADED, **totals)
    if schema.descriptor.whole:
        swap.drop_if_free(connection, to.definition.name, run.pk)


def _parents_may_have_come(run: Run, to: Destination) -> bool:
    """Tell whether trying again can help: parents in the same table, or another run that ended meanwhile."""
    if not run.rejects.filter(state=Reject.State.OPEN).exists():
        return False
    if any(to.is_self(key) for key in to.foreign_keys):
        return True
    tables = [key.table for key in to.foreign_keys]
    since = Run.objects.filter(dataset__table__in=tables, finished_at__gte=run.started_at)
    return since.filter(status__in=[Status.LOADED, Status.ARCHIVED]).exists()


def retry_orphans(run: Run, schema: Schema, found: Survey, to: Destination) -> int:
    """Try the rows once more that only lacked a parent; return how many went in."""
    loaded = 0
    for page in pages(run):
        orphans = [reject for reject in page if reject.is_orphan]
        loaded += _retry_some(run, orphans, schema, found, to) if orphans else 0
    return loaded


def _retry_some(run: Run, orphans: list[Reject], schema: Schema, found: Survey, to: Destination) -> int:
    frame = prepared_rejects([bytes(reject.raw) for reject in orphans], found, schema)
    # Without `_run` an upsert cannot tell whether this file has written the row since; then it only inserts.
    isolation = Isolation(connection, replace(to, upsert=to.upsert and to.run_column), frame)
    isolation.prepare()
    with transaction.atomic():
        hold(run)
        isolation.leave_rows_of_this_run()
        outcome = isolation.load()
        refused = outcome.refusals.keys()
        loaded = [orphans[n] for n in frame["_n"].to_list() if n not in refused]
        _take_back(loaded)
        to.fence()
    return len(loaded)


def _take_back(rejects: list[Reject]) -> None:
    """Move rows from rejected to loaded in the ledger."""
    for batch in Batch.objects.filter(pk__in={reject.batch_id for reject in rejects}):
        mine = [reject for reject in rejects if reject.batch_id == batch.pk]
        errors = group_errors((error for reject in mine for error in reject.errors), sign=-1)
        batch.errors = merge_groups(batch.errors, errors)
        batch.loaded, batch.rejected = batch.loaded + len(mine), batch.rejected - len(mine)
        batch.save(update_fields=["loaded", "rejected", "errors"])
    Reject.objects.filter(pk__in=[reject.pk for reject in rejects]).delete()


def hold(run: Run) -> None:
    """Lock the run inside a transaction, if its lease is still ours: a worker that lost it must not write."""
    if not Run.objects.filter(run.held()).update(epoch=F("epoch")):
        raise Fenced(str(run))


def check_sums(run: Run, found: Survey) -> None:
    """Prove from the ledger that every record and every byte of the file is in it once."""
    batches = list(
        run.batches.order_by("start").values("start", "end", "first_row", "rows", "loaded", "rejected", "skipped")
    )
    position, row = found.data_start, 1
    for batch in batches:
        if (batch["start"], batch["first_row"]) != (position, row):
            raise Broken(f"{run}: the ledger has a hole or an overlap at byte {position}, row {row}")
        if batch["loaded"] + batch["rejected"] + batch["skipped"] != batch["rows"]:
            raise Broken(f"{run}: the batch at {position} does not add up")
        position, row = batch["end"], row + batch["rows"]
    if (position, row - 1) != (found.data_end, found.records):
        raise Broken(f"{run}: {row - 1} of {found.records} records are in the ledger, up to byte {position}")


def check_sent(run: Run, found: Survey) -> None:
    """Hold what a client sent against the file itself, by the digests in the ledger."""
    with lake().open(version_of(run), found.data_start) as source:
        for start, end, digest in run.batches.order_by("start").values_list("start", "end", "digest"):
            if hashlib.sha256(source.read(end - start)).hexdigest() != digest:
                raise Broken(f"{run}: the rows that were sent for byte {start} are not those of the file")


def totals_of(run: Run) -> dict[str, Any]:
    """Return counts and grouped errors as the ledger has them now."""
    sums = run.batches.aggregate(
        read=Sum("rows"), loaded=Sum("loaded"), rejected=Sum("rejected"), skipped=Sum("skipped")
    )
    errors: list[ErrorGroup] = []
    for (groups,) in run.batches.exclude(errors=[]).values_list("errors"):
        errors = merge_groups(errors, groups)
    return {**{name: value or 0 for name, value in sums.items()}, "errors": errors}


def left_of(run: Run) -> dict[str, Any]:
    """Return the counts of a run that ends badly: of a file that is published whole, nothing is in the table."""
    totals, version = totals_of(run), run.schema_version
    if version is not None and version.schema.descriptor.whole:
        descriptor = version.schema.descriptor
        if descriptor.mode != "replace" or not swap.swapped(connection, descriptor.target, run.pk):
            totals["loaded"] = 0
    return totals


def publish(run: Run, schema: Schema, to: Destination, totals: dict[str, Any]) -> None:
    """Make a staged file appear in the table in one step."""
    table = to.definition
    names = [*to.names, *to.constants]
    if schema.descriptor.mode != "append" and newer_version(run):
        withdraw(run, to.lease)
        return
    if schema.descriptor.mode != "replace":
        with _told(table), transaction.atomic():
            hold(run)
            _merge(schema, to, names)
            to.fence()  # last, since whoever wants the table waits for it
            run.end(Status.LOADED, **totals)
        return
    if totals["read"] and not totals["loaded"]:
        drop(run, table)
        raise refuse("nothing-to-load", "every row was rejected; replacing the table would empty it")
    if swap.can_rename(connection, table):
        if not swap.swapped(connection, table.name, run.pk):
            hold(run)
            to.fence()
        swap.rename(connection, table.name, run.pk)
        return
    with transaction.atomic():
        hold(run)
        swap.exchange(connection, table, swap.staging_name(table.name, run.pk), names)
        to.fence()
        run.end(Status.LOADED, **totals)


def withdraw(run: Run, lease: TableLease | None) -> None:
    """End a run as superseded of which nothing is in the table: nobody need mend its rejects."""
    with transaction.atomic():
        run.rejects.all().delete()
        run.batches.all().delete()
        if lease is not None:
            lease.fence()
        run.end(Status.SUPERSEDED, read=0)
    swap.drop_if_free(connection, run.version_schema.descriptor.target, run.pk)


def _merge(schema: Schema, to: Destination, names: list[str]) -> None:
    """Move the staged rows into the target inside the caller's transaction."""
    target, primary = to.definition.name, to.definition.primary_key
    where = ""
    with connection.cursor() as cursor, _checked_together(to):
        if schema.descriptor.mode == "upsert":
            assert primary is not None
            cursor.execute(engine(connection).update_from_sql(target, to.table, primary.columns, names, {}, "TRUE"))
            match = " AND ".join(f"t.{columns_sql([name])} = i.{columns_sql([name])}" for name in primary.columns)
            where = f" WHERE NOT EXISTS (SELECT 1 FROM {quote(target)} t WHERE {match})"
        columns = columns_sql(names)
        cursor.execute(
            f"INSERT INTO {quote(target)} ({columns}) SELECT {columns_sql(names, 'i.')} FROM {quote(to.table)} i{where}"
        )


@contextmanager
def _told(table: TableDefinition) -> Iterator[None]:
    """Refuse the file for a row that only the table itself refuses: the staging table has none of its triggers."""
    try:
        yield
    except DatabaseError as error:
        of_table = engine(connection)
        if not of_table.is_about_rows(error) or of_table.row_code(error) in {"duplicate-key", "foreign-key"}:
            raise
        raise refuse(
            "triggers" if table.triggers else "table",
            f"{table.name} refused a row when the file was to be published: {error.args[-1]}; nothing was loaded. "
            "Correct the file, or load it with publish: batches and without onError: then only such rows are set aside",
            table.name,
        ) from error


@contextmanager
def _checked_together(to: Destination) -> Iterator[None]:
    """Check foreign keys behind all rows: the server goes row by row, and a parent may stand below its child."""
    if not any(to.is_self(key) for key in to.foreign_keys):
        yield
        return
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA defer_foreign_keys=ON")
            yield
            return
        cursor.execute("SET foreign_key_checks=0")
        try:
            yield
            for key in to.definition.foreign_keys:
                parent = to.definition.name if to.is_self(key) else key.table
                cursor.execute(swap.orphan_count_sql(to.definition.name, parent, key))
                if cursor.fetchone()[0]:
                    raise IntegrityError(NO_PARENT, f"rows without a parent in {parent}")
        finally:
            cursor.execute("SET foreign_key_checks=1")


def drop(run: Run, table: TableDefinition) -> None:
    """Throw away what was staged."""
    swap.drop_leftovers(connection, table.name, run.pk)
