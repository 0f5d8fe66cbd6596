"""A table brought to what a new schema version needs: columns added and widened, never dropped or narrowed.

The SQL is built apart from running it: stewards see it, an operator runs it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.db import DatabaseError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib import mysql
from migration_console.lib.definition import TableColumn, TableDefinition, read_definition
from migration_console.lib.errors import Busy, conflict, refuse
from migration_console.lib.lease import writing
from migration_console.lib.sqltype import BINARY, INTEGER_BITS, TEXT_BYTES, SqlType, charset_rank, narrower
from migration_console.lib.statements import columns_sql, quote, quote_column

from .column import Column
from .schema import Schema
from .target import missing_keys

NOT_NULL = re.compile(r"\bNOT NULL\b")
CHARSET = re.compile(r"^( CHARACTER SET \w+)?( COLLATE \w+)?")


class Step(NamedTuple):
    """One clause of an ALTER TABLE, and what it means for the rows that are there."""

    clause: str
    note: str


@dataclass(frozen=True)
class Alteration:
    """What a table lacks: the statements that bring it, and what no statement of ours can bring."""

    table: str
    statements: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()

    @property
    def possible(self) -> bool:
        """Tell whether the statements are all that is needed."""
        return bool(self.statements) and not self.obstacles


def alteration(connection: BaseDatabaseWrapper, schema: Schema) -> Alteration | None:
    """Return what a schema's table must become; None where it is missing, or fits as it is."""
    table = read_definition(connection, schema.descriptor.target)
    if table is None:
        return None
    rests = _rests(connection, table) if connection.vendor == "mysql" and table.engine != "view" else {}
    found = plan(connection.vendor, schema, table, rests)
    return found if found.statements or found.obstacles else None


def plan(vendor: str, schema: Schema, table: TableDefinition, rests: Mapping[str, str]) -> Alteration:
    """Return the statements for a table; `rests` has what stands behind each column's type in its definition."""
    steps: list[Step] = []
    obstacles: list[str] = []
    if table.engine != "InnoDB":
        obstacles.append(f"{table.name} is no InnoDB table ({table.engine}); bring it to InnoDB first")
    for wanted in schema.columns:
        column = table.column(wanted.name)
        found = _added(vendor, wanted) if column is None else _changed(vendor, wanted, column, rests)
        _sort(found, steps, obstacles)
    names = {name.lower() for name in schema.names}
    for column in table.columns:
        if column.name.lower() not in names and not column.has_default and not column.generated:
            _sort(_optional(vendor, table, column, rests), steps, obstacles)
    for key in missing_keys(schema, table):
        _sort(_keyed(vendor, schema, table, key), steps, obstacles)
    return Alteration(table.name, _statements(vendor, table, steps), tuple(s.note for s in steps), tuple(obstacles))


def _sort(found: Step | str | None, steps: list[Step], obstacles: list[str]) -> None:
    if isinstance(found, Step):
        steps.append(found)
    elif found:
        obstacles.append(found)


def _statements(vendor: str, table: TableDefinition, steps: list[Step]) -> tuple[str, ...]:
    if not steps:
        return ()
    if vendor == "mysql":
        return (f"ALTER TABLE {quote(table.name)}\n  " + ",\n  ".join(step.clause for step in steps),)
    return tuple(
        step.clause if step.clause.startswith("CREATE") else f"ALTER TABLE {quote(table.name)} {step.clause}"
        for step in steps
    )


def _added(vendor: str, wanted: Column) -> Step:
    kind = _written(wanted.sql) if vendor == "mysql" else wanted.sql.sqlite
    note = f"{wanted.name} is added; the rows that are there have no value in it"
    # Never NOT NULL: the server would make values up for the rows that are there.
    return Step(f"ADD COLUMN {quote_column(wanted.name)} {kind} NULL", note)


def _written(kind: SqlType) -> str:
    """Return a column type that does not depend on the table's character set."""
    return kind.sql + (" CHARACTER SET utf8mb4" if kind.is_text and not kind.charset else "")


def _changed(vendor: str, wanted: Column, column: TableColumn, rests: Mapping[str, str]) -> Step | str | None:
    """Return the step that makes a column hold what the schema lets through; a sentence where none does."""
    name = column.name
    if column.generated or column.sql is None:
        return f"column {name} ({column.type}) is made by the database or cannot be loaded; leave it out"
    opens = not column.nullable and not wanted.required and wanted.default is None
    if vendor != "mysql":
        if column.sql.sqlite != wanted.sql.sqlite or opens:
            return f"column {name}: SQLite cannot change a column ({column.type}); choose another name or table"
        return None
    kind = widened(column.sql, wanted.sql)
    if kind is None:
        return f"column {name}: {column.sql.sql} cannot become {wanted.sql.sql} without changing values"
    if kind == column.sql and not opens:
        return None
    return _modified(column, kind, opens=opens, rests=rests)


def _optional(vendor: str, table: TableDefinition, column: TableColumn, rests: Mapping[str, str]) -> Step | str:
    """Let a column be empty that the dataset does not fill."""
    primary = table.primary_key
    if primary and column.name in primary.columns:
        return f"column {column.name} is part of the primary key and is not in the dataset"
    if vendor != "mysql" or column.sql is None:
        return f"column {column.name} needs a value and is not in the dataset; it cannot be changed here"
    return _modified(column, column.sql, opens=True, rests=rests)


def _modified(column: TableColumn, kind: SqlType, *, opens: bool, rests: Mapping[str, str]) -> Step | str:
    assert column.sql is not None
    rest = rests.get(column.name.lower())
    if rest is None:
        return f"column {column.name}: its definition ({column.type}) is not one that can be changed here"
    rest = CHARSET.sub("", rest, count=1)
    notes = []
    if opens:
        rest = NOT_NULL.sub("NULL", rest, count=1)
        notes.append("may be empty")
    if kind != column.sql:
        notes.append(f"becomes {kind.sql} (was {column.sql.sql})")
    return Step(
        f"MODIFY COLUMN {quote_column(column.name)} {_written(kind)}{rest}", f"{column.name} {' and '.join(notes)}"
    )


def _keyed(vendor: str, schema: Schema, table: TableDefinition, key: list[str]) -> Step | str:
    columns = ", ".join(key)
    primary = key == schema.descriptor.schema_.primary_key and table.primary_key is None
    if schema.descriptor.mode == "upsert" and key == schema.descriptor.schema_.primary_key and not primary:
        return f"the primary key would have to be ({columns}), and is another one; choose another table"
    note = f"a unique key on ({columns}); where rows share one, the server refuses"
    if vendor == "mysql":
        return Step(f"ADD {'PRIMARY KEY' if primary else 'UNIQUE KEY'} ({columns_sql(key)})", note)
    if schema.descriptor.mode == "upsert" and primary:
        return f"SQLite cannot add the primary key ({columns}) to a table; choose another table"
    name = f"{table.name}_{'_'.join(key)}_key"
    return Step(f"CREATE UNIQUE INDEX {quote_column(name)} ON {quote(table.name)} ({columns_sql(key)})", note)


def widened(have: SqlType, need: SqlType) -> SqlType | None:
    """Return the narrowest type we know that holds all of both; None where values would change."""
    if not narrower(have, need):
        return have
    if "TIMESTAMP" in {have.base, need.base} and have.base != need.base:
        return None  # the server would shift the values by the session's time zone
    if not narrower(need, have):
        keeps = charset_rank(need) == charset_rank(have)
        return replace(need, charset=have.charset, collation=have.collation) if keeps and need.is_text else need
    if have.is_text and need.is_text:
        return _wider_text(have, need)
    if have.base in INTEGER_BITS and need.is_text:
        return need if (need.length or 0) >= 20 or need.base in TEXT_BYTES else None
    candidates = [SqlType(base, unsigned=unsigned) for base in INTEGER_BITS for unsigned in (False, True)]
    candidates += [_decimal(have, need)]
    if have.base == need.base and have.base in {"TIME", "DATETIME", "TIMESTAMP", *BINARY}:
        candidates += [replace(have, length=max(have.length or 0, need.length or 0))]
    return next((kind for kind in candidates if not narrower(kind, have) and not narrower(kind, need)), None)


def _decimal(have: SqlType, need: SqlType) -> SqlType:
    """Return the decimal with the digits of both before and behind the point."""

    def digits(kind: SqlType) -> tuple[int, int]:
        if kind.integer_range is not None:
            return len(str(max(kind.integer_range))), 0
        return (kind.length or 10) - (kind.scale or 0), kind.scale or 0

    (whole, scale), (other, more) = digits(have), digits(need)
    scale = max(scale, more)
    return SqlType("DECIMAL", min(max(whole, other) + scale, 65), min(scale, 30))


def _wider_text(have: SqlType, need: SqlType) -> SqlType | None:
    wide = max(have, need, key=charset_rank)
    charset, collation = wide.charset, have.collation if wide is have else ""
    if have.base == need.base and have.base in {"ENUM", "SET"}:
        values = (*have.values, *(value for value in need.values if value not in have.values))
        return replace(have, values=values, charset=charset, collation=collation)
    sizes = [(TEXT_BYTES.get(kind.base, 0), kind.length or 0, kind) for kind in (have, need)]
    longest = replace(max(sizes, key=lambda size: size[:2])[2], values=(), charset=charset, collation=collation)
    return None if narrower(longest, have) or narrower(longest, need) else longest


def _rests(connection: BaseDatabaseWrapper, table: TableDefinition) -> dict[str, str]:
    """Return what stands behind each column's type in SHOW CREATE TABLE: MODIFY forgets what it does not repeat."""
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW CREATE TABLE {quote(table.name)}")
        lines = str(cursor.fetchone()[1]).splitlines()
    rests = {}
    for column in table.columns:
        start = f"  {quote_column(column.name)} {column.type}"
        line = next((line for line in lines if line.lower().startswith(start.lower())), None)
        if line is not None:
            rests[column.name.lower()] = line[len(start) :].removesuffix(",")
    return rests


def alter(schema: Schema) -> Alteration | None:
    """Change a schema's table so that the schema fits; None where nothing was to do.

    Raises Refused where it cannot, and Conflict where somebody else writes into the table.
    """
    with writing(schema.descriptor.target) as ours:
        if not ours:
            message = f"{schema.descriptor.target} is being written to; try again when that is over"
            raise conflict("table-in-use", message)
        # Under the lease: what was shown may have been done meanwhile.
        found = alteration(connection, schema)
        if found is None:
            return None
        if not found.possible:
            raise refuse("table", "; ".join(found.obstacles), found.table)
        _run(found)
        return found


def _run(found: Alteration) -> None:
    try:
        # Behind a long query of somebody else, everybody would wait behind us.
        with mysql.briefly(connection, found.table), transaction.atomic(), connection.cursor() as cursor:
            for statement in found.statements:
                cursor.execute(statement)
    except Busy as busy:
        message = f"{found.table} was not changed; try again when that is over. It waits for {busy}"
        raise conflict("table-in-use", message) from None
    except DatabaseError as error:
        raise refuse("table", f"the server did not change {found.table}: {error.args[-1]}", found.table) from error
