"""The keys of a batch in a temporary table, and what joins say of its rows by the server's own equality."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import polars as pl
from django.db.backends.base.base import BaseDatabaseWrapper

from migration_console.lib.definition import ForeignKey, UniqueKey
from migration_console.lib.sqltype import INTEGER_BITS

from .destination import Destination, groups_sql, links_sql, orphans_sql, present_sql, taken_sql
from .errors import RowError, row_error
from .parents import Parents

Refusals = dict[int, list[RowError]]


class Incoming:
    """The rows of one batch that are not in the table yet; `frame` has them, INCOMING their keys."""

    def __init__(self, connection: BaseDatabaseWrapper, to: Destination, frame: pl.DataFrame) -> None:
        self.connection, self.to, self.frame = connection, to, frame
        # The rows that lack a parent in the table, for each foreign key.
        self.orphans: dict[int, set[int]] = {}

    def select(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def look(self) -> tuple[Refusals, Refusals]:
        """Return the rows that are refused for every reason found, and those that wait for other rows."""
        refused: Refusals = defaultdict(list)
        waiting: Refusals = defaultdict(list)
        for number, key in enumerate(self.to.foreign_keys):
            own = self.to.is_self(key)
            rows = self.select(orphans_sql(key, self.to.parents(key), own=self.to.gives(key)))
            self.orphans[number] = {row[0] for row in rows}
            self._add(waiting if own else refused, rows, key, "foreign-key")
        for unique in self.to.keys:
            if not self.to.upsert:
                rows = [row for table in self.to.known for row in self.select(present_sql(unique, table))]
                self._add(refused, rows, unique, "duplicate-key")
            elif not unique.primary and (primary := self.to.definition.primary_key):
                rows = [row for table in self.to.known for row in self.select(taken_sql(unique, primary, table))]
                self._add(waiting, rows, unique, "duplicate-key")
        for unique in self.to.keys:
            if not (self.to.upsert and unique.primary):
                rows = self._repeated(unique, refused.keys() | waiting.keys())
                self._add(waiting, rows, unique, "duplicate-key")
        return refused, {n: reasons for n, reasons in waiting.items() if n not in refused}

    def find_parents(self, left: pl.DataFrame, waiting: Refusals) -> Parents:
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
            return self.select(links_sql(key))
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
        for n, first in self.groups(key):
            if first != group:
                group, taken = first, False
            if n in out:
                continue
            if taken:
                found.append((n,))
            taken = True
        return found

    def groups(self, key: UniqueKey) -> Sequence[tuple[int, int]]:
        """Return (row, first row of its group) for the rows that share a key, in the order of the file."""
        kinds = [column.sql for name in key.columns if (column := self.to.definition.column(name))]
        if any(key.prefixes) or any(sql is None or sql.is_text for sql in kinds) or len(kinds) < len(key.columns):
            return self.select(groups_sql(key))
        # Without a collation, equal canonical text is equal to the server too, and nobody need ask it.
        among = {name.lower(): name for name in self.frame.columns}
        names = [among[name.lower()] for name in key.columns]
        rows = self.frame.lazy().select("_n", *names).drop_nulls(names)
        shared = rows.filter(pl.len().over(names) > 1).select("_n", pl.col("_n").min().over(names).alias("first"))
        return shared.sort("first", "_n").collect().rows()

    def last_of_key(self, lost: Collection[int]) -> dict[int, int]:
        """Return, for each row whose primary key a later one has that is not lost, the last: in an upsert it wins."""
        primary = self.to.definition.primary_key
        assert primary is not None
        rows = self.groups(primary)
        last = {first: n for n, first in rows if n not in lost}
        return {n: last[first] for n, first in rows if n < last.get(first, 0)}

    def lost(self) -> Refusals:
        """Return the rows whose parent is in no other table."""
        found: Refusals = defaultdict(list)
        for key in self.to.foreign_keys:
            if not self.to.is_self(key):
                self._add(found, self.select(orphans_sql(key, self.to.parents(key), own=False)), key, "foreign-key")
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
        picked = only(self.frame, rows).select("_n", *names)
        return {n: ",".join(value or "" for value in values) for n, *values in picked.iter_rows()}


def only(frame: pl.DataFrame, rows: Iterable[int]) -> pl.DataFrame:
    """Return the rows of a frame with these numbers."""
    return frame.filter(pl.col("_n").is_in(pl.Series(sorted(rows), dtype=pl.UInt32)))
