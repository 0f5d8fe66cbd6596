"""Lists in the admin that are looked at: ledgers are never edited by hand, and never counted to their end."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib.admin import ShowFacets
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

# Nobody turns more pages than these; a server that counts a million rows each time is felt by everybody.
MAX_COUNT = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator that stops counting at MAX_COUNT, and says so."""

    template_name = "console/pagination.html"

    @cached_property
    def found(self) -> int:
        """Return how many there are; one more than MAX_COUNT at most."""
        rows: Any = self.object_list
        return int(rows.order_by()[: MAX_COUNT + 1].count())

    @cached_property
    def count(self) -> int:
        """Return how many are shown, on all pages."""
        return min(self.found, MAX_COUNT)

    @property
    def in_words(self) -> str:
        """Return the number as people see it."""
        return f"{self.count:,}{'+' if self.found > MAX_COUNT else ''}"


class BoundedChangeList(ChangeList):  # type: ignore[misc]  # unfold has no types
    """A page of a list; how many there are stands below it, once."""

    def get_results(self, request: HttpRequest) -> None:
        """Find the rows of the page, and what they point at."""
        super().get_results(request)
        page: Any = self
        page.result_list = page.result_list.prefetch_related(*page.model_admin.list_prefetch)
        # Else the title tells the bounded count as if it were the whole.
        page.full_result_count = page.result_count


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """A list that is looked at."""

    list_per_page = 50
    paginator = BoundedPaginator
    # Both would count all rows.
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    # What an empty list says: what would be here, and the next step.
    when_empty = "There is nothing here yet."

    # What the rows of a page point at. Not `list_select_related`: with a join a server may sort the whole table first.
    list_prefetch: ClassVar[list[str]] = []
    list_select_related: Sequence[str] = ()

    def get_changelist(self, _request: HttpRequest, **_: Any) -> type[ChangeList]:
        """Return the kind of list."""
        return BoundedChangeList

    def has_add_permission(self, _request: HttpRequest, *_: Any) -> bool:
        """Nothing is added by hand."""
        return False

    def has_change_permission(self, _request: HttpRequest, *_: Any) -> bool:
        """Nothing is changed by hand."""
        return False

    def has_delete_permission(self, _request: HttpRequest, *_: Any) -> bool:
        """Nothing is deleted by hand."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """Show the list; who has no action there has nothing to send to it."""
        if request.method == "POST" and not self.get_actions(request):
            raise PermissionDenied
        found: HttpResponseBase = super().changelist_view(request, extra_context)
        return found

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Lead to the audit log: Django's own history would be a second truth beside it."""
        if request.method == "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        log = reverse("admin:migration_console_auditentry_changelist")
        return redirect(f"{log}?subject_type={self.opts.model_name}&subject_id={object_id}")
