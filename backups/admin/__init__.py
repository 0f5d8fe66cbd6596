"""The pages of backups: tables and their plans, backups, restores. What people do goes through the services."""

from . import backups, restores, tables

__all__ = ["backups", "restores", "tables"]
