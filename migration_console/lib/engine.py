"""Which of mysql.py and sqlite.py speaks to the database."""

from types import ModuleType

from django.db.backends.base.base import BaseDatabaseWrapper


def engine(connection: BaseDatabaseWrapper) -> ModuleType:
    """Return the module with the bulk statements of this database."""
    if connection.vendor == "mysql":
        from . import mysql

        return mysql
    from . import sqlite

    return sqlite
