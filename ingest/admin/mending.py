"""Many rejects at once: a group mended by one rule, and a corrected file brought back. Looked at first, then done."""

import hashlib
from typing import Any, BinaryIO, cast

import orjson
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from migration_console.lib.errors import Refused, refuse
from migration_console.numbers import number

from .. import fixes, sheets
from ..cells import Cells
from ..fixes import Fix, parse_fix
from ..models import UNSENT, Run
from ..rejects import Choice
from .run_rejects import CHANGE, allowed, choice_of, home, to_do

WAYS = [
    ("replace", "Replace a piece of text"),
    ("pattern", "Replace by a pattern (regular expression)"),
    ("map", "Map each value to another"),
    ("set", "Set one value for all"),
    ("strip", "Remove spaces around"),
    ("upper", "Change to CAPITALS"),
    ("lower", "Change to small letters"),
    ("restore", "Restore the original values"),
]


def _meant(asked: Any, how: str) -> Choice:
    """Return which rejects a fix is about; what is mended already it leaves alone, unless to take that back."""
    return choice_of(asked, states=[str(state) for state in UNSENT] if how == "restore" else to_do(asked))


@allowed(CHANGE)
def fix(request: HttpRequest, run: Run) -> HttpResponse:
    """Ask what to do to a group of rejects."""
    choice, cells = _meant(request.GET, request.GET.get("how", "")), Cells(run)
    field = choice.field if choice.field in cells.names else cells.names[0]
    column = request.GET["column"] if request.GET.get("column") in cells.names else field
    values, all_of_them = fixes.distinct(run, choice, column)
    how = request.GET.get("how", "map" if choice.code == "not-in-list" else "replace")
    allowed_values = next(c.field.constraints.enum for c in cells.schema.columns if c.name == column)
    return render(request, "ingest/reject_fix.html", {
        **admin.site.each_context(request), "title": f"Fix {column}", "run": run, "choice": choice, "how": how,
        "values": values, "all_values": all_of_them, "ways": WAYS, "column": column, "names": cells.names,
        "enum": [str(value) for value in allowed_values or []], "back": home(run, field=choice.field, code=choice.code),
    })  # fmt: skip


def _fix_of(request: HttpRequest) -> Fix:
    asked = request.POST
    pairs = zip(asked.getlist("from"), asked.getlist("into"))
    # An empty target leaves the value as it is.
    words = {value: target for value, target in pairs if target}
    return parse_fix({
        "how": asked.get("how"), "column": asked.get("column"), "find": asked.get("find", ""),
        "to": asked.get("to", ""), "words": words,
    })  # fmt: skip


def _shown(fix: Fix, choice: Choice) -> dict[str, Any]:
    """Return what an answer carries of a fix: what is done is what was shown, whatever the form says by then."""
    return {"fix": fix.model_dump_json(), "choice": choice, "how": fix.how}


def _fix_shown(request: HttpRequest) -> Fix:
    """Return the fix that the page has shown."""
    try:
        return parse_fix(orjson.loads(request.POST.get("fix", "")))
    except orjson.JSONDecodeError:
        raise refuse("fix", "nothing was shown yet; press “Show what would change” first", "fix") from None


@require_POST
@allowed(CHANGE)
def fix_preview(request: HttpRequest, run: Run) -> HttpResponse:
    """Say what a fix would do."""
    try:
        wanted = _fix_of(request)
        choice = _meant(request.POST, wanted.how)
        effect = fixes.preview(run, choice, wanted)
    except Refused as error:
        return render(request, "ingest/reject_fix_preview.html", {"problem": error, "run": run})
    shown = {"effect": effect, "run": run, **_shown(wanted, choice)}
    return render(request, "ingest/reject_fix_preview.html", shown)


@require_POST
@allowed(CHANGE)
def fix_apply(request: HttpRequest, run: Run) -> HttpResponse:
    """Do a slice of it; the answer asks for the next one by itself, so that no request takes long."""
    asked = request.POST
    numbers = ("after", "rows", "changed", "passing")
    so_far = {name: found for name in numbers if (found := number(asked.get(name, ""))) is not None}
    after = so_far.pop("after", 0)
    try:
        wanted = _fix_shown(request)
        choice = _meant(asked, wanted.how)
        effect = fixes.apply(run, choice, wanted, after=after, user=request.user)
    except Refused as error:
        return render(request, "ingest/reject_fix_done.html", {"problem": error, "run": run, **so_far})
    counts = {name: so_far.get(name, 0) + getattr(effect, name) for name in ("rows", "changed", "passing")}
    return render(request, "ingest/reject_fix_done.html", {
        "run": run, "after": effect.after, **counts, **_shown(wanted, choice),
        "back": home(run), "ready": home(run, state="ready"), "undo": _undo(run, choice, wanted.column),
    })  # fmt: skip


def _undo(run: Run, choice: Choice, column: str) -> str:
    """Return the address of the fix that takes one back: the group has left the list of what is wrong."""
    words = {"field": choice.field, "code": choice.code, "column": column, "how": "restore"}
    asked = urlencode({name: word for name, word in words.items() if word is not None})
    return f"{reverse('admin:ingest_reject_fix', args=[run.pk])}?{asked}"


def _uploaded(request: HttpRequest) -> tuple[BinaryIO, str, str]:
    """Return the uploaded file, its name, and its SHA-256."""
    file = request.FILES.get("file")
    if file is None or file.file is None:
        raise refuse("file", "choose the corrected file first", "file")
    size = file.size or 0
    if size > sheets.MAX_BYTES:
        raise refuse("too-large", f"the file has {size >> 20} MiB; {sheets.MAX_BYTES >> 20} MiB is the limit")
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return cast(BinaryIO, file.file), file.name or "", digest.hexdigest()


@allowed(CHANGE)
def upload(request: HttpRequest, run: Run) -> HttpResponse:
    """Take a corrected file: shown first, then kept; it is sent from the page of the rejects."""
    context = {"run": run, "title": "Upload a corrected file", "back": home(run)}
    if request.method != "POST":
        return render(request, "ingest/reject_upload.html", {**admin.site.each_context(request), **context})
    try:
        source, name, digest = _uploaded(request)
        # Kept only if it is the very file that was shown.
        keep = request.POST.get("seen") == digest
        found = (sheets.take if keep else sheets.look_at)(run, source, name, user=request.user)
        context |= {"found": found, "seen": digest, "kept": keep, "ready": home(run, state="ready")}
    except Refused as error:
        context |= {"problem": error}
    return render(request, "ingest/reject_upload_found.html", context)
