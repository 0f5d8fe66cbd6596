"""Plain lists for operators: tables, backups, restores. They are looked at; commands and REST act."""

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from unfold.decorators import display

from migration_console.readonly import ReadOnlyAdmin

from .models import Backup, BackupStatus, ListedTable, Restore, RestoreStatus
from .plans import newest_verified

COLOURS: dict[str, str] = {
    BackupStatus.REQUESTED: "info",
    BackupStatus.RUNNING: "info",
    BackupStatus.DONE: "success",
    BackupStatus.FAILED: "danger",
    BackupStatus.REFUSED: "danger",
    BackupStatus.CANCELLED: "warning",
    **{step: "info" for step in RestoreStatus if step in Restore.OPEN},
}


class WorkAdmin(ReadOnlyAdmin):
    """Long work, and what is wrong with it."""

    @display(description="problems")
    def what_is_wrong(self, work: Backup | Restore) -> SafeString | str:
        """Return the reasons."""
        found = [*work.problems, *getattr(work, "check_problems", [])]
        return format_html_join("", "<p>{}</p>", ((problem["message"],) for problem in found)) or "none"


@admin.register(ListedTable)
class ListedTableAdmin(ReadOnlyAdmin):
    """Tables with their plans."""

    list_display = ["name", "schedule", "rehearsal_schedule", "keep", "newest", "codec"]
    search_fields = ["name"]

    @display(description="keep")
    def keep(self, table: ListedTable) -> str:
        """Return the rules of retention."""
        return ", ".join(f"{count} {kind}" for kind, count in table.keeps.items() if count) or "all"

    @display(description="newest verified backup")
    def newest(self, table: ListedTable) -> str:
        """Return the age of the newest verified backup."""
        found = newest_verified(table.name)
        return f"{timesince(found.taken_at)} old" if found else "none"


@admin.register(Backup)
class BackupAdmin(WorkAdmin):
    """Backups, newest first."""

    list_display = ["id", "coloured", "table", "rows", "size", "codec", "age_in_words", "verified", "rehearsed"]
    list_filter = ["status", "table", "codec"]
    search_fields = ["table", "prefix"]
    readonly_fields = ["what_is_wrong"]
    exclude = ["problems", "check_problems", "under_way"]

    @display(description="status", ordering="status", label=COLOURS)
    def coloured(self, backup: Backup) -> str:
        """Return the status with its colour."""
        return backup.status

    @display(description="size", ordering="bytes")
    def size(self, backup: Backup) -> str:
        """Return the size in the lake."""
        return filesizeformat(backup.bytes)

    @display(description="age")
    def age_in_words(self, backup: Backup) -> str:
        """Return how long ago the backup was taken."""
        return timesince(backup.taken_at)

    @display(description="verified", boolean=True)
    def verified(self, backup: Backup) -> bool:
        """Tell whether the files were proved."""
        return backup.verified_at is not None

    @display(description="rehearsed", boolean=True)
    def rehearsed(self, backup: Backup) -> bool:
        """Tell whether a restore into a scratch table worked."""
        return backup.rehearsed_at is not None


@admin.register(Restore)
class RestoreAdmin(WorkAdmin):
    """Restores, newest first."""

    list_display = ["id", "coloured", "table", "backup", "safety", "rows", "seconds", "created_at"]
    list_filter = ["status", "table"]
    list_select_related = ["backup", "safety"]
    readonly_fields = ["what_is_wrong"]
    exclude = ["problems", "under_way"]

    @display(description="status", ordering="status", label=COLOURS)
    def coloured(self, restore: Restore) -> str:
        """Return the step with its colour."""
        return restore.status
