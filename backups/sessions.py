"""Database sessions that read a table as it was at one moment, as the bytes that the server sends.

They are the backup's own: Django's session is READ COMMITTED, where the server ignores the snapshot
(MySQL warns, MariaDB says nothing).
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib.statements import quote

from .encoding import Value

Row = tuple[Value, ...]
# A server that waits for us to take the next row must not give up while the lake is slow.
PATIENCE = "SET SESSION net_write_timeout = 3600, net_read_timeout = 3600, wait_timeout = 28800, time_zone = '+00:00'"
LOCK_SECONDS = 3
# How often a snapshot is opened that an ALTER TABLE gets in front of, and the error that says so.
SNAPSHOTS, TABLE_ALTERED = 3, 1412


class Session(Protocol):
    """A session that sees one moment."""

    def rows(self, sql: str, size: int) -> Iterator[Sequence[Row]]:
        """Yield rows as they come, `size` at a time."""

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a small query; MySQL's values are text."""

    def close(self) -> None:
        """End the session and its snapshot."""


class MySQLSession:
    """A connection of its own."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        import MySQLdb

        parameters = {**connection.get_connection_params(), "conv": {}, "use_unicode": False}
        # So that a lost connection is known as one, whichever session it was.
        self.errors = connection.wrap_database_errors
        with self.errors:
            self.raw: Any = MySQLdb.connect(**parameters)
        self.run(PATIENCE)

    def run(self, sql: str) -> None:
        """Run a statement that returns no rows."""
        with self.errors:
            self.raw.query(sql)
            self.raw.store_result()

    def begin(self) -> None:
        """Open the snapshot."""
        self.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")

    def rows(self, sql: str, size: int) -> Iterator[Sequence[Row]]:
        """Yield rows; the client holds only those that were asked for."""
        with self.errors:
            self.raw.query(sql)
            result = self.raw.use_result()
        while rows := self._fetch(result, size):
            yield rows

    def _fetch(self, result: Any, size: int) -> Sequence[Row]:
        with self.errors:
            rows: Sequence[Row] = result.fetch_row(size)
            return rows

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return rows as text."""
        with self.errors, self.raw.cursor() as cursor:
            cursor.execute(sql, tuple(parameters) or None)
            return [tuple(None if v is None else bytes(v).decode() for v in row) for row in cursor.fetchall()]

    def close(self) -> None:
        """End the session; one that has ended stays so."""
        if self.raw.open:
            self.raw.close()


class SQLiteSession:
    """A connection of its own; a reader's transaction in WAL mode sees one moment."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        name = connection.settings_dict["NAME"]
        self.raw = sqlite3.connect(name, timeout=60, isolation_level=None, check_same_thread=False)
        self.raw.text_factory = bytes

    def begin(self) -> None:
        """Open the snapshot: SQLite takes it at the first read."""
        self.raw.execute("BEGIN")
        self.raw.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()

    def rows(self, sql: str, size: int) -> Iterator[Sequence[Row]]:
        """Yield rows, numbers as their shortest digits that are exact."""
        cursor = self.raw.execute(sql)
        while rows := cursor.fetchmany(size):
            yield [tuple(v if v is None or isinstance(v, bytes) else repr(v).encode() for v in row) for row in rows]

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return rows, text as text."""
        rows = self.raw.execute(sql.replace("%s", "?"), parameters).fetchall()
        return [tuple(v.decode() if isinstance(v, bytes) else v for v in row) for row in rows]

    def close(self) -> None:
        """End the session."""
        self.raw.close()


def open_snapshots(connection: BaseDatabaseWrapper, table: str, readers: int) -> list[Session]:
    """Return sessions that all see the same moment: as many as asked for, or one where that cannot be had."""
    if connection.vendor != "mysql":
        single = SQLiteSession(connection)
        single.begin()
        return [single]
    for left in reversed(range(SNAPSHOTS)):
        try:
            return list(_snapshots(connection, table, readers))
        except DatabaseError as error:
            if error.args[0] != TABLE_ALTERED or not left:
                raise
    raise AssertionError


def _snapshots(connection: BaseDatabaseWrapper, table: str, readers: int) -> list[MySQLSession]:
    opened = sessions = [MySQLSession(connection) for _ in range(readers)]
    try:
        if readers > 1:
            sessions = _together(connection, table, sessions)
        if len(sessions) == 1:
            sessions[0].begin()
        for session in sessions:
            # Takes the lock that keeps ALTER TABLE away until we are done; 1412 where one got there first.
            session.ask(f"SELECT 1 FROM {quote(table)} LIMIT 1")
        return sessions
    except BaseException:
        for session in opened:
            session.close()
        raise


def _together(connection: BaseDatabaseWrapper, table: str, sessions: list[MySQLSession]) -> list[MySQLSession]:
    """Open all snapshots while nobody writes to the table; one session alone where the lock is not to be had."""
    gate = MySQLSession(connection)
    try:
        gate.run(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        # Granted only once every transaction that has written to the table has ended.
        gate.run(f"LOCK TABLES {quote(table)} READ")
        for session in sessions:
            session.begin()
        return sessions
    except DatabaseError:
        for session in sessions[1:]:
            session.close()
        return sessions[:1]
    finally:
        gate.close()
