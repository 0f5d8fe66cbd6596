"""The target table: created from the schema when missing, held against it when present."""

from django.db import DatabaseError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib import swap
from migration_console.lib.definition import TableDefinition, read_definition
from migration_console.lib.engine import engine
from migration_console.lib.errors import Problem, Refused, refuse
from migration_console.lib.lease import TableLease
from migration_console.lib.sqltype import BINARY, narrower
from migration_console.lib.statements import columns_sql, quote, quote_column, split_name

from .destination import Destination
from .models import Run
from .schema import Schema

RUN_COLUMN = "_run"
# Column types whose canonical text needs a function around it.
WRAPS = dict.fromkeys(BINARY, "UNHEX({})") | {"BIT": "CAST({} AS UNSIGNED)"}


def ensure_table(connection: BaseDatabaseWrapper, schema: Schema, parents: dict[str, str]) -> TableDefinition:
    """Return the target table's definition, creating it when missing; Refused where it does not fit.

    `parents` maps datasets that foreign keys name to their tables.
    """
    table = schema.descriptor.target
    definition = read_definition(connection, table)
    if definition is None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(create_table_sql(connection.vendor, schema, parents))
        except DatabaseError as error:
            if engine(connection).is_transient(error):
                raise
            raise refuse("table", f"the table {table} cannot be made: {error.args[-1]}", table) from error
        definition = read_definition(connection, table)
        assert definition is not None
    problems = table_problems(connection.vendor, schema, definition)
    if problems:
        raise Refused(problems)
    return definition


def create_table_sql(vendor: str, schema: Schema, parents: dict[str, str]) -> str:
    """Return CREATE TABLE for a schema; tables of ours carry `_run`, the run that a row came from."""
    descriptor = schema.descriptor
    table = descriptor.target
    rules = descriptor.schema_
    lines = []
    for column in schema.columns:
        kind = column.sql.sql if vendor == "mysql" else column.sql.sqlite
        lines.append(f"{quote_column(column.name)} {kind}{' NOT NULL' if column.required else ' NULL'}")
    if descriptor.run_column is not False:
        lines.append(f"{quote_column(RUN_COLUMN)} {'BIGINT UNSIGNED' if vendor == 'mysql' else 'INTEGER'} NULL")
    if rules.primary_key:
        lines.append(f"PRIMARY KEY ({columns_sql(rules.primary_key)})")
    singles = [[column.name] for column in schema.columns if column.field.constraints.unique]
    lines += [f"UNIQUE ({columns_sql(key)})" for key in [*rules.unique_keys, *singles] if key != rules.primary_key]
    for key in rules.foreign_keys:
        parent = parents[key.reference.resource] if key.reference.resource else split_name(table)[1]
        target = f"{quote(parent)} ({columns_sql(key.reference.fields)})"
        lines.append(f"FOREIGN KEY ({columns_sql(key.fields)}) REFERENCES {target}")
    options = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4" if vendor == "mysql" else " STRICT"
    # IF NOT EXISTS: of two workers that see no table, one creates it.
    return f"CREATE TABLE IF NOT EXISTS {quote(table)} (\n  " + ",\n  ".join(lines) + f"\n){options}"


def table_problems(vendor: str, schema: Schema, table: TableDefinition) -> list[Problem]:
    """Return everything in which a table cannot hold what the schema lets through."""
    problems = _column_problems(vendor, schema, table)
    if table.engine != "InnoDB":
        message = f"{table.name} is no InnoDB table ({table.engine}): its rows and the ledger cannot commit together"
        problems.append(Problem("table", message, table.name))
    if schema.descriptor.mode == "upsert" and not _same_key(schema, table):
        columns = ", ".join(schema.descriptor.schema_.primary_key or [])
        message = f"mode upsert needs the table's primary key to be ({columns})"
        problems.append(Problem("missing-key", message, table.name))
    names = {name.lower() for name in schema.names}
    for column in table.columns:
        if column.name.lower() not in names and not column.has_default and not column.generated:
            problems.append(_problem("needs a value: it has no default, and is not in the dataset", table, column.name))
    for key in _unmatched_keys(schema, table):
        columns = ", ".join(key)
        message = f"the table {table.name} has no unique key on ({columns}); create it, or drop it from the dataset"
        problems.append(Problem("missing-key", message, table.name))
    return problems


def missing_keys(schema: Schema, table: TableDefinition) -> list[list[str]]:
    """Return the keys that the schema relies on and the table lacks."""
    primary = schema.descriptor.schema_.primary_key
    lacks = _unmatched_keys(schema, table)
    if schema.descriptor.mode == "upsert" and primary and primary not in lacks and not _same_key(schema, table):
        lacks.insert(0, primary)
    return lacks


def _unmatched_keys(schema: Schema, table: TableDefinition) -> list[list[str]]:
    have = {tuple(sorted(name.lower() for name in key.columns)) for key in table.keys if not any(key.prefixes)}
    return [key for key in _wanted_keys(schema) if tuple(sorted(name.lower() for name in key)) not in have]


def _same_key(schema: Schema, table: TableDefinition) -> bool:
    mine = {name.lower() for name in schema.descriptor.schema_.primary_key or []}
    return table.primary_key is not None and {name.lower() for name in table.primary_key.columns} == mine


def _wanted_keys(schema: Schema) -> list[list[str]]:
    rules = schema.descriptor.schema_
    singles = [[column.name] for column in schema.columns if column.field.constraints.unique]
    return [*([rules.primary_key] if rules.primary_key else []), *rules.unique_keys, *singles]


def _column_problems(vendor: str, schema: Schema, table: TableDefinition) -> list[Problem]:
    problems = []
    for wanted in schema.columns:
        column = table.column(wanted.name)
        if column is None:
            problems.append(_problem("is missing in the table", table, wanted.name))
        elif column.generated:
            problems.append(_problem("is generated by the database and cannot be loaded", table, wanted.name))
        elif column.sql is None:
            problems.append(_problem(f"has the type {column.type}, which cannot be loaded", table, wanted.name))
        else:
            # SQLite's types have no lengths; there the validator alone decides.
            why = narrower(column.sql, wanted.sql) if vendor == "mysql" else ""
            if vendor == "sqlite" and column.sql.sqlite != wanted.sql.sqlite:
                why = f"{column.type} would change the values; {wanted.sql.sqlite} is needed"
            if why:
                problems.append(_problem(why, table, wanted.name, "narrow-column"))
            if not column.nullable and not wanted.required and wanted.default is None:
                problems.append(_problem("is NOT NULL, the dataset lets it be empty", table, wanted.name))
    return problems


def _problem(message: str, table: TableDefinition, column: str, code: str = "table") -> Problem:
    return Problem(code, f"column {column}: {message}", f"{table.name}.{column}")


def destination(run: Run, schema: Schema, table: TableDefinition, lease: TableLease | None = None) -> Destination:
    """Return where a run's rows go: the target, or a staging table beside it."""
    descriptor = schema.descriptor
    writes, known = table.name, [table.name]
    if descriptor.whole:
        writes = swap.staging_name(table.name, run.pk)
        replaces = descriptor.mode == "replace"
        if replaces and not swap.can_rename(connection, table):
            swap.check_exchange(connection, table, 0)  # before an hour of staging, not behind it
        if not (replaces and swap.can_rename(connection, table) and swap.swapped(connection, table.name, run.pk)):
            swap.create_staging(connection, table, run.pk, replaces=replaces)
        known = [writes] if replaces else [writes, table.name]
    return Destination(
        table=writes,
        definition=table,
        names=tuple(schema.names),
        wraps={column.name: wrap for column in schema.columns if (wrap := WRAPS.get(column.sql.base))},
        run=run.pk,
        upsert=descriptor.mode == "upsert",
        known=tuple(known),
        run_column=table.column(RUN_COLUMN) is not None,
        lease=lease,
    )
