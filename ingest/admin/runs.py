"""The list of runs, with its filters, and the way in for a file. A run's own page is in runpage.py."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.defaultfilters import pluralize
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from migration_console.lib.lake import lake
from migration_console.numbers import number
from migration_console.readonly import ReadOnlyAdmin
from migration_console.shown import badge, duration, moment

from ..figures import HEAVY
from ..models import OPEN, Dataset, Run, Status, key_hash
from . import runpage
from .shown import TRIGGERS, badge_of
from .uploads import UploadForm, take_in

# Text is looked for in so many of the newest runs; a whole key or a run's number is found in all of them.
SEARCHED = 20_000


class StatusFilter(admin.SimpleListFilter):
    """By the words that people see."""

    title, parameter_name = "status", "status"
    WORDS = {
        "queued": ("Queued", [Status.RECEIVED]),
        "running": ("Running", [Status.LOADING]),
        "loaded": ("Loaded", [Status.ARCHIVED, Status.LOADED]),
        "refused": ("Refused", [Status.REFUSED]),
        "failed": ("Failed", [Status.FAILED]),
        "cancelled": ("Cancelled", [Status.CANCELLED]),
        "duplicate": ("Duplicate", [Status.DUPLICATE]),
        "superseded": ("Superseded", [Status.SUPERSEDED]),
        "gone": ("Gone", [Status.GONE]),
        "rolled-back": ("Rolled back", [Status.ROLLED_BACK]),
    }

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        """Return the words."""
        return [(value, word) for value, (word, _) in self.WORDS.items()]

    def queryset(self, _request: HttpRequest, runs: QuerySet[Run]) -> QuerySet[Run]:
        """Filter."""
        wanted = self.WORDS.get(self.value() or "")
        return runs.filter(status__in=wanted[1]) if wanted else runs


class NeedsFilter(admin.SimpleListFilter):
    """What waits for a person."""

    title, parameter_name = "what it needs", "needs"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        """Return what the dashboard counts."""
        return [("mending", "Ended badly"), ("rejects", "Open rejects"), ("dataset", "A dataset")]

    def queryset(self, _request: HttpRequest, runs: QuerySet[Run]) -> QuerySet[Run]:
        """Filter."""
        if self.value() == "mending":
            return runs.filter(attention=True)
        if self.value() == "rejects":
            return runs.filter(rejects_open=True)
        return runs.filter(dataset=None, status__in=OPEN, closed_at=None) if self.value() == "dataset" else runs


class TriggerFilter(admin.SimpleListFilter):
    """By what announced the file."""

    title, parameter_name = "trigger", "trigger"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        """Return the triggers."""
        return [*TRIGGERS.items()]

    def queryset(self, _request: HttpRequest, runs: QuerySet[Run]) -> QuerySet[Run]:
        """Filter."""
        return runs.filter(trigger=self.value()) if self.value() else runs


class ReceivedFilter(admin.SimpleListFilter):
    """By when the file came."""

    title, parameter_name = "received", "days"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        """Return how far back."""
        return [("1", "Last 24 hours"), ("7", "Last 7 days"), ("30", "Last 30 days"), ("90", "Last 90 days")]

    def queryset(self, _request: HttpRequest, runs: QuerySet[Run]) -> QuerySet[Run]:
        """Filter by the first run of that time: runs are numbered as they come, and the list goes by number."""
        if self.value() not in dict(self.lookup_choices):
            return runs
        since = timezone.now() - timedelta(days=int(self.value() or 0))
        first = Run.objects.filter(received_at__gte=since).order_by("received_at").values_list("pk", flat=True).first()
        return runs.none() if first is None else runs.filter(pk__gte=first)


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs, newest first."""

    list_display = ["number", "coloured", "file", "dataset", "trigger_word", "sums", "rejects_link", "took", "received"]
    list_display_links = ["number", "file"]
    list_filter = [NeedsFilter, StatusFilter, "dataset", TriggerFilter, ReceivedFilter]
    list_prefetch = ["dataset"]
    sortable_by = ()
    actions_list = ["upload"]
    search_fields = ["key"]
    search_help_text = "File name, or the number of a run"
    when_empty = "No file has come yet. Load a file, or put one where its dataset looks for files."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Leave out what may be large, and no list shows."""
        found: QuerySet[Run] = super().get_queryset(request)
        return found.defer(*HEAVY)

    def get_search_results(self, _request: HttpRequest, runs: QuerySet[Run], search: str) -> tuple[QuerySet[Run], bool]:
        """Find a number or a whole key (raw/…) among all runs, other text in the names of the newest."""
        search = search.strip()
        if not search:
            return runs, False
        if (pk := number(search)) is not None:
            return runs.filter(pk=pk), False
        if search.startswith("raw/"):
            return runs.filter(bucket=lake().bucket, key_hash=key_hash(search)), False
        newest = Run.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        return runs.filter(pk__gt=newest - SEARCHED, key__icontains=search), False

    @display(description="run")
    def number(self, run: Run) -> str:
        """Return the run's number."""
        return f"{run.pk}"

    @display(description="status")
    def coloured(self, run: Run) -> SafeString:
        """Return the status as a word with colour and icon."""
        return badge(badge_of(run))

    @display(description="file")
    def file(self, run: Run) -> SafeString:
        """Return the file's name; its whole key in the tooltip."""
        return format_html('<bdi title="{}">{}</bdi>', run.key, run.key.removeprefix("raw/"))

    @display(description="trigger")
    def trigger_word(self, run: Run) -> str:
        """Return what announced the file."""
        return TRIGGERS.get(run.trigger, run.trigger)

    @display(description="read = loaded + rejected + skipped")
    def sums(self, run: Run) -> str:
        """Return the line that must add up; of a run under way only what it has to read."""
        if run.status in OPEN:
            return f"{run.read:,} to read" if run.read else "–"
        return f"{run.read:,} = {run.loaded:,} + {run.rejected:,} + {run.skipped:,}"

    @display(description="rejects")
    def rejects_link(self, run: Run) -> SafeString | str:
        """Return a link to the rows set aside."""
        if not run.rejected:
            return "none"
        text = f"{run.rejected:,} reject{pluralize(run.rejected)}"
        address = reverse("admin:ingest_reject_changelist")
        return format_html('<a href="{}?run__id__exact={}">{}</a>', address, run.pk, text)

    @display(description="took")
    def took(self, run: Run) -> str:
        """Return how long it took, or has taken so far."""
        return duration(run.seconds)

    @display(description="received")
    def received(self, run: Run) -> SafeString | str:
        """Return when the file came."""
        return moment(run.received_at)

    @action(description="Load a file", url_path="upload", permissions=["upload"], icon="upload_file")
    def upload(self, request: HttpRequest) -> HttpResponseBase:
        """Ask for a file, put it into raw/, and show its run."""
        if not self.has_upload_permission(request):
            raise PermissionDenied
        chosen = Dataset.objects.filter(name=request.GET.get("dataset", ""), retired=False).first()
        form = UploadForm(request.POST or None, request.FILES or None, initial={"dataset": chosen})
        if request.method == "POST" and form.is_valid():
            run = take_in(form, request.user)
            if run is not None:
                return redirect("admin:ingest_run_change", run.pk)
        context = {**self.admin_site.each_context(request), "form": form, "title": "Load a file"}
        return render(request, "ingest/upload.html", context)

    def has_upload_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Whoever may send files by script may do so here."""
        return bool(request.user.has_perm("ingest.add_run"))

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponseBase:
        """Show a run's own page."""
        return runpage.show(self, request, object_id)

    def get_urls(self) -> list[Any]:
        """Add what a run's page consists of, and what can be done there."""
        site = self.admin_site.admin_view
        return [
            path("<int:pk>/live/", site(runpage.live_view), name="ingest_run_live"),
            path("<int:pk>/download/<str:what>/", site(runpage.download_view), name="ingest_run_download"),
            path("<int:pk>/act/<str:what>/", site(runpage.act_view), name="ingest_run_act"),
            *super().get_urls(),
        ]
