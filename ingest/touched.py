"""What somebody has touched in a row of a file that comes back: compared with how it went out, not with what stands.

Between the two others go on correcting. So each row carries the mark of its corrections in the column `_seen`: it says
what the cells were, and a cell that is still so takes nothing back.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from .amending import same_text
from .cells import Cells, Texts
from .models import Reject

# The column of the marks.
SEEN = "_seen"
# That of a row that nobody had corrected. No mark is a number for a spreadsheet, nor a formula.
AS_IT_CAME = "v0"
# What a spreadsheet holds in a cell.
MAX_CELL = 32_767


def mark(corrected: Mapping[str, Any] | None) -> str:
    """Return the mark of a row's corrections, given by the newest names of their columns."""
    if not corrected:
        return AS_IT_CAME
    return "v" + hashlib.sha256(orjson.dumps(corrected, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def touched(
    reject: Reject, texts: Mapping[str, Any], cells: Cells, *, seen: str, user: Any = None
) -> tuple[dict[str, Any], bool]:
    """Return the cells that are not as they went out, and whether somebody else has corrected them since."""
    now, before = cells.current(reject) or {}, _before(reject, cells, seen)
    new = {name: text for name, text in texts.items() if not _is_any(text, name, [now, *before])}
    since = any(not _is_any(now.get(name), name, before) for name in new)
    # Who corrects the same file twice goes on from what he has sent before.
    mine = bool(before) and user is not None and reject.corrected_by_id == user.pk
    return new, since and not mine


def _before(reject: Reject, cells: Cells, seen: str) -> list[Texts]:
    """Return what the cells may have been when they went out; nothing where nobody can tell any more."""
    now, came = cells.current(reject) or {}, cells.original(reject) or {}
    if not seen:
        return [now, came]
    if seen == mark(cells.renamed(reject.corrected or {})):
        return [now]
    return [came] if seen == AS_IT_CAME else []


def _is_any(text: Any, name: str, rows: list[Texts]) -> bool:
    return any(unchanged(text, row.get(name)) for row in rows)


def unchanged(text: Any, sent: str | None) -> bool:
    """Tell whether a cell is as it went out: cut where it was long, control characters dropped."""
    return same_text(text, sent) or same_text(text, sent_cell(sent))


def sent_cell(text: str | None) -> str | None:
    """Return a value as a cell of a spreadsheet holds it."""
    return None if text is None else text[:MAX_CELL]
