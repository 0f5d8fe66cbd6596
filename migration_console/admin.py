"""Who did what: the audit log, to be looked at."""

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.decorators import display

from .lib.audit import AuditEntry
from .readonly import ReadOnlyAdmin
from .shown import moment


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The log, newest first."""

    list_display = ["when", "who", "action", "subject"]
    list_filter = ["action", "subject_type"]
    search_fields = ["actor", "subject"]

    @display(description="when", ordering="id")
    def when(self, entry: AuditEntry) -> SafeString | str:
        """Return the time."""
        return moment(entry.at)

    @display(description="who")
    def who(self, entry: AuditEntry) -> str:
        """Return the person or the service user."""
        return entry.actor or "the console"
