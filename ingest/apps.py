"""Ingest as a Django application."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """Datasets, runs and rejects."""

    name = "ingest"

    def ready(self) -> None:
        """Register the system checks, and what backups need to know of runs."""
        from migration_console.lib import ledger as ledgers
        from migration_console.lib import tables

        from . import checks, ledger  # noqa: F401
        from .datasets import target_tables

        ledgers.register(ledger)
        tables.register(target_tables)
