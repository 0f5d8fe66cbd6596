"""Lines of the audit log about rejects, in words."""

from typing import Any

import orjson
from django import template

from migration_console.lib.audit import AuditEntry

register = template.Library()
WORDS = {
    "reject.edited": "corrected",
    "reject.resubmitted": "sent",
    "reject.replayed": "tried again",
    "reject.dismissed": "dismissed",
    "reject.reopened": "reopened",
}


@register.filter
def deed(entry: AuditEntry) -> str:
    """Return what was done to how many rejects, and how."""
    said: dict[str, Any] = orjson.loads(entry.details)
    word = "restored" if said.get("restored") else WORDS.get(entry.action, entry.action)
    rows = f"row {said['row']}" if "row" in said else f"{said.get('rows', 0):,} rows"
    if said.get("rows") == 1 and "row" not in said:
        rows = "1 row"
    more = [
        ", ".join(said.get("columns", [])),
        f"by {said['how']}" if "how" in said else "",
        f"from {said['file']}" if "file" in said else "",
        f"with {said.get('field') or 'the whole row'} {said['code']}" if "code" in said else "",
        f"as run {said['child']}" if "child" in said else "",
        f"“{said['reason']}”" if "reason" in said else "",
    ]
    return " · ".join([f"{word} {rows}", *(part for part in more if part)])
