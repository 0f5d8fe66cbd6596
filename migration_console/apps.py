"""The project as a Django application."""

from django.apps import AppConfig
from django.db.backends.signals import connection_created

from .lib.sqlite import add_functions


class ConsoleConfig(AppConfig):
    """What every process needs."""

    name = "migration_console"
    verbose_name = "Migration console"

    def ready(self) -> None:
        """Prepare each new database connection."""
        connection_created.connect(add_functions)
