"""SQL that is the same on MySQL and SQLite, built apart from running it.

Identifiers are quoted with backticks, which both understand; values are parameters.
"""

from collections.abc import Iterable, Sequence


def split_name(table: str) -> tuple[str, str]:
    """Split schema.table; the schema is '' where none is named."""
    schema, _, name = table.rpartition(".")
    return schema, name


def quote(name: str) -> str:
    """Quote a table or column name; a dot in a table's name separates its schema."""
    return ".".join(quote_column(part) for part in name.split("."))


def quote_column(name: str) -> str:
    """Quote a column name, which may hold anything, dots too."""
    return "`" + name.replace("`", "``") + "`"


def columns_sql(names: Iterable[str], prefix: str = "") -> str:
    """Return `a`, `b`, or t.`a`, t.`b`."""
    return ", ".join(f"{prefix}{quote_column(name)}" for name in names)


def beside(table: str, name: str) -> str:
    """Return a name in the same schema as the table."""
    schema, _ = split_name(table)
    return f"{schema}.{name}" if schema else name


def insert_sql(table: str, names: Sequence[str], wraps: dict[str, str]) -> str:
    """Return INSERT … VALUES with a parameter a column; `wraps` has SQL such as UNHEX({}) for some."""
    values = ", ".join(wraps.get(name, "{}").format("%s") for name in names)
    head = f"INSERT INTO {quote(table)} ({columns_sql(names)}) VALUES "
    return head.replace("%", "%%") + f"({values})"
