"""The project as a Django application."""

from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import m2m_changed, post_delete, post_migrate, post_save

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
        post_migrate.connect(_save_head, sender=self)
        for signal in (post_save, post_delete, m2m_changed):
            signal.connect(_forget_who_was_let_in)
        from .signing import watch

        watch()


def _forget_who_was_let_in(sender: Any, **_: Any) -> None:
    """Look users up again once anything of them has changed; other processes do so within two seconds."""
    if sender._meta.app_label in {"auth", "knox"}:
        from .api import TokenAuthentication

        TokenAuthentication.recent.clear()


def _save_head(**_: Any) -> None:
    from .lib.audit import save_head

    save_head()
