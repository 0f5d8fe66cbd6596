"""What a table in the database looks like: columns, unique keys, foreign keys, triggers."""

from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from .sqltype import SqlType, parse_sql_type
from .statements import quote, split_name


@dataclass(frozen=True)
class TableColumn:
    """A column. `sql` is None for types that the console does not load, such as geometry."""

    name: str
    type: str
    sql: SqlType | None
    nullable: bool
    has_default: bool = False
    generated: bool = False


@dataclass(frozen=True)
class UniqueKey:
    """A primary or unique key; `prefixes` has a length where only the start of a column counts, else 0."""

    name: str
    columns: tuple[str, ...]
    prefixes: tuple[int, ...]
    primary: bool = False


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key to a table, named with its schema only where that is another one."""

    name: str
    columns: tuple[str, ...]
    table: str
    references: tuple[str, ...]
    on_delete: str = "RESTRICT"
    on_update: str = "RESTRICT"


@dataclass(frozen=True)
class TableDefinition:
    """A table as the server describes it."""

    name: str
    columns: tuple[TableColumn, ...]
    keys: tuple[UniqueKey, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    referenced_by: tuple[str, ...] = ()
    # Events that fire triggers: INSERT, UPDATE, DELETE.
    triggers: tuple[str, ...] = ()
    engine: str = "InnoDB"

    @property
    def primary_key(self) -> UniqueKey | None:
        """Return the primary key."""
        return next((key for key in self.keys if key.primary), None)

    def column(self, name: str) -> TableColumn | None:
        """Return a column by its name; MySQL ignores case in column names."""
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)


def read_definition(connection: BaseDatabaseWrapper, table: str) -> TableDefinition | None:
    """Return a table's definition, None where there is no such table."""
    return _mysql(connection, table) if connection.vendor == "mysql" else _sqlite(connection, table)


def _rows(connection: BaseDatabaseWrapper, sql: str, params: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def _mysql(connection: BaseDatabaseWrapper, table: str) -> TableDefinition | None:
    schema, name = split_name(table)
    (database,) = _rows(connection, "SELECT DATABASE()")[0]
    at = (schema or database, name)
    columns = _rows(
        connection,
        "SELECT column_name, column_type, character_set_name, collation_name, is_nullable, column_default, extra"
        " FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        at,
    )
    if not columns:
        return None
    ((engine,),) = _rows(
        connection, "SELECT engine FROM information_schema.tables WHERE table_schema = %s AND table_name = %s", at
    )
    triggers = _rows(
        connection,
        "SELECT event_manipulation FROM information_schema.triggers"
        " WHERE event_object_schema = %s AND event_object_table = %s",
        at,
    )
    children = _rows(
        connection,
        "SELECT DISTINCT constraint_schema, table_name FROM information_schema.referential_constraints"
        " WHERE unique_constraint_schema = %s AND referenced_table_name = %s",
        at,
    )
    return TableDefinition(
        name=table,
        columns=tuple(_mysql_column(*column) for column in columns),
        keys=_mysql_keys(connection, at),
        foreign_keys=_mysql_foreign_keys(connection, at, database),
        referenced_by=tuple(
            child if owner == database else f"{owner}.{child}" for owner, child in children if (owner, child) != at
        ),
        engine=engine or "view",
        triggers=tuple(sorted({event for (event,) in triggers})),
    )


def _mysql_column(
    name: str, kind: str, charset: str | None, collation: str | None, nullable: str, default: Any, extra: str
) -> TableColumn:
    text = kind + (f" CHARACTER SET {charset}" if charset else "") + (f" COLLATE {collation}" if collation else "")
    sql: SqlType | None
    try:
        sql = parse_sql_type(text)
    except ValueError:
        sql = None
    extra = extra.upper()
    generated = "GENERATED" in extra and "DEFAULT_GENERATED" not in extra
    has_default = default is not None or nullable == "YES" or "AUTO_INCREMENT" in extra or "DEFAULT_GENERATED" in extra
    return TableColumn(name, kind, sql, nullable == "YES", has_default, generated)


def _mysql_keys(connection: BaseDatabaseWrapper, at: tuple[str, str]) -> tuple[UniqueKey, ...]:
    parts = _rows(
        connection,
        "SELECT index_name, column_name, sub_part FROM information_schema.statistics"
        " WHERE table_schema = %s AND table_name = %s AND non_unique = 0 ORDER BY index_name, seq_in_index",
        at,
    )
    keys = []
    for name in dict.fromkeys(part[0] for part in parts):
        columns = [(column, prefix or 0) for index, column, prefix in parts if index == name]
        if all(column for column, _ in columns):  # a key over an expression names no column; the server judges it
            names, prefixes = zip(*columns)
            keys.append(UniqueKey(name, names, prefixes, primary=name == "PRIMARY"))
    return tuple(sorted(keys, key=lambda key: not key.primary))


def _mysql_foreign_keys(connection: BaseDatabaseWrapper, at: tuple[str, str], database: str) -> tuple[ForeignKey, ...]:
    parts = _rows(
        connection,
        "SELECT k.constraint_name, k.column_name, k.referenced_table_schema, k.referenced_table_name,"
        " k.referenced_column_name, r.delete_rule, r.update_rule"
        " FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r"
        " ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name"
        " AND r.table_name = k.table_name"
        " WHERE k.table_schema = %s AND k.table_name = %s AND k.referenced_table_name IS NOT NULL"
        " ORDER BY k.constraint_name, k.ordinal_position",
        at,
    )
    keys = []
    for name in dict.fromkeys(part[0] for part in parts):
        mine = [part for part in parts if part[0] == name]
        _, _, schema, parent, _, on_delete, on_update = mine[0]
        here = at[0] if "." in at[1] else database
        table = parent if schema == here else f"{schema}.{parent}"
        columns, references = tuple(part[1] for part in mine), tuple(part[4] for part in mine)
        keys.append(ForeignKey(name, columns, table, references, on_delete, on_update))
    return tuple(keys)


def _sqlite(connection: BaseDatabaseWrapper, table: str) -> TableDefinition | None:
    columns = _rows(connection, f"PRAGMA table_xinfo({quote(table)})")
    if not columns:
        return None
    keys = []
    primary = sorted((column for column in columns if column[5]), key=lambda column: column[5])
    if primary:
        names = tuple(column[1] for column in primary)
        keys.append(UniqueKey("PRIMARY", names, (0,) * len(names), primary=True))
    for _, index, unique, origin, *_ in _rows(connection, f"PRAGMA index_list({quote(table)})"):
        if unique and origin != "pk":
            names = tuple(part[2] for part in _rows(connection, f"PRAGMA index_info({quote(index)})"))
            keys.append(UniqueKey(index, names, (0,) * len(names)))
    links: dict[int, list[tuple[Any, ...]]] = {}
    for link in _rows(connection, f"PRAGMA foreign_key_list({quote(table)})"):
        links.setdefault(link[0], []).append(link)
    foreign = tuple(
        ForeignKey(f"fk_{number}", tuple(p[3] for p in parts), parts[0][2], tuple(p[4] for p in parts), parts[0][6])
        for number, parts in links.items()
    )
    tables = [name for (name,) in _rows(connection, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    children = tuple(
        child
        for child in tables
        if child != table and any(p[2] == table for p in _rows(connection, f"PRAGMA foreign_key_list({quote(child)})"))
    )
    triggers = _rows(connection, "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", (table,))
    events = {event for (sql,) in triggers for event in ("INSERT", "UPDATE", "DELETE") if f" {event} " in sql.upper()}
    return TableDefinition(
        name=table,
        columns=tuple(_sqlite_column(column, len(primary)) for column in columns),
        keys=tuple(keys),
        foreign_keys=foreign,
        referenced_by=children,
        triggers=tuple(sorted(events)),
    )


def _sqlite_column(column: tuple[Any, ...], keys: int) -> TableColumn:
    _, name, kind, not_null, default, in_key, hidden = column
    row_id = in_key and keys == 1 and kind.upper() == "INTEGER"
    nullable = not not_null and not in_key
    has_default = default is not None or nullable or row_id
    return TableColumn(name, kind, _affinity(kind.upper()), nullable, has_default, hidden in (2, 3))


def _affinity(kind: str) -> SqlType | None:
    """Return what SQLite makes of a declared type; NUMERIC changes values, so nothing is loaded into it.

    Source: https://www.sqlite.org/datatype3.html, 3.1
    """
    if "INT" in kind:
        return SqlType("BIGINT")
    if any(word in kind for word in ("CHAR", "CLOB", "TEXT")):
        return SqlType("LONGTEXT")
    if "BLOB" in kind or not kind:
        return SqlType("LONGBLOB")
    return SqlType("DOUBLE") if any(word in kind for word in ("REAL", "FLOA", "DOUB")) else None
