"""A descriptor compiled: columns, keys, and the Pydantic model that alone decides about a row."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic import Field as PydanticField

from migration_console.lib.errors import Problem, Refused
from migration_console.lib.sqltype import SqlType, parse_sql_type

from .column import Column, Reason, column_checks
from .descriptor import Descriptor, FieldDescriptor, parse_descriptor
from .errors import RowError, row_error
from .handwritten import load_model, model_fields
from .text import PARSERS, Bad, declared_formats, shown

# Where the schema names no column type. DECIMAL(38,9) is what warehouses call NUMERIC.
SQL_TYPES = {
    "integer": SqlType("BIGINT"),
    "number": SqlType("DECIMAL", 38, 9),
    "boolean": SqlType("TINYINT"),
    "date": SqlType("DATE"),
    "time": SqlType("TIME", 6),
    "datetime": SqlType("DATETIME", 6),
    "year": SqlType("SMALLINT"),
    "yearmonth": SqlType("CHAR", 7),
    "duration": SqlType("VARCHAR", 64),
    "geopoint": SqlType("VARCHAR", 64),
    "geojson": SqlType("JSON"),
    "object": SqlType("JSON"),
    "array": SqlType("JSON"),
}
# Which column types can hold a field's values exactly; the rest is a mistake in the descriptor.
INTEGERS = {"TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "BIT"}
TEXTS = {"CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "ENUM", "SET"}
FITTING = {
    "integer": INTEGERS | {"DECIMAL", "YEAR"},
    "number": {"DECIMAL", "FLOAT", "DOUBLE"},
    "boolean": INTEGERS,
    "date": {"DATE", "DATETIME"},
    "time": {"TIME"},
    "datetime": {"DATETIME", "TIMESTAMP", "DATE"},
    "year": INTEGERS | {"YEAR"},
    "geojson": {"JSON", "LONGTEXT"},
    "object": {"JSON", "LONGTEXT"},
    "array": {"JSON", "LONGTEXT"},
}
BINARIES = {"BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"}


@dataclass(frozen=True, eq=False)
class Schema:
    """A dataset's columns and rules, ready for rows. Compared by identity: what was made of one is kept by it."""

    descriptor: Descriptor
    columns: tuple[Column, ...]
    model: type[BaseModel]
    attributes: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Return the column names, in order."""
        return [column.name for column in self.columns]

    @property
    def columnar(self) -> bool:
        """Tell whether columns can be judged one by one; a hand-written model may have rules across fields."""
        return self.descriptor.model is None

    def check(self, row: Mapping[str, object]) -> tuple[dict[str, Any] | None, list[RowError]]:
        """Return (values by column name, []) of a good row, or (None, every reason)."""
        try:
            checked = self.model.model_validate(row)
        except ValidationError as error:
            return None, self._reasons(error, row)
        values = {name: getattr(checked, attribute) for name, attribute in zip(self.names, self.attributes)}
        # What the columns were asked before a hand-written model, they are asked behind its validators again.
        reasons = [] if self.columnar else self._misfits(values)
        return (None, reasons) if reasons else (values, [])

    def _misfits(self, values: dict[str, Any]) -> list[RowError]:
        return [
            row_error(column.name, *reason, value)
            for column in self.columns
            if (value := values[column.name]) is not None
            for check in column.checks
            if (reason := check(value))
        ]

    def _reasons(self, error: ValidationError, row: Mapping[str, object]) -> list[RowError]:
        reasons = []
        for details in error.errors():
            place = str(details["loc"][0]) if details["loc"] else ""
            value = row.get(place)
            found = details.get("ctx", {}).get("reasons") if details["type"] == "row" else None
            for code, message in found or [_model_reason(details)]:
                reasons.append(row_error(place, code, message, value))
        return reasons


def _model_reason(details: Any) -> Reason:
    if details["type"] == "extra_forbidden":
        return "unknown-column", f"The dataset has no column {details['loc'][0]}."
    code = "required" if details["type"] == "missing" else "rule"
    return code, details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


def compile_schema(data: object) -> Schema:
    """Return the compiled schema of a descriptor, or raise Refused with every mistake and its place."""
    descriptor = parse_descriptor(data)
    base = load_model(descriptor.model) if descriptor.model else None
    fields = list(descriptor.schema_.fields) or (model_fields(base) if base else [])
    problems: list[Problem] = []
    columns = tuple(_column(field, index, descriptor, problems) for index, field in enumerate(fields))
    problems += _key_type_problems(descriptor, columns)
    if base is not None:
        unknown = {column.name for column in columns} ^ set(base.model_fields)
        problems += [
            Problem("descriptor", f"{name!r} is not in both the model and fields", "/model") for name in unknown
        ]
        columns = tuple(_with_default(column, base) for column in columns)
    if problems:
        raise Refused(problems)
    model, attributes = _model_over(base, columns) if base else _model(descriptor.name, columns)
    return Schema(descriptor, columns, model, attributes)


@lru_cache(maxsize=64)
def compile_json(text: bytes) -> Schema:
    """Return the compiled schema of a stored descriptor; a worker loads the same one many times."""
    return compile_schema(orjson.loads(text))


def _column(field: FieldDescriptor, index: int, descriptor: Descriptor, problems: list[Problem]) -> Column:
    place = f"/schema/fields/{index}"
    sql = parse_sql_type(field.sql_type) if field.sql_type else default_sql_type(field, descriptor)
    fitting = FITTING.get(field.type, BINARIES if field.format == "binary" else TEXTS)
    if sql.base not in fitting:
        problems.append(Problem("descriptor", f"{sql.base} cannot hold the type {field.type}", f"{place}/sqlType"))
        return Column(field, sql, False, frozenset())
    keys = descriptor.schema_.primary_key or []
    missing = field.missing_values if field.missing_values is not None else descriptor.schema_.missing_values
    if wrong := _format_problems(field, place):
        problems += wrong  # a default or a minimum cannot be read by these
        return Column(field, sql, False, frozenset())
    column = Column(
        field=field,
        sql=sql,
        required=field.constraints.required or field.name in keys,
        missing=frozenset(missing) - {""},
        empty_is_null="" in missing,
    )
    checks = [*_constraint_checks(column, place, problems), *column_checks(sql, field.type)]
    default = _parsed(column, field.default, f"{place}/default", problems) if field.default is not None else None
    if default is not None:
        bad = [reason for check in checks if (reason := check(default))]
        problems += [Problem("descriptor", f"the default: {message}", f"{place}/default") for _, message in bad]
    return replace(column, checks=tuple(checks), default=default)


def _format_problems(field: FieldDescriptor, place: str) -> list[Problem]:
    if field.type not in {"date", "time", "datetime"}:
        return []
    return [Problem("descriptor", p, f"{place}/format") for f in declared_formats(field) if (p := format_problem(f))]


def format_problem(pattern: str) -> str:
    """Say what is wrong with a date pattern; '' when it can write and read back a moment."""
    try:
        datetime.strptime(datetime(2001, 2, 3, 4, 5, 6).strftime(pattern), pattern)
    except re.error:  # what strptime makes of a directive that is there twice
        return f"{pattern!r} says one thing twice; use a pattern such as %d/%m/%Y"
    except ValueError:
        return f"{pattern!r} is no date pattern; use one such as %d/%m/%Y"
    return "" if "%" in pattern else f"{pattern!r} is no date pattern; use one such as %d/%m/%Y"


def default_sql_type(field: FieldDescriptor, descriptor: Descriptor) -> SqlType:
    """Return the column type for a field that names none."""
    if field.type in SQL_TYPES:
        return SQL_TYPES[field.type]
    schema = descriptor.schema_
    keys = [schema.primary_key or [], *schema.unique_keys, *(key.fields for key in schema.foreign_keys)]
    most = field.constraints.max_length
    if field.format == "binary":
        return SqlType("VARBINARY", most) if most and most <= 4096 else SqlType("LONGBLOB")
    if most is None and field.constraints.enum:
        most = max(len(str(value)) for value in field.constraints.enum) or 1
    if field.format == "uuid":
        most = most or 45
    if most is None and (field.constraints.unique or any(field.name in key for key in keys)):
        most = 255  # a key column needs a length
    if most is None:
        return SqlType("TEXT")
    return SqlType("VARCHAR", max(most, 1)) if most <= 8192 else SqlType("LONGTEXT")


def _parsed(column: Column, value: object, place: str, problems: list[Problem]) -> Any:
    try:
        return PARSERS[column.field.type](value, column.field) if isinstance(value, str) else column.parse(value)
    except Bad as bad:
        problems.append(Problem("descriptor", bad.message, place))
        return None


def _constraint_checks(column: Column, place: str, problems: list[Problem]) -> list[Callable[[Any], Reason | None]]:
    rules = column.field.constraints
    checks: list[Callable[[Any], Reason | None]] = []
    low = high = None
    if rules.minimum is not None:
        low = _parsed(column, rules.minimum, f"{place}/constraints/minimum", problems)
        checks.append(lambda v: ("below-minimum", f"{shown(v)} is below the minimum {low}.") if v < low else None)
    if rules.maximum is not None:
        high = _parsed(column, rules.maximum, f"{place}/constraints/maximum", problems)
        checks.append(lambda v: ("above-maximum", f"{shown(v)} is above the maximum {high}.") if v > high else None)
    if low is not None and high is not None and low > high:
        problems.append(Problem("descriptor", "minimum is greater than maximum", f"{place}/constraints"))
    if (least := rules.min_length) is not None:
        message = f"has fewer than {least} characters."
        checks.append(lambda v: ("too-short", f"{shown(v)} {message}") if len(v) < least else None)
    if (most := rules.max_length) is not None and column.sql.base not in {"VARCHAR", "CHAR"}:
        checks.append(lambda v: ("too-long", f"{shown(v)} has more than {most} characters.") if len(v) > most else None)
    elif most is not None:
        length = column.sql.length or 0
        shorter = most < length
        text = f"characters; the schema allows {most}."
        checks.append(lambda v: ("too-long", f"The text has {len(v)} {text}") if shorter and len(v) > most else None)
    if rules.pattern is not None:
        regex = re.compile(rules.pattern)
        told = f"does not match the pattern {rules.pattern}."
        checks.append(lambda v: None if regex.fullmatch(v) else ("pattern", f"{shown(v)} {told}"))
    if rules.enum is not None:
        allowed = [_parsed(column, value, f"{place}/constraints/enum", problems) for value in rules.enum]
        words = ", ".join(str(value) for value in rules.enum[:20])
        checks.append(lambda v: None if v in allowed else ("not-in-list", f"{shown(v)} is none of {words}."))
    return checks


def _key_type_problems(descriptor: Descriptor, columns: tuple[Column, ...]) -> list[Problem]:
    kinds = {column.name: column.sql for column in columns}
    schema = descriptor.schema_
    keys = {"/schema/primaryKey": schema.primary_key or []}
    keys |= {f"/schema/uniqueKeys/{index}": key for index, key in enumerate(schema.unique_keys)}
    long = {"TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "JSON", "BLOB", "LONGBLOB", "MEDIUMBLOB", "TINYBLOB"}
    return [
        Problem("descriptor", f"{name!r} is {kinds[name].base}, which cannot be in a key; set maxLength", place)
        for place, names in keys.items()
        for name in names
        if name in kinds and kinds[name].base in long
    ]


def _model(name: str, columns: tuple[Column, ...]) -> tuple[type[BaseModel], tuple[str, ...]]:
    """Return the Pydantic model of a Table Schema; attributes are numbered, since column names may be anything."""
    attributes = tuple(f"field_{index}" for index in range(len(columns)))
    fields: dict[str, Any] = {
        attribute: (
            Annotated[Any, PlainValidator(column.convert), WithJsonSchema(json_schema(column))],
            # validate_default: a missing column is judged like an empty field
            PydanticField(default=None, alias=column.name, validate_default=True),
        )
        for attribute, column in zip(attributes, columns)
    }
    config = ConfigDict(extra="forbid", protected_namespaces=())
    return create_model(name, __config__=config, **fields), attributes


def _with_default(column: Column, base: type[BaseModel]) -> Column:
    """Return a column whose empty field means what the hand-written model says of a missing one."""
    info = base.model_fields.get(column.name)
    if info is None or column.default is not None or info.is_required() or info.default_factory is not None:
        return column
    return replace(column, default=info.default)


def _model_over(base: type[BaseModel], columns: tuple[Column, ...]) -> tuple[type[BaseModel], tuple[str, ...]]:
    """Return a hand-written model whose fields read text by our rules first; its own rules follow."""
    fields: dict[str, Any] = {}
    for column in columns:
        info = base.model_fields[column.name]
        fields[column.name] = (Annotated[info.annotation, BeforeValidator(column.convert), *info.metadata], info)
    # Rows come by column, which is the attribute's name, whatever else the model is called by elsewhere.
    config = {"model_config": ConfigDict(populate_by_name=True), "__module__": base.__module__}
    by_name: type[BaseModel] = type(base.__name__, (base,), config)
    model = create_model(base.__name__, __base__=by_name, **fields)
    return model, tuple(column.name for column in columns)


def json_schema(column: Column) -> dict[str, Any]:
    """Return the JSON Schema of a column, for the API's description."""
    kinds = {"integer": "integer", "year": "integer", "boolean": "boolean", "array": "array"}
    kinds |= {"object": "object", "geojson": "object"}
    kind = kinds.get(column.field.type, "string")
    schema: dict[str, Any] = {"type": kind if column.required else [kind, "null"]}
    if column.field.description or column.field.title:
        schema["description"] = column.field.description or column.field.title
    if column.field.constraints.enum:
        schema["enum"] = column.field.constraints.enum
    return schema
