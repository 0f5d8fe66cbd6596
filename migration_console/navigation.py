"""The sidebar: where people go, in the order of their work; each sees what they may open."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy

OWN = "migration_console"


def _may(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: bool(request.user.has_perm(permission))


def _item(title: str, icon: str, address: str, permission: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{address}"), "permission": _may(permission)}


NAVIGATION: list[dict[str, Any]] = [
    {"items": [{"title": "Dashboard", "icon": "space_dashboard", "link": reverse_lazy("admin:index")}]},
    {
        "title": "Files",
        "separator": True,
        "items": [
            _item("Datasets", "table_view", "ingest_dataset_changelist", "ingest.view_dataset"),
            _item("Runs", "sync_alt", "ingest_run_changelist", "ingest.view_run"),
            _item("Rejects", "rule", "ingest_reject_changelist", "ingest.view_reject"),
        ],
    },
    {
        "title": "Backups",
        "separator": True,
        "items": [
            _item("Tables", "table", "backups_listedtable_changelist", "backups.view_listedtable"),
            _item("Backups", "inventory_2", "backups_backup_changelist", "backups.view_backup"),
            _item("Restores", "settings_backup_restore", "backups_restore_changelist", "backups.view_restore"),
        ],
    },
    {
        "title": "People",
        "separator": True,
        "items": [
            _item("People", "group", "auth_user_changelist", "auth.view_user"),
            _item("Groups", "badge", "auth_group_changelist", "auth.view_group"),
            _item("Tokens", "key", "knox_authtoken_changelist", "knox.view_authtoken"),
            _item("Who did what", "history", f"{OWN}_auditentry_changelist", f"{OWN}.view_auditentry"),
        ],
    },
]  # fmt: skip
