"""Which backups are kept: the last ones, and the last of each day, week and month, as restic names them.

A pure function of what there is: the same list is the dry run and the deletion.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

PERIODS: dict[str, Callable[[datetime], str]] = {
    "daily": lambda at: at.strftime("%Y-%m-%d"),
    "weekly": lambda at: at.strftime("%G-W%V"),
    "monthly": lambda at: at.strftime("%Y-%m"),
}


@dataclass(frozen=True)
class Kept:
    """A backup as the rules see it."""

    pk: int
    taken_at: datetime
    verified: bool = False
    pinned: bool = False


def reasons_to_keep(backups: Sequence[Kept], keeps: dict[str, int]) -> dict[int, list[str]]:
    """Return the backups that stay, each with every reason; without any rule, all of them stay."""
    newest_first = sorted(backups, key=lambda backup: (backup.taken_at, backup.pk), reverse=True)
    reasons: dict[int, list[str]] = {}

    def keep(backup: Kept, reason: str) -> None:
        reasons.setdefault(backup.pk, []).append(reason)

    if not any(keeps.values()):
        for backup in newest_first:
            keep(backup, "no rule")
    for backup in newest_first[: keeps.get("last", 0)]:
        keep(backup, "last")
    for kind, period in PERIODS.items():
        for backup in _last_of_each(newest_first, period)[: keeps.get(kind, 0)]:
            keep(backup, kind)
    # Whatever the rules say: the newest backup that is known to be whole is never deleted.
    for backup in [backup for backup in newest_first if backup.verified][:1]:
        keep(backup, "newest verified")
    for backup in newest_first:
        if backup.pinned:
            keep(backup, "pinned")
    return reasons


def _last_of_each(newest_first: Sequence[Kept], period: Callable[[datetime], str]) -> list[Kept]:
    found: dict[str, Kept] = {}
    for backup in newest_first:
        found.setdefault(period(backup.taken_at), backup)
    return list(found.values())
