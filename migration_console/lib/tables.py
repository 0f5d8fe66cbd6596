"""The list of tables that the console may touch: those of datasets, and those that an operator adds.

A table's name from a request is looked up here before any SQL is made of it.
"""

from collections.abc import Callable, Iterable

from django.db import connection

from .errors import unknown
from .statements import split_name

# Each application that knows tables registers a function that names them.
_sources: list[Callable[[], Iterable[str]]] = []


def register(source: Callable[[], Iterable[str]]) -> None:
    """Add a source of names; done once a process, when Django starts."""
    _sources.append(source)


def listed() -> set[str]:
    """Return the tables that may be touched."""
    return {name for source in _sources for name in source() if not is_own(name)}


def resolve(name: str) -> str:
    """Return the listed table of this name; Refused with `unknown-table` where there is none."""
    if name not in listed():
        raise unknown("unknown-table", f"{name} is not one of the console's tables; `table add` puts one on the list")
    return name


def proper(name: str) -> str:
    """Return the one name that a table has here: by another one the ledger would not find its runs.

    Without blanks around it or the name of the console's own schema; where the server ignores case, spelled as the
    table that is there, or listed.
    """
    blind = connection.features.ignores_table_name_case
    schema, plain = (part.strip() for part in split_name(name))
    own = "main" if connection.vendor == "sqlite" else str(connection.settings_dict["NAME"])
    if schema == own or (blind and schema.lower() == own.lower()):
        schema = ""
    typed = f"{schema}.{plain}" if schema else plain
    if not blind:
        return typed
    known = {*listed(), *connection.introspection.table_names()}
    return typed if typed in known else next((one for one in sorted(known) if one.lower() == typed.lower()), typed)


def is_own(name: str) -> bool:
    """Tell whether a table is the console's own: whoever writes users could make himself one."""
    name = name.lower().rpartition(".")[2]
    own = {table.lower() for table in connection.introspection.django_table_names()} | {"django_migrations"}
    return name in own or name.startswith(("_console_", "sqlite_")) or name == "_incoming"
