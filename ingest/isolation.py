"""Which rows of a batch the database cannot take: their keys go into a temporary table and are named by
joins, by the server's own equality; the rest is loaded, and what is still refused, row by row.

(Halving a batch of 80,000 rows with 5% duplicates takes 37,000 statements; the joins take a handful. The
temporary table has the key columns only, in an upsert all of them: the good rows go straight into the table.)
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

import polars as pl
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib.definition import ForeignKey, UniqueKey
from migration_console.lib.engine import engine
from migration_console.lib.mysql import RowsRefused
from migration_console.lib.statements import quote

from .destination import INCOMING, Destination, equal_sql, insert_select_sql, present_sql
from .errors import row_error
from .incoming import Incoming, Refusals, only
from .parents import Parents

# Rows that wait for one another in other ways than as parents and children go in pass by pass; then one by one.
MAX_PASSES = 20
# Few refusals are expected here; a chunk with one is walked row by row.
CHUNK = 200


@dataclass
class Outcome:
    """What became of a batch's rows."""

    loaded: int = 0
    skipped: int = 0
    refusals: Refusals = field(default_factory=dict)


class Isolation(Incoming):
    """One batch on its way into the table."""

    def __init__(self, connection: BaseDatabaseWrapper, to: Destination, frame: pl.DataFrame) -> None:
        super().__init__(connection, to, frame)
        self.engine = engine(connection)
        self.outcome = Outcome()
        self.parents = Parents()

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
        for (n,) in self.select(f"SELECT i._n FROM {quote(INCOMING)} i WHERE EXISTS ({written})"):
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
            lost = self.lost()
            last = self.last_of_key(lost)
            self._refuse({n: reasons for n, reasons in lost.items() if n not in last})
            self._forget({*last, *lost})
            self._load(_without(self.frame, {*last, *lost}))
            # Where the last row of a key was refused, the one before it counts.
            second = [n for n, winner in last.items() if winner in self.outcome.refusals]
            self.outcome.skipped += len(last) - len(second)
            if not second:
                return self.outcome
            self.frame = only(self.frame, second)
            self.prepare()

    def _load(self, left: pl.DataFrame) -> None:
        # A staging table has no foreign keys that would refuse a row: there only the joins decide.
        staged = self.to.known != (self.to.table,)
        for number in count():
            before = self._through
            refused, waiting = self.look()
            self._refuse(refused)
            left = _without(left, refused)
            self.parents = self.find_parents(left, waiting)
            out = ",".join(map(str, sorted({*refused, *waiting})))
            trouble = self._move(_without(left, waiting), f"i._n NOT IN ({out})" if out else "TRUE")
            trouble |= self._move_children(left, waiting)
            if not waiting:
                return
            left = only(left, waiting)
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
        there = self.select(present_sql(primary, self.to.table)) if self.to.upsert and primary else []
        updates = {row[0] for row in there}
        trouble = False
        for turn in self.parents.in_order(orphans, [dict(self.groups(key)) for key in keys], updates):
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
            able = only(chunk, self.parents.able(chunk["_n"]))
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
            ((replaced,),) = self.select(f"{own} WHERE {where} AND t._run = {to.run}")
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


def _in_order(frame: pl.DataFrame, rows: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"_n": pl.Series(rows, dtype=pl.UInt32)}).join(frame, on="_n", maintain_order="left")


def _without(frame: pl.DataFrame, rows: Iterable[int]) -> pl.DataFrame:
    numbers = pl.Series(sorted(rows), dtype=pl.UInt32)
    return frame.filter(~pl.col("_n").is_in(numbers)) if len(numbers) else frame


def _server_words(error: Exception) -> str:
    return f"The database refused the row: {error.args[-1] if error.args else error}."
