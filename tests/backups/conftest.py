"""Tables made by hand, backed up and restored."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from backups.models import Backup, BackupStatus, Restore, RestoreStatus
from backups.services import add_table, bring_back, check, request_backup, request_check, request_restore, take
from migration_console.lib.definition import read_definition
from migration_console.lib.lease import TableLease
from tests.conftest import query

OURS = ("_console_shadow_", "_console_replaced_", "_console_rehearsal_")
LENIENT = "SET SESSION sql_mode='ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'"


def run_sql(*statements: str) -> None:
    """Run statements in one session that refuses no odd value, and give it back."""
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(LENIENT)
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def backed_up(table: str, **options: Any) -> Backup:
    """Back a table up, putting it on the list."""
    add_table(table)
    backup = take(request_backup(table, **options).pk)
    assert (backup.status, backup.problems) == (BackupStatus.DONE, []), (backup.problems, backup.waiting_for)
    return backup


def restored(table: str, **options: Any) -> Restore:
    """Restore a table."""
    restore = bring_back(request_restore(table, **options).pk)
    assert (restore.status, restore.problems) == (RestoreStatus.DONE, []), (restore.problems, restore.waiting_for)
    return restore


def rehearsed(backup: Backup) -> Backup:
    """Verify and rehearse a backup."""
    request_check(backup, rehearse=True)
    return check(backup.pk)


def lapse() -> None:
    """Let every lease run out: the worker is dead."""
    past = timezone.now() - timedelta(seconds=1)
    for model in (TableLease, Restore, Backup):
        model._default_manager.filter(lease_until__isnull=False).update(lease_until=past)


AS_TEXT = ("int", "decimal", "date", "time", "year", "float", "double", "real", "integer", "timestamp")


def shown(table: str, alias: str) -> list[str]:
    """Return SQL that shows each column as the server tells it: digits, text, or hexadecimal."""
    definition = read_definition(connection, table)
    assert definition is not None
    found = []
    for column in definition.columns:
        name, kind = f"{alias}.`{column.name}`", column.type.lower()
        if kind.startswith(("float", "double")):
            found += [f"CAST({name} + 0e0 AS CHAR)", f"CAST({name} AS CHAR)"]
        elif kind.partition("(")[0].split()[0].endswith(AS_TEXT) and not kind.startswith("point"):
            found.append(f"CAST({name} AS CHAR)")
        else:
            found += [f"HEX({name})", f"{name} IS NULL"]
    return found


def fingerprint(table: str, order: str = "1") -> list[tuple[Any, ...]]:
    """Return every row, by no code of the backup's own."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(shown(table, 't'))} FROM `{table}` t ORDER BY {order}")
        return list(cursor.fetchall())


def same_rows(left: str, right: str) -> int:
    """Return how many rows of two tables with the key `id` are equal, counted by the server."""
    pairs = zip(shown(left, "l"), shown(right, "r"))
    equal = " AND ".join(f"CAST({one} AS BINARY) <=> CAST({other} AS BINARY)" for one, other in pairs)
    ((count,),) = query(f"SELECT COUNT(*) FROM `{left}` l JOIN `{right}` r ON l.id = r.id WHERE {equal}")
    return int(count)


@contextmanager
def without(right: str) -> Iterator[None]:
    """Work as a user who has every right in the schema that the console needs, but this one."""
    schema, root = connection.settings_dict["NAME"], connection.settings_dict["USER"]
    rights = {"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "REFERENCES", "LOCK TABLES"}
    try:
        run_sql("CREATE USER console_low@'127.0.0.1'")
    except DatabaseError:
        pytest.skip("this server knows no rights")
    run_sql(f"GRANT {', '.join(sorted(rights - {right}))} ON `{schema}`.* TO console_low@'127.0.0.1'")
    connection.settings_dict["USER"] = "console_low"
    connection.close()
    try:
        yield
    finally:
        connection.settings_dict["USER"] = root
        connection.close()
        run_sql("DROP USER console_low@'127.0.0.1'")
