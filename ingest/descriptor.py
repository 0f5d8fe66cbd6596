"""What a dataset's descriptor may say: a Frictionless Data Resource with a Table Schema and a CSV
Dialect, plus our own keys. Every mistake is reported, each with its place as a JSON pointer.

Sources: https://datapackage.org/standard/data-resource/, /table-schema/, /csv-dialect/
"""

import codecs
import re
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from migration_console.lib.errors import Problem, Refused
from migration_console.lib.sqltype import parse_sql_type

from .patterns import pattern_problem

FieldType = Literal[
    "string", "number", "integer", "boolean", "object", "array", "date", "time", "datetime", "year", "yearmonth",
    "duration", "geopoint", "geojson", "any",
]  # fmt: skip
STRING_FORMATS = {"default", "email", "uri", "uuid", "binary"}
# Which constraints make sense for which type; "required", "unique" and "enum" fit all.
ORDERED = {"integer", "number", "date", "time", "datetime", "year", "yearmonth"}
MEASURED = {"string", "array", "object", "any"}
# MySQL's limit for identifiers, and names that the console adds to tables itself, or to rejects on their way out.
NAME_LENGTH = 64
REJECT_COLUMNS = {"_row", "_line", "_safe", "_errors", "_seen", "_raw"}
OWN_COLUMNS = {"_run", "_n", "_ok", *REJECT_COLUMNS}
# Names that mean several columns to the columnar filter.
WILDCARDS = re.compile(r"\*|\^.*\$|_(ok|text|ignored)[ _].*", re.DOTALL)


# What Python calls encodings and no file of text is in: of one host name, or of Python's own sources.
NO_FILE_ENCODINGS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "charmap", "undefined"}


def known_encoding(name: str) -> str:
    """Return Python's name of an encoding that files are in."""
    try:
        found = codecs.lookup(name).name
        if found.replace("_", "-") in NO_FILE_ENCODINGS:
            raise ValueError(f"the encoding {name!r} is none of files; use utf-8, cp1252, latin-1, utf-16 …")
        "".encode(name)  # no bytes-to-bytes codec, such as base64
        return found
    except LookupError:
        raise ValueError(f"the encoding {name!r} is unknown; use utf-8, cp1252, latin-1, utf-16 …") from None


def one_ascii_character(text: str) -> str:
    """Check a delimiter or a quote."""
    if len(text) != 1 or not text.isascii() or text in "\r\n\0":
        raise ValueError("must be one ASCII character")
    return text


def known_sql_type(text: str) -> str:
    """Check a column type."""
    parse_sql_type(text)
    return text


def known_zone(name: str) -> str:
    """Check the name of a time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as Europe
        raise ValueError(f"the time zone {name!r} is unknown; use a name such as Europe/Berlin") from None
    return name


def valid_regex(text: str) -> str:
    """Check a pattern; it must match the whole value."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


def valid_files(pattern: str) -> str:
    """Check a file pattern."""
    if problem := pattern_problem(pattern):
        raise ValueError(problem)
    return pattern


def as_list(value: Any) -> Any:
    """Take one name where the standard allows a name or a list of names."""
    return [value] if isinstance(value, str) else value


NAMES = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
Names = Annotated[list[str], BeforeValidator(as_list), Field(min_length=1), WithJsonSchema(NAMES)]
Character = Annotated[str, AfterValidator(one_ascii_character)]


class Strict(BaseModel):
    """A part of the descriptor; unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Constraints(Strict):
    """Table Schema's constraints of one field."""

    required: bool = False
    unique: bool = False
    minimum: int | float | str | None = None
    maximum: int | float | str | None = None
    min_length: Annotated[int | None, Field(alias="minLength", ge=0)] = None
    max_length: Annotated[int | None, Field(alias="maxLength", ge=0)] = None
    pattern: Annotated[str, AfterValidator(valid_regex)] | None = None
    enum: Annotated[list[Any], Field(min_length=1)] | None = None


class FieldDescriptor(Strict):
    """One column of the file and of the table."""

    name: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH)]
    type: FieldType = "string"
    format: str = "default"
    title: str = ""
    description: str = ""
    example: Any = None
    rdf_type: Annotated[str, Field(alias="rdfType")] = ""
    constraints: Constraints = Constraints()
    missing_values: Annotated[list[str] | None, Field(alias="missingValues")] = None
    true_values: Annotated[list[str], Field(alias="trueValues")] = ["true", "True", "TRUE", "1"]
    false_values: Annotated[list[str], Field(alias="falseValues")] = ["false", "False", "FALSE", "0"]
    decimal_char: Annotated[str, Field(alias="decimalChar", min_length=1, max_length=1)] = "."
    group_char: Annotated[str, Field(alias="groupChar", max_length=1)] = ""
    bare_number: Annotated[bool, Field(alias="bareNumber")] = True
    # our own
    aliases: list[str] = []
    strip: bool = False
    case: Literal["keep", "lower", "upper"] = "keep"
    default: str | None = None
    map: dict[str, str] = {}
    formats: list[str] = []
    timezone: Annotated[str, AfterValidator(known_zone)] | None = None
    ambiguous: Literal["refuse", "earlier", "later"] = "refuse"
    control_characters: Annotated[Literal["refuse", "allow"], Field(alias="controlCharacters")] = "refuse"
    sql_type: Annotated[str | None, Field(alias="sqlType"), AfterValidator(lambda t: t and known_sql_type(t))] = None

    @model_validator(mode="after")
    def fits_together(self) -> Self:
        """Refuse what no value could satisfy, or what the type has no use for."""
        rules = self.constraints
        odd = WILDCARDS.fullmatch(self.name) or self.name != self.name.strip() or "\0" in self.name
        if self.name.lower() in OWN_COLUMNS or odd:
            raise ValueError(f"the name {self.name!r} cannot be a column (reserved, or with spaces around it)")
        if (rules.minimum is not None or rules.maximum is not None) and self.type not in ORDERED:
            raise ValueError(f"minimum and maximum do not fit the type {self.type}")
        if (rules.min_length is not None or rules.max_length is not None) and self.type not in MEASURED:
            raise ValueError(f"minLength and maxLength do not fit the type {self.type}")
        if rules.pattern is not None and self.type not in {"string", "any"}:
            raise ValueError(f"pattern does not fit the type {self.type}")
        if None not in (rules.min_length, rules.max_length) and rules.min_length > rules.max_length:  # type: ignore[operator]
            raise ValueError("minLength is greater than maxLength")
        if self.type == "string" and self.format not in STRING_FORMATS:
            raise ValueError(f"the format {self.format!r} is not one of {', '.join(sorted(STRING_FORMATS))}")
        if (self.formats or self.timezone) and self.type not in {"date", "time", "datetime"}:
            raise ValueError(f"formats and timezone do not fit the type {self.type}")
        if self.type == "boolean" and set(self.true_values) & set(self.false_values):
            raise ValueError("trueValues and falseValues share a word")
        if self.group_char and self.group_char == self.decimal_char:
            raise ValueError("decimalChar and groupChar are the same")
        return self


class Reference(Strict):
    """Where a foreign key points; `resource` is a dataset, or '' for this one."""

    resource: str = ""
    fields: Names


class ForeignKey(Strict):
    """Table Schema's foreign key."""

    fields: Names
    reference: Reference

    @model_validator(mode="after")
    def as_many(self) -> Self:
        """Both sides name the same number of columns."""
        if len(self.fields) != len(self.reference.fields):
            raise ValueError("both sides must name the same number of fields")
        return self


class TableSchema(Strict):
    """Table Schema."""

    fields: Annotated[list[FieldDescriptor], Field(max_length=4096)] = []
    primary_key: Annotated[Names | None, Field(alias="primaryKey")] = None
    unique_keys: Annotated[list[Names], Field(alias="uniqueKeys")] = []
    foreign_keys: Annotated[list[ForeignKey], Field(alias="foreignKeys")] = []
    missing_values: Annotated[list[str], Field(alias="missingValues")] = [""]


class Dialect(Strict):
    """CSV Dialect, as far as strict RFC 4180 reading needs it, plus lines to leave out."""

    delimiter: Character = ","
    quote_char: Annotated[Character | None, Field(alias="quoteChar")] = '"'
    double_quote: Annotated[Literal[True], Field(alias="doubleQuote")] = True
    line_terminator: Annotated[Literal["\r\n", "\n", "\r"], Field(alias="lineTerminator")] = "\r\n"
    header: bool = True
    # our own
    bare_quote: Annotated[Literal["refuse", "literal"], Field(alias="bareQuote")] = "refuse"
    preamble: Annotated[int, Field(ge=0, le=100)] = 0
    footer: Annotated[int, Field(ge=0, le=100)] = 0
    quoted_empty: Annotated[Literal["text", "missing"], Field(alias="quotedEmpty")] = "text"

    @model_validator(mode="after")
    def distinct(self) -> Self:
        """A character cannot be both."""
        if self.delimiter == self.quote_char:
            raise ValueError("delimiter and quoteChar are the same")
        return self


class OnError(Strict):
    """How many rejects a file may have before nothing of it is loaded."""

    rows: Annotated[int, Field(ge=0)] | None = None
    percent: Annotated[float, Field(ge=0, le=100)] | None = None

    @model_validator(mode="after")
    def says_something(self) -> Self:
        """An empty limit is a mistake, not 'no limit'."""
        if self.rows is None and self.percent is None:
            raise ValueError("give rows or percent, or leave onError out")
        return self


NAME = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"
Name = Annotated[str, Field(pattern=NAME, max_length=100)]
Table = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*$", max_length=48)]


class Descriptor(Strict):
    """A dataset."""

    name: Name
    table: Table | None = None
    schema_: Annotated[TableSchema, Field(alias="schema")] = TableSchema()
    model: Annotated[str | None, Field(pattern=r"^[\w.]+[.:]\w+$")] = None
    dialect: Dialect = Dialect()
    encoding: Annotated[str, AfterValidator(known_encoding)] = "utf-8"
    mode: Literal["append", "upsert", "replace"] = "append"
    publish: Literal["batches", "whole"] = "batches"
    on_error: Annotated[OnError | None, Field(alias="onError")] = None
    files: Annotated[list[Annotated[str, AfterValidator(valid_files)]], Field(min_length=1)] | None = None
    unknown_columns: Annotated[Literal["refuse", "ignore"], Field(alias="unknownColumns")] = "refuse"
    duplicates: Literal["refuse", "load"] = "refuse"
    run_column: Annotated[bool | None, Field(alias="runColumn")] = None
    # keys of the standard that describe and change nothing
    path: str | list[str] | None = None
    profile: str = ""
    title: str = ""
    description: str = ""
    format: str = "csv"
    mediatype: str = ""
    sources: list[Any] = []
    licenses: list[Any] = []

    @property
    def target(self) -> str:
        """Return the table's name; by default the dataset's."""
        if self.table:
            return self.table
        plain = re.sub(r"[^a-z0-9_]", "_", self.name)[:46]
        return f"t_{plain}" if plain[0].isdigit() else plain

    @property
    def file_patterns(self) -> list[str]:
        """Return the patterns of keys below raw/."""
        if self.files is not None:
            return self.files
        plain = [f"{self.name}.csv", f"{self.name}-*.csv", f"{self.name}_*.csv"]
        return [*plain, *(f"{pattern}.gz" for pattern in plain), f"{self.name}/**"]

    @property
    def whole(self) -> bool:
        """Tell whether the file appears in the table in one step."""
        return self.publish == "whole" or self.mode == "replace" or self.on_error is not None


def parse_descriptor(data: object) -> Descriptor:
    """Return a checked descriptor, or raise Refused with every mistake and its place."""
    try:
        descriptor = Descriptor.model_validate(data)
    except ValidationError as error:
        problems = [
            Problem("descriptor", details["msg"].removeprefix("Value error, "), pointer(details["loc"]))
            for details in error.errors()
        ]
        raise Refused(problems + _best_effort(data)) from None
    if problems := cross_problems(descriptor):
        raise Refused(problems)
    return descriptor


def pointer(place: tuple[int | str, ...]) -> str:
    """Return a JSON pointer."""
    return "".join("/" + str(part) for part in place) or "/"


def _best_effort(data: object) -> list[Problem]:
    """Check names across fields too when single fields are wrong already, so that all mistakes show."""
    try:
        fields = data["schema"]["fields"]  # type: ignore[index]
        names = [str(field["name"]) for field in fields]
    except (TypeError, KeyError):
        return []
    return _repeated(names)


def _repeated(names: list[str]) -> list[Problem]:
    seen: set[str] = set()
    problems = []
    for index, name in enumerate(names):
        if name.lower() in seen:
            message = f"the field {name!r} is there twice (MySQL ignores case in names)"
            problems.append(Problem("descriptor", message, f"/schema/fields/{index}/name"))
        seen.add(name.lower())
    return problems


def cross_problems(descriptor: Descriptor) -> list[Problem]:
    """Return what is wrong between the parts of a descriptor."""
    schema = descriptor.schema_
    names = [field.name for field in schema.fields]
    problems = _repeated(names)
    if not names and descriptor.model is None:
        problems.append(Problem("descriptor", "give fields, or the dotted path of a Pydantic model", "/schema/fields"))
    if descriptor.mode == "upsert" and not schema.primary_key:
        problems.append(Problem("descriptor", "mode upsert needs a primaryKey", "/schema/primaryKey"))
    if names or descriptor.model is None:
        problems += _key_problems(schema, set(names))
    spoken: dict[str, str] = {}
    for index, field in enumerate(schema.fields):
        for word in [field.name, *field.aliases]:
            if spoken.setdefault(word, field.name) != field.name:
                message = f"{word!r} is a name or an alias of {spoken[word]!r} already"
                problems.append(Problem("descriptor", message, f"/schema/fields/{index}/aliases"))
    return problems


def _key_problems(schema: TableSchema, names: set[str]) -> list[Problem]:
    keys = {"/schema/primaryKey": schema.primary_key or []}
    keys |= {f"/schema/uniqueKeys/{index}": key for index, key in enumerate(schema.unique_keys)}
    for index, key in enumerate(schema.foreign_keys):
        keys[f"/schema/foreignKeys/{index}/fields"] = key.fields
        if key.reference.resource == "":
            keys[f"/schema/foreignKeys/{index}/reference/fields"] = key.reference.fields
    return [
        Problem("descriptor", f"there is no field {name!r}", place)
        for place, fields in keys.items()
        for name in fields
        if name not in names
    ]
