"""A backup back into its table: shadow, digest, swap. A crash at any step leaves the table old or new."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from migration_console.lib import mysql, swap
from migration_console.lib.definition import TableDefinition, read_definition
from migration_console.lib.engine import engine
from migration_console.lib.errors import Broken, Busy, Problem, conflict
from migration_console.lib.ledger import ContainedRun, ledger
from migration_console.lib.statements import beside, quote, split_name

from .difference import schema_difference
from .manifest import Manifest
from .meter import Tell
from .models import Backup, DryRun, Restore, RestoreStatus
from .sessions import open_snapshots
from .shadow import (
    REPLACED,
    RESTORING,
    SHADOW,
    check_parents,
    check_shadow,
    drop_tables,
    fill_shadow,
    make_shadow,
    parent_keys,
)
from .source import describe


@dataclass(frozen=True)
class Plan:
    """How a backup can be put into a table: made in place of none, renamed, or its rows exchanged."""

    how: str
    only_then: list[str]
    only_now: list[str]

    @property
    def differs(self) -> bool:
        """Tell whether the definitions differ."""
        return bool(self.only_then or self.only_now)


def plan(manifest: Manifest, table: str) -> Plan:
    """Return how the backup would get into a table as it is now."""
    definition = read_definition(connection, table)
    if definition is None:
        return Plan("create", [], [])
    (session,) = open_snapshots(connection, table, 1)
    try:
        source = describe(connection, session, table, rows=False)
    finally:
        session.close()
    then, now = schema_difference(manifest, table, source.create)
    then += [f"trigger {trigger['name']}" for trigger in _missing_triggers(manifest, definition)]
    return Plan("rename" if swap.can_rename(connection, definition) else "exchange", then, now)


def check_plan(found: Plan, table: str, *, take_schema: bool) -> None:
    """Refuse what cannot be done, or may be done only where somebody said so."""
    if not found.differs:
        return
    lines = "; ".join(
        [*(f"only in the backup: {x}" for x in found.only_then), *(f"only now: {x}" for x in found.only_now)]
    )
    if found.how == "exchange":
        message = f"{table} has another definition than the backup, and foreign keys or triggers keep it: {lines}"
        raise conflict("schema-differs", f"{message}. Restore into another name, or change the table first")
    if not take_schema:
        raise conflict("schema-differs", f"{lines}. Take the backup's definition, or restore into another name")


def _missing_triggers(manifest: Manifest, definition: TableDefinition) -> list[dict[str, str]]:
    triggers: list[dict[str, str]] = manifest.definition["triggers"]
    # A table that has triggers keeps them: its rows are exchanged.
    return [] if definition.triggers else triggers


def shadow_name(restore: Restore) -> str:
    """Return the name of this try's shadow: a worker that was taken over finds its own gone."""
    return beside(restore.table, f"{SHADOW}{restore.pk}_{restore.epoch}")


def replaced_name(restore: Restore) -> str:
    """Return the name that the replaced table has until it is dropped."""
    return beside(restore.table, f"{REPLACED}{restore.pk}")


def fill(restore: Restore, manifest: Manifest, tell: Tell) -> str:
    """Make, load and compare the shadow; returns its name."""
    shadow, readers = shadow_name(restore), settings.BACKUP_READERS
    drop_shadows(restore)
    make_shadow(restore.table, manifest, shadow, f"r{restore.pk}")
    parent_keys(shadow)
    fill_shadow(manifest, restore.backup.prefix, shadow, tell, readers)
    restore.step(RestoreStatus.CHECKING, rows=manifest.rows, bytes=manifest.size)
    check_shadow(manifest, shadow, lambda _rows, _bytes: tell(manifest.rows, manifest.size), readers)
    check_parents(shadow)
    return shadow


def put_in_place(restore: Restore, manifest: Manifest, shadow: str) -> None:
    """Swap; the step is written down before, since RENAME commits by itself, and after."""
    found = plan(manifest, restore.table)
    check_plan(found, restore.table, take_schema=restore.take_schema)
    restore.step(RestoreStatus.SWAPPING, shadow=shadow, replaces=found.how != "create")
    if found.how == "exchange":
        _exchange(restore, manifest, shadow)
        return
    sql = swap_sql(connection.vendor, restore.table, shadow, replaced_name(restore) if restore.replaces else "")
    try:
        with mysql.briefly(connection, restore.table), connection.cursor() as cursor:
            cursor.execute(sql)
    except Busy:
        raise _busy(restore.table) from None
    restore.step(RestoreStatus.SWAPPED)


def _busy(table: str) -> Busy:
    """Say who reads a table, where the console itself does."""
    backup = Backup.objects.filter(under_way=table).first()
    reading = backup or DryRun.objects.filter(table=table, status__in=DryRun.OPEN).first()
    return Busy(table, str(reading)) if reading else Busy(table)


def swap_sql(vendor: str, table: str, shadow: str, replaced: str) -> str:
    """Return the one statement that puts a shadow in a table's place."""
    if vendor == "sqlite":
        return f"ALTER TABLE {quote(shadow)} RENAME TO {quote(table)}"
    first = f"{quote(table)} TO {quote(replaced)}, " if replaced else ""
    return f"RENAME TABLE {first}{quote(shadow)} TO {quote(table)}"


def _exchange(restore: Restore, manifest: Manifest, shadow: str) -> None:
    """Exchange all rows, tell the ledger, and write the step down: one transaction."""
    definition = read_definition(connection, restore.table)
    assert definition is not None
    with impatient(), transaction.atomic():
        if connection.vendor == "mysql":
            with connection.cursor() as cursor:
                cursor.execute(RESTORING)
        # First, and locked: a worker that was taken over writes nothing.
        restore.step(RestoreStatus.SWAPPED)
        swap.exchange(connection, definition, shadow, [column.name for column in manifest.columns])
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT COUNT(*) FROM {quote(restore.table)}")
            (count,) = cursor.fetchone()
        if count != manifest.rows:
            raise Broken(f"{restore}: {count} rows came in, {manifest.rows} are in the backup")
        tell_ledger(restore, manifest)


@contextmanager
def impatient() -> Iterator[None]:
    """Let the server end the session of a worker that is stopped in here, before the lease on its locks runs out."""
    try:
        if connection.vendor == "mysql":
            mysql.prepare_session(connection, settings.LEASE_SECONDS)
        yield
    finally:
        # The next statement is the console's own again, patient and strict.
        mysql.end_session(connection)


def has_swapped(restore: Restore) -> bool:
    """Tell, from the tables that exist, whether the RENAME of an interrupted restore has happened."""
    if restore.replaces:
        return read_definition(connection, replaced_name(restore)) is not None
    gone = read_definition(connection, restore.shadow) is None
    return gone and read_definition(connection, restore.table) is not None


def call_off(restore: Restore) -> bool:
    """Make sure that no RENAME of a restore can come any more; False where one has."""
    if has_swapped(restore):
        return False
    try:
        with mysql.briefly(connection, restore.table), connection.cursor() as cursor:
            # A worker that was taken over may be at the RENAME still: either it finds no shadow, or we find none.
            cursor.execute(f"DROP TABLE {quote(restore.shadow)}")
    except DatabaseError as error:
        if engine(connection).is_transient(error):
            raise
        return not has_swapped(restore)
    return True


def tell_ledger(restore: Restore, manifest: Manifest) -> None:
    """Make the ledger say which runs the table contains now; Fenced where another worker has told it already."""
    contained: list[ContainedRun] = list(manifest.runs) if restore.same_table else []
    with transaction.atomic():
        # First, and locked: a worker that wakes up late would roll back what was loaded since.
        restore.step(RestoreStatus.SWAPPED)
        rolled_back = ledger().rewind(restore.table, contained)
        # Told twice after a crash in between, the ledger has nothing to roll back the second time.
        restore.step(RestoreStatus.SWAPPED, rolled_back=sorted({*restore.rolled_back, *rolled_back}))


def unknown_runs(restore: Restore, manifest: Manifest) -> list[Problem]:
    """Return a problem where rows came back of which the ledger knows nothing, as after a lost database."""
    found = ledger().strangers(restore.table, manifest.runs) if restore.same_table else []
    keys = ", ".join(run["key"] for run in found[:3]) + (" …" if len(found) > 3 else "")
    message = (
        f"the table contains rows of {len(found)} files that this console did not load ({keys}): it cannot tell when"
        " they are sent again"
    )
    return [Problem("unknown-runs", message)] if found else []


def bring_triggers(restore: Restore, manifest: Manifest) -> list[Problem]:
    """Make the triggers of a table that was put in place of none; return those that the server refuses.

    The rows are back by now: a trigger that cannot be made is told, and takes nothing back.
    """
    definition = read_definition(connection, restore.table)
    if definition is None or not restore.same_table:
        return []
    return [found for trigger in _missing_triggers(manifest, definition) if (found := _bring_trigger(trigger))]


def _bring_trigger(trigger: dict[str, str]) -> Problem | None:
    error: DatabaseError | None = None
    # Whoever defined it may not exist here, or may not be named by us: then it is ours.
    for sql in (trigger["create"], re.sub(r"^CREATE DEFINER=\S+ ", "CREATE ", trigger["create"])):
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
            return None
        except DatabaseError as refused:
            if engine(connection).is_transient(refused):
                raise
            error = refused
    return Problem("trigger", f"the trigger {trigger['name']} could not be made: {error}", trigger["name"])


def drop_shadows(restore: Restore) -> None:
    """Drop what earlier tries have left."""
    schema, _ = split_name(restore.table)
    with connection.cursor() as cursor:
        names: list[Any] = connection.introspection.table_names(cursor)
        if schema:
            cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", [schema])
            names = [name for (name,) in cursor.fetchall()]
    drop_tables(restore.table, [name for name in names if name.startswith(f"{SHADOW}{restore.pk}_")])


def drop_replaced(restore: Restore) -> None:
    """Drop the table that was replaced: it is in the backup that was taken first."""
    drop_tables(restore.table, [split_name(replaced_name(restore))[1]])
