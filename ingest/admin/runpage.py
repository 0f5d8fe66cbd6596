"""A run's own page: who, what, when; how far it is; what is wrong and what to do next; what can be done here."""

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode

from migration_console.lib.audit import AuditEntry, history
from migration_console.lib.errors import Refused, Unavailable, reason_of
from migration_console.lib.storage import download
from migration_console.numbers import number
from migration_console.shown import ratio

from ..attention import deal_with
from ..errors import HINTS
from ..figures import Live, children, live
from ..models import OPEN, Run, Status
from ..reckoning import reckon
from ..services import cancel, may_retry, retry
from .shown import TRIGGERS, advice, badge_of
from .timeline import steps
from .uploads import why

# What htmx takes as "swap this, and ask no more".
STOP_POLLING = 286
GROUPS, ROWS, RELATED, ENTRIES = 50, 10, 20, 20


def _seen(request: HttpRequest, pk: Any) -> Run:
    """Return a run that this person may see."""
    if not request.user.has_perm("ingest.view_run"):
        raise PermissionDenied
    if (known := number(str(pk))) is None:
        raise Http404(f"There is no run {pk}.")
    return get_object_or_404(Run.objects.select_related("dataset", "schema_version", "user"), pk=known)


def _may_change(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("ingest.change_run"))


def show(admin: Any, request: HttpRequest, pk: str) -> HttpResponseBase:
    """Show a run."""
    run = _seen(request, pk)
    # Without unfold's `original`: it would show the file's name in the title, with the marks that turn text around.
    context = {**admin.admin_site.each_context(request), "title": f"Run {run.pk}"}
    context |= {**_progress(run), **_story(run), **_allowed(request, run)}
    return render(request, "ingest/run.html", context)


def live_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Return the part of the page that moves; once the run has ended, tell htmx to stop and to fetch the rest."""
    run = _seen(request, pk)
    answer = render(request, "ingest/run_live.html", {**_progress(run), "polled": True})
    if run.closed_at is not None:
        answer.status_code = STOP_POLLING
        answer["HX-Trigger-After-Swap"] = "run-ended"
    return answer


def _progress(run: Run) -> dict[str, Any]:
    found = live(run)
    total = found["total"] or 0
    done = found["loaded"] + found["rejected"] + found["skipped"]
    shares = {name: f"{100 * found[name] / total:.2f}" if total else "0" for name in ("loaded", "rejected", "skipped")}
    return {
        "run": run, "badge": badge_of(run), "live": found, "done": done, "shares": shares,
        "per_cent": int(100 * done / total) if total else 0, "steps": steps(run, found),
        "open": run.status in OPEN, "over": run.closed_at is not None,
        # Who only waits need not be asked each second.
        "every": "1s" if run.status == Status.LOADING or run.status not in OPEN else "2s",
        "said": _sentence(run, found, done),
    }  # fmt: skip


def _sentence(run: Run, found: Live, done: int) -> str:
    """Return how far the run is, as a screen reader says it."""
    if run.status == Status.LOADING:
        return f"{done:,} of {found['total']:,} rows are through."
    if run.status in OPEN:
        waits = f"Waits for {run.waiting_for}" if run.waiting_for else "The file is being looked at"
        return f"{waits if run.dataset and (run.waiting_for or run.started_at) else 'Waits for a worker'}."
    return f"{badge_of(run).word}."


class Group(NamedTuple):
    """All errors of a field and code, and where their rows are."""

    field: str
    code: str
    rows: int
    sample: str | None
    hint: str
    link: str


def _story(run: Run) -> dict[str, Any]:
    """Return what stands below the bar."""
    rejects = reverse("admin:ingest_reject_changelist")
    groups = [
        Group(
            g["field"], g["code"], g["count"], g["sample"], HINTS.get(g["code"], ""),
            f"{rejects}?{urlencode({'run__id__exact': run.pk, 'field': g['field'], 'code': g['code']})}",
        )
        for g in run.errors[:GROUPS]
    ]  # fmt: skip
    sums = reckon(run)
    return {
        "sums": sums,
        "kept_share": ratio(sums.loaded + sums.by_children, sums.read),
        "problems": [{**problem, "advice": advice(problem["code"], run)} for problem in run.problems],
        "advice": advice("", run),
        "groups": groups, "more_groups": len(run.errors) - len(groups),
        "rejects": list(run.rejects.order_by("row")[:ROWS]) if run.rejected else [],
        "rejects_link": f"{rejects}?{urlencode({'run__id__exact': run.pk})}",
        "children": [(child, badge_of(child)) for child in children(run)[:RELATED]],
        "parent": Run.objects.filter(pk=run.parent_id).first() if run.parent_id else None,
        "trigger": TRIGGERS.get(run.trigger, run.trigger),
        "history": [(entry, _details(entry)) for entry in history(run)[:ENTRIES]],
    }  # fmt: skip


def _details(entry: AuditEntry) -> str:
    """Return what an entry says besides its action."""
    details = orjson.loads(entry.details)
    return ", ".join(f"{name}: {value}" for name, value in details.items() if value not in ("", None))


def _allowed(request: HttpRequest, run: Run) -> dict[str, Any]:
    """Return which buttons work, for this person and this run."""
    may = _may_change(request)
    return {
        "may_cancel": may and run.status in OPEN and not run.cancel_requested,
        "may_retry": may and may_retry(run),
        "may_deal": may and run.attention,
        "needs_reason": run.status == Status.DUPLICATE,
    }


def download_view(request: HttpRequest, pk: int, what: str) -> HttpResponseBase:
    """Hand out the file or the report of a run."""
    run = _seen(request, pk)
    key = {"file": run.archived_key, "report": run.report_key}.get(what)
    if not key:
        raise Http404(f"Run {pk} has no {what} to download.")
    try:
        return download(key)
    except OSError as error:
        messages.error(request, f"{key} cannot be read in the lake: {reason_of(error)}.")
        return redirect("admin:ingest_run_change", pk)


def _cancel(run: Run, request: HttpRequest) -> str:
    cancel(run, user=request.user)
    return f"Run {run.pk} stops at its next batch. What is loaded stays in the table."


def _retry(run: Run, request: HttpRequest) -> str:
    retry(run, user=request.user, reason=request.POST.get("reason", "").strip()[:255])
    return f"Run {run.pk} is taken up again."


def _deal(run: Run, request: HttpRequest) -> str:
    deal_with(run, user=request.user, note=request.POST.get("note", "").strip()[:255])
    return f"Run {run.pk} is noted as dealt with."


ACTS: dict[str, Callable[[Run, HttpRequest], str]] = {"cancel": _cancel, "retry": _retry, "deal": _deal}


def act_view(request: HttpRequest, pk: int, what: str) -> HttpResponseBase:
    """Do what a button of the page asks for, and go back to the page with the answer."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not _may_change(request):
        raise PermissionDenied
    if what not in ACTS:
        raise Http404
    run = _seen(request, pk)
    try:
        messages.success(request, ACTS[what](run, request))
    except (Refused, Unavailable, OSError) as error:
        messages.error(request, why(error))
    return redirect("admin:ingest_run_change", pk)
