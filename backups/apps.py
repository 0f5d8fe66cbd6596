"""Backups as a Django application."""

from django.apps import AppConfig


class BackupsConfig(AppConfig):
    """Listed tables, backups and restores."""

    name = "backups"

    def ready(self) -> None:
        """Put the tables that operators have added on the console's list, and tell how old backups are."""
        from migration_console.lib import tables
        from migration_console.lib.gauges import GAUGES

        from .gauges import gauges
        from .models import ListedTable

        GAUGES.append(gauges)
        tables.register(lambda: ListedTable.objects.filter(added=True).values_list("name", flat=True))
