"""The project as a Django application."""

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate

from .groups import save_groups
from .lib.sqlite import add_functions


class ConsoleConfig(AppConfig):
    """What every process needs."""

    name = "migration_console"
    verbose_name = "Migration console"

    def ready(self) -> None:
        """Prepare each new database connection."""
        connection_created.connect(add_functions)
        post_migrate.connect(save_groups)
