"""From a file under raw/ to a run: once an object version, whatever announces it and however often."""

import time
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from django.db import IntegrityError, transaction

from migration_console.lib.lake import Version, lake

from .datasets import match_dataset
from .models import Dataset, Run, key_hash

# A folder file counts as complete when it was not written to for so long.
SETTLED_SECONDS = 2.0


def admit(version: Version, *, trigger: str, dataset: Dataset | None = None, reason: str = "") -> tuple[Run, bool]:
    """Insert or get the run of an object version; returns it and whether it is new."""
    key = {"bucket": lake().bucket, "key_hash": key_hash(version.key), "version": version.id}
    known = Run.objects.filter(**key).order_by("-attempt").first()
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
                reason=reason,
            )
    except IntegrityError:
        return Run.objects.get(**key, attempt=1), False  # another announcement got there first
    return run, True


def admit_upload(key: str, source: BinaryIO, *, trigger: str, dataset: Dataset | None, reason: str = "") -> Run:
    """Put a file into raw/ with its run: the run exists, and is ours, before anyone can see the file."""
    prepared = lake().prepare(key, source)
    run, _ = admit(prepared.version, trigger=trigger, dataset=dataset, reason=reason)
    if not run.claim():
        raise RuntimeError(f"{run} is in somebody else's hands")
    while not lake().publish(prepared, run.key):
        # Another file of this name waits in raw/: this one goes beside it, in a folder of its own.
        folder, _, name = key.rpartition("/")
        run.key = f"{folder}/{uuid.uuid4().hex[:8]}/{name}"
        run.key_hash = key_hash(run.key)
        run.save(update_fields=["key", "key_hash"])
    run.release()
    return run


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
