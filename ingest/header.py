"""The header of a file against the columns of a schema, by name or alias; every mismatch has a hint."""

import difflib
from collections.abc import Sequence

from migration_console.lib.errors import Problem

from .descriptor import Descriptor
from .schema import Schema

DELIMITERS = ",;\t|"
MAX_COLUMNS = 4096


def match_header(header: Sequence[str | None], schema: Schema) -> tuple[dict[str, int], list[Problem]]:
    """Return the position of each column in the file, and what is wrong with the header."""
    names = [name or "" for name in header]
    if guess := other_delimiter(names, schema.descriptor):
        return {}, [guess]
    if too_many := too_many_columns(len(names)):
        return {}, [too_many]
    problems = _shape_problems(names)
    spoken = {word: column.name for column in schema.columns for word in (column.name, *column.field.aliases)}
    columns: dict[str, int] = {}
    unknown = []
    for index, name in enumerate(names):
        if name not in spoken:
            unknown.append(name)
        elif spoken[name] in columns and names.count(name) == 1:
            message = f"the columns {names[columns[spoken[name]]]!r} and {name!r} both mean {spoken[name]!r}"
            problems.append(Problem("duplicate-header", message, "line 1"))
        else:
            columns.setdefault(spoken[name], index)
    missing = [name for name in schema.names if name not in columns]
    for name in missing:
        message = f"the column {name!r} is missing{_hint(name, unknown)}"
        problems.append(Problem("missing-column", message, "line 1"))
    if schema.descriptor.unknown_columns == "refuse":
        for name in unknown:
            if name:
                message = f"the column {name!r} is not in the dataset{_hint(name, missing)}"
                problems.append(Problem("unknown-column", message, "line 1"))
    return columns, problems


def too_many_columns(count: int) -> Problem | None:
    """Return a problem where a file has more columns than any table: names are compared with one another."""
    if count <= MAX_COLUMNS:
        return None
    return Problem("too-many-columns", f"the file has {count} columns; {MAX_COLUMNS} are the limit", "line 1")


def _shape_problems(names: list[str]) -> list[Problem]:
    problems = []
    for name in dict.fromkeys(names):
        if name and names.count(name) > 1:
            problems.append(
                Problem("duplicate-header", f"the column {name!r} is there {names.count(name)} times", "line 1")
            )
    empty = [index + 1 for index, name in enumerate(names) if not name]
    if empty:
        places = ", ".join(map(str, empty[:10]))
        hint = "; the lines end in a delimiter" if empty == [len(names)] else ""
        problems.append(Problem("empty-header", f"column {places} has no name{hint}", "line 1"))
    return problems


def _hint(name: str, others: list[str]) -> str:
    """Return what may have been meant: other case, spaces, a byte order mark, or the nearest name."""
    for other in others:
        if other.strip() == name.strip():
            return f"; {other!r} differs by spaces only"
        if other.strip().casefold() == name.strip().casefold():
            return f"; {other!r} differs by capitals only"
        if other.lstrip("\ufeff\u200b") == name.lstrip("\ufeff\u200b"):
            return f"; {other!r} has an invisible mark in front"
    near = difflib.get_close_matches(name, others, n=1)
    return f"; is it {near[0]!r}? (a field may list aliases)" if near else ""


def other_delimiter(names: Sequence[str], descriptor: Descriptor) -> Problem | None:
    """Return a problem where the line holds one field and would fall apart by another delimiter."""
    delimiter = descriptor.dialect.delimiter
    if len(names) != 1 or len(descriptor.schema_.fields) == 1:
        return None
    best = max((other for other in DELIMITERS if other != delimiter), key=names[0].count)
    if not names[0].count(best):
        return None
    message = f"the file is not delimited by {delimiter!r}, it looks delimited by {best!r}"
    return Problem("delimiter", message, "line 1")
