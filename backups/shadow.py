"""The shadow table: made from a backup's definition, filled, and compared before anybody sees it."""

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import polars as pl
from django.db import DatabaseError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib import mysql, sqlite, swap
from migration_console.lib.definition import ForeignKey, read_definition
from migration_console.lib.errors import refuse
from migration_console.lib.statements import beside, quote, quote_column, split_name

from .decoding import natives, texts
from .dump import digest_of
from .manifest import Manifest, Part
from .meter import Meter, Tell, ahead, side_by_side
from .verify import read_part

SHADOW, REPLACED, REHEARSAL = "_console_shadow_", "_console_replaced_", "_console_rehearsal_"
# Lenient on purpose: a table may hold dates and enums that strict mode refuses. The digest is the judge.
RESTORING = (
    "SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION',"
    " time_zone='+00:00', foreign_key_checks=0"
)
# What one transaction of a restore holds.
LOAD_ROWS, LOAD_BYTES = 65_536, 8 << 20
NAME = r"`(?:[^`]|``)+`"
CONSTRAINT = re.compile(rf"^(\s*)CONSTRAINT ({NAME}) (FOREIGN KEY|CHECK)", re.MULTILINE)


def shadow_sql(create: str, table: str, shadow: str, mark: str, *, foreign_keys: bool) -> str:
    """Return the CREATE TABLE of a shadow, from the statement that made the table on MySQL.

    Names of constraints are unique in a schema, so they get a mark; a table that refers to itself does so
    in its shadow too.
    """
    numbers = iter(range(1, 10_000))

    def renamed(match: re.Match[str]) -> str:
        old = match[2][1:-1].replace("``", "`")
        name = f"{re.sub(r'(_[0-9]+)?_r[0-9]+$', '', old)[:40]}_{next(numbers)}_{mark}"
        return f"{match[1]}CONSTRAINT {quote_column(name)} {match[3]}"

    body = create[create.index("(") :]
    body = CONSTRAINT.sub(renamed, body)
    own = quote_column(split_name(table)[1])
    body = body.replace(f"REFERENCES {own} (", f"REFERENCES {quote(shadow)} (")
    if not foreign_keys:
        body = re.sub(rf",\n\s*CONSTRAINT {NAME} FOREIGN KEY [^\n]*?(?=,?\n)", "", body)
    return f"CREATE TABLE {quote(shadow)} {body}"


def definition_lines(create: str, table: str) -> set[str]:
    """Return what a table's definition says, line by line, without the names that a restore changes."""
    body = create[create.index("(") + 1 :]
    body = re.sub(rf"CONSTRAINT {NAME} (?=FOREIGN KEY|CHECK)", "", body)
    body = re.sub(r" AUTO_INCREMENT=[0-9]+", "", body)
    own = quote_column(split_name(table)[1])
    body = body.replace(f"REFERENCES {own} (", "REFERENCES itself (")
    return {line.strip().rstrip(",") for line in body.splitlines() if line.strip()}


def make_shadow(table: str, manifest: Manifest, shadow: str, mark: str, *, foreign_keys: bool = True) -> None:
    """Create an empty shadow; a leftover of the same name goes."""
    create: str = manifest.definition["create"]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {quote(shadow)}")
        if connection.vendor == "sqlite":
            cursor.execute(swap.sqlite_copy_sql(create, shadow, keep_foreign_keys=foreign_keys, table=table))
            return
        cursor.execute(RESTORING)
        try:
            with mysql.briefly(connection, table):
                cursor.execute(shadow_sql(create, manifest.table, shadow, mark, foreign_keys=foreign_keys))
        except DatabaseError as error:
            if mysql.is_transient(error):
                raise
            raise refuse("definition", f"the server refuses the backup's definition: {error.args[-1]}") from None
        finally:
            # The next statement of this session is the console's own again.
            connection.close()


def fill_shadow(manifest: Manifest, prefix: str, shadow: str, tell: Tell, threads: int) -> None:
    """Load every row of a backup; Damaged where its files are not what the manifest says."""
    meter = Meter()
    if connection.vendor == "sqlite":
        # One writer at a time: the table is filled in this thread.
        for part in manifest.parts:
            for frame, size in _frames(manifest, prefix, part):
                with transaction.atomic():
                    sqlite.insert_rows(connection, shadow, natives(manifest.columns, frame), {}, {})
                meter.add(frame.height, size)
                tell(meter.rows, meter.bytes)
        return
    work = [partial(_fill_from, manifest, prefix, part, shadow, meter) for part in manifest.parts]
    side_by_side(work, meter, tell, threads)


def _fill_from(manifest: Manifest, prefix: str, part: Part, shadow: str, meter: Meter) -> None:
    """Load one part through this thread's own connection."""
    wraps = {column.name: column.insert for column in manifest.columns if column.insert}
    try:
        with connection.cursor() as cursor:
            cursor.execute(RESTORING)
        for frame, size in ahead(_text_frames(manifest, prefix, part)):
            with transaction.atomic():
                send(connection, shadow, frame, wraps)
            meter.add(frame.height, size)
    finally:
        connection.close()


def send(connection: BaseDatabaseWrapper, table: str, frame: pl.DataFrame, wraps: dict[str, str]) -> None:
    """Insert rows; whether the server took each as it was is found out by the digest."""
    if mysql.local_infile(connection):
        mysql.send_rows(connection, table, frame, wraps, {})
        return
    # It counts warnings, which lenient mode gives for zero dates too.
    with suppress(mysql.RowsRefused):
        mysql.insert_values(connection, table, frame, wraps, {})


def _frames(manifest: Manifest, prefix: str, part: Part) -> Iterator[tuple[pl.DataFrame, int]]:
    """Yield a part's rows, a transaction's worth at a time."""
    held: list[pl.DataFrame] = []
    rows = plain_bytes = size = 0
    for frame, plain, compressed in read_part(manifest, prefix, part):
        held.append(frame)
        rows, plain_bytes, size = rows + frame.height, plain_bytes + len(plain), size + compressed
        if rows >= LOAD_ROWS or plain_bytes >= LOAD_BYTES:
            yield pl.concat(held), size
            held, rows, plain_bytes, size = [], 0, 0, 0
    if held:
        yield pl.concat(held), size


def _text_frames(manifest: Manifest, prefix: str, part: Part) -> Iterator[tuple[pl.DataFrame, int]]:
    for frame, size in _frames(manifest, prefix, part):
        yield texts(manifest.columns, frame), size


def check_shadow(manifest: Manifest, shadow: str, tell: Tell, readers: int) -> None:
    """Compare a filled shadow with the manifest: rows and digest; refused where they differ."""
    digest = digest_of(connection, shadow, manifest.columns, readers=readers, tell=tell)
    if (digest.rows, digest.hex) != (manifest.rows, manifest.digest):
        message = (
            f"the server took {digest.rows} rows with digest {digest.hex}; the backup holds {manifest.rows} with"
            f" {manifest.digest}. Nothing was changed"
        )
        raise refuse("digest", message)


def parent_keys(shadow: str) -> tuple[ForeignKey, ...]:
    """Return the foreign keys of a shadow; refused where a table that they refer to is not there."""
    definition = read_definition(connection, shadow)
    assert definition is not None
    for key in definition.foreign_keys:
        if read_definition(connection, key.table) is None:
            message = f"the backup's rows refer to {key.table}, which is not there any more; restore that table first"
            raise refuse("orphans", message)
    return definition.foreign_keys


def check_parents(shadow: str) -> None:
    """Refuse rows whose parents are no longer there; they were loaded without asking the server."""
    for key in parent_keys(shadow):
        with connection.cursor() as cursor:
            cursor.execute(swap.orphan_count_sql(shadow, key.table, key))
            (orphans,) = cursor.fetchone()
        if orphans:
            message = f"{orphans} rows of the backup have no parent in {key.table} any more; restore that table first"
            raise refuse("orphans", message)


def drop_tables(table: str, names: list[str]) -> None:
    """Drop tables of a restore, in the schema of its target."""
    with mysql.briefly(connection, table), connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DROP TABLE IF EXISTS {quote(beside(table, name))}")
