"""A table as a backup reads it: its columns, its definition, its ranges, its rows as blocks."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib.definition import TableDefinition, read_definition
from migration_console.lib.errors import refuse, unknown
from migration_console.lib.statements import quote, quote_column, split_name

from .avro_schema import Column, as_text, mysql_column, named, sqlite_column
from .encoding import Block, encode
from .meter import ahead
from .sessions import Row, Session

# A block is what one reader holds at once.
BLOCK_ROWS, BLOCK_BYTES = 8192, 1 << 20
# How many rows of a table with large values are fetched before they are measured.
CAREFUL = 64
# Dates that are none, or that Python and other readers do not know: they are kept as text.
ODD = (
    "{0} IS NOT NULL AND (YEAR({0}) = 0 OR MONTH({0}) = 0 OR DAYOFMONTH({0}) = 0"
    " OR NOT FROM_DAYS(TO_DAYS({0})) <=> DATE({0}))"
)


@dataclass(frozen=True)
class Source:
    """A table at the moment of a snapshot."""

    table: str
    columns: tuple[Column, ...]
    definition: TableDefinition
    # The statements that make the table and its triggers, as the server writes them.
    create: str
    triggers: tuple[dict[str, str], ...]
    server: dict[str, str]
    rows_expected: int

    @property
    def key(self) -> tuple[str, ...]:
        """Return the columns of the primary key."""
        return self.definition.primary_key.columns if self.definition.primary_key else ()

    @property
    def cut_by(self) -> str:
        """Return the column whose ranges cut the table, '' for none."""
        return cut_column(self.definition)


def describe(connection: BaseDatabaseWrapper, session: Session, table: str, *, rows: bool = True) -> Source:
    """Return a table as the session sees it; Refused where it cannot be kept whole.

    Without `rows` no row is looked at: dates that are none do not show in the columns then.
    """
    definition = read_definition(connection, table)
    if definition is None:
        raise unknown("unknown-table", f"there is no table {table} in the database")
    if definition.engine != "InnoDB":
        raise refuse(
            "engine",
            f"{table} is no InnoDB table ({definition.engine}); nothing else can be read as it was at one moment",
        )
    if connection.vendor == "mysql":
        return _mysql(session, table, definition, rows=rows)
    return _sqlite(session, table, definition)


def _mysql(session: Session, table: str, definition: TableDefinition, *, rows: bool) -> Source:
    ((create,),) = [row[1:2] for row in session.ask(f"SHOW CREATE TABLE {quote(table)}")]
    if "WITH SYSTEM VERSIONING" in create:
        raise refuse("system-versioned", f"{table} keeps its history by itself; a backup would lose it")
    schema, name = split_name(table)
    at = "table_schema = COALESCE(NULLIF(%s, ''), DATABASE()) AND table_name = %s"
    found = session.ask(
        "SELECT column_name, column_type, is_nullable, extra"
        f" FROM information_schema.columns WHERE {at} ORDER BY ordinal_position",
        (schema, name),
    )
    kept = [row for row in found if "GENERATED" not in row[3].upper().replace("DEFAULT_GENERATED", "")]
    ((estimate,),) = session.ask(
        f"SELECT COALESCE(table_rows, 0) FROM information_schema.tables WHERE {at}", (schema, name)
    )
    columns = [_column(table, n, kind, null == "YES") for n, kind, null, _ in kept]
    return Source(
        table=table,
        columns=_as_kept(session, table, columns) if rows else tuple(named(columns)),
        definition=definition,
        create=create,
        triggers=_triggers(session, table),
        server=_server(session),
        rows_expected=int(estimate),
    )


def _column(table: str, name: str, kind: str, nullable: bool) -> Column:
    try:
        return mysql_column(name, kind, nullable=nullable)
    except ValueError as error:
        raise refuse("unknown-type", f"column {name}: {error}", f"{table}.{name}") from None


def _as_kept(session: Session, table: str, columns: list[Column]) -> tuple[Column, ...]:
    """Give the columns their Avro names; dates that are none make text of their whole column.

    A union of date and string for each value would be nearer to the table, but other readers refuse it.
    """
    dates = [column for column in columns if column.may_be_odd]
    if dates:
        flags = ", ".join(f"MAX({ODD.format(quote_column(column.name))})" for column in dates)
        (found,) = session.ask(f"SELECT {flags} FROM {quote(table)}")
        odd = {column.name for column, flag in zip(dates, found) if flag == "1"}
        columns = [as_text(column) if column.name in odd else column for column in columns]
    return tuple(named(columns))


def _triggers(session: Session, table: str) -> tuple[dict[str, str], ...]:
    schema, name = split_name(table)
    found = session.ask(
        "SELECT trigger_name, action_timing, event_manipulation FROM information_schema.triggers"
        " WHERE event_object_schema = COALESCE(NULLIF(%s, ''), DATABASE()) AND event_object_table = %s"
        " ORDER BY action_order, trigger_name",
        (schema, name),
    )
    triggers = []
    for trigger, timing, event in found:
        (row,) = session.ask(
            f"SHOW CREATE TRIGGER {quote_column(trigger) if not schema else quote(f'{schema}.{trigger}')}"
        )
        triggers.append({"name": trigger, "timing": timing, "event": event, "create": row[2]})
    return tuple(triggers)


def _server(session: Session) -> dict[str, str]:
    names = ("version", "version_comment", "sql_mode", "character_set_database", "collation_database")
    ((*values,),) = session.ask(
        "SELECT " + ", ".join(f"@@global.{name}" if name == "sql_mode" else f"@@{name}" for name in names)
    )
    return dict(zip(names, values))


def _sqlite(session: Session, table: str, definition: TableDefinition) -> Source:
    made = session.ask(
        "SELECT sql FROM sqlite_master WHERE tbl_name = %s COLLATE NOCASE AND sql IS NOT NULL AND type = 'table'",
        (table,),
    )
    triggers = session.ask(
        "SELECT name, sql FROM sqlite_master WHERE tbl_name = %s COLLATE NOCASE AND type = 'trigger'", (table,)
    )
    columns = []
    for column in definition.columns:
        if column.generated:
            continue
        try:
            columns.append(sqlite_column(column.name, column.type, nullable=column.nullable))
        except ValueError as error:
            raise refuse("unknown-type", f"column {column.name}: {error}", f"{table}.{column.name}") from None
    ((count,),) = session.ask(f"SELECT COUNT(*) FROM {quote(table)}")
    ((version,),) = session.ask("SELECT sqlite_version()")
    return Source(
        table=table,
        columns=tuple(named(columns)),
        definition=definition,
        create=made[0][0],
        triggers=tuple({"name": name, "timing": "", "event": "", "create": sql} for name, sql in triggers),
        server={"version": f"SQLite {version}"},
        rows_expected=count,
    )


def cut_column(definition: TableDefinition) -> str:
    """Return the first column of the primary key where it is a whole number, else ''."""
    first = definition.column(definition.primary_key.columns[0]) if definition.primary_key else None
    return first.name if first and re.match(r"(tiny|small|medium|big)?int", first.type, re.IGNORECASE) else ""


def cut_by(connection: BaseDatabaseWrapper, table: str) -> str:
    """Return the column whose ranges cut a table, '' for none."""
    definition = read_definition(connection, table)
    return cut_column(definition) if definition else ""


def ranges(session: Session, table: str, cut_by: str, count: int) -> list[str]:
    """Return conditions that cut a table by a column of whole numbers, each row in exactly one of them."""
    if count < 2 or not cut_by:
        return [""]
    name = quote_column(cut_by)
    ((low, high),) = session.ask(f"SELECT MIN({name}), MAX({name}) FROM {quote(table)}")
    if low is None:
        return [""]
    step = (int(high) - int(low)) // count + 1
    cuts = [int(low) + step * number for number in range(1, count)]
    bounds: list[int | None] = [None, *cuts, None]
    return [_between(name, start, end) for start, end in pairwise(bounds)]


def _between(name: str, start: int | None, end: int | None) -> str:
    parts = [f"{name} >= {start}"] if start is not None else []
    parts += [f"{name} < {end}"] if end is not None else []
    return " AND ".join(parts)


def select_sql(table: str, columns: Sequence[Column], where: str = "") -> str:
    """Return the SELECT of rows, each value as the encoder takes it."""
    values = ", ".join(column.select.format(quote_column(column.name)) for column in columns)
    return f"SELECT {values} FROM {quote(table)}" + (f" WHERE {where}" if where else "")


def blocks(session: Session, table: str, columns: Sequence[Column], where: str = "") -> Iterator[Block]:
    """Yield the rows as blocks; one is read and encoded while the caller works on the last."""
    return ahead(encode(columns, batch) for batch in batches(session, table, columns, where))


def batches(session: Session, table: str, columns: Sequence[Column], where: str = "") -> Iterator[list[Row]]:
    """Yield the rows, a block's worth at a time."""
    return _gathered(session.rows(select_sql(table, columns, where), _fetch_size(columns)), columns)


def _fetch_size(columns: Sequence[Column]) -> int:
    if any(column.unbounded for column in columns):
        return CAREFUL
    row = sum(column.most_bytes for column in columns)
    return max(CAREFUL, min(BLOCK_ROWS, 32 * BLOCK_BYTES // row))


def _gathered(rows: Iterator[Sequence[Row]], columns: Sequence[Column]) -> Iterator[list[Row]]:
    """Gather rows into blocks, and let none grow far above its size."""
    large = [number for number, column in enumerate(columns) if column.unbounded or column.kind in {"bytes", "string"}]
    large = large if any(column.unbounded for column in columns) else []
    held: list[Row] = []
    size = 0
    for some in rows:
        held += some
        size += sum(len(row[number] or b"") for row in some for number in large)
        if len(held) >= BLOCK_ROWS or size >= BLOCK_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def server_facts(source: Source) -> dict[str, Any]:
    """Return the table as the manifest describes it."""
    definition = source.definition
    return {
        "create": source.create,
        "triggers": list(source.triggers),
        "primary_key": list(source.key),
        "foreign_keys": [vars(key) for key in definition.foreign_keys],
        "referenced_by": list(definition.referenced_by),
        "generated": [column.name for column in definition.columns if column.generated],
    }
