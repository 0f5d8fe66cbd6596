"""All rejects, newest first. One run's are worked on at a page of their own: run_rejects.py."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.http import urlencode

from migration_console.numbers import number
from migration_console.readonly import ReadOnlyAdmin

from ..models import Dataset, Reject
from ..rejects import Choice
from . import mending, run_rejects
from .grid import STATES

PAGE = 50
# So many rejects are looked at for one page of those with an error.
WINDOW = 4000


ADDRESSES = [
    ("", run_rejects.page, "run_rejects"),
    ("groups/", run_rejects.groups, "reject_groups"),
    ("standing/", run_rejects.standing, "reject_standing"),
    ("row/<int:number>/", run_rejects.row, "reject_row"),
    ("send/", run_rejects.send, "reject_send"),
    ("check/", run_rejects.check, "reject_check"),
    ("replay/", run_rejects.replay, "reject_replay"),
    ("dismiss/", run_rejects.dismiss, "reject_dismiss"),
    ("reopen/", run_rejects.reopen, "reject_reopen"),
    ("download/<str:kind>/", run_rejects.download, "reject_download"),
    ("fix/", mending.fix, "reject_fix"),
    ("fix/preview/", mending.fix_preview, "reject_fix_preview"),
    ("fix/apply/", mending.fix_apply, "reject_fix_apply"),
    ("upload/", mending.upload, "reject_upload"),
]


@admin.register(Reject)
class RejectAdmin(ReadOnlyAdmin):
    """Rows set aside, every reason in a sentence."""

    def get_urls(self) -> list[Any]:
        """Add the pages of one run's rejects."""
        return [
            *(
                path(f"run/<int:pk>/{address}", self.admin_site.admin_view(view), name=f"ingest_{name}")
                for address, view, name in ADDRESSES
            ),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponseBase:
        """Show a page of all rejects; one run's are at their own page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET
        run = number(asked.get("run__id__exact") or asked.get("run", ""))
        if run is not None:
            more = {name: asked[name] for name in ("field", "code", "state") if name in asked}
            return redirect(f"{reverse('admin:ingest_run_rejects', args=[run])}?{urlencode(more)}")
        return render(request, "ingest/rejects.html", {**self.admin_site.each_context(request), **_page(asked)})

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponseBase:
        """Lead to the row at its run's page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        reject = get_object_or_404(Reject, pk=number(object_id))
        address = reverse("admin:ingest_run_rejects", args=[reject.run_id])
        return redirect(f"{address}?{urlencode({'state': 'all', 'at': str(reject.row)})}#row-{reject.row}")

    def add_view(self, *_: Any, **__: Any) -> HttpResponse:
        """Refuse: rejects come from files."""
        raise PermissionDenied


def _page(asked: Any) -> dict[str, Any]:
    """Return a page of the list: by an index, backwards from a reject, never more than a window of them."""
    state = asked.get("state", "") if asked.get("state", "") in Reject.State.values else ""
    dataset = Dataset.objects.filter(name=asked.get("dataset", "")).first() if asked.get("dataset") else None
    choice = Choice(field=asked.get("field") or None, code=asked.get("code") or None)
    before = number(asked.get("before", "")) or 2**62
    pks, more = _pks(dataset, state, choice, before)
    # Not by a join: a server may begin with the smallest table, and sort all.
    found = Reject.objects.filter(pk__in=pks).prefetch_related("run__dataset").order_by("-pk")
    filters: dict[str, Any] = {
        "state": state,
        "dataset": dataset.name if dataset else "",
        "field": choice.field,
        "code": choice.code,
    }
    kept = {name: value for name, value in filters.items() if value}
    return {
        "title": "Rejects",
        "rejects": [(reject, STATES[reject.state]) for reject in found],
        "datasets": Dataset.objects.order_by("name").values_list("name", flat=True)[:500],
        "states": [(value, badge.word) for value, badge in STATES.items()],
        "asked": filters,
        "filtered": bool(kept),
        "newest": before == 2**62,
        "clear": urlencode(kept),
        "next": urlencode({**kept, "before": more}) if more else "",
        "looked_at": WINDOW if choice.by_error else 0,
    }


def _pks(dataset: Dataset | None, state: str, choice: Choice, before: int) -> tuple[list[int], int | None]:
    """Return the keys of a page, and from where to go on backwards; None at the end."""
    size = WINDOW if choice.by_error else PAGE
    found: list[tuple[int, Any]] = []
    for rejects in _by_index(dataset, state):
        columns = ("pk", "errors") if choice.by_error else ("pk", "state")
        found += rejects.filter(pk__lt=before).order_by("-pk").values_list(*columns)[:size]
    found = sorted(found, key=lambda one: -one[0])[:size]
    end = found[-1][0] if len(found) == size else None
    if choice.by_error:
        found = [one for one in found if choice.has(one[1])]
        if len(found) > PAGE:
            return [pk for pk, _ in found[:PAGE]], found[PAGE - 1][0]
    return [pk for pk, _ in found], end


def _by_index(dataset: Dataset | None, state: str) -> list[QuerySet[Reject]]:
    """Return queries that an index answers in the order of the keys; their pages are merged."""
    rejects = Reject.objects.all()
    if dataset is None:
        return [rejects.filter(state=state) if state else rejects]
    return [rejects.filter(dataset=dataset, state=one) for one in ([state] if state else Reject.State.values)]
