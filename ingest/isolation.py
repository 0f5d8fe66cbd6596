"""Which rows of a batch the database cannot take: named by joins in a temporary table, by the server's
own equality; the rest goes in by strict INSERT … SELECT, and what is still refused, row by row.

(Halving a batch of 80,000 rows with 5% duplicates takes 37,000 statements; the joins take a handful.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl
from django.db import DataError, IntegrityError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib.definition import ForeignKey, TableDefinition, UniqueKey
from migration_console.lib.engine import engine
from migration_console.lib.mysql import RowsRefused
from migration_console.lib.statements import columns_sql, quote, quote_column

from .errors import RowError, row_error

INCOMING = "_incoming"
FREE, DONE, WAITING = 0, 1, 2
# Rows that wait for one another, such as a chain of managers, go in pass by pass; then one by one.
MAX_PASSES = 20
# Few refusals are expected here; a chunk with one is walked row by row.
CHUNK = 200
Refusals = dict[int, list[RowError]]


@dataclass(frozen=True)
class Destination:
    """Where a run's rows go, and against what they are held.

    `table` is written: the target, or a staging table; `known` are the tables whose rows count as present.
    """

    table: str
    definition: TableDefinition
    names: tuple[str, ...]
    wraps: dict[str, str]
    run: int
    upsert: bool = False
    known: tuple[str, ...] = ()
    run_column: bool = True

    @property
    def constants(self) -> dict[str, int]:
        """Return the columns that are the same in every row."""
        return {"_run": self.run} if self.run_column else {}

    @property
    def keys(self) -> list[UniqueKey]:
        """Return the unique keys that the rows have all columns of."""
        mine = {name.lower() for name in self.names}
        return [key for key in self.definition.keys if {name.lower() for name in key.columns} <= mine]

    @property
    def foreign_keys(self) -> list[ForeignKey]:
        """Return the foreign keys that the rows have all columns of."""
        mine = {name.lower() for name in self.names}
        return [key for key in self.definition.foreign_keys if {name.lower() for name in key.columns} <= mine]

    def is_self(self, key: ForeignKey) -> bool:
        """Tell whether a foreign key points at the table itself."""
        return key.table in {self.definition.name, self.table}

    def parents(self, key: ForeignKey) -> tuple[str, ...]:
        """Return the tables that may hold the parent of a foreign key."""
        return self.known if self.is_self(key) else (key.table,)


@dataclass
class Outcome:
    """What became of a batch's rows."""

    loaded: int = 0
    skipped: int = 0
    refusals: Refusals = field(default_factory=dict)


class Isolation:
    """One batch in its temporary table."""

    def __init__(self, connection: BaseDatabaseWrapper, to: Destination) -> None:
        self.connection, self.to = connection, to
        self.engine = engine(connection)
        self.refused: Refusals = {}

    def prepare(self, frame: pl.DataFrame) -> None:
        """Fill the temporary table, outside the batch's transaction so that its locks are held for a shorter time."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {quote(INCOMING)}" if self.connection.vendor == "sqlite"
                           else f"DROP TEMPORARY TABLE IF EXISTS {quote(INCOMING)}")  # fmt: skip
            cursor.execute(self.engine.temporary_table_sql(INCOMING, self.to.table, self.to.names))
        try:
            with transaction.atomic():
                self.engine.insert_rows(self.connection, INCOMING, frame, self.to.wraps, {})
        except (RowsRefused, DataError, IntegrityError, OperationalError) as error:
            if self.engine.is_transient(error):
                raise
            self._fill_strictly(frame)

    def _fill_strictly(self, frame: pl.DataFrame) -> None:
        """Fill by strict INSERT, row by row where a chunk is refused: the validator let something through."""
        for chunk in frame.iter_slices(CHUNK):
            try:
                with transaction.atomic():
                    self.engine.insert_values(self.connection, INCOMING, chunk, self.to.wraps, {})
            except (RowsRefused, DataError, IntegrityError, OperationalError) as error:
                if self.engine.is_transient(error):
                    raise
                self._fill_rows(chunk)

    def _fill_rows(self, chunk: pl.DataFrame) -> None:
        for row in chunk.iter_slices(1):
            try:
                with transaction.atomic():
                    self.engine.insert_values(self.connection, INCOMING, row, self.to.wraps, {})
            except (RowsRefused, DataError, IntegrityError, OperationalError) as error:
                if self.engine.is_transient(error):
                    raise
                self.refused[row["_n"][0]] = [row_error("", "refused-by-database", _server_words(error))]

    def load(self) -> Outcome:
        """Move what can be moved into the table, inside the batch's transaction."""
        outcome = Outcome(refusals=dict(self.refused))
        self._set_state(None, FREE)
        if self.to.upsert:
            earlier = self._earlier_of_key()
            outcome.skipped = len(earlier)
            self._set_state(earlier, DONE)
        for _ in range(MAX_PASSES):
            present = {} if self.to.upsert else self._present()
            self._refuse(_merged(self._orphans(own=False), present), outcome)
            waiting = self._orphans(own=True)
            self._set_state(waiting, WAITING)
            waiting = _merged(waiting, self._clashes())
            self._set_state(waiting, WAITING)
            moved = self._move(outcome)
            if not waiting:
                return outcome
            if not moved:
                break
            self._set_state(waiting, FREE)
        self._set_state(waiting, FREE)
        self._one_by_one(outcome, waiting)
        return outcome

    # Finding

    def _select(self, sql: str) -> list[int]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return [row[0] for row in cursor.fetchall()]

    def _orphans(self, *, own: bool) -> Refusals:
        """Return the free rows whose parent is missing; `own` for foreign keys to the table itself."""
        found: Refusals = {}
        for key in self.to.foreign_keys:
            if self.to.is_self(key) == own:
                for n in self._select(orphans_sql(key, self.to.parents(key), own=own)):
                    found.setdefault(n, []).append(self._reason(key, "foreign-key"))
        return found

    def _present(self) -> Refusals:
        """Return the free rows whose key is in the table already."""
        found: Refusals = {}
        for key in self.to.keys:
            for table in self.to.known:
                for n in self._select(present_sql(key, table)):
                    found.setdefault(n, []).append(self._reason(key, "duplicate-key"))
        return found

    def _clashes(self) -> Refusals:
        """Return the free rows whose key an earlier free row has; in an upsert also those whose other unique
        key belongs to another row of the table."""
        found: Refusals = {}
        primary = self.to.definition.primary_key
        for key in self.to.keys:
            if self.to.upsert and key.primary:
                continue
            rows = self._select(repeated_sql(key, "_n"))
            if self.to.upsert and primary:
                for table in self.to.known:
                    rows += self._select(taken_sql(key, primary, table))
            for n in rows:
                found.setdefault(n, []).append(self._reason(key, "duplicate-key"))
        return found

    def _earlier_of_key(self) -> list[int]:
        primary = self.to.definition.primary_key
        return self._select(repeated_sql(primary, "_n DESC")) if primary else []

    def _reason(self, key: UniqueKey | ForeignKey, code: str) -> RowError:
        columns = ",".join(key.columns)
        if isinstance(key, ForeignKey):
            where = f"{key.table} ({', '.join(key.references)})"
            return row_error(columns, code, f"There is no such {columns} in {where}.")
        what = "primary key" if key.primary else f"unique key {key.name}"
        return row_error(columns, code, f"The {what} ({columns}) is taken by an earlier row of the file or the table.")

    # Marking

    def _set_state(self, rows: Iterable[int] | None, state: int) -> None:
        """Mark rows; None means all."""
        with self.connection.cursor() as cursor:
            if rows is None:
                cursor.execute(f"UPDATE {quote(INCOMING)} SET _state = {state} WHERE _state <> {state}")
                return
            numbers = sorted(rows)
            for at in range(0, len(numbers), 10_000):
                among = ",".join(map(str, numbers[at : at + 10_000]))
                cursor.execute(f"UPDATE {quote(INCOMING)} SET _state = {state} WHERE _n IN ({among})")

    def _refuse(self, found: Refusals, outcome: Outcome) -> None:
        self._set_state(found, DONE)
        for n, reasons in found.items():
            outcome.refusals.setdefault(n, []).extend(reasons)

    # Moving

    def _move(self, outcome: Outcome) -> int:
        """Move all free rows; where the server refuses one, chunk by chunk."""
        rows = self._select(f"SELECT _n FROM {quote(INCOMING)} WHERE _state = {FREE} ORDER BY _n")
        if not rows:
            return 0
        before = outcome.loaded
        if self._try("TRUE", len(rows), outcome) is not None:
            for at in range(0, len(rows), CHUNK):
                chunk = rows[at : at + CHUNK]
                where = f"i._n BETWEEN {chunk[0]} AND {chunk[-1]}"
                if self._try(where, len(chunk), outcome) is not None:
                    self._one_by_one(outcome, dict.fromkeys(chunk, list[RowError]()))
        self._set_state(rows, DONE)
        return outcome.loaded - before

    def _one_by_one(self, outcome: Outcome, rows: Refusals) -> None:
        """Move rows in the order of the file; a refused one keeps the reasons known, or gets the server's."""
        left = sorted(rows)
        while left:
            failed = []
            for n in left:
                error = self._try(f"i._n = {n}", 1, outcome)
                if error is not None:
                    failed.append(n)
                    known = rows[n] or [self._server_reason(error)]
                    outcome.refusals[n] = known
                else:
                    outcome.refusals.pop(n, None)
            if len(failed) == len(left) or not any(r["code"] == "foreign-key" for n in failed for r in outcome.refusals[n]):
                return
            left = failed

    def _try(self, where: str, count: int, outcome: Outcome) -> Exception | None:
        """Move the free rows of a condition; return the server's refusal, the table then unchanged."""
        try:
            with transaction.atomic():
                replaced = self._upsert(where, count) if self.to.upsert else self._insert(where, count)
        except (IntegrityError, DataError, OperationalError, RowsRefused) as error:
            if self.engine.is_transient(error):
                raise
            return error
        outcome.loaded += count - replaced
        outcome.skipped += replaced
        return None

    def _insert(self, where: str, count: int) -> int:
        self._execute(insert_select_sql(self.to, f"i._state = {FREE} AND {where}"), count)
        return 0

    def _upsert(self, where: str, count: int) -> int:
        """Update what is there, insert the rest; return how many rows of this very run were replaced."""
        to = self.to
        primary = to.definition.primary_key
        assert primary is not None
        here = f"i._state = {FREE} AND {where}"
        match = _equal(primary, "t", "i")
        replaced = 0
        if to.run_column:
            own = f"SELECT COUNT(*) FROM {quote(INCOMING)} i JOIN {quote(to.table)} t ON {match} WHERE {here} AND t._run = {to.run}"
            (replaced,) = self._select(own)
        with self.connection.cursor() as cursor:
            cursor.execute(
                self.engine.update_from_sql(to.table, INCOMING, primary.columns, to.names, to.constants, here)
            )
            updated = cursor.rowcount
        absent = f"NOT EXISTS (SELECT 1 FROM {quote(to.table)} t WHERE {match})"
        self._execute(insert_select_sql(to, f"{here} AND {absent}"), count - updated)
        return replaced

    def _execute(self, sql: str, count: int) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            affected = cursor.rowcount
        warnings = self.connection.connection.warning_count() if self.connection.vendor == "mysql" else 0
        if affected != count or warnings:
            raise RowsRefused(f"{affected} of {count} rows, {warnings} warnings")

    def _server_reason(self, error: Exception) -> RowError:
        return row_error("", self.engine.row_code(error), _server_words(error))


def _server_words(error: Exception) -> str:
    return f"The database refused the row: {error.args[-1] if error.args else error}."


def _merged(left: Refusals, right: Refusals) -> Refusals:
    return {n: left.get(n, []) + right.get(n, []) for n in left.keys() | right.keys()}


def _part(column: str, prefix: int, alias: str) -> str:
    name = f"{alias}.{quote_column(column)}"
    return f"LEFT({name}, {prefix})" if prefix else name


def _equal(key: UniqueKey, left: str, right: str) -> str:
    """Return the equality of two rows' keys, as the server's collation sees it."""
    pairs = zip(key.columns, key.prefixes)
    return " AND ".join(f"{_part(c, p, left)} = {_part(c, p, right)}" for c, p in pairs)


def _not_null(columns: Sequence[str]) -> str:
    return " AND ".join(f"i.{quote_column(column)} IS NOT NULL" for column in columns)


def orphans_sql(key: ForeignKey, parents: Sequence[str], *, own: bool) -> str:
    """Return the SELECT of free rows without a parent; a row may be its own parent."""
    on = " AND ".join(f"p.{quote_column(r)} = i.{quote_column(c)}" for c, r in zip(key.columns, key.references))
    missing = " AND ".join(f"NOT EXISTS (SELECT 1 FROM {quote(parent)} p WHERE {on})" for parent in parents)
    if own:
        itself = " AND ".join(f"i.{quote_column(r)} = i.{quote_column(c)}" for c, r in zip(key.columns, key.references))
        missing += f" AND NOT ({itself})"
    return f"SELECT i._n FROM {quote(INCOMING)} i WHERE i._state = {FREE} AND {_not_null(key.columns)} AND {missing}"


def present_sql(key: UniqueKey, table: str) -> str:
    """Return the SELECT of free rows whose key is in a table."""
    exists = f"EXISTS (SELECT 1 FROM {quote(table)} t WHERE {_equal(key, 't', 'i')})"
    return f"SELECT i._n FROM {quote(INCOMING)} i WHERE i._state = {FREE} AND {exists}"


def taken_sql(key: UniqueKey, primary: UniqueKey, table: str) -> str:
    """Return the SELECT of free rows whose unique key belongs to a row with another primary key."""
    other = f"EXISTS (SELECT 1 FROM {quote(table)} t WHERE {_equal(key, 't', 'i')} AND NOT ({_equal(primary, 't', 'i')}))"
    return f"SELECT i._n FROM {quote(INCOMING)} i WHERE i._state = {FREE} AND {other}"


def repeated_sql(key: UniqueKey, order: str) -> str:
    """Return the SELECT of free rows whose key another free row has, the first one by `order` left out."""
    parts = ", ".join(_part(column, prefix, "i") for column, prefix in zip(key.columns, key.prefixes))
    ranked = (
        f"SELECT i._n, ROW_NUMBER() OVER (PARTITION BY {parts} ORDER BY i.{order}) AS place"
        f" FROM {quote(INCOMING)} i WHERE i._state = {FREE} AND {_not_null(key.columns)}"
    )
    return f"SELECT _n FROM ({ranked}) ranked WHERE place > 1"


def insert_select_sql(to: Destination, where: str) -> str:
    """Return INSERT … SELECT of rows in the order of the file."""
    names = columns_sql([*to.names, *to.constants])
    values = ", ".join([columns_sql(to.names, "i."), *(str(value) for value in to.constants.values())])
    return f"INSERT INTO {quote(to.table)} ({names}) SELECT {values} FROM {quote(INCOMING)} i WHERE {where} ORDER BY i._n"
