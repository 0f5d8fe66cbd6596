"""A descriptor as inputs in a page, and back. What no input can show stays as it is, in a hidden `rest`."""

import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import orjson

from ..descriptor import MEASURED, ORDERED, STRING_FORMATS, FieldType

TYPES: tuple[str, ...] = get_args(FieldType)
TEMPORAL = {"date", "time", "datetime"}
# More columns than a grid can show; they are edited as JSON.
MOST_COLUMNS = 250
DELIMITERS = {",": "comma ,", ";": "semicolon ;", "\t": "tab", "|": "bar |"}
ENCODINGS = ["utf-8", "cp1252", "latin-1", "utf-16", "iso-8859-15", "cp1250", "cp437", "shift_jis", "gb18030"]

Descriptor = dict[str, Any]


class Kind(NamedTuple):
    """How a value shows as text, and how text is read; None for what cannot be shown, or is not given."""

    show: Callable[[Any], str | None]
    read: Callable[[str, str], Any]


def _lines(text: str) -> list[str]:
    return [line for line in re.split(r"\r?\n", text) if line]


def _scalar(text: str, kind: str) -> Any:
    if kind in {"integer", "year", "number"} and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if kind == "number" and re.fullmatch(r"-?[0-9]+\.[0-9]{1,15}", text) and repr(float(text)) == text:
        return float(text)
    return text or None


def _pairs(text: str) -> dict[str, str] | None:
    pairs = [line.partition(" = ") for line in _lines(text)]
    return {before: after for before, _, after in pairs} or None


def _number(text: str) -> Any:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text.strip()) else text.strip() or None


def _percent(text: str) -> Any:
    return float(text) if re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", text.strip()) else text.strip() or None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _joined(value: Any) -> str | None:
    return "\n".join(map(str, value)) if isinstance(value, list) else None


KINDS: dict[str, Kind] = {
    "text": Kind(_text, lambda text, _: text or None),
    "lines": Kind(_joined, lambda text, _: _lines(text) or None),
    "values": Kind(_joined, lambda text, kind: [_scalar(line, kind) for line in _lines(text)] or None),
    "scalar": Kind(lambda value: None if isinstance(value, bool) else str(value), _scalar),
    "number": Kind(lambda value: None if isinstance(value, bool) else str(value), lambda text, _: _number(text)),
    "percent": Kind(lambda value: f"{value:g}" if isinstance(value, int | float) else None, lambda t, _: _percent(t)),
    "pairs": Kind(
        lambda value: "\n".join(f"{k} = {v}" for k, v in value.items()) if isinstance(value, dict) else None,
        lambda text, _: _pairs(text),
    ),
    "missing": Kind(
        lambda value: "\n".join(value[1:]) if isinstance(value, list) and value[:1] == [""] else None,
        lambda text, _: ["", *_lines(text)] if _lines(text) else None,
    ),
    "flag": Kind(lambda value: "on" if value is True else None, lambda text, _: True if text else None),
    "unflag": Kind(lambda value: "" if value is False else None, lambda text, _: None if text else False),
    "allow": Kind(lambda value: "on" if value == "allow" else None, lambda text, _: "allow" if text else None),
}


@dataclass(frozen=True)
class Input:
    """One input: the place of its value in the descriptor, and which types it is for."""

    key: str
    label: str
    kind: str
    place: tuple[str, ...]
    fits: frozenset[str] = frozenset(TYPES)
    options: tuple[tuple[str, str], ...] = ()
    help: str = ""

    @property
    def pointer(self) -> str:
        """Return the place as a JSON pointer below the field, or below the descriptor."""
        return "/" + "/".join(self.place)

    @property
    def widget(self) -> str:
        """Return which HTML element edits it."""
        if self.options:
            return "select"
        if self.kind in {"flag", "unflag", "allow"}:
            return "check"
        return "lines" if self.kind in {"lines", "values", "pairs", "missing"} else "text"

    @property
    def default(self) -> str:
        """Return what an input shows where the descriptor says nothing."""
        return self.options[0][0] if self.options else "on" if self.kind == "unflag" else ""

    @property
    def fitting(self) -> str:
        """Return the types as one text."""
        return " ".join(sorted(self.fits))

    def read(self, text: str, kind: str) -> Any:
        """Return the value that a text stands for; None for the default."""
        if self.options and text == self.default:
            return None
        return KINDS[self.kind].read(text, kind)


def _choice(*values: str) -> tuple[tuple[str, str], ...]:
    return tuple((value, value) for value in values)


_C = "constraints"
TEXTS = frozenset({"string", "any"})
GRID = [
    Input("type", "Type", "text", ("type",), options=_choice("string", *sorted(set(TYPES) - {"string"}))),
    Input("format", "Format", "text", ("format",), frozenset({"string", *TEMPORAL})),
    Input("required", "Required", "flag", (_C, "required")),
    Input("unique", "Unique", "flag", (_C, "unique")),
    Input("minimum", "Least value", "scalar", (_C, "minimum"), frozenset(ORDERED)),
    Input("maximum", "Greatest value", "scalar", (_C, "maximum"), frozenset(ORDERED)),
    Input("min_length", "Shortest", "number", (_C, "minLength"), frozenset(MEASURED)),
    Input("max_length", "Longest", "number", (_C, "maxLength"), frozenset(MEASURED)),
    Input("pattern", "Pattern", "text", (_C, "pattern"), TEXTS),
]
MORE = [
    Input("enum", "Allowed values", "values", (_C, "enum"), help="one a line"),
    Input("missing", "Texts that mean empty", "missing", ("missingValues",), help="one a line, such as n/a"),
    Input("default", "Default", "text", ("default",), help="what an empty field means"),
    Input("map", "Replace", "pairs", ("map",), help="one a line: from = to"),
    Input("strip", "Strip spaces around", "flag", ("strip",)),
    Input("case", "Capitals", "text", ("case",), options=_choice("keep", "lower", "upper")),
    Input("aliases", "Other names in the header", "lines", ("aliases",), help="one a line"),
    Input(
        "sql", "Column type in the table", "text", ("sqlType",), help="such as DECIMAL(10,2); by default by the type"
    ),
    Input("true", "Words for true", "lines", ("trueValues",), frozenset({"boolean"}), help="one a line"),
    Input("false", "Words for false", "lines", ("falseValues",), frozenset({"boolean"}), help="one a line"),
    Input("decimal", "Decimal sign", "text", ("decimalChar",), frozenset({"number", "integer"})),
    Input("group", "Thousands sign", "text", ("groupChar",), frozenset({"number", "integer"})),
    Input("zone", "Time zone", "text", ("timezone",), frozenset(TEMPORAL), help="such as Europe/Berlin"),
    Input("control", "Allow invisible characters", "allow", ("controlCharacters",)),
    Input("title", "Title", "text", ("title",)),
    Input("description", "Description", "text", ("description",)),
]
TABLE = [
    Input("name", "Name", "text", ("name",), help="small letters, digits, - _ ."),
    Input("table", "Table", "text", ("table",), help="made when missing; by default named like the dataset"),
    Input("mode", "Mode", "text", ("mode",), options=(
        ("append", "append: new rows are added"), ("upsert", "upsert: rows of the same key are replaced"),
        ("replace", "replace: the file becomes the table"),
    )),
    Input("publish", "Publish", "text", ("publish",), options=(
        ("batches", "batches: rows appear as they load"), ("whole", "whole: the file appears in one step"),
    )),
    Input("limit", "Most rejects in rows", "number", ("onError", "rows"), help="with more, no row is loaded"),
    Input("percent", "Most rejects in per cent", "percent", ("onError", "percent")),
]  # fmt: skip
FILE = [
    Input("files", "Files below raw/", "lines", ("files",), help="one pattern a line; * stops at /, ** does not"),
    Input("delimiter", "Delimiter", "text", ("dialect", "delimiter"), options=tuple(DELIMITERS.items())),
    Input("encoding", "Encoding", "text", ("encoding",), help="utf-8 by default"),
    Input("header", "The first line names the columns", "unflag", ("dialect", "header")),
    Input("preamble", "Lines before the header", "number", ("dialect", "preamble")),
    Input("footer", "Lines at the end to leave out", "number", ("dialect", "footer")),
    Input("unknown", "Columns that the dataset does not know", "text", ("unknownColumns",), options=(
        ("refuse", "refuse the file"), ("ignore", "leave them out"),
    )),
    Input("missing", "Texts that mean empty", "missing", ("schema", "missingValues"), help="one a line"),
    Input("duplicates", "The same bytes again", "text", ("duplicates",), options=_choice("refuse", "load")),
]  # fmt: skip


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
    def filled(self) -> int:
        """Count what is set among them, so that nobody overlooks it."""
        return sum(cell.text not in {"", cell.input.default} for cell in self.more) + len(self.rest)


def is_gridable(data: Any) -> bool:
    """Tell whether a grid can show a descriptor: it has fields, not too many, each an object with a name."""
    schema = data.get("schema") if isinstance(data, dict) else None
    fields = schema.get("fields") if isinstance(schema, dict) else None
    places = [data.get("dialect", {}), data.get("onError") or {}] if isinstance(data, dict) else []
    return (
        isinstance(fields, list)
        and 0 < len(fields) <= MOST_COLUMNS
        and "model" not in data
        and all(isinstance(place, dict) for place in places)
        and all(isinstance(f, dict) and isinstance(f.get("name"), str) for f in fields)
        and all(isinstance(field.get(_C, {}), dict) for field in fields)
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
    keys = _as_list(data["schema"].get("primaryKey"))
    columns = []
    for number, field in enumerate(data["schema"]["fields"]):
        cells, rest = inputs_of(field, [*GRID, *MORE], f"f{number}-", f"/schema/fields/{number}")
        name = rest.pop("name")
        by_key = {cell.input.key: cell for cell in cells}
        columns.append(Column(number, name, by_key, rest, name in keys, headers.get(name, "")))
    return columns


def _as_list(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value or [])


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
    return found if isinstance(found, dict) else {}


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
    for number in range(min(int(count) if count.isascii() and count.isdigit() else 0, MOST_COLUMNS)):
        field = _read_field(form, f"f{number}-")
        fields.append(field)
        renamed[form.get(f"f{number}-was", "")] = field["name"]
        if form.get(f"f{number}-key"):
            ticked.append(field["name"])
    before = schema.pop("primaryKey", None)
    keys = [name for old in _as_list(before) if (name := renamed.get(str(old))) in ticked and name]
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
    aliases = _as_list(field.pop("aliases", None))
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
