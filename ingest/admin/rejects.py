"""Rows set aside, every reason in a sentence."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from migration_console.readonly import ReadOnlyAdmin

from ..models import Reject


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
