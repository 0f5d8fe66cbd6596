"""How backups and restores look on a terminal."""

import sys
import time
from collections.abc import Iterator
from typing import Any

from migration_console.lib.progress import Progress

from .models import Backup, Restore
from .sweeper import work_off
from .working import AGAIN, BUSY

WAIT_SECONDS, LONGEST_WAIT = 1.0, 60.0


def finish(work: Backup | Restore, progress: Progress) -> Backup | Restore:
    """Work in this process until the end; where something must be waited for, say so once and wait."""
    said, pause = "", WAIT_SECONDS
    while True:
        work = work_off(work, progress)
        if work.status not in work.OPEN:
            return work
        if work.waiting_for != said:
            said = work.waiting_for
            print(f"waiting for {said or 'the worker that holds it'}", file=sys.stderr, flush=True)
        # What has failed begins again from its start: each time it is left alone for longer.
        pause = min(2 * pause, LONGEST_WAIT) if said.startswith((AGAIN, BUSY)) else WAIT_SECONDS
        time.sleep(pause)


def size(count: int) -> str:
    """Return bytes as people read them."""
    amount = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def backup_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what a person wants to know of a backup."""
    yield f"backup {found['id']} of {found['table']}: {found['status']}"
    if found["status"] == "done":
        weight = f"{size(found['bytes'])} of {found['codec']} in {found['parts']} parts"
        yield f"  {found['rows']:,} rows, {weight}  ({found['seconds']} s)"
        yield f"  {found['prefix']}"
        yield f"  verified {found['verified_at'] or 'never'}, rehearsed {found['rehearsed_at'] or 'never'}"
    for problem in [*found["problems"], *found["check_problems"]]:
        yield f"  {problem['message']}"


def restore_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what a person wants to know of a restore."""
    yield f"restore {found['id']} of {found['table']} from backup {found['backup']}: {found['status']}"
    if found["status"] == "done":
        yield f"  {found['rows']:,} rows  ({found['seconds']} s)"
    if found["safety_backup"]:
        yield f"  what was there before is backup {found['safety_backup']}"
    if found["rolled_back"]:
        runs = ", ".join(map(str, found["rolled_back"]))
        yield f"  rolled back: runs {runs}; restore {found['table']} --load-again {found['id']} loads their files again"
    for problem in found["problems"]:
        yield f"  {problem['message']}"


def dry_run_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what a restore would change."""
    counts = f"{found['rows_then']:,} rows, {found['table']} {found['rows_now']:,}"
    yield f"backup {found['backup']} has {counts} ({found['how']})"
    yield f"  {found['added']:,} added, {found['removed']:,} removed, {found['changed']:,} changed"
    for line in found["only_then"]:
        yield f"  only in the backup: {line}"
    for line in found["only_now"]:
        yield f"  only now: {line}"
    for run in found["roll_back"]:
        yield f"  run {run['run']} ({run['key']}) would be rolled back"
    for run in found["waits_for"]:
        yield f"  waits for {run}"
    for problem in found["problems"]:
        yield f"  {problem}"
