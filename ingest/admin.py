"""Plain lists for data stewards: datasets, runs, rejects. Ledgers are read, never edited."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.template.defaultfilters import pluralize
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import get_valid_filename
from unfold.decorators import action, display

from migration_console.lib.storage import download
from migration_console.readonly import ReadOnlyAdmin

from .arrivals import receive
from .models import Dataset, Reject, Run, SchemaVersion, Status

COLOURS = {
    Status.RECEIVED: "info",
    Status.LOADING: "info",
    Status.LOADED: "success",
    Status.ARCHIVED: "success",
    Status.REFUSED: "danger",
    Status.FAILED: "danger",
    Status.CANCELLED: "warning",
}


def _sample(value: str | None) -> str:
    return f", such as “{value}”" if value else ""


def _download_link(run: Run, what: str, key: str) -> SafeString | str:
    if not key:
        return "none"
    return format_html('<a href="{}">{}</a>', reverse("admin:ingest_run_download", args=[run.pk, what]), key)


class UploadForm(forms.Form):
    """A file, and whose it is."""

    dataset = forms.ModelChoiceField(Dataset.objects.filter(retired=False))
    file = forms.FileField(help_text="CSV, or CSV in gzip")
    reason = forms.CharField(
        required=False, max_length=255, help_text="only to load bytes again that are loaded already"
    )


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    """Datasets with their newest version."""

    list_display = ["name", "table", "version", "mode", "patterns", "paused", "created_at"]
    search_fields = ["name", "table"]

    @display(description="version")
    def version(self, dataset: Dataset) -> int:
        """Return the newest version's number."""
        return dataset.current.number

    @display(description="mode")
    def mode(self, dataset: Dataset) -> str:
        """Return how rows are written."""
        return dataset.current.parsed.mode

    @display(description="files below raw/")
    def patterns(self, dataset: Dataset) -> str:
        """Return the file patterns."""
        return ", ".join(dataset.current.parsed.file_patterns)


@admin.register(SchemaVersion)
class SchemaVersionAdmin(ReadOnlyAdmin):
    """Descriptors as they were."""

    list_display = ["dataset", "number", "created_at", "created_by"]
    list_filter = ["dataset"]


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs, newest first."""

    list_display = ["id", "coloured", "dataset", "key", "sums", "rejects_link", "seconds", "received_at"]
    list_display_links = ["id", "key"]
    list_filter = ["status", "dataset", "received_at"]
    list_select_related = ["dataset"]
    actions_list = ["upload"]
    search_fields = ["key", "sha256"]
    fields = [
        "key", "dataset", "schema_version", "status", "what_is_wrong", "sums", "rejects_link", "error_groups",
        "notes", "waiting_for", "trigger", "reason", "duplicate_of", "size", "sha256", "received_at", "started_at",
        "finished_at", "file", "report",
    ]  # fmt: skip
    readonly_fields = fields

    @display(description="status", ordering="status", label=COLOURS)
    def coloured(self, run: Run) -> str:
        """Return the status with its colour."""
        return run.status

    @display(description="read = loaded + rejected + skipped")
    def sums(self, run: Run) -> str:
        """Return the line that must add up."""
        return f"{run.read:,} = {run.loaded:,} + {run.rejected:,} + {run.skipped:,}"

    @display(description="rejects")
    def rejects_link(self, run: Run) -> SafeString | str:
        """Return a link to the rows set aside."""
        if not run.rejected:
            return "none"
        address = reverse("admin:ingest_reject_changelist")
        text = f"{run.rejected:,} reject{pluralize(run.rejected)}"
        return format_html('<a href="{}?run__id__exact={}">{}</a>', address, run.pk, text)

    @display(description="the file")
    def file(self, run: Run) -> SafeString | str:
        """Return a link to the file as it came."""
        return _download_link(run, "file", run.archived_key)

    @display(description="the report")
    def report(self, run: Run) -> SafeString | str:
        """Return a link to the report of rejected rows."""
        return _download_link(run, "report", run.report_key)

    @action(description="Load a file", url_path="upload", permissions=["upload"], icon="upload_file")
    def upload(self, request: HttpRequest) -> HttpResponseBase:
        """Ask for a file, put it into raw/, and show its run."""
        form = UploadForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            run = receive(
                given["file"], name=get_valid_filename(given["file"].name), dataset=given["dataset"],
                reason=given["reason"], user=request.user,
            )  # fmt: skip
            return redirect("admin:ingest_run_change", run.pk)
        context = {**self.admin_site.each_context(request), "form": form, "title": "Load a file"}
        return render(request, "ingest/upload.html", context)

    def has_upload_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Whoever may send files by script may do so here."""
        return bool(request.user.has_perm("ingest.add_run"))

    def get_urls(self) -> list[Any]:
        """Add the downloads."""
        view = self.admin_site.admin_view(self.download)
        return [path("<int:pk>/download/<str:what>/", view, name="ingest_run_download"), *super().get_urls()]

    def download(self, request: HttpRequest, pk: int, what: str) -> HttpResponseBase:
        """Hand out the file or the report of a run."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = get_object_or_404(Run, pk=pk)
        key = {"file": run.archived_key, "report": run.report_key}.get(what)
        if not key:
            raise Http404
        return download(key)

    @display(description="what is wrong")
    def what_is_wrong(self, run: Run) -> SafeString | str:
        """Return the reasons for refusing the file."""
        lines = ((f"{p['where']}: {p['message']}" if p["where"] else p["message"],) for p in run.problems)
        return format_html_join("", "<p>{}</p>", lines) or "nothing"

    @display(description="errors")
    def error_groups(self, run: Run) -> SafeString | str:
        """Return the errors by field and code."""
        lines = ((g["count"], g["field"] or "row", g["code"], _sample(g["sample"])) for g in run.errors)
        return format_html_join("", "<p>{} × {}: {}{}</p>", lines) or "none"

    @display(description="notes")
    def notes(self, run: Run) -> str:
        """Return what is odd, but no error."""
        return " ".join(run.warnings) or "none"


@admin.register(Reject)
class RejectAdmin(ReadOnlyAdmin):
    """Rows set aside, every reason in a sentence."""

    list_display = ["row", "line", "dataset", "reasons", "shown_text", "state", "run"]
    list_filter = ["state", "run__dataset"]
    list_select_related = ["run__dataset"]
    search_fields = ["run__key"]
    fields = ["run", "row", "line", "start", "end", "state", "reasons", "shown_text"]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Reject]:
        """Return the newest run's rejects first."""
        found: QuerySet[Reject] = super().get_queryset(request)
        return found.order_by("-run", "row")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the link from a run to its rejects."""
        return lookup == "run__id__exact" or bool(super().lookup_allowed(lookup, value, request))

    @display(description="dataset")
    def dataset(self, reject: Reject) -> str:
        """Return the dataset's name."""
        return str(reject.run.dataset)

    @display(description="reasons")
    def reasons(self, reject: Reject) -> SafeString:
        """Return every reason."""
        lines = ((f"{error['field']}: " if error["field"] else "", error["message"]) for error in reject.errors)
        return format_html('<div class="reasons">{}</div>', format_html_join("", "<p><strong>{}</strong>{}</p>", lines))

    @display(description="the row as it came")
    def shown_text(self, reject: Reject) -> str:
        """Return the raw text, cut where it is long."""
        text = reject.text
        return text if len(text) <= 200 else text[:199] + "…"
