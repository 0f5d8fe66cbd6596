"""Who may do what: groups of people and of service users, kept equal to this table by every migrate."""

from typing import Any

READ_INGEST = {f"ingest.view_{name}" for name in ("dataset", "schemaversion", "run", "reject")}
SEND = {"ingest.add_run", "ingest.change_run", "ingest.change_reject"}
DATASETS = {"ingest.add_dataset", "ingest.change_dataset", "ingest.delete_dataset"}
READ_BACKUPS = {f"backups.view_{name}" for name in ("backup", "restore", "listedtable")}
BACK_UP = {"backups.add_backup", "backups.change_backup"}
# Deleting a backup is for people only.
RESTORE = {"backups.add_restore", "backups.change_restore"}
# Whoever may change the tables that datasets load into.
ALTER = {"ingest.alter_table"}
TABLES = {"backups.add_listedtable", "backups.change_listedtable", "backups.delete_listedtable"}
READ = READ_INGEST | READ_BACKUPS | {"migration_console.view_metrics"}
SEE_PEOPLE = {"auth.view_user", "auth.view_group", "knox.view_authtoken", "migration_console.view_auditentry"}
TOKENS = SEE_PEOPLE | {"knox.add_authtoken", "knox.delete_authtoken"}

GROUPS: dict[str, set[str]] = {
    # people
    "steward": READ | SEND | DATASETS,
    "operator": READ | SEND | DATASETS | ALTER | TOKENS | BACK_UP | RESTORE | TABLES | {"backups.delete_backup"},
    "auditor": READ | SEE_PEOPLE,
    # service users
    "ingest": READ_INGEST | SEND,
    "read": READ,
    "backup": READ_BACKUPS | BACK_UP,
    "restore": READ_BACKUPS | RESTORE,
}

# What each is for, in a line.
WORDS = {
    "steward": "Defines datasets; sends, corrects, retries and cancels files; sees everything but people.",
    "operator": "What stewards may; also backs up, restores, deletes backups, and makes and revokes tokens.",
    "auditor": "Sees everything, people and the audit log too; changes nothing.",
    "ingest": "Scripts that send files: send, retry, cancel, correct; see datasets, runs and rejects.",
    "read": "Scripts that look, such as Prometheus: see all but people; change nothing.",
    "backup": "Scripts that back up: back up, prove, cancel; see backups and restores.",
    "restore": "Scripts that restore: restore and cancel; see backups and restores.",
}
PEOPLE = ["steward", "operator", "auditor"]


def save_groups(**_: Any) -> None:
    """Bring the groups in the database to what stands above; what others have added to them goes."""
    from django.contrib.auth.models import Group, Permission

    known = {f"{p.content_type.app_label}.{p.codename}": p for p in Permission.objects.select_related("content_type")}
    for name, permissions in GROUPS.items():
        group, _new = Group.objects.get_or_create(name=name)
        # Called after each application's migrations: a later one brings what is missing now.
        group.permissions.set(known[permission] for permission in permissions if permission in known)
