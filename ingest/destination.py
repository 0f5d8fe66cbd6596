"""Where a run's rows go, and the SQL that holds them against what is there already."""

from collections.abc import Sequence
from dataclasses import dataclass

from migration_console.lib.definition import ForeignKey, TableDefinition, UniqueKey
from migration_console.lib.lease import TableLease
from migration_console.lib.statements import columns_sql, quote, quote_column

INCOMING = "_incoming"


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
    # The table's writing lease, where the rows may only be written under it.
    lease: TableLease | None = None

    def fence(self) -> None:
        """Keep the table's writing lease until the transaction ends; Fenced where another worker has taken it."""
        if self.lease is not None:
            self.lease.fence()

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

    def gives(self, key: ForeignKey) -> bool:
        """Tell whether the rows hold what a foreign key refers to; a number that the table gives is in none."""
        return self.is_self(key) and {name.lower() for name in key.references} <= {name.lower() for name in self.names}

    def parents(self, key: ForeignKey) -> tuple[str, ...]:
        """Return the tables that may hold the parent of a foreign key."""
        return self.known if self.is_self(key) else (key.table,)


def _part(column: str, prefix: int, alias: str) -> str:
    name = f"{alias}.{quote_column(column)}"
    return f"LEFT({name}, {prefix})" if prefix else name


def equal_sql(key: UniqueKey, left: str, right: str) -> str:
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
    return f"SELECT i._n FROM {quote(INCOMING)} i WHERE {_not_null(key.columns)} AND {missing}"


def present_sql(key: UniqueKey, table: str) -> str:
    """Return the SELECT of free rows whose key is in a table."""
    exists = f"EXISTS (SELECT 1 FROM {quote(table)} t WHERE {equal_sql(key, 't', 'i')})"
    return f"SELECT i._n FROM {quote(INCOMING)} i WHERE {exists}"


def taken_sql(key: UniqueKey, primary: UniqueKey, table: str) -> str:
    """Return the SELECT of free rows whose unique key belongs to a row with another primary key."""
    same, owner = equal_sql(key, "t", "i"), equal_sql(primary, "t", "i")
    other = f"EXISTS (SELECT 1 FROM {quote(table)} t WHERE {same} AND NOT ({owner}))"
    return f"SELECT i._n FROM {quote(INCOMING)} i WHERE {other}"


def groups_sql(key: UniqueKey) -> str:
    """Return the SELECT of the rows that share a key, with the first row of their group, in the order of the file."""
    parts = ", ".join(_part(column, prefix, "i") for column, prefix in zip(key.columns, key.prefixes))
    grouped = (
        f"SELECT i._n, MIN(i._n) OVER (PARTITION BY {parts}) AS first, COUNT(*) OVER (PARTITION BY {parts}) AS many"
        f" FROM {quote(INCOMING)} i WHERE {_not_null(key.columns)}"
    )
    return f"SELECT _n, first FROM ({grouped}) grouped WHERE many > 1 ORDER BY first, _n"


def links_sql(key: ForeignKey) -> str:
    """Return the SELECT of (row, 1 where it refers, 0 where it is referred to, a number for equal values).

    A temporary table may be named once in a statement: so each row is doubled, not joined with the others.
    """
    pairs = enumerate(zip(key.columns, key.references))
    values = [
        f"CASE r.refers WHEN 1 THEN i.{quote_column(c)} ELSE i.{quote_column(p)} END AS k{n}" for n, (c, p) in pairs
    ]
    names = [f"k{number}" for number in range(len(key.columns))]
    rows = (
        f"SELECT i._n, r.refers, {', '.join(values)} FROM {quote(INCOMING)} i"
        " CROSS JOIN (SELECT 0 AS refers UNION ALL SELECT 1) r"
    )
    filled = " AND ".join(f"{name} IS NOT NULL" for name in names)
    return f"SELECT _n, refers, DENSE_RANK() OVER (ORDER BY {', '.join(names)}) FROM ({rows}) linked WHERE {filled}"


def insert_select_sql(to: Destination, where: str) -> str:
    """Return INSERT … SELECT of rows in the order of the file."""
    names = columns_sql([*to.names, *to.constants])
    values = ", ".join([columns_sql(to.names, "i."), *(str(value) for value in to.constants.values())])
    return (
        f"INSERT INTO {quote(to.table)} ({names}) SELECT {values} FROM {quote(INCOMING)} i WHERE {where} ORDER BY i._n"
    )
