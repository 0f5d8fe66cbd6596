"""Files that clients announce or send over REST."""

import os
from typing import Any, BinaryIO

from migration_console.lib.audit import record
from migration_console.lib.bucket import Bucket
from migration_console.lib.errors import Gone, refuse
from migration_console.lib.lake import lake

from .admission import admit_upload, announce
from .bell import ring
from .models import Dataset, Run
from .sending import MAX_ROWS, offer

IGNORED: dict[str, Any] = {"run": None, "status": "ignored", "send": "nothing"}


def announced(bucket: str, key: str, version: str | None, *, rows: bool, user: Any) -> dict[str, Any]:
    """Admit an object that somebody says has come; with `rows`, ask for its rows where that is the quickest way.

    Objects outside raw/ are ignored: a bucket may announce what the console itself writes.
    """
    mine = _key_in_lake(bucket, key)
    if mine is None or not mine.startswith("raw/") or mine.endswith("/"):
        return IGNORED
    run = announce(mine, version, trigger="event" if bucket else "api")
    if run is None and bucket:
        return {"run": None, "status": "gone", "send": "nothing"}  # an event may come when all is over
    if run is None:
        raise Gone(f"{key} is not there")
    if run.user_id is None:
        Run.objects.filter(pk=run.pk, user=None).update(user=user)
    part = offer(run) if rows else None
    if part is None and run.closed_at is None and run.rung_at is None:
        ring(run)  # once: the sweep rings again where a bell was lost
    run.refresh_from_db()
    answer = {"run": run.pk, "status": run.status, "send": "nothing", "key": key, "version": run.version}
    if part is None:
        return answer
    place = {"epoch": part.epoch, "start": part.next_byte, "end": part.end, "row": part.next_row}
    return answer | {"send": "rows", **place, "line": part.next_line, "records": MAX_ROWS}


def _key_in_lake(bucket: str, key: str) -> str | None:
    store = lake()
    if isinstance(store, Bucket):
        return store.key_of(bucket or store.bucket, key)
    if bucket:
        raise refuse("bucket", f"the lake is a folder; the object {key} of {bucket} is not in it", "bucket")
    if os.path.normpath(key) != key.rstrip("/"):
        # Another name for a file, perhaps for one outside raw/.
        raise Gone(f"{key} is not the name of a file in the lake")
    return key


def receive(source: BinaryIO, *, name: str, dataset: Dataset, reason: str, user: Any) -> Run:
    """Put a file that somebody sends into raw/, and ring for a worker."""

    def note(run: Run) -> None:
        record("run.uploaded", run, user=user, dataset=dataset.name, reason=reason)

    # Before the file can be seen: nothing is loaded of which the log does not know.
    run = admit_upload(f"raw/{name}", source, trigger="upload", dataset=dataset, then=note, reason=reason, user=user)
    ring(run)
    return run
