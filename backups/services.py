"""What views, commands and tasks call: backups, checks, restores, plans. Each is one use case."""

from .adopting import adopt
from .plans import (
    add_table,
    finished,
    newest_verified,
    prune,
    scheduled_backup,
    scheduled_rehearsal,
    set_plan,
    table_plan,
    tables,
)
from .proof import check, request_check
from .restoring import bring_back, cancel_restore, dry_run, find_backup, load_again, request_restore
from .taking import cancel_backup, delete_backup, request_backup, take

__all__ = [
    "add_table",
    "adopt",
    "bring_back",
    "cancel_backup",
    "cancel_restore",
    "check",
    "delete_backup",
    "dry_run",
    "find_backup",
    "finished",
    "load_again",
    "newest_verified",
    "prune",
    "request_backup",
    "request_check",
    "request_restore",
    "scheduled_backup",
    "scheduled_rehearsal",
    "set_plan",
    "table_plan",
    "tables",
    "take",
]
