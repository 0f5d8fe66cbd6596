"""The inputs of the draft editor: where in the descriptor each value stands, and how it is text."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from ..descriptor import MEASURED, ORDERED, FieldType

TYPES: tuple[str, ...] = get_args(FieldType)
TEMPORAL = {"date", "time", "datetime"}
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


def _missing(value: Any) -> str | None:
    if not isinstance(value, list) or value[:1] != [""] or not all(isinstance(word, str) for word in value):
        return None
    return "\n".join(value[1:])


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
        _missing,
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


CONSTRAINTS = _C = "constraints"
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
    Input("mode", "Mode: what a file does", "text", ("mode",), options=(
        ("append", "append: adds rows"), ("upsert", "upsert: replaces by key"), ("replace", "replace: is the table"),
    )),
    Input("publish", "Publish: how rows appear", "text", ("publish",), options=(
        ("batches", "batches: as they load"), ("whole", "whole: in one step"),
    )),
    Input("limit", "Most rejects in rows", "number", ("onError", "rows"), help="with more, no row is loaded"),
    Input("percent", "Most rejects in per cent", "percent", ("onError", "percent")),
]  # fmt: skip
FILE = [
    Input("files", "Files below raw/", "lines", ("files",), help="one pattern a line; * stops at /, ** does not"),
    Input("delimiter", "Delimiter", "text", ("dialect", "delimiter"), options=tuple(DELIMITERS.items())),
    Input("encoding", "Encoding", "text", ("encoding",), help="utf-8 by default"),
    Input("header", "The first line names the columns", "unflag", ("dialect", "header")),
    Input("unknown", "Unknown columns", "text", ("unknownColumns",), options=(
        ("refuse", "refuse the file"), ("ignore", "leave them out"),
    )),
    Input("preamble", "Lines before the header", "number", ("dialect", "preamble")),
    Input("footer", "Lines at the end to leave out", "number", ("dialect", "footer")),
    Input("missing", "Texts that mean empty", "missing", ("schema", "missingValues"), help="one a line"),
    Input("duplicates", "The same bytes again", "text", ("duplicates",), options=_choice("refuse", "load")),
]  # fmt: skip
