"""Staging tables, and putting one in a table's place so that readers never see it empty or half full.

On a RENAME, foreign keys of child tables and triggers follow the *old* table, also with
foreign_key_checks=0. So tables are renamed only where nothing points at them; otherwise the rows are
exchanged in one transaction.
"""

import re
from collections.abc import Sequence
from contextlib import suppress

from django.db.backends.base.base import BaseDatabaseWrapper

from . import mysql
from .definition import ForeignKey, TableDefinition, read_definition
from .errors import Busy, refuse
from .statements import beside, columns_sql, quote, quote_column, split_name

STAGE, OLD = "_console_stage_", "_console_old_"
# Exchanging rows in one transaction holds locks and undo space for all of them.
MAX_EXCHANGED = 5_000_000
HARMLESS = {"RESTRICT", "NO ACTION"}


def staging_name(table: str, run: int) -> str:
    """Return the name of a run's staging table, in the target's schema."""
    return beside(table, f"{STAGE}{run}")


def old_name(table: str, run: int) -> str:
    """Return the name that the replaced table has until it is dropped."""
    return beside(table, f"{OLD}{run}")


def create_staging(connection: BaseDatabaseWrapper, table: TableDefinition, run: int, *, replaces: bool) -> None:
    """Create a run's staging table unless it is there; one that replaces the table has its foreign keys too."""
    name = staging_name(table.name, run)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s COLLATE NOCASE", (table.name,)
            )
            (sql,) = cursor.fetchone()
            cursor.execute(sqlite_copy_sql(sql, name, keep_foreign_keys=replaces, table=table.name))
            return
        made = read_definition(connection, name)
        if made is None:
            cursor.execute(f"CREATE TABLE {quote(name)} LIKE {quote(table.name)}")
        # A try before may have ended between two statements.
        there = {key.name for key in made.foreign_keys} if made else set()
        for number, key in enumerate(table.foreign_keys if replaces else (), start=1):
            if foreign_key_name(key, run, number) not in there:
                with mysql.briefly(connection, table.name):
                    cursor.execute(foreign_key_sql(table.name, name, key, run, number))


def sqlite_copy_sql(sql: str, name: str, *, keep_foreign_keys: bool, table: str) -> str:
    """Return the CREATE TABLE of a copy, from the statement that made the table."""
    body = sql[sql.index("(") :]
    if not keep_foreign_keys:
        name_ = r"`(?:[^`]|``)*`"
        names = rf"\((?:{name_}|[^)`])*\)"
        body = re.sub(rf",\s*FOREIGN KEY {names} REFERENCES (?:{name_}|[^(`])*{names}", "", body)
    else:
        body = body.replace(f"REFERENCES {quote(table)}", f"REFERENCES {quote(name)}")
    return f"CREATE TABLE IF NOT EXISTS {quote(name)} {body}"


def foreign_key_name(key: ForeignKey, run: int, number: int) -> str:
    """Return the name of a copied foreign key; the number keeps those apart that share their first 40 characters."""
    return f"{re.sub(r'(_[0-9]+)?_r[0-9]+$', '', key.name)[:40]}_{number}_r{run}"


def foreign_key_sql(table: str, staging: str, key: ForeignKey, run: int, number: int = 1) -> str:
    """Return ALTER TABLE for one foreign key of a copy; names are unique in a schema, so they get a suffix."""
    name = foreign_key_name(key, run, number)
    parent = staging if key.table == split_name(table)[1] or key.table == table else key.table
    return (
        f"ALTER TABLE {quote(staging)} ADD CONSTRAINT {quote_column(name)} FOREIGN KEY ({columns_sql(key.columns)})"
        f" REFERENCES {quote(parent)} ({columns_sql(key.references)})"
        f" ON DELETE {key.on_delete} ON UPDATE {key.on_update}"
    )


def can_rename(connection: BaseDatabaseWrapper, table: TableDefinition) -> bool:
    """Tell whether a table can be put in place by RENAME."""
    return connection.vendor == "mysql" and not table.referenced_by and not table.triggers


def swapped(connection: BaseDatabaseWrapper, table: str, run: int) -> bool:
    """Tell whether the RENAME of a run has happened: RENAME commits by itself, so the tables are the record."""
    return read_definition(connection, old_name(table, run)) is not None


def rename(connection: BaseDatabaseWrapper, table: str, run: int) -> None:
    """Put the staging table in the table's place, in one step."""
    if swapped(connection, table, run):
        return
    with mysql.briefly(connection, table), connection.cursor() as cursor:
        cursor.execute(rename_sql(table, run))


def rename_sql(table: str, run: int) -> str:
    """Return the one RENAME that exchanges the tables."""
    staging, old = staging_name(table, run), old_name(table, run)
    return f"RENAME TABLE {quote(table)} TO {quote(old)}, {quote(staging)} TO {quote(table)}"


def exchange(connection: BaseDatabaseWrapper, table: TableDefinition, staging: str, names: Sequence[str]) -> None:
    """Replace all rows inside the caller's transaction; refused where children would lose their parents."""
    columns = columns_sql(names)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {quote(staging)}")
        (count,) = cursor.fetchone()
        check_exchange(connection, table, count)
        mysql = connection.vendor == "mysql"
        cursor.execute("SET foreign_key_checks=0" if mysql else "PRAGMA defer_foreign_keys=ON")
        try:
            cursor.execute(f"DELETE FROM {quote(table.name)}")
            cursor.execute(f"INSERT INTO {quote(table.name)} ({columns}) SELECT {columns} FROM {quote(staging)}")
            for child, orphans in orphaned_children(connection, table).items():
                if orphans:
                    message = f"{orphans} rows of {child} would lose their parent in {table.name}; nothing was changed"
                    raise refuse("orphans", message)
        finally:
            if mysql:
                cursor.execute("SET foreign_key_checks=1")


def check_exchange(connection: BaseDatabaseWrapper, table: TableDefinition, rows: int) -> None:
    """Refuse to exchange the rows of a table for so many others where that is known to go wrong."""
    if {"INSERT", "DELETE"} & set(table.triggers):
        raise refuse("triggers", f"{table.name} has INSERT or DELETE triggers; its rows cannot be exchanged unseen")
    if connection.vendor == "sqlite" and (acting := acting_children(connection, table)):
        message = f"{', '.join(acting)} would lose rows: a foreign key acts ON DELETE, which cannot be held back here"
        raise refuse("orphans", message)
    if rows > MAX_EXCHANGED:
        raise refuse("too-large", f"{table.name} is referenced by others and has over {MAX_EXCHANGED} rows to exchange")


def acting_children(connection: BaseDatabaseWrapper, table: TableDefinition) -> list[str]:
    """Return the children whose rows a DELETE in the table would delete or change."""
    return [
        child
        for child in table.referenced_by
        if (definition := read_definition(connection, child))
        and any(key.table == table.name and key.on_delete not in HARMLESS for key in definition.foreign_keys)
    ]


def orphaned_children(connection: BaseDatabaseWrapper, table: TableDefinition) -> dict[str, int]:
    """Count the rows of each child table (and of the table itself) whose parent is missing."""
    found: dict[str, int] = {}
    for child in {*table.referenced_by, table.name}:
        definition = read_definition(connection, child)
        if definition is None:
            raise refuse("orphans", f"{child} refers to {table.name} and cannot be read; nothing was changed")
        for key in definition.foreign_keys:
            if split_name(key.table)[1] == split_name(table.name)[1]:
                with connection.cursor() as cursor:
                    cursor.execute(orphan_count_sql(child, table.name, key))
                    found[child] = found.get(child, 0) + cursor.fetchone()[0]
    return found


def orphan_count_sql(child: str, parent: str, key: ForeignKey) -> str:
    """Return the COUNT of a child's rows without a parent."""
    on = " AND ".join(f"p.{quote_column(r)} = c.{quote_column(n)}" for n, r in zip(key.columns, key.references))
    filled = " AND ".join(f"c.{quote_column(name)} IS NOT NULL" for name in key.columns)
    return (
        f"SELECT COUNT(*) FROM {quote(child)} c WHERE {filled}"
        f" AND NOT EXISTS (SELECT 1 FROM {quote(parent)} p WHERE {on})"
    )


def drop_leftovers(connection: BaseDatabaseWrapper, table: str, run: int) -> None:
    """Drop a run's staging table and the table that it replaced."""
    with connection.cursor() as cursor:
        for name in (staging_name(table, run), old_name(table, run)):
            cursor.execute(f"DROP TABLE IF EXISTS {quote(name)}")


def drop_if_free(connection: BaseDatabaseWrapper, table: str, run: int) -> None:
    """Drop a run's leftovers where nobody has to be waited for; else the sweep comes for them again."""
    with suppress(Busy), mysql.briefly(connection, table):
        drop_leftovers(connection, table, run)


def leftover_runs(connection: BaseDatabaseWrapper) -> dict[int, str]:
    """Return the runs that staging tables in the console's schema belong to, with a name of one."""
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    found = ((re.fullmatch(rf"({STAGE}|{OLD})([0-9]+)", name), name) for name in names)
    return {int(match[2]): name for match, name in found if match}
