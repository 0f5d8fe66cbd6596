"""A descriptor as inputs in a page, and back. What no input can show stays as it is, in a hidden `rest`."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import orjson

from migration_console import numbers

from ..descriptor import STRING_FORMATS
from .inputs import CONSTRAINTS, FILE, GRID, KINDS, MORE, TABLE, Descriptor, Input

# More columns than a grid can show; they are edited as JSON.
MOST_COLUMNS = 250
# Descriptors go five deep or so.
MAX_DEPTH = 30


@dataclass
class Cell:
    """An input with its name in the form and its text."""

    input: Input
    name: str
    text: str
    place: str

    @property
    def checked(self) -> bool:
        """Tell whether a box is ticked."""
        return bool(self.text)


@dataclass
class Column:
    """A field of the schema in the grid."""

    number: int
    name: str
    cells: dict[str, Cell]
    rest: dict[str, Any]
    key: bool
    header: str = ""

    @property
    def place(self) -> str:
        """Return the field's JSON pointer."""
        return f"/schema/fields/{self.number}"

    @property
    def hidden(self) -> str:
        """Return what no input shows, as JSON."""
        return orjson.dumps(self.rest).decode()

    @property
    def more(self) -> list[Cell]:
        """Return the cells that are not in the grid."""
        return [self.cells[spec.key] for spec in MORE]

    @property
    def others(self) -> list[str]:
        """Return what is set that no input shows; a default that is spelled out is shown."""
        shown = {(cell.input.place[0], cell.input.default) for cell in self.cells.values()}
        return [key for key, value in self.rest.items() if not isinstance(value, str) or (key, value) not in shown]

    @property
    def filled(self) -> int:
        """Count what is set among them, so that nobody overlooks it."""
        return sum(cell.text not in {"", cell.input.default} for cell in self.more) + len(self.others)


def is_gridable(data: Any) -> bool:
    """Tell whether a grid can show a descriptor: it has fields, not too many, each an object with a name."""
    schema = data.get("schema") if isinstance(data, dict) else None
    fields = schema.get("fields") if isinstance(schema, dict) else None
    key = schema.get("primaryKey") if isinstance(schema, dict) else None
    places = [data.get("dialect", {}), data.get("onError") or {}] if isinstance(data, dict) else []
    return (
        isinstance(fields, list)
        and 0 < len(fields) <= MOST_COLUMNS
        and "model" not in data
        and not is_too_deep(data)
        and all(isinstance(place, dict) for place in places)
        and (key is None or _is_words(_as_list(key)))
        and all(isinstance(f, dict) and isinstance(f.get("name"), str) for f in fields)
        and all(isinstance(field.get(CONSTRAINTS, {}), dict) for field in fields)
    )


def inputs_of(data: Descriptor, specs: Sequence[Input], prefix: str, place: str = "") -> tuple[list[Cell], Descriptor]:
    """Return the inputs of a descriptor, or of a field, and the rest of it."""
    rest = deepcopy(data)
    kind = str(data.get("type", "string"))
    cells = []
    for spec in specs:
        text = _take(rest, spec, kind)
        cells.append(Cell(spec, f"{prefix}{spec.key}", spec.default if text is None else text, place + spec.pointer))
    return cells, {key: value for key, value in rest.items() if value != {}}


def _take(rest: Descriptor, spec: Input, kind: str) -> str | None:
    """Take a value out of the rest where an input can show it exactly."""
    *path, last = spec.place
    at: Any = rest
    for step in path:
        at = at.get(step, {}) if isinstance(at, dict) else {}
    if not isinstance(at, dict) or last not in at:
        return None
    text = KINDS[spec.kind].show(at[last])
    if text is None or spec.read(text, kind) != at[last]:
        return None
    if spec.options and text not in dict(spec.options):
        return None
    del at[last]
    return text


def columns_of(data: Descriptor, headers: Mapping[str, str]) -> list[Column]:
    """Return the columns of the grid; `headers` has what each field is called in the sample."""
    keys = _as_list(data["schema"].get("primaryKey")) or []
    columns = []
    for number, field in enumerate(data["schema"]["fields"]):
        cells, rest = inputs_of(field, [*GRID, *MORE], f"f{number}-", f"/schema/fields/{number}")
        name = rest.pop("name")
        by_key = {cell.input.key: cell for cell in cells}
        columns.append(Column(number, name, by_key, rest, name in keys, headers.get(name, "")))
    return columns


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _is_words(value: Any) -> bool:
    """Tell whether a value is a list of texts: anything may stand where the descriptor wants one."""
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def settings_of(data: Descriptor) -> tuple[list[Cell], list[Cell], str]:
    """Return the inputs of the table and of the file, and the rest as JSON."""
    cells, rest = inputs_of(data, [*TABLE, *FILE], "d-")
    rest["schema"] = {key: value for key, value in rest.get("schema", {}).items() if key != "fields"}
    return cells[: len(TABLE)], cells[len(TABLE) :], orjson.dumps(rest).decode()


def _object(text: str) -> Descriptor:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) and not is_too_deep(found) else {}


def is_too_deep(data: Any) -> bool:
    """Tell whether JSON is nested deeper than any descriptor: Python could neither copy nor compare it."""
    level = [data]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            below += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        level = below
    return bool(level)


def _apply(rest: Descriptor, specs: Sequence[Input], form: Mapping[str, str], prefix: str, kind: str) -> None:
    """Lay what the inputs say over the rest."""
    for spec in specs:
        value = spec.read(form.get(f"{prefix}{spec.key}", ""), kind)
        if value is None or kind not in spec.fits or (spec.key == "format" and not _format_fits(str(value), kind)):
            continue
        *path, last = spec.place
        at = rest
        for step in path:
            if not isinstance(at.get(step), dict):
                at[step] = {}
            at = at[step]
        at[last] = value


def _format_fits(text: str, kind: str) -> bool:
    """Tell whether a format is one of this type at all, or what is left of another type."""
    return kind == "string" if text in STRING_FORMATS else not (kind == "string" and "%" in text)


def read_form(form: Mapping[str, str]) -> Descriptor:
    """Return the descriptor that the inputs stand for; whatever was posted, it is checked behind this."""
    data = _object(form.get("rest", ""))
    _apply(data, [*TABLE, *FILE], form, "d-", "string")
    schema: dict[str, Any] = data["schema"] if isinstance(data.get("schema"), dict) else {}
    fields, renamed, ticked = [], dict[str, str](), list[str]()
    count = form.get("count", "")
    for number in range(min(numbers.number(count) or 0, MOST_COLUMNS)):
        field = _read_field(form, f"f{number}-")
        fields.append(field)
        renamed[form.get(f"f{number}-was", "")] = field["name"]
        if form.get(f"f{number}-key"):
            ticked.append(field["name"])
    before = schema.pop("primaryKey", None)
    known = _as_list(before)
    keys = [name for old in (known if _is_words(known) else []) if (name := renamed.get(old)) in ticked and name]
    keys += [name for name in ticked if name not in keys]
    for key in ("uniqueKeys", "foreignKeys"):
        if key in schema:
            schema[key] = _renamed(schema[key], renamed)
    # In the order in which people read a descriptor.
    rest = {key: value for key, value in schema.items() if key not in {"fields", "primaryKey"}}
    schema = {"fields": fields, **rest}
    if keys:
        schema["primaryKey"] = keys[0] if len(keys) == 1 and not isinstance(before, list) else keys
    first: Descriptor = {key: data.pop(key) for key in ("name", "table", "mode") if key in data}
    return {**first, **data, "schema": schema}


def _read_field(form: Mapping[str, str], prefix: str) -> Descriptor:
    rest = _object(form.get(f"{prefix}rest", ""))
    name = form.get(f"{prefix}name", "").strip()
    kind = form.get(f"{prefix}type", "string")
    _apply(rest, [*GRID, *MORE], form, prefix, kind)
    field = {"name": name, **{key: value for key, value in rest.items() if value != {}}}
    # A field that is renamed is still called the same in the files.
    header = form.get(f"{prefix}header", "")
    if not _is_words(_as_list(field.get("aliases", []))):
        return field  # a mistake, and told as one
    aliases = _as_list(field.pop("aliases", []))
    aliases = [alias for alias in [*aliases, header] if alias and alias != name]
    return {**field, "aliases": list(dict.fromkeys(aliases))} if aliases else field


def _renamed(keys: Any, names: Mapping[str, str]) -> Any:
    """Return unique or foreign keys with the new names of this dataset's fields."""
    if isinstance(keys, str):
        return names.get(keys, keys)
    if isinstance(keys, list):
        return [_renamed(key, names) for key in keys]
    if not isinstance(keys, dict) or not isinstance(reference := keys.get("reference"), dict):
        return keys
    if reference.get("resource", "") == "":
        reference = {**reference, "fields": _renamed(reference.get("fields"), names)}
    return {**keys, "fields": _renamed(keys.get("fields"), names), "reference": reference}


def moved(data: Descriptor, deed: str, number: int) -> Descriptor:
    """Return a descriptor with a field added behind the last, taken out, or moved by one place."""
    data = deepcopy(data)
    fields: list[Any] = data["schema"]["fields"]
    if deed == "add":
        taken = {field["name"] for field in fields}
        name = next(f"column_{n}" for n in range(len(fields) + 1, 2 * len(fields) + 2) if f"column_{n}" not in taken)
        fields.append({"name": name, "type": "string", "constraints": {"maxLength": 255}})
    elif not 0 <= number < len(fields):
        return data
    elif deed == "remove" and len(fields) > 1:
        fields.pop(number)
    elif deed in {"left", "right"}:
        to = min(max(number + (1 if deed == "right" else -1), 0), len(fields) - 1)
        fields.insert(to, fields.pop(number))
    return data
