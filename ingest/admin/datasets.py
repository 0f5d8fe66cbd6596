"""Datasets and their versions."""

from django.contrib import admin
from unfold.decorators import display

from migration_console.readonly import ReadOnlyAdmin

from ..models import Dataset, SchemaVersion


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
