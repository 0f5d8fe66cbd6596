"""Ingest as a Django application."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """Datasets, runs and rejects."""

    name = "ingest"
    verbose_name = "Files"

    def ready(self) -> None:
        """Register system checks and gauges, and what backups need to know of runs."""
        from migration_console.lib import ledger as ledgers
        from migration_console.lib import tables
        from migration_console.lib.gauges import GAUGES

        from . import checks, ledger  # noqa: F401
        from .datasets import target_tables
        from .gauges import gauges

        GAUGES.append(gauges)
        ledgers.register(ledger)
        tables.register(target_tables)
