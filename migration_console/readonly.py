"""Lists in the admin that are looked at: ledgers are never edited by hand."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from unfold.admin import ModelAdmin


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """A list that is looked at."""

    list_per_page = 50

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
