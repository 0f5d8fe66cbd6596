"""From a file under raw/ to a run: once an object version, whatever announces it and however often."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from django.db import IntegrityError, transaction

from migration_console.lib.errors import Refused, Unavailable
from migration_console.lib.folder import Folder
from migration_console.lib.lake import Version, lake

from .datasets import match_dataset
from .models import OPEN, UPLOADING, Dataset, Run, Status, key_hash

# A folder file counts as complete when it was not written to for so long.
SETTLED_SECONDS = 2.0


def admit(version: Version, *, trigger: str, dataset: Dataset | None = None, **fields: Any) -> tuple[Run, bool]:
    """Insert or get the run of an object version; returns it and whether it is new.

    `fields` are more of the run's own: why it is loaded again, whose correction it is.
    """
    key = {"bucket": lake().bucket, "key_hash": key_hash(version.key), "version": version.id}
    known = Run.objects.filter(**key).first()
    if known is None and pin_upload(version):
        known = Run.objects.filter(**key).latest("id")
    if known is not None:
        return known, False
    try:
        with transaction.atomic():
            run = Run.objects.create(
                **key,
                key=version.key,
                size=version.size,
                sequence=version.sequence,
                dataset=dataset or match_dataset(version.key),
                trigger=trigger,
                **fields,
            )
    except IntegrityError:
        return Run.objects.filter(**key).latest("id"), False  # another announcement got there first
    return run, True


def nothing(_run: Run) -> None:
    """Do nothing in between."""


def announce(key: str, version: str | None, *, trigger: str) -> Run | None:
    """Admit a key that somebody says has come: every version of it, oldest first; returns the run of the named
    one, or of the newest. None where nothing is there, no version was named, and the key never had a run.

    The older ones too, so that runs of one key are numbered in the order of its versions, in whatever order
    the announcements come: `newer_version` goes by that.
    """
    known = Run.objects.filter(bucket=lake().bucket, key_hash=key_hash(key), version=version or "").first()
    if known is not None:
        return known  # announced before, and the older ones with it
    runs = {found.id: admit(found, trigger=trigger)[0] for found in lake().versions(key)}
    if version is None:
        # Announced once more, and loaded and moved away meanwhile.
        past = Run.objects.filter(bucket=lake().bucket, key_hash=key_hash(key))
        return next(reversed(runs.values()), None) or past.first()
    # A version that is not there any more has a run already, or gets one that ends as gone.
    return runs.get(version) or admit(Version(key, version, 0), trigger=trigger)[0]


def admit_upload(
    key: str, source: BinaryIO, *, trigger: str, dataset: Dataset | None, then: Callable[[Run], None] = nothing,
    **fields: Any,
) -> Run:  # fmt: skip
    """Put a file into raw/ with its run: the run exists, and is ours, before anyone can see the file.

    `then` is called in between; where it raises, neither run nor file is left.
    """
    given: dict[str, Any] = {"trigger": trigger, "dataset": dataset or match_dataset(key), **fields}
    store = lake()
    if isinstance(store, Folder):
        return _into_folder(store, key, source, given, then)
    return _into_bucket(key, source, given, then)


def _into_folder(folder: Folder, key: str, source: BinaryIO, given: dict[str, Any], then: Callable[[Run], None]) -> Run:
    prepared = folder.prepare(key, source)
    try:
        with _own_run(prepared.version, given, then) as run:
            while not folder.publish(prepared, run.key):
                # Another file of this name waits in raw/: this one goes beside it, in a folder of its own.
                run.key = _beside(key)
                run.key_hash = key_hash(run.key)
                run.save(update_fields=["key", "key_hash"])
    except BaseException:
        prepared.path.unlink(missing_ok=True)
        raise
    run.refresh_from_db()
    if run.status == Status.GONE:
        folder.delete(Version(run.key, run.version, run.size))
        raise _too_late(run)
    return run


def _into_bucket(key: str, source: BinaryIO, given: dict[str, Any], then: Callable[[Run], None]) -> Run:
    """Upload below a key of its own: S3 tells a version only when everyone can see it, so the run goes by the key."""
    with _own_run(Version(_beside(key), UPLOADING, 0), given, then) as run:
        try:
            version = lake().put(run.key, source)
        except Refused:
            run.end(Status.GONE)  # the sender broke off, and has been told so
            raise
        pin_upload(version)
    run.refresh_from_db()
    if run.version != version.id:
        lake().delete(version)
        raise _too_late(run)
    return run


def _too_late(run: Run) -> Unavailable:
    """Return what is said where the lease ran out before the file was there, and a worker has given the run up."""
    return Unavailable(f"the upload of {run.key} took too long; send it again")


@contextmanager
def _own_run(version: Version, given: dict[str, Any], then: Callable[[Run], None]) -> Iterator[Run]:
    run, _ = admit(version, **given)
    if not run.claim():
        raise RuntimeError(f"{run} is in somebody else's hands")
    with run.holding():
        try:
            then(run)
        except BaseException:
            run.delete()
            raise
        yield run


def _beside(key: str) -> str:
    folder, _, name = key.rpartition("/")
    return f"{folder}/{uuid.uuid4().hex[:8]}/{name}"


def pin_upload(version: Version) -> bool:
    """Give the run of an upload the version that it has become; False where no upload of this key is under way."""
    uploading = Run.objects.filter(
        bucket=lake().bucket, key_hash=key_hash(version.key), version=UPLOADING, status__in=OPEN
    )
    return bool(uploading.update(version=version.id, size=version.size))


def admit_new_files(trigger: str) -> Iterator[Run]:
    """Admit the files under raw/ that are complete and have no run; yield the new runs."""
    versions = list(lake().list("raw"))
    known = set(Run.objects.filter(bucket=lake().bucket, closed_at=None).values_list("key_hash", "version"))
    for version in versions:
        if (key_hash(version.key), version.id) in known or not is_settled(version):
            continue
        run, new = admit(version, trigger=trigger)
        if new:
            yield run


def is_settled(version: Version) -> bool:
    """Tell whether a file has not changed for a while; a clock that was put back must not block it for ever."""
    return not 0 <= time.time() - version.changed < SETTLED_SECONDS


def files_without_run(names: set[str]) -> list[str]:
    """Return the keys under raw/ that belong to one of the datasets and have no run yet."""
    keys = []
    for version in lake().list("raw"):
        admitted = Run.objects.filter(key_hash=key_hash(version.key), version=version.id).exists()
        if not admitted and (dataset := match_dataset(version.key)) and dataset.name in names:
            keys.append(version.key)
    return keys
