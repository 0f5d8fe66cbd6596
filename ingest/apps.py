"""Ingest as a Django application."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """Datasets, runs and rejects."""

    name = "ingest"

    def ready(self) -> None:
        """Register the system checks."""
        from . import checks  # noqa: F401
