"""The draft editor: a descriptor over the first rows of its sample, tried as one edits."""

import hashlib
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from migration_console.lib.errors import Conflict, Problem, Refused, Unavailable
from migration_console.numbers import number

from ..altering import Alteration
from ..changes import changes
from ..editing import Judged, change_table, judge, publish, set_sample
from ..errors import HINTS
from ..models import Draft
from ..preview import Preview, Tried, unjudged
from .editor import MAX_DEPTH, MOST_COLUMNS, columns_of, is_gridable, is_too_deep, moved, read_form, settings_of
from .inputs import ENCODINGS
from .uploads import why

SHOWN_ROWS = 20
CELL = 200
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass
class Said:
    """What a form says: the descriptor, or why its JSON is none."""

    data: Any
    as_json: bool
    text: str = ""
    problems: list[Problem] = field(default_factory=list)


def may_edit(request: HttpRequest, draft: Draft) -> bool:
    """Tell whether a person may publish what a draft becomes."""
    deed = "change" if draft.dataset_id else "add"
    return bool(request.user.has_perm(f"ingest.{deed}_dataset"))


def said(request: HttpRequest, draft: Draft) -> Said:
    """Return what the form says; the draft remembers it, so that a reload loses nothing."""
    if request.POST.get("source") != "json":
        found = Said(read_form(request.POST), as_json=False)
    else:
        text = request.POST.get("json", "")
        try:
            found = Said(orjson.loads(text), as_json=True, text=text)
            if not isinstance(found.data, dict):
                raise orjson.JSONDecodeError("a descriptor is an object: { … }", text, 0)
            if is_too_deep(found.data):
                raise orjson.JSONDecodeError(f"objects stand in one another more than {MAX_DEPTH} deep", text, 0)
        except orjson.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}: {error.msg}"
            return Said(draft.descriptor, as_json=True, text=text, problems=[Problem("json", place, "/json")])
    keep(draft, found.data)
    return found


def keep(draft: Draft, data: dict[str, Any]) -> None:
    """Let the draft remember a descriptor; one that was published meanwhile is gone, and stays so."""
    draft.descriptor = data
    Draft.objects.filter(pk=draft.pk).update(descriptor=data, touched_at=timezone.now())


def draft_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show the editor; a POST does what its button says."""
    if not request.user.has_perm("ingest.view_dataset"):
        raise PermissionDenied
    draft = Draft.objects.select_related("dataset", "user").filter(pk=pk).first()
    if draft is None:
        if "preview" in request.GET:
            return HttpResponse(status=204)  # one that was on its way while the draft was published
        messages.warning(request, "This draft is published already, or was forgotten; open its dataset.")
        return redirect("admin:ingest_dataset_changelist")
    if request.method != "POST":
        as_json = "json" in request.GET or not is_gridable(draft.descriptor)
        return render(request, "ingest/dataset_draft.html", page(request, draft, Said(draft.descriptor, as_json)))
    if not may_edit(request, draft):
        raise PermissionDenied
    # Whichever button was pressed last goes along with every request of htmx: the address says it is a preview.
    deed, _, place = ("preview" if "preview" in request.GET else request.POST.get("do", "")).partition(":")
    if deed == "alter":
        return _alter(request, draft)
    words = said(request, draft)
    if deed == "publish" and not words.problems:
        return _publish(request, draft, words)
    if deed == "preview":
        return render(request, "ingest/dataset_preview.html", page(request, draft, words))
    if deed in {"add", "remove", "left", "right"} and is_gridable(words.data):
        at = number(place)
        words.data = moved(words.data, deed, -1 if at is None else at)
        keep(draft, words.data)
    if deed in {"json", "grid"} and not words.problems:
        words.as_json = deed == "json"
        words.text = ""
    template = "dataset_editor" if request.headers.get("HX-Request") else "dataset_draft"
    return render(request, f"ingest/{template}.html", page(request, draft, words))


def _publish(request: HttpRequest, draft: Draft, words: Said) -> HttpResponseBase:
    try:
        version = publish(draft, words.data, user=request.user, over="over" in request.POST)
    except Refused as refused:
        # The draft has everything, and a page that is asked for by GET can be reloaded.
        overtaken = any(problem.code == "overtaken" for problem in refused.problems)
        if isinstance(refused, Conflict):
            messages.error(request, f"Not published: {'; '.join(problem.message for problem in refused.problems)}.")
        return redirect(f"{request.path}?{'overtaken' if overtaken else 'tried'}{'&json' if words.as_json else ''}")
    messages.success(request, f"Version {version.number} of {version.dataset} is published.")
    return redirect("admin:ingest_dataset_change", version.dataset_id)


def _alter(request: HttpRequest, draft: Draft) -> HttpResponseBase:
    """Change the table, as an operator has confirmed by its name, and publish."""
    if not request.user.has_perm("ingest.alter_table"):
        raise PermissionDenied
    found = judge(draft, draft.descriptor)
    change = found.change
    words = Said(draft.descriptor, as_json=not is_gridable(draft.descriptor))
    if change is None or found.problems or request.POST.get("confirm") != change.table:
        wrong = "Nothing was changed: the table's name was not the one, or the draft has mistakes."
        return render(request, "ingest/dataset_draft.html", page(request, draft, words) | {"refused": [wrong]})
    if request.POST.get("sql") != digest(change):
        wrong = "Nothing was changed: the statement is another one by now; look at it again."
        return render(request, "ingest/dataset_draft.html", page(request, draft, words) | {"refused": [wrong]})
    try:
        done = change_table(draft.descriptor, user=request.user)
    except Refused as refused:
        context = page(request, draft, words) | {"refused": refused.problems}
        return render(request, "ingest/dataset_draft.html", context)
    if done is not None:
        messages.success(request, f"The table {done.table} is changed.")
    return _publish(request, draft, words)


def digest(change: Alteration) -> str:
    """Return a digest of the statements, so that what was confirmed is what runs."""
    return hashlib.sha256("\n".join(change.statements).encode()).hexdigest()


@require_POST
def sample_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Try the draft on another sample."""
    draft = Draft.objects.filter(pk=pk).first() or Draft()
    if not may_edit(request, draft):
        raise PermissionDenied
    if draft.pk is None:
        messages.warning(request, "This draft is published already, or was forgotten; open its dataset.")
        return redirect("admin:ingest_dataset_changelist")
    file: Any = request.FILES.get("file")
    if file is None:
        messages.error(request, "Choose a file first.")
    else:
        try:
            set_sample(draft, file, file.name or "")
        except (Refused, Unavailable, OSError) as error:
            messages.error(request, why(error))
    return redirect("admin:ingest_dataset_draft", pk)


@dataclass
class ShownCell:
    """A cell of the sample in the grid."""

    text: str | None
    reasons: list[str]


@dataclass
class ShownRow:
    """A row of the sample in the grid: cells in the order of the fields, then what no field takes."""

    row: int
    cells: list[ShownCell]
    reasons: list[str]


def page(request: HttpRequest, draft: Draft, words: Said) -> dict[str, Any]:
    """Return what the editor's templates show."""
    found = judge(draft, words.data)
    sample = found.preview or (
        unjudged(bytes(draft.sample), words.data, cut=draft.sample_cut) if draft.sample else None
    )
    gridable = is_gridable(words.data)
    words.as_json = words.as_json or not gridable
    names = [field["name"] for field in words.data["schema"]["fields"]] if gridable else []
    places = _places(words.data, sample) if sample and gridable else {}
    headers = {name: sample.header[place] for name, place in places.items() if sample and place < len(sample.header)}
    may = may_edit(request, draft)
    context = {
        **admin.site.each_context(request),
        "title": f"{draft.dataset}: the next version" if draft.dataset else "New dataset",
        "draft": draft, "may": may, "words": words, "gridable": gridable, "found": found, "sample": sample,
        "problems": words.problems + found.problems, "hints": HINTS, "encodings": ENCODINGS, "most": MOST_COLUMNS,
        "text": words.text or orjson.dumps(words.data, option=orjson.OPT_INDENT_2).decode(),
        "told": changes(draft.base, words.data) if draft.base and gridable else [],
        "rows": _rows(sample, names, places, only_bad="only_bad" in request.POST) if sample else [],
        "only_bad": "only_bad" in request.POST,
        "tried": "tried" in request.GET, "overtaken": "overtaken" in request.GET,
        **_change(request, found),
    }  # fmt: skip
    if gridable:
        table, file, rest = settings_of(words.data)
        left = [h for n, h in enumerate(sample.header) if n not in places.values()] if sample else []
        context |= {
            "columns": columns_of(words.data, headers), "table_cells": table, "file_cells": file, "rest": rest,
            "file_more": any(cell.text != cell.input.default for cell in file[5:]), "left_out": left,
            "patterns": found.schema.descriptor.file_patterns if found.schema else [],
        }  # fmt: skip
    return context


def _change(request: HttpRequest, found: Judged) -> dict[str, Any]:
    """Return what is said about a change of the table, and who can do it."""
    if found.change is None:
        return {"change": None}
    may = request.user.has_perm("ingest.alter_table")
    people = [] if may else get_user_model().objects.with_perm("ingest.alter_table", backend=MODEL_BACKEND)[:10]
    return {
        "change": found.change,
        "may_alter": may and found.change.possible and not found.problems,
        "digest": digest(found.change),
        "operators": [person.get_username() for person in people],
    }


def _places(data: dict[str, Any], sample: Preview) -> dict[str, int]:
    """Return where each field stands in the sample, by name or alias; in order where there is no header."""
    fields = data["schema"]["fields"]
    if not sample.header:
        return {field["name"]: number for number, field in enumerate(fields)}
    where = {name: number for number, name in reversed(list(enumerate(sample.header)))}
    found = {}
    for entry in fields:
        aliases = entry.get("aliases")
        for word in [entry["name"], *(aliases if isinstance(aliases, list) else [])]:
            if isinstance(word, str) and word in where:
                found[entry["name"]] = where[word]
                break
    return found


def _rows(sample: Preview, names: list[str], places: dict[str, int], *, only_bad: bool) -> list[ShownRow]:
    chosen = (row for row in sample.rows if row.reasons or not only_bad)
    return [_row(row, names, places) for row in islice(chosen, SHOWN_ROWS)]


def _row(row: Tried, names: list[str], places: dict[str, int]) -> ShownRow:
    cells = []
    for name in names:
        place = places.get(name)
        text = row.cells[place] if place is not None and place < len(row.cells) else None
        cells.append(ShownCell(text if text is None else _cut(text), row.reasons_of(name)))
    known = set(names)
    return ShownRow(row.row, cells, [e["message"] for e in row.reasons if e["field"] not in known])


def _cut(text: str) -> str:
    return text if len(text) <= CELL else text[: CELL - 1] + "…"
