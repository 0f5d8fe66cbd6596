"""Lists in the admin that are looked at: ledgers are never edited by hand."""

from typing import Any

from django.http import HttpRequest
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
