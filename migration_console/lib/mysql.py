"""MySQL and MariaDB: the loader's session and its bulk statements.

LOAD DATA LOCAL behaves as IGNORE: what does not fit is changed or dropped with a warning. So it is fed
canonical text only, from memory, and counts: affected = sent and no warning, notes included, or the
caller rolls back. Where the server forbids it, INSERT with many rows does the same.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import polars as pl
from django.db import DatabaseError, DataError, IntegrityError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from .errors import Busy
from .statements import columns_sql, insert_sql, quote, quote_column

TRANSIENT = {
    *(1040, 1053, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1290, 1317, 1836, 1927),  # the server is busy or going
    *(2002, 2003, 2006, 2013, 2055, 3024, 4031),  # the connection is lost
}
# Whatever else the server says may be about a row: a trigger chooses its number itself.
ELSEWHERE = {
    *(1044, 1045, 1095, 1130, 1141, 1142, 1143, 1144, 1147, 1148, 1227, 1289, 1370, 1410, 1698, 1820, 3118),  # rights
    *(1003, 1020, 1021, 1026, 1030, 1037, 1038, 1041, 1114, 1135, 1180, 1206, 1637, 3019, 3675),  # space, memory, locks
    *(1015, 1016, 1017, 1033, 1034, 1035, 1036, 1105, 1127, 1146, 1194, 1195, 1196, 1356, 1412, 1449, 1877),  # tables
    *(
        1046,
        1049,
        1051,
        1054,
        1055,
        1064,
        1096,
        1109,
        1136,
        1149,
        1176,
        1193,
        1231,
        1235,
        1247,
        1295,
        1305,
    ),  # statements
    *(1153, 1196, 1207, 1223, 1238, 1402, 1568, 1598, 1615, 1665, 1785, 1786, 1792, 3098, 3100, 3101, 3572, 3950),
    *(1418, 1419, 1422, 1442, 1456, 1534, 1593, 1969),  # triggers that can run for no row, the binary log, time
}
ROW_CODES = {1062: "duplicate-key", 1586: "duplicate-key", 1216: "foreign-key", 1452: "foreign-key"}
ROW_CODES |= {3819: "check", 4025: "check"}


# How long DDL waits for those who use a table, and the error that says they still do.
LOCK_SECONDS, LOCK_TIMED_OUT = 4, 1205


class RowsRefused(Exception):
    """The server did not take every row unchanged; roll back and find out which."""


def prepare_session(connection: BaseDatabaseWrapper, lease_seconds: float) -> None:
    """Let the server end a silent loader well before its lease runs out, reading a LOAD DATA included."""
    third = max(int(lease_seconds / 3), 1)
    connection.ensure_connection()
    if getattr(connection.connection, "console_timeout", None) == third:
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION wait_timeout = {third}, net_read_timeout = {third}")
    connection.connection.console_timeout = third


def end_session(connection: BaseDatabaseWrapper) -> None:
    """Give the session back: its short patience is for loading, not for a long survey after it."""
    connection.close()


def insert_rows(
    connection: BaseDatabaseWrapper, table: str, frame: pl.DataFrame, wraps: dict[str, str], constants: dict[str, int]
) -> None:
    """Insert a frame of canonical text inside the caller's transaction; RowsRefused unless all went in unchanged."""
    if not frame.height:
        return
    if not local_infile(connection):
        insert_values(connection, table, frame, wraps, constants)
        return
    affected = send_rows(connection, table, frame, wraps, constants)
    warnings = connection.connection.warning_count()
    if affected != frame.height or warnings:
        raise RowsRefused(f"{affected} of {frame.height} rows, {warnings} warnings")


def send_rows(
    connection: BaseDatabaseWrapper, table: str, frame: pl.DataFrame, wraps: dict[str, str], constants: dict[str, int]
) -> int:
    """Send a frame by LOAD DATA and return how many rows the server took; the caller finds out how it took them."""
    with connection.cursor() as cursor, open(os.memfd_create("rows"), "wb") as memory:
        escaped(frame).write_csv(memory, include_header=False, separator="\t", quote_style="never", null_value="\\N")
        memory.flush()
        path = f"/proc/{os.getpid()}/fd/{memory.fileno()}"
        return int(cursor.execute(load_data_sql(path, table, frame.columns, wraps, constants)))


@contextmanager
def briefly(connection: BaseDatabaseWrapper, table: str) -> Iterator[None]:
    """Let DDL wait a few seconds for those who use a table; Busy where that is not enough, and nothing has happened.

    Whoever waits for a metadata lock has every later reader wait behind it. A foreign key carries that to the parent.
    """
    if connection.vendor != "mysql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
    try:
        yield
    except OperationalError as error:
        if error_code(error) != LOCK_TIMED_OUT:
            raise
        raise Busy(table) from None
    finally:
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SET SESSION lock_wait_timeout = DEFAULT")


def local_infile(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the server takes LOAD DATA LOCAL; asked once a connection."""
    raw = connection.connection
    if not hasattr(raw, "console_local_infile"):
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@local_infile")
            raw.console_local_infile = bool(cursor.fetchone()[0])
    return bool(raw.console_local_infile)


def load_data_sql(path: str, table: str, names: Sequence[str], wraps: dict[str, str], constants: dict[str, int]) -> str:
    """Return LOAD DATA for tab-separated lines; wrapped columns go through a variable."""
    places, sets = [], []
    for index, name in enumerate(names):
        if name in wraps:
            places.append(f"@v{index}")
            sets.append(f"{quote_column(name)} = {wraps[name].format(f'@v{index}')}")
        else:
            places.append(quote_column(name))
    sets += [f"{quote_column(name)} = {value:d}" for name, value in constants.items()]
    return (
        f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {quote(table)} CHARACTER SET utf8mb4"
        " FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'"
        f" ({', '.join(places)})" + (f" SET {', '.join(sets)}" if sets else "")
    )


def escaped(frame: pl.DataFrame) -> pl.DataFrame:
    """Escape backslash, tab and line feed in the columns that hold any."""
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    if not texts:
        return frame
    found = frame.select(pl.col(texts).str.contains(r"[\\\t\n]").any()).row(0)
    changes = [
        pl.col(name).str.replace_all("\\", "\\\\", literal=True)
        .str.replace_all("\t", "\\t", literal=True)
        .str.replace_all("\n", "\\n", literal=True)
        for name, special in zip(texts, found)
        if special
    ]  # fmt: skip
    return frame.with_columns(changes) if changes else frame


def insert_values(
    connection: BaseDatabaseWrapper, table: str, frame: pl.DataFrame, wraps: dict[str, str], constants: dict[str, int]
) -> None:
    """Insert by INSERT … VALUES, strict; RowsRefused when a row was changed or dropped with a note."""
    sql = insert_sql(table, [*frame.columns, *constants], wraps)
    tail = tuple(constants.values())
    warnings = 0
    with connection.cursor() as cursor:
        # Statements of 1,000 rows stay under half of max_allowed_packet, and each one's notes are counted.
        for part in frame.iter_slices(1000):
            cursor.executemany(sql, [row + tail for row in part.iter_rows()])
            warnings += connection.connection.warning_count()
    if warnings:
        raise RowsRefused(f"{warnings} warnings")


def temporary_table_sql(name: str, table: str, names: Sequence[str]) -> str:
    """Return a temporary copy of some columns, their types and collations kept, keys and checks left out."""
    return (
        f"CREATE TEMPORARY TABLE {quote(name)} (_n INT UNSIGNED NOT NULL, PRIMARY KEY (_n)) ENGINE=InnoDB"
        f" SELECT {columns_sql(['_n', *names]).replace('`_n`', '0 AS _n', 1)} FROM {quote(table)} LIMIT 0"
    )


def update_from_sql(
    table: str, source: str, key: Sequence[str], names: Sequence[str], constants: dict[str, int], where: str
) -> str:
    """Return UPDATE of `table` (t) by join with `source` (i) on `key`."""
    on = " AND ".join(f"t.{quote_column(name)} = i.{quote_column(name)}" for name in key)
    sets = [f"t.{quote_column(name)} = i.{quote_column(name)}" for name in names]
    sets += [f"t.{quote_column(name)} = {value:d}" for name, value in constants.items()]
    return f"UPDATE {quote(table)} t JOIN {quote(source)} i ON {on} SET {', '.join(sets)} WHERE {where}"


def error_code(error: Exception) -> int:
    """Return the server's error number; 0 where there is none."""
    code = error.args[0] if error.args else 0
    return code if isinstance(code, int) else 0


def is_transient(error: Exception) -> bool:
    """Tell whether the same statement may succeed later: lost connection, lock, full or restarting server."""
    return isinstance(error, OperationalError) and error_code(error) in TRANSIENT


def is_about_rows(error: Exception) -> bool:
    """Tell whether the server refused what the rows hold; a full disk or a missing right is no fault of theirs."""
    if isinstance(error, IntegrityError | DataError | RowsRefused):
        return True
    code = error_code(error)
    by_server = code >= 3000 or 1000 <= code < 2000
    return isinstance(error, DatabaseError) and by_server and code not in TRANSIENT | ELSEWHERE


def row_code(error: Exception) -> str:
    """Return the row error's code for a statement that the server refused."""
    return ROW_CODES.get(error_code(error), "refused-by-database")
