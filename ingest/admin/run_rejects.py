"""The rejects of one run: looked at, corrected, sent again, downloaded and brought back, dismissed."""

from collections.abc import Callable
from functools import wraps
from itertools import chain
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from migration_console.lib.audit import history
from migration_console.lib.errors import Refused, Unavailable
from migration_console.numbers import number

from .. import amending, corrections, export
from ..cells import Cells
from ..models import CORRECTION, OPEN, UNSENT, WRONG, Run
from ..reckoning import groups_left, reckon
from ..rejects import Choice
from .grid import columns_of, grid_row, groups_of, rows_behind
from .shown import badge_of
from .uploads import why

View = Callable[..., HttpResponseBase]
CHANGE = "ingest.change_reject"
# Groups of more rejects than these are counted after the page is there.
COUNTED_AT_ONCE = 5000
TABS: list[tuple[str, str, list[str]]] = [
    ("", "To do", [str(state) for state in UNSENT]),
    ("ready", "Ready to send", ["ready"]),
    ("edited", "Corrected, still wrong", ["edited"]),
    ("resubmitted", "Under way", ["resubmitted"]),
    ("fixed", "Fixed", ["fixed"]),
    ("dismissed", "Dismissed", ["dismissed"]),
    ("all", "All", []),
]


def allowed(permission: str) -> Callable[[View], View]:
    """Let only people in who have a permission; the view gets the run."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, pk: int, **more: Any) -> HttpResponseBase:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            run = get_object_or_404(Run.objects.select_related("dataset", "schema_version", "parent"), pk=pk)
            try:
                return view(request, run, **more)
            except Refused as refused:
                # The run stands otherwise than the page that asked had it, or its rules cannot be read any more.
                messages.error(request, str(refused))
                return _elsewhere(request, reverse("admin:ingest_run_change", args=[run.pk]))

        return guarded

    return decorate


def _elsewhere(request: HttpRequest, address: str) -> HttpResponseBase:
    """Lead to another page, whole also where only a part of one was asked for."""
    return HttpResponse(headers={"HX-Redirect": address}) if "HX-Request" in request.headers else redirect(address)


def home(run: Run, **query: Any) -> str:
    """Return the address of a run's rejects."""
    words = {name: value for name, value in query.items() if value not in {None, ""}}
    return reverse("admin:ingest_run_rejects", args=[run.pk]) + (f"?{urlencode(words)}" if words else "")


def to_do(asked: Any) -> list[str]:
    """Return the states of what is to do; of a group of errors, what is mended already is no part."""
    return [str(state) for state in (WRONG if "field" in asked or "code" in asked else UNSENT)]


def choice_of(asked: Any, *, states: list[str] | None = None) -> Choice:
    """Return which rejects a request means."""
    rows = [found for row in asked.getlist("row") if (found := number(row)) is not None]
    picked = asked.get("which") == "rows"
    tab = next((found for name, _, found in TABS if name and name == asked.get("state")), to_do(asked))
    # A group of errors of the whole row has the field "".
    return Choice(
        states=tab if states is None else states,
        field=asked.get("field"),
        code=asked.get("code"),
        rows=rows if picked else None,
    )


@allowed("ingest.view_reject")
def page(request: HttpRequest, run: Run) -> HttpResponse:
    """Show a page of a run's rejects, error groups first."""
    context = {**admin.site.each_context(request), "title": f"Rejects of run {run.pk}", "run": run}
    if run.schema_version is None or run.dataset is None or not run.survey:
        return render(request, "ingest/run_rejects.html", {**context, "nothing": True, "badge": badge_of(run)})
    asked, cells = request.GET, Cells(run)
    after = number(asked.get("after", "")) or 0
    if (at := number(asked.get("at", ""))) is not None:
        after = max(at - 1, 0)
    choice = choice_of(asked)
    rejects, behind = rows_behind(run, choice, after)
    columns, may = columns_of(cells, rejects), request.user.has_perm(CHANGE)
    kept = {"state": asked.get("state"), "field": asked.get("field"), "code": asked.get("code")}
    return render(request, "ingest/run_rejects.html", {
        **context, **_standing(run), **_groups(run), "may": may and _workable(run), "cells": cells, "columns": columns,
        "rows": [grid_row(reject, cells, columns, may=may and _workable(run)) for reject in rejects],
        "all_columns": len(cells.names), "asked": kept, "after": after, "group": _group(asked),
        "next": _words(kept, after=behind) if behind is not None else "", "first": _words(kept) if after else "",
        "history": history(run).filter(action__startswith="reject.")[:12], "newer": _newer(run, cells),
        "replaces": cells.schema.descriptor.mode == "replace", "database_rules": _database_rules(cells),
    })  # fmt: skip


def _words(kept: dict[str, Any], **more: Any) -> str:
    words = {name: value for name, value in {**kept, **more}.items() if value is not None}
    return urlencode(words) or "state="


def _group(asked: Any) -> dict[str, str] | None:
    if "code" not in asked:
        return None
    return {"field": asked.get("field", ""), "code": asked["code"]}


def _newer(run: Run, cells: Cells) -> int | None:
    """Return the number of the dataset's version, where it is newer than the run's."""
    assert run.schema_version is not None
    return cells.version.number if cells.version.number > run.schema_version.number else None


def _database_rules(cells: Cells) -> bool:
    keys = cells.schema.descriptor.schema_
    return bool(keys.primary_key or keys.unique_keys or keys.foreign_keys)


def _workable(run: Run) -> bool:
    return not amending.why_not_workable(run)


def _standing(run: Run) -> dict[str, Any]:
    """Return the sums of a run, and the runs that its rows were sent in."""
    sums = reckon(run)
    counts = {"": sums.open - sums.only_in_report, "ready": sums.ready, "edited": sums.edited}
    counts |= {"resubmitted": sums.under_way, "fixed": sums.by_children, "dismissed": sums.dismissed}
    children = run.children.filter(trigger=CORRECTION).select_related("user").order_by("-pk")[:20]
    return {
        "badge": badge_of(run),
        "sums": sums,
        "tabs": [(name, word, counts.get(name)) for name, word, _ in TABS if counts.get(name) or name in {"", "all"}],
        "children": [(child, badge_of(child)) for child in children],
        "under_way": any(child.status in OPEN or child.closed_at is None for child in children),
        "workable": _workable(run),
        "why_not": amending.why_not_workable(run),
    }


def _groups(run: Run) -> dict[str, Any]:
    """Return the error groups: of what is left where that is quickly counted, else as the file had them."""
    if run.rejected > COUNTED_AT_ONCE:
        return {"groups": groups_of(run.errors), "as_they_came": True}
    return {"groups": groups_of(groups_left(run)), "as_they_came": False}


@allowed("ingest.view_reject")
def groups(request: HttpRequest, run: Run) -> HttpResponse:
    """Show the error groups of what is left, for a page that did not wait for them."""
    may = request.user.has_perm(CHANGE) and _workable(run)
    return render(request, "ingest/reject_groups.html", {
        "run": run, "groups": groups_of(groups_left(run)), "as_they_came": False, "may": may,
    })  # fmt: skip


@allowed("ingest.view_reject")
def standing(request: HttpRequest, run: Run) -> HttpResponse:
    """Show the sums again while children load; 286 tells htmx to stop asking."""
    shown = {**_standing(run), "run": run, "may": request.user.has_perm(CHANGE) and _workable(run)}
    return render(request, "ingest/reject_standing.html", shown, status=200 if shown["under_way"] else 286)


@require_POST
@allowed(CHANGE)
def row(request: HttpRequest, run: Run, number: int) -> HttpResponse:
    """Keep a correction of one cell, or take it back; answers with the row as it then stands."""
    column, alert = request.POST.get("column", ""), ""
    try:
        if "restore" in request.POST:
            amending.restore(run, number, column or None, user=request.user)
        else:
            values = {column: request.POST.get("value", "")} if column else {}
            amending.edit(run, number, values, user=request.user)
    except Refused as error:
        alert = str(error)
    reject = get_object_or_404(run.rejects, row=number)
    cells, columns = Cells(run), request.POST.getlist("shown")
    known = [name for name in cells.names if name in columns] or columns_of(cells, [reject])
    shown = grid_row(reject, cells, known, may=_workable(run), alert=alert)
    answer = render(request, "ingest/reject_row.html", {"row": shown, "run": run, "may": True})
    answer.headers["HX-Trigger"] = "corrected"
    return answer


def deed(view: Callable[[HttpRequest, Run], str]) -> View:
    """Make a view of a deed: done, told in a sentence, and back to the page; a refusal is told as well."""

    @require_POST
    @allowed(CHANGE)
    @wraps(view)
    def done(request: HttpRequest, run: Run) -> HttpResponse:
        try:
            messages.success(request, view(request, run))
        except (Refused, Unavailable, OSError) as error:
            messages.error(request, why(error))
        return redirect(home(run))

    return done


@deed
def send(request: HttpRequest, run: Run) -> str:
    """Send what is ready: all of it, or the rows that are ticked."""
    rows = list(choice_of(request.POST).rows or []) if request.POST.get("which") == "rows" else None
    child = corrections.send(run, rows=rows, user=request.user)
    return f"The corrected rows are on their way as run {child.pk}."


@deed
def replay(request: HttpRequest, run: Run) -> str:
    """Send unchanged what passes the newest rules."""
    child = corrections.replay(run, database="database" in request.POST, user=request.user)
    return f"The rows are tried again as run {child.pk}."


@deed
def dismiss(request: HttpRequest, run: Run) -> str:
    """Set rows aside for good."""
    choice = choice_of(request.POST, states=to_do(request.POST))
    count = amending.dismiss(run, choice, request.POST.get("reason", ""), user=request.user)
    return f"{count:,} rows are dismissed. They stay here, under “Dismissed”, and can be reopened."


@deed
def reopen(request: HttpRequest, run: Run) -> str:
    """Take dismissed rows up again."""
    count = amending.reopen(run, choice_of(request.POST), user=request.user)
    return f"{count:,} rows are open again."


@allowed(CHANGE)
def check(request: HttpRequest, run: Run) -> HttpResponse:
    """Say how many rows would pass by the newest rules, before anybody sends them."""
    cells = Cells(run)
    by_rules, by_database = corrections.would_pass(run)
    shown = {"run": run, "version": cells.version.number, "by_rules": by_rules, "by_database": by_database}
    return render(request, "ingest/reject_check.html", shown)


@allowed("ingest.view_reject")
def download(request: HttpRequest, run: Run, kind: str) -> HttpResponseBase:
    """Hand out the rejects that are to do, or one group of them: xlsx, CSV for Excel, or CSV as it is."""
    choice, name = choice_of(request.GET), f"run-{run.pk}-rejects"
    if kind == "xlsx":
        book = export.as_xlsx(run, choice)
        return FileResponse(book, filename=f"{name}.xlsx", as_attachment=True, content_type=export.FORMATS["xlsx"])
    safely = kind == "safe"
    lines = export.as_csv(run, choice, safely=safely)
    # What cannot be read is said here: behind the first line there is only a download that breaks off.
    answer = StreamingHttpResponse(chain([next(lines)], lines), content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}{"-for-excel" if safely else ""}.csv"'
    return answer
