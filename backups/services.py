"""What views, commands and tasks call: backups, checks, restores, plans. Each is one use case."""

from .adopting import adopt
from .dryrun import cancel_dry_run, dry_run, request_dry_run, restore_as_seen, try_out
from .plans import (
    add_table,
    candidates,
    finished,
    prune,
    remove_table,
    scheduled_backup,
    scheduled_rehearsal,
    set_plan,
    table_plan,
    tables,
)
from .proof import check, request_check
from .restoring import GONE, TOO_LATE, bring_back, cancel_restore, find_backup, load_again, request_restore
from .taking import cancel_backup, delete_backup, keep_backup, newest_verified, request_backup, take

__all__ = [
    "GONE",
    "TOO_LATE",
    "add_table",
    "adopt",
    "bring_back",
    "cancel_backup",
    "cancel_dry_run",
    "cancel_restore",
    "candidates",
    "check",
    "delete_backup",
    "dry_run",
    "find_backup",
    "finished",
    "keep_backup",
    "load_again",
    "newest_verified",
    "prune",
    "remove_table",
    "request_backup",
    "request_check",
    "request_dry_run",
    "request_restore",
    "restore_as_seen",
    "scheduled_backup",
    "scheduled_rehearsal",
    "set_plan",
    "table_plan",
    "tables",
    "take",
    "try_out",
]
