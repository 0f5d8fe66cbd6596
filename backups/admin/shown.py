"""How backups and restores are shown: the closed sets of words, and what to do about each problem."""

from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from migration_console.shown import Badge, badge, duration, moment

from ..models import Backup, BackupStatus, Check, DryRun, Restore, RestoreStatus
from ..schedule import in_words

QUEUED = Badge("Queued", "busy", "schedule")
RUNNING = Badge("Running", "busy", "progress_activity")
CANCELLING = Badge("Cancelling", "busy", "hourglass_bottom")
BADGES: dict[str, Badge] = {
    BackupStatus.REQUESTED: QUEUED,
    BackupStatus.RUNNING: RUNNING,
    BackupStatus.DONE: Badge("Done", "good", "check_circle"),
    BackupStatus.FAILED: Badge("Failed", "bad", "error"),
    BackupStatus.REFUSED: Badge("Refused", "bad", "block"),
    BackupStatus.CANCELLED: Badge("Cancelled", "quiet", "cancel"),
    BackupStatus.DELETED: Badge("Deleted", "quiet", "delete"),
    RestoreStatus.BACKING_UP: Badge("Backing up", "busy", "inventory_2"),
    RestoreStatus.LOADING: Badge("Loading", "busy", "progress_activity"),
    RestoreStatus.CHECKING: Badge("Checking", "busy", "fact_check"),
    RestoreStatus.SWAPPING: Badge("Swapping", "busy", "swap_horiz"),
    RestoreStatus.SWAPPED: Badge("Swapping", "busy", "swap_horiz"),
}
CHECKING = {Check.VERIFY: Badge("Verifying", "busy", "verified"), Check.REHEARSE: Badge("Rehearsing", "busy", "replay")}
DAMAGED = Badge("Damaged", "bad", "heart_broken")
UNPROVED = Badge("Check failed", "warn", "gpp_maybe")
# What a check finds that is the fault of the backup; the rest is the server's, or the worker's.
DAMAGE = {"damaged", "digest"}
STANDINGS: dict[str, Badge] = {
    "good": Badge("Good", "good", "check_circle"),
    "stale": Badge("Stale", "warn", "history"),
    "unplanned": Badge("No schedule", "quiet", "event_busy"),
    "none": Badge("No verified backup", "bad", "gpp_maybe"),
}
STEPS = ["requested", "backing up", "loading", "checking", "swapping", "done"]
ORDER = [*STEPS[:5], "swapped", "done"]

# What people can do about a problem, by its code.
ADVICE = {
    "damaged": "Do not rely on it: back the table up anew, and find out who else writes into the lake's backups/.",
    "out-of-range": "Make the dry run of a restore into another name, or back the table up anew and look there.",
    "takeovers": "Look into the workers' log, mend the cause, and ask for it again.",
    "failure": "Look into the workers' log, mend the cause, and ask for it again.",
    "schema-differs": "A dry run shows the difference: take the backup's definition, or choose another name.",
    "no-backup": "The page of the automatic backup says why it failed. Mend that, then restore again.",
    "engine": "Change the table with ALTER TABLE … ENGINE=InnoDB, then back it up again.",
    "system-versioned": "Back this table up with mariadb-dump, or give up its versioning.",
    "unknown-type": "Change the column's type, or back this table up with mysqldump.",
    "unknown-table": "The table was dropped or renamed: restore it from its newest backup, or take it off the list.",
    "triggers": "Drop these triggers for the time of the restore, or restore into another name.",
    "orphans": "Restore the child tables to the same moment, or restore into another name and copy the rows you need.",
    "too-large": "Restore into another name, and exchange the tables in a maintenance window.",
    "other-server": "Restore it on a console that runs on the same kind of database as then.",
    "definition": "Restore on a server of the version that the manifest names, or into a database with its settings.",
    "digest": "The rows do not come back as they were written; nothing was swapped. Verify the backup, or use another.",
    "trigger": "Make the trigger by hand: its statement is in the backup's manifest.json.",
}


def badge_of(work: Backup | Restore | DryRun) -> Badge:
    """Return how work stands."""
    if work.cancel_requested and work.status in work.OPEN:
        return CANCELLING
    if isinstance(work, Backup) and work.status == BackupStatus.DONE:
        if work.check_wanted:
            return CHECKING[Check(work.check_wanted)]
        if work.check_problems:
            return DAMAGED if DAMAGE & {problem["code"] for problem in work.check_problems} else UNPROVED
    return BADGES[work.status]


def mark(word: str, icon: str, at: Any) -> SafeString:
    """Return what was proved of a backup, and when; never by a colour alone."""
    if at is None:
        return format_html('<span class="soft">not {}</span>', word)
    return format_html('<span class="proof">{} {}</span>', badge(Badge(word, "good", icon)), moment(at))


def verified_mark(backup: Backup) -> SafeString:
    """Return whether and when the files were proved."""
    return mark("verified", "verified", backup.verified_at)


def rehearsed_mark(backup: Backup) -> SafeString:
    """Return whether and when a restore into a scratch table worked."""
    return mark("rehearsed", "replay", backup.rehearsed_at)


def asked_by(work: Backup | Restore | DryRun) -> str:
    """Return who wanted it."""
    if work.trigger == "schedule":
        return "the schedule"
    if work.trigger.startswith("restore "):
        return f"{work.trigger}, before it changed the table"
    who = work.requested_by.get_username() if work.requested_by else ""
    return who or {"command": "a command", "rest": "a script"}.get(work.trigger, work.trigger)


def told(problems: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return problems with what to do about them."""
    return [{"message": found["message"], "advice": ADVICE.get(found["code"], "")} for found in problems]


def keeps_in_words(keep: dict[str, int]) -> str:
    """Return the rules of retention as people say them."""
    kinds = [f"the last {keep['last']}"] if keep.get("last") else []
    kinds += [f"{keep[kind]} {kind}" for kind in ("daily", "weekly", "monthly") if keep.get(kind)]
    return f"keeps {', '.join(kinds)}" if kinds else "keeps all"


def plan_in_words(table: dict[str, Any]) -> list[str]:
    """Return what a table's plan says."""
    words = in_words(table["schedule"])
    lines = [f"{words} (UTC)" if words else "only when somebody asks"]
    if table["rehearsal_schedule"]:
        lines.append(f"rehearsed {in_words(table['rehearsal_schedule'])} (UTC)")
    return [*lines, keeps_in_words(table["keep"])]


def far(work: Backup | Restore | DryRun) -> dict[str, Any]:
    """Return how far work is, as the bar and the line below it need it."""
    checking = work.check_progress() if isinstance(work, Backup) and work.status == BackupStatus.DONE else None
    return as_bar(checking or work.progress())


def as_bar(found: dict[str, Any]) -> dict[str, Any]:
    """Return progress with its share in per cent; an estimate of the rows never shows as all of them."""
    expected = found["rows_expected"]
    share = min(99, 100 * found["rows"] // expected) if expected else None
    left = found["seconds_left"]
    return {**found, "percent": share, "left": None if left is None else duration(left)}


def steps_of(restore: Restore) -> list[dict[str, Any]]:
    """Return the steps of a restore: done, now, or still to come; `failed` where it ended before its end."""
    if restore.status in ORDER:
        reached, ended = ORDER.index(restore.status), restore.status == RestoreStatus.DONE
        failed = False
    else:
        reached, ended, failed = _reached(restore), False, True
    steps = []
    for name in STEPS:
        place = ORDER.index(name)
        state = "past" if place < reached or ended else "now" if place == min(reached, 4) else "later"
        if failed and state == "now":
            state = "failed"
        if name == "backing up" and state == "past" and restore.safety_id is None:
            state = "skipped"
        steps.append({"name": name, "state": state})
    return steps


def _reached(restore: Restore) -> int:
    """Return the step in which a restore ended, from what it has left behind."""
    return 4 if restore.shadow else 2 if restore.started_at else 1 if restore.safety_id else 0
