"""What differs between two descriptors, in sentences that a steward reads."""

from typing import Any

# Keys whose values hold more keys that are worth naming one by one.
NESTED = {"dialect", "constraints"}


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return what a descriptor changes compared with the one before it."""
    told = _differences(
        {key: value for key, value in before.items() if key != "schema"},
        {key: value for key, value in after.items() if key != "schema"},
    )
    old, new = before.get("schema", {}), after.get("schema", {})
    fields, now = _fields(old), _fields(new)
    told += [f"{name} is new ({field.get('type', 'string')})" for name, field in now.items() if name not in fields]
    told += [f"{name} is gone" for name in fields if name not in now]
    for name in now:
        if name in fields:
            told += [f"{name}: {text}" for text in _differences(fields[name], now[name])]
    if [name for name in fields if name in now] != [name for name in now if name in fields]:
        told.append("the fields stand in another order")
    rest = [{key: value for key, value in schema.items() if key != "fields"} for schema in (old, new)]
    return told + _differences(*rest)


def _fields(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        field["name"]: {key: value for key, value in field.items() if key != "name"}
        for field in schema.get("fields", [])
    }


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    told = []
    for key in [*before, *(key for key in after if key not in before)]:
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        if key in NESTED and isinstance(was or {}, dict) and isinstance(now or {}, dict):
            told += _differences(was or {}, now or {})
        else:
            told.append(f"{key} {_said(was)} → {_said(now)}")
    return told


def _said(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_said(part) for part in value) or "none"
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
