"""Hand-written Pydantic models: found by their dotted path, and read as columns."""

import hashlib
import inspect
import types
import typing
from datetime import date, datetime, time
from decimal import Decimal
from importlib import import_module
from typing import Any

import annotated_types
from pydantic import BaseModel

from migration_console.lib.errors import Problem, Refused

from .descriptor import FieldDescriptor

PYTHON_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    Decimal: "number",
    datetime: "datetime",
    date: "date",
    time: "time",
    str: "string",
    dict: "object",
    list: "array",
}


def model_fields(model: type[BaseModel]) -> list[FieldDescriptor]:
    """Return the columns of a hand-written model, by its annotations and their limits."""
    fields = []
    for name, info in model.model_fields.items():
        annotation, optional = _without_none(info.annotation)
        origin = typing.get_origin(annotation) or annotation
        kind = next((PYTHON_TYPES[t] for t in PYTHON_TYPES if isinstance(origin, type) and issubclass(origin, t)), None)
        if kind is None:
            raise Refused(
                [Problem("descriptor", f"the annotation {annotation} of {name} has no column type", "/model")]
            )
        limits = {type(limit): limit for limit in info.metadata}
        longest = limits.get(annotated_types.MaxLen)
        constraints: dict[str, Any] = {"required": info.is_required() and not optional}
        if kind == "string" and longest:
            constraints["maxLength"] = longest.max_length
        digits = next((m for m in info.metadata if getattr(m, "max_digits", None)), None)
        sql = f"DECIMAL({digits.max_digits},{digits.decimal_places or 0})" if digits and kind == "number" else None
        sql = "DOUBLE" if origin is float else sql
        data = {"name": name, "type": kind, "title": info.title or "", "constraints": constraints, "sqlType": sql}
        fields.append(FieldDescriptor.model_validate(data))
    return fields


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        rest = [part for part in typing.get_args(annotation) if part is not type(None)]
        return (rest[0] if len(rest) == 1 else annotation), len(rest) < len(typing.get_args(annotation))
    return annotation, False


def load_model(path: str) -> type[BaseModel]:
    """Import a hand-written Pydantic model by its dotted path."""
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # a module that somebody else wrote: importing it may raise anything
        raise Refused(
            [Problem("descriptor", f"the model {path} cannot be imported: {type(error).__name__}: {error}", "/model")]
        ) from None
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise Refused([Problem("descriptor", f"{path} is not a Pydantic model", "/model")])
    return found


def model_hash(path: str | None) -> str:
    """Return the SHA-256 of a hand-written model's source; '' without one."""
    if path is None:
        return ""
    return hashlib.sha256(inspect.getsource(load_model(path)).encode()).hexdigest()
