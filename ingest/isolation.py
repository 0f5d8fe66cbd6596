"""Which rows of a batch the database cannot take: their keys go into a temporary table and are named by
joins, by the server's own equality; the rest is loaded, and what is still refused, row by row.

(Halving a batch of 80,000 rows with 5% duplicates takes 37,000 statements; the joins take a handful. The
temporary table has the key columns only, in an upsert all of them: the good rows go straight into the table.)
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

import polars as pl
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib.definition import ForeignKey, UniqueKey
from migration_console.lib.engine import engine
from migration_console.lib.mysql import RowsRefused
from migration_console.lib.statements import quote

from .destination import (
    INCOMING,
    Destination,
    equal_sql,
    groups_sql,
    insert_select_sql,
    orphans_sql,
    present_sql,
    taken_sql,
)
from .errors import RowError, row_error

# Rows that wait for one another, such as a chain of managers, go in pass by pass; then one by one.
MAX_PASSES = 20
# Few refusals are expected here; a chunk with one is walked row by row.
CHUNK = 200
Refusals = dict[int, list[RowError]]


@dataclass
class Outcome:
    """What became of a batch's rows."""

    loaded: int = 0
    skipped: int = 0
    refusals: Refusals = field(default_factory=dict)


class Isolation:
    """One batch, and its keys in a temporary table."""

    def __init__(self, connection: BaseDatabaseWrapper, to: Destination, frame: pl.DataFrame) -> None:
        self.connection, self.to, self.frame = connection, to, frame
        self.engine = engine(connection)
        self.outcome = Outcome()

    def prepare(self) -> None:
        """Fill the temporary table, before the batch's transaction so that its locks are held for a shorter time."""
        to = self.to
        keys: list[UniqueKey | ForeignKey] = [*to.keys, *to.foreign_keys]
        looked_at = {name.lower() for key in keys for name in key.columns}
        names = [name for name in to.names if to.upsert or name.lower() in looked_at]
        temporary = "" if self.connection.vendor == "sqlite" else "TEMPORARY "
        with self.connection.cursor() as cursor:
            cursor.execute(f"DROP {temporary}TABLE IF EXISTS {quote(INCOMING)}")
            cursor.execute(self.engine.temporary_table_sql(INCOMING, to.table, names))
        wraps = {name: wrap for name, wrap in to.wraps.items() if name in names}
        self._insert(INCOMING, self.frame.select("_n", *names), wraps, {})

    def leave_rows_of_this_run(self) -> None:
        """Leave out what would overwrite rows that this very file has written: one of them may be a later one."""
        primary = self.to.definition.primary_key
        if not self.to.upsert or primary is None:
            return
        written = (
            f"SELECT 1 FROM {quote(self.to.table)} t WHERE {equal_sql(primary, 't', 'i')} AND t._run = {self.to.run}"
        )
        for (n,) in self._select(f"SELECT i._n FROM {quote(INCOMING)} i WHERE EXISTS ({written})"):
            self.outcome.refusals[n] = [row_error("", "foreign-key", "Another row of the file has this key.")]
        self._forget(self.outcome.refusals)

    def load(self) -> Outcome:
        """Move what can be moved into the table, inside the batch's transaction."""
        self.frame = _without(self.frame, self.outcome.refusals)
        if not self.to.upsert:
            self._load(self.frame)
            return self.outcome
        while True:
            last = self._last_of_key()
            self._forget(last)
            self._load(_without(self.frame, last))
            # Where the last row of a key was refused, the one before it counts.
            second = [n for n, winner in last.items() if winner in self.outcome.refusals]
            self.outcome.skipped += len(last) - len(second)
            if not second:
                return self.outcome
            self.frame = _only(self.frame, second)
            self.prepare()

    def _load(self, left: pl.DataFrame) -> None:
        # A staging table has no foreign keys that would refuse a row: there only the joins decide.
        staged = self.to.known != (self.to.table,)
        for number in count():
            refused, waiting = self._look()
            self._refuse(refused)
            left = _without(left, refused)
            moved, trouble = self._move(_without(left, waiting), {*refused, *waiting})
            if not waiting:
                return
            left = _only(left, waiting)
            if not moved or not (trouble or self._may_go_in_later(waiting)) or (number >= MAX_PASSES and not staged):
                break
            self._forget(waiting, others=True)
        if self._may_go_in_later(waiting) and not staged:
            self._one_by_one(left, waiting)
        else:
            self._refuse(waiting)

    def _may_go_in_later(self, waiting: Refusals) -> bool:
        """Tell whether rows that wait may still go in, now that others are in: with one key, a repetition may not."""
        keys = sum(not (self.to.upsert and key.primary) for key in self.to.keys)
        own = any(self.to.is_self(key) for key in self.to.foreign_keys)
        return bool(waiting) and (own or self.to.upsert or keys > 1)

    # Looking

    def _select(self, sql: str) -> list[tuple[int, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _look(self) -> tuple[Refusals, Refusals]:
        """Return the rows that are refused for every reason found, and those that wait for other rows."""
        refused: Refusals = defaultdict(list)
        waiting: Refusals = defaultdict(list)
        for key in self.to.foreign_keys:
            own = self.to.is_self(key)
            rows = self._select(orphans_sql(key, self.to.parents(key), own=own))
            self._add(waiting if own else refused, rows, key, "foreign-key")
        for unique in self.to.keys:
            if not self.to.upsert:
                rows = [row for table in self.to.known for row in self._select(present_sql(unique, table))]
                self._add(refused, rows, unique, "duplicate-key")
            elif not unique.primary and (primary := self.to.definition.primary_key):
                rows = [row for table in self.to.known for row in self._select(taken_sql(unique, primary, table))]
                self._add(waiting, rows, unique, "duplicate-key")
        for unique in self.to.keys:
            if not (self.to.upsert and unique.primary):
                rows = self._repeated(unique, refused.keys() | waiting.keys())
                self._add(waiting, rows, unique, "duplicate-key")
        return refused, {n: reasons for n, reasons in waiting.items() if n not in refused}

    def _repeated(self, key: UniqueKey, out: Iterable[int]) -> list[tuple[int, ...]]:
        """Return the rows whose key an earlier row has that is not out itself."""
        out, group, taken = set(out), -1, False
        found: list[tuple[int, ...]] = []
        for n, first in self._groups(key):
            if first != group:
                group, taken = first, False
            if n in out:
                continue
            if taken:
                found.append((n,))
            taken = True
        return found

    def _groups(self, key: UniqueKey) -> list[tuple[int, ...]]:
        """Return (row, first row of its group) for the rows that share a key, in the order of the file."""
        kinds = [column.sql for name in key.columns if (column := self.to.definition.column(name))]
        if any(key.prefixes) or any(sql is None or sql.is_text for sql in kinds) or len(kinds) < len(key.columns):
            return self._select(groups_sql(key))
        # Without a collation, equal canonical text is equal to the server too, and nobody need ask it.
        among = {name.lower(): name for name in self.frame.columns}
        names = [among[name.lower()] for name in key.columns]
        rows = self.frame.lazy().select("_n", *names).drop_nulls(names)
        shared = rows.filter(pl.len().over(names) > 1).select("_n", pl.col("_n").min().over(names).alias("first"))
        return shared.sort("first", "_n").collect().rows()

    def _last_of_key(self) -> dict[int, int]:
        """Return, for each row whose primary key a later row has, the last one: in an upsert that wins."""
        primary = self.to.definition.primary_key
        assert primary is not None
        rows = self._groups(primary)
        last = {first: n for n, first in rows}
        return {n: last[first] for n, first in rows if last[first] != n}

    def _add(self, found: Refusals, rows: list[tuple[int, ...]], key: UniqueKey | ForeignKey, code: str) -> None:
        columns = ",".join(key.columns)
        if isinstance(key, ForeignKey):
            message = f"There is no such {columns} in {key.table} ({', '.join(key.references)})."
        else:
            what = "primary key" if key.primary else f"unique key {key.name}"
            message = f"The {what} ({columns}) is taken by an earlier row of the file or the table."
        values = self._values([row[0] for row in rows], key.columns)
        for row in rows:
            found[row[0]].append(row_error(columns, code, message, values[row[0]]))

    def _values(self, rows: list[int], columns: Sequence[str]) -> dict[int, str]:
        if not rows:
            return {}
        among = {name.lower(): name for name in self.frame.columns}
        names = [among[column.lower()] for column in columns]
        picked = _only(self.frame, rows).select("_n", *names)
        return {n: ",".join(value or "" for value in values) for n, *values in picked.iter_rows()}

    # Marking

    def _forget(self, rows: Iterable[int], *, others: bool = False) -> None:
        """Take rows out of the temporary table, or all others."""
        numbers = ",".join(map(str, sorted(rows)))
        if numbers:
            word = "NOT IN" if others else "IN"
            with self.connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {quote(INCOMING)} WHERE _n {word} ({numbers})")

    def _refuse(self, found: Refusals) -> None:
        for n, reasons in found.items():
            self.outcome.refusals.setdefault(n, []).extend(reasons)

    # Moving

    def _move(self, rows: pl.DataFrame, others: set[int]) -> tuple[int, bool]:
        """Move rows, chunk by chunk where the server refuses one; return how many went in, and whether one did not."""
        if not rows.height:
            return 0, False
        before = self.outcome.loaded + self.outcome.skipped
        among = ",".join(map(str, sorted(others)))
        if self._try(rows, f"i._n NOT IN ({among})" if among else "TRUE") is None:
            return rows.height, False
        for chunk in rows.iter_slices(CHUNK):
            numbers = ",".join(map(str, chunk["_n"]))
            if self._try(chunk, f"i._n IN ({numbers})") is not None:
                self._one_by_one(chunk, {})
        return self.outcome.loaded + self.outcome.skipped - before, True

    def _one_by_one(self, rows: pl.DataFrame, known: Refusals) -> None:
        """Move rows in the order of the file; a refused one keeps the reasons known, or gets the server's.

        As long as one went in, those without a parent are tried again.
        """
        while True:
            orphans, moved = [], 0
            for row in rows.iter_slices(1):
                n = row["_n"][0]
                self.outcome.refusals.pop(n, None)
                error = self._try(row, f"i._n = {n}")
                if error is None:
                    moved += 1
                    continue
                code = self.engine.row_code(error)
                self.outcome.refusals[n] = known.get(n) or [row_error("", code, _server_words(error))]
                orphans += [n] if code == "foreign-key" else []
            if not (orphans and moved):
                return
            rows = _only(rows, orphans)

    def _try(self, rows: pl.DataFrame, where: str) -> Exception | None:
        """Move rows; return the server's refusal, the table then unchanged. `where` says which they are in SQL."""
        replaced = 0
        try:
            with transaction.atomic():
                if self.to.upsert:
                    replaced = self._upsert(where, rows.height)
                elif rows.height == 1:
                    # One row by plain INSERT: its error says what is wrong.
                    self.engine.insert_values(
                        self.connection, self.to.table, rows.drop("_n"), self.to.wraps, self.to.constants
                    )
                else:
                    self.engine.insert_rows(
                        self.connection, self.to.table, rows.drop("_n"), self.to.wraps, self.to.constants
                    )
        except (DatabaseError, RowsRefused) as error:
            if not self.engine.is_about_rows(error):
                raise
            return error
        self.outcome.loaded += rows.height - replaced
        self.outcome.skipped += replaced
        return None

    def _upsert(self, where: str, count: int) -> int:
        """Update what is there, insert the rest; return how many rows of this very run were replaced."""
        to = self.to
        primary = to.definition.primary_key
        assert primary is not None
        match = equal_sql(primary, "t", "i")
        replaced = 0
        if to.run_column:
            own = f"SELECT COUNT(*) FROM {quote(INCOMING)} i JOIN {quote(to.table)} t ON {match}"
            ((replaced,),) = self._select(f"{own} WHERE {where} AND t._run = {to.run}")
        with self.connection.cursor() as cursor:
            cursor.execute(
                self.engine.update_from_sql(to.table, INCOMING, primary.columns, to.names, to.constants, where)
            )
            updated = cursor.rowcount
            absent = f"NOT EXISTS (SELECT 1 FROM {quote(to.table)} t WHERE {match})"
            cursor.execute(insert_select_sql(to, f"{where} AND {absent}"))
            inserted = cursor.rowcount
        if updated + inserted != count:
            raise RowsRefused(f"{updated} updated and {inserted} inserted of {count} rows")
        return int(replaced)

    def _insert(self, table: str, rows: pl.DataFrame, wraps: dict[str, str], constants: dict[str, int]) -> None:
        """Insert rows; what is refused row by row becomes a refusal: the validator let something through."""
        for size in (max(rows.height, 1), CHUNK, 1):
            left = []
            for chunk in rows.iter_slices(size):
                insert = self.engine.insert_rows if size > CHUNK else self.engine.insert_values
                try:
                    with transaction.atomic():
                        insert(self.connection, table, chunk, wraps, constants)
                except (DatabaseError, RowsRefused) as error:
                    if not self.engine.is_about_rows(error):
                        raise
                    left.append(chunk)
                    if size == 1:
                        self._refuse({chunk["_n"][0]: [row_error("", "refused-by-database", _server_words(error))]})
            if not left or size == 1:
                return
            rows = pl.concat(left)


def _only(frame: pl.DataFrame, rows: Iterable[int]) -> pl.DataFrame:
    return frame.filter(pl.col("_n").is_in(pl.Series(sorted(rows), dtype=pl.UInt32)))


def _without(frame: pl.DataFrame, rows: Iterable[int]) -> pl.DataFrame:
    numbers = pl.Series(sorted(rows), dtype=pl.UInt32)
    return frame.filter(~pl.col("_n").is_in(numbers)) if len(numbers) else frame


def _server_words(error: Exception) -> str:
    return f"The database refused the row: {error.args[-1] if error.args else error}."
