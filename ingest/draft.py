"""A first descriptor, from a sample of a file or from a table; a person reads it before it is saved."""

import codecs
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import connection

from migration_console.lib.definition import TableColumn, read_definition
from migration_console.lib.errors import Refused, refuse
from migration_console.lib.sqltype import BINARY, TEXT_BYTES

from .descriptor import FieldDescriptor
from .header import too_many_columns
from .preview import head_of, raw_rows
from .reader import Layout
from .survey import BOMS, refuse_other_formats
from .text import PARSERS, Bad

ROWS = 1000
# What is looked at for the delimiter: some lines, which a file of one line may not have.
SNIFFED_LINES, SNIFFED = 50, 1 << 16
# A quoted field, from the line's start or a delimiter.
QUOTED = re.compile(r'(?:^|(?<=[,;\t|]))"[^"]*(?:""[^"]*)*"', re.M)
# The first type that every sampled value has wins; a text of digits with a leading zero stays text.
GUESSES = ["integer", "number", "boolean", "date", "datetime", "time"]
DATE_FORMATS = ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y"]


def draft_from_csv(path: Path, name: str | None = None) -> dict[str, Any]:
    """Return a descriptor that fits the first 1,000 rows of a file."""
    with path.open("rb") as file:
        data, cut = head_of(file)
    return draft_from_sample(data, file_name=path.name, name=name, cut=cut)


def draft_from_sample(data: bytes, *, file_name: str, name: str | None = None, cut: bool = False) -> dict[str, Any]:
    """Return a descriptor that fits the first 1,000 rows of a sample; `cut` says that the file is longer."""
    refuse_other_formats(data)
    encoding, text = _decode(data)
    refuse_other_formats(text[:SNIFFED].encode())
    delimiter = _delimiter(text)
    layout = Layout(delimiter=delimiter)
    records = [r for r in raw_rows(text.encode(), layout, cut=cut)[: ROWS + 1] if not r.code]
    if not records:
        why = "no row ends in its first MiB; is it CSV?" if cut else "send one with the names of its columns, and rows"
        raise refuse("empty-file", f"{file_name} holds no rows to draft from: {why}")
    width = len(records[0].fields)
    if too_many := too_many_columns(width):
        raise Refused([too_many])
    first = [value or "" for value in records[0].fields]
    rows = [record.fields for record in records[1:] if len(record.fields) == width]
    header = _is_header(first, rows)
    names = _unique_names(first) if header else [f"column_{index + 1}" for index in range(width)]
    if not header:
        rows.insert(0, list(records[0].fields))
    fields = [_field(field, [row[index] for row in rows]) for index, field in enumerate(names)]
    for field, raw in zip(fields, first):
        if header and raw != field["name"]:
            field["aliases"] = [raw]
    name = name or name_for(file_name)
    draft: dict[str, Any] = {
        "name": name or "dataset",
        "table": _table_name(name or "dataset"),
        "mode": "append",
    }
    draft["encoding"] = encoding
    draft["dialect"] = {"delimiter": delimiter, "header": header}
    draft["schema"] = {"fields": fields}
    if key := _key(fields, rows):
        draft["schema"]["primaryKey"] = key
    return draft


def _table_name(name: str) -> str:
    """Return a table's name: no digit in front, and room for names beside it."""
    plain = re.sub(r"\W", "_", name)[:46]
    return f"t_{plain}" if plain[:1].isdigit() else plain


def name_for(file_name: str) -> str:
    """Return a dataset's name for a file."""
    stem = file_name.lower().removesuffix(".gz").removesuffix(".csv")
    return re.sub(r"[^a-z0-9_-]+", "_", stem).strip("_-")[:100]


def _decode(data: bytes) -> tuple[str, str]:
    """Return the encoding and the text: by the byte order mark, strict UTF-8, else cp1252 as a suggestion."""
    for mark, kind in BOMS.items():
        if data.startswith(mark):
            return kind, codecs.getincrementaldecoder(kind)("replace").decode(data)
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(data).removeprefix("\ufeff")
    except UnicodeDecodeError:
        return "cp1252", data.decode("cp1252", "replace")


def _delimiter(text: str) -> str:
    """Return what most lines hold equally often outside quotes; the rarer one in texts and numbers where two do."""
    lines = [line for line in QUOTED.sub("", text[:SNIFFED]).splitlines() if line][:SNIFFED_LINES]
    if len(lines) > 1 and len(text) > SNIFFED:
        lines.pop()  # which may be cut

    def agreeing(delimiter: str) -> int:
        counts = Counter(count for line in lines if (count := line.count(delimiter)))
        return max(counts.values(), default=0)

    best = max("\t|;,", key=agreeing)
    return best if agreeing(best) else ","


def _is_header(first: list[str], rows: list[list[str | None]]) -> bool:
    """Tell whether the first row names columns: all filled, all different, and of another kind than the rest."""
    if not all(value.strip() for value in first) or len(set(first)) != len(first):
        return False
    if any(_type_of([value]) != "string" for value in first):
        return False
    if not rows:
        return True
    kinds = [_type_of([row[index] for row in rows]) for index in range(len(first))]
    if any(kind != "string" for kind in kinds):
        return True
    words = re.compile(r"[A-Za-z_][\w .-]{0,40}")
    seen = {(index, row[index]) for row in rows for index in range(len(first))}
    return all(words.fullmatch(v) and (i, v) not in seen for i, v in enumerate(first))


def _unique_names(first: list[str]) -> list[str]:
    names: list[str] = []
    taken: set[str] = set()
    for value in first:
        name = value.strip()[:60]
        names.append(name if name.lower() not in taken else f"{name}_{len(names) + 1}")
        taken.add(names[-1].lower())
    return names


def _type_of(values: list[str | None]) -> str:
    filled = [value for value in values if value]
    if not filled:
        return "string"
    for kind in GUESSES:
        if all(_fits(kind, value) for value in filled):
            if kind == "integer" and any(re.fullmatch(r"[+-]?0[0-9]+", value) or len(value) > 18 for value in filled):
                return "string"
            return kind
    return "string"


def _fits(kind: str, value: str, **more: Any) -> bool:
    try:
        PARSERS[kind](value, _guess(kind, **more))
    except Bad:
        return False
    return True


@lru_cache
def _guess(kind: str, **more: Any) -> FieldDescriptor:
    words = {"trueValues": ["true", "True", "TRUE"], "falseValues": ["false", "False", "FALSE"]}
    extra = words if kind == "boolean" else {}
    return FieldDescriptor.model_validate({"name": "x", "type": kind, **extra, **more})


def _field(name: str, values: list[str | None]) -> dict[str, Any]:
    filled = [value for value in values if value]
    kind = _type_of(values)
    field: dict[str, Any] = {"name": name, "type": kind, "constraints": {}}
    if kind == "string" and filled:
        for pattern in DATE_FORMATS:
            if all(_fits("date", value, format=pattern) for value in filled):
                field |= {"type": "date", "format": pattern}
                break
        else:
            field["constraints"]["maxLength"] = _room(max(map(len, filled)))
    if len(filled) == len(values) and filled:
        field["constraints"]["required"] = True
    return field


def _room(longest: int) -> int:
    """Return a length with room to grow, in round numbers."""
    return next((size for size in (10, 50, 100, 255, 1000, 4000) if size >= longest * 1.5), 16_000)


def _key(fields: list[dict[str, Any]], rows: list[list[str | None]]) -> str | None:
    """Suggest the first column as key where it is called id and every value is there once."""
    first = fields[0]
    values = [row[0] for row in islice(rows, ROWS)]
    named = first["name"].lower() in {"id", "column_1"} or first["name"].lower().endswith("id")
    return first["name"] if named and None not in values and len(set(values)) == len(values) > 1 else None


def draft_from_table(table: str, name: str | None = None) -> dict[str, Any]:
    """Return a descriptor whose every value the table holds exactly."""
    definition = read_definition(connection, table)
    if definition is None:
        raise refuse("no-table", f"there is no table {table!r} in the database")
    columns = [column for column in definition.columns if not column.generated and column.name != "_run"]
    if odd := [column for column in columns if column.sql is None]:
        raise refuse("table", f"column {odd[0].name} has the type {odd[0].type}, which cannot be loaded")
    schema: dict[str, Any] = {"fields": [_table_field(column) for column in columns]}
    if definition.primary_key:
        schema["primaryKey"] = list(definition.primary_key.columns)
    unique = [list(key.columns) for key in definition.keys if not key.primary and not any(key.prefixes)]
    if unique:
        schema["uniqueKeys"] = unique
    plain = re.sub(r"[^a-z0-9_-]+", "_", table.lower()).strip("_-")
    return {
        "name": name or plain,
        "table": table,
        "mode": "upsert" if definition.primary_key else "append",
        "schema": schema,
    }


def _table_field(column: TableColumn) -> dict[str, Any]:
    sql = column.sql
    assert sql is not None
    kinds: list[tuple[Callable[[], bool], str]] = [
        (lambda: sql.base == "YEAR", "year"),
        (lambda: sql.integer_range is not None, "integer"),
        (lambda: sql.base in {"DECIMAL", "FLOAT", "DOUBLE"}, "number"),
        (lambda: sql.base == "DATE", "date"),
        (lambda: sql.base == "TIME", "time"),
        (lambda: sql.base in {"DATETIME", "TIMESTAMP"}, "datetime"),
        (lambda: sql.base == "JSON", "object"),
    ]
    field: dict[str, Any] = {"name": column.name, "type": next((kind for test, kind in kinds if test()), "string")}
    if sql.base in BINARY:
        field["format"] = "binary"
    constraints: dict[str, Any] = {}
    if not column.nullable:
        constraints["required"] = True
    if sql.base in {"VARCHAR", "CHAR"}:
        constraints["maxLength"] = sql.length
    field["constraints"] = constraints
    if sql.base not in TEXT_BYTES or connection.vendor == "mysql":
        field["sqlType"] = _written(sql.sql)
    return field


def _written(text: str) -> str:
    """Return a column type without what is the default anyway."""
    return re.sub(r" CHARACTER SET utf8mb4| COLLATE \w+", "", text)
