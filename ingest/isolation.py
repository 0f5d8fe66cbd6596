"""Which rows of a batch the database cannot take: their keys go into a temporary table and are named by
joins, by the server's own equality; the rest is loaded, and what is still refused, row by row.

(Halving a batch of 80,000 rows with 5% duplicates takes 37,000 statements; the joins take a handful. The
temporary table has the key columns only, in an upsert all of them: the good rows go straight into the table.)
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import polars as pl
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib.definition import ForeignKey, UniqueKey
from migration_console.lib.engine import engine
from migration_console.lib.mysql import RowsRefused
from migration_console.lib.sqltype import INTEGER_BITS
from migration_console.lib.statements import quote

from .destination import (
    INCOMING,
    Destination,
    equal_sql,
    groups_sql,
    insert_select_sql,
    links_sql,
    orphans_sql,
    present_sql,
    taken_sql,
)
from .errors import RowError, row_error
from .parents import Parents

# Rows that wait for one another in other ways than as parents and children go in pass by pass; then one by one.
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
        self.parents = Parents()
        # The rows that lack a parent in the table, for each foreign key.
        self.orphans: dict[int, set[int]] = {}

    def prepare(self) -> None:
        """Fill the temporary table, before the batch's transaction so that its locks are held for a shorter time."""
        to = self.to
        keys: list[UniqueKey | ForeignKey] = [*to.keys, *to.foreign_keys]
        looked_at = {name.lower() for key in keys for name in key.columns}
        looked_at |= {name.lower() for key in to.foreign_keys if to.gives(key) for name in key.references}
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
            # Rows that lack a parent elsewhere are out at once, not one of each key in every round.
            lost = self._lost()
            last = self._last_of_key(lost)
            self._refuse({n: reasons for n, reasons in lost.items() if n not in last})
            self._forget({*last, *lost})
            self._load(_without(self.frame, {*last, *lost}))
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
            before = self._through
            refused, waiting = self._look()
            self._refuse(refused)
            left = _without(left, refused)
            self.parents = self._find_parents(left, waiting)
            out = ",".join(map(str, sorted({*refused, *waiting})))
            trouble = self._move(_without(left, waiting), f"i._n NOT IN ({out})" if out else "TRUE")
            trouble |= self._move_children(left, waiting)
            if not waiting:
                return
            left = _only(left, waiting)
            moved = self._through > before
            if not moved or not (trouble or self._may_go_in_later(waiting)) or (number >= MAX_PASSES and not staged):
                break
            self._forget(waiting, others=True)
        if self._may_go_in_later(waiting) and not staged:
            self._refuse({n: waiting[n] for n in self._one_by_one(left, waiting)})
        else:
            self._refuse(waiting)

    @property
    def _through(self) -> int:
        """Return how many rows are in, or were replaced by later ones of the file."""
        return self.outcome.loaded + self.outcome.skipped

    def _move_children(self, left: pl.DataFrame, waiting: Refusals) -> bool:
        """Move the rows that wait for rows of this batch alone, parents first, and take them out of `waiting`."""
        orphans = {n for n, reasons in waiting.items() if all(error["code"] == "foreign-key" for error in reasons)}
        if not orphans or not self.parents.given:
            return False
        keys = [key for key in self.to.keys if not (self.to.upsert and key.primary)]
        primary = self.to.definition.primary_key
        there = self._select(present_sql(primary, self.to.table)) if self.to.upsert and primary else []
        updates = {row[0] for row in there}
        trouble = False
        for turn in self.parents.in_order(orphans, [dict(self._groups(key)) for key in keys], updates):
            rows = self.parents.able(turn)
            numbers = ",".join(map(str, rows)) or "NULL"
            fresh = turn[0] not in updates
            trouble |= self._move(_in_order(left, rows), f"i._n IN ({numbers})", known=waiting, fresh=fresh)
        for n in [n for n in waiting if n in self.parents.inside or n in self.outcome.refusals]:
            del waiting[n]
        return trouble

    def _may_go_in_later(self, waiting: Refusals) -> bool:
        """Tell whether rows that wait may still go in, now that others are in: with one key, a repetition may not."""
        keys = sum(not (self.to.upsert and key.primary) for key in self.to.keys)
        own = any(self.to.is_self(key) for key in self.to.foreign_keys)
        return bool(waiting) and (own or self.to.upsert or keys > 1)

    # Looking

    def _select(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _look(self) -> tuple[Refusals, Refusals]:
        """Return the rows that are refused for every reason found, and those that wait for other rows."""
        refused: Refusals = defaultdict(list)
        waiting: Refusals = defaultdict(list)
        for number, key in enumerate(self.to.foreign_keys):
            own = self.to.is_self(key)
            rows = self._select(orphans_sql(key, self.to.parents(key), own=self.to.gives(key)))
            self.orphans[number] = {row[0] for row in rows}
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

    def _find_parents(self, left: pl.DataFrame, waiting: Refusals) -> Parents:
        """Find out which rows that wait for a parent have it among the others."""
        parents = Parents()
        for number, key in enumerate(self.to.foreign_keys):
            orphans = self.orphans[number] & waiting.keys()
            if self.to.gives(key) and orphans:
                parents.add(number, self._links(key, left), orphans)
        return parents

    def _links(self, key: ForeignKey, left: pl.DataFrame) -> Iterable[tuple[int, int, object]]:
        """Return (row, whether it refers, value) for the rows that refer to one another by a foreign key."""
        kinds = [column.sql for name in (*key.columns, *key.references) if (column := self.to.definition.column(name))]
        if not all(sql and sql.base in INTEGER_BITS for sql in kinds):
            return self._select(links_sql(key))
        # Whole numbers are equal to the server where they are to us, and nobody need ask it.
        among = {name.lower(): name for name in left.columns}
        links: list[tuple[int, int, object]] = []
        for refers, columns in enumerate((key.references, key.columns)):
            names = [pl.col(among[name.lower()]).cast(pl.String).alias(f"k{k}") for k, name in enumerate(columns)]
            links += [(n, refers, tuple(value)) for n, *value in left.select("_n", *names).drop_nulls().iter_rows()]
        return links

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

    def _groups(self, key: UniqueKey) -> Sequence[tuple[int, int]]:
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

    def _last_of_key(self, lost: Collection[int]) -> dict[int, int]:
        """Return, for each row whose primary key a later one has that is not lost, the last: in an upsert it wins."""
        primary = self.to.definition.primary_key
        assert primary is not None
        rows = self._groups(primary)
        last = {first: n for n, first in rows if n not in lost}
        return {n: last[first] for n, first in rows if n < last.get(first, 0)}

    def _lost(self) -> Refusals:
        """Return the rows whose parent is in no other table."""
        found: Refusals = defaultdict(list)
        for key in self.to.foreign_keys:
            if not self.to.is_self(key):
                self._add(found, self._select(orphans_sql(key, self.to.parents(key), own=False)), key, "foreign-key")
        return found

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

    def _move(self, rows: pl.DataFrame, where: str, *, known: Refusals | None = None, fresh: bool = False) -> bool:
        """Move rows, chunk by chunk where the server refuses one; tell whether it did.

        Of rows whose parents were refused nothing is said here: they go on waiting.
        """
        if not rows.height or self._try(rows, where, fresh=fresh) is None:
            self.parents.enter(rows["_n"])
            return False
        for chunk in rows.iter_slices(CHUNK):
            able = _only(chunk, self.parents.able(chunk["_n"]))
            numbers = ",".join(map(str, able["_n"]))
            if able.height and self._try(able, f"i._n IN ({numbers})", fresh=fresh) is not None:
                self._one_by_one(able, known or {})
            else:
                self.parents.enter(able["_n"])
        return True

    def _one_by_one(self, rows: pl.DataFrame, known: Refusals) -> set[int]:
        """Move rows in the order given; a refused one keeps the reasons known, or gets the server's.

        Return the rows not tried, since their parent did not go in: a row is tried when it has.
        """
        at = {n: index for index, n in enumerate(rows["_n"])}
        lacking, orphans, now, moved, passes = set[int](), list[int](), list(at), 0, 0
        while now:
            ready: list[int] = []
            for n in now:
                if self.parents.lacks(n):
                    lacking.add(n)
                    continue
                error = self._try(rows.slice(at[n], 1), f"i._n = {n}")
                if error is None:
                    moved += 1
                    self.outcome.refusals.pop(n, None)
                    ready += [child for child in self.parents.enter([n]) if child in lacking]
                    continue
                code = self.engine.row_code(error)
                told = known.get(n, []) if code in {reason["code"] for reason in known.get(n, [])} else []
                self.outcome.refusals[n] = told or [row_error("", code, _server_words(error))]
                orphans += [n] if code == "foreign-key" else []
            now = sorted({n for n in ready if not self.parents.lacks(n)})
            lacking.difference_update(now)
            if not now and moved and passes < MAX_PASSES:
                # Their parents are named by no column of the file, such as one with a default.
                now, orphans, moved, passes = orphans, [], 0, passes + 1
        return lacking

    def _try(self, rows: pl.DataFrame, where: str, *, fresh: bool = False) -> Exception | None:
        """Move rows; return the server's refusal, the table then unchanged.

        `where` says which they are in SQL; `fresh` that none of them updates a row, and that their order counts.
        """
        replaced = 0
        try:
            with transaction.atomic():
                if self.to.upsert and not fresh:
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


def _in_order(frame: pl.DataFrame, rows: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"_n": pl.Series(rows, dtype=pl.UInt32)}).join(frame, on="_n", maintain_order="left")


def _without(frame: pl.DataFrame, rows: Iterable[int]) -> pl.DataFrame:
    numbers = pl.Series(sorted(rows), dtype=pl.UInt32)
    return frame.filter(~pl.col("_n").is_in(numbers)) if len(numbers) else frame


def _server_words(error: Exception) -> str:
    return f"The database refused the row: {error.args[-1] if error.args else error}."
