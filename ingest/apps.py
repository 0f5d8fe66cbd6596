"""Ingest as a Django application."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """Datasets, runs and rejects."""

    name = "ingest"

    def ready(self) -> None:
        """Register system checks and gauges."""
        from migration_console.lib.gauges import GAUGES

        from . import checks  # noqa: F401
        from .gauges import gauges

        GAUGES.append(gauges)
