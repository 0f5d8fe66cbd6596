"""Runs: each arrival of a file, and what became of it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
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
from migration_console.shown import badge

from ..arrivals import receive
from ..models import Dataset, Run
from .shown import badge_of


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

    @display(description="status", ordering="status")
    def coloured(self, run: Run) -> SafeString:
        """Return the status as a word with colour and icon."""
        return badge(badge_of(run))

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
