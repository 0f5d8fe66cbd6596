"""SQLite, the embedded default: the same bulk statements as mysql.py, as far as they differ."""

from collections.abc import Sequence

import polars as pl
from django.db import DataError, IntegrityError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from .statements import columns_sql, insert_sql, quote, quote_column

# What a CHECK, a trigger or a generated column cannot work out of a row.
WORDS_ABOUT_ROWS = {"malformed JSON", "integer overflow"}


def prepare_session(_connection: BaseDatabaseWrapper, _lease_seconds: float) -> None:
    """Do nothing: a silent writer of the embedded database is ended by nobody but its own machine."""


def end_session(_connection: BaseDatabaseWrapper) -> None:
    """Do nothing, see prepare_session."""


def add_functions(sender: object, connection: BaseDatabaseWrapper, **_: object) -> None:
    """Give a new connection MySQL's UNHEX, which SQLite has from 3.41 on only."""
    if connection.vendor == "sqlite":
        connection.connection.create_function("UNHEX", 1, lambda text: None if text is None else bytes.fromhex(text))


def insert_rows(
    connection: BaseDatabaseWrapper, table: str, frame: pl.DataFrame, wraps: dict[str, str], constants: dict[str, int]
) -> None:
    """Insert a frame of canonical text inside the caller's transaction; STRICT tables convert or refuse."""
    tail = tuple(constants.values())
    with connection.cursor() as cursor:
        rows = [row + tail for row in frame.iter_rows()]
        cursor.executemany(insert_sql(table, [*frame.columns, *constants], wraps), rows)


insert_values = insert_rows


def temporary_table_sql(name: str, table: str, names: Sequence[str]) -> str:
    """Return a temporary copy of some columns."""
    return (
        f"CREATE TEMPORARY TABLE {quote(name)} AS"
        f" SELECT {columns_sql(['_n', *names]).replace('`_n`', '0 AS _n', 1)} FROM {quote(table)} LIMIT 0"
    )


def update_from_sql(
    table: str, source: str, key: Sequence[str], names: Sequence[str], constants: dict[str, int], where: str
) -> str:
    """Return UPDATE of `table` (t) by join with `source` (i) on `key`."""
    on = " AND ".join(f"t.{quote_column(name)} = i.{quote_column(name)}" for name in key)
    sets = [f"{quote_column(name)} = i.{quote_column(name)}" for name in names]
    sets += [f"{quote_column(name)} = {value:d}" for name, value in constants.items()]
    return f"UPDATE {quote(table)} AS t SET {', '.join(sets)} FROM {quote(source)} i WHERE {on} AND {where}"


def is_transient(error: Exception) -> bool:
    """Tell whether the same statement may succeed later."""
    return isinstance(error, OperationalError) and ("locked" in str(error) or "busy" in str(error))


def is_about_rows(error: Exception) -> bool:
    """Tell whether the rows were refused for what they hold."""
    return isinstance(error, IntegrityError | DataError) or str(error) in WORDS_ABOUT_ROWS


def row_code(error: Exception) -> str:
    """Return the row error's code for a statement that was refused."""
    text = str(error)
    codes = {"UNIQUE": "duplicate-key", "FOREIGN KEY": "foreign-key", "CHECK": "check"}
    return next((code for word, code in codes.items() if text.startswith(word)), "refused-by-database")
