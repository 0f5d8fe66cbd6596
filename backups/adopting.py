"""Backups that lie in the lake and that no line of the database tells of: those of a database that was lost."""

import hashlib
from datetime import datetime

from django.db import transaction

from migration_console.lib.errors import Problem, Refused, refuse
from migration_console.lib.lake import lake
from migration_console.lib.tables import is_own

from .errors import Damaged
from .manifest import NAME, Manifest
from .models import Backup, BackupStatus, ListedTable
from .restoring import SAFETY
from .verify import read_manifest

ADOPTED = "adopted"


def adopt() -> tuple[list[Backup], list[dict[str, str]]]:
    """List every backup in the lake that has a manifest and is not listed yet, and put its table on the list.

    Returns them, and what could not be adopted. A backup that was taken by another console is one too; one that
    is under way is listed by its place already.
    """
    known = set(Backup.objects.exclude(prefix="").values_list("prefix", flat=True))
    ends = f"/{NAME}"
    prefixes = {version.key.removesuffix(ends) for version in lake().list("backups") if version.key.endswith(ends)}
    read, found, problems = [], [], []
    for prefix in sorted(prefixes - known):
        try:
            read.append((prefix, read_manifest(prefix)))
        except Damaged as damage:
            problems.append(Problem("damaged", f"{prefix}: {damage}", prefix).as_dict())
    # The oldest first, as they were listed before.
    for prefix, manifest in sorted(read, key=lambda one: one[1].taken_at):
        try:
            found.append(_adopted(prefix, manifest))
        except Refused as refused:
            problems += [problem.as_dict() for problem in refused.problems]
    return found, problems


def _adopted(prefix: str, manifest: Manifest) -> Backup:
    if is_own(manifest.table) or not prefix.startswith(f"backups/{manifest.table}/"):
        raise refuse(
            "wrong-place", f"{prefix} holds a manifest of {manifest.table}, which does not belong there", prefix
        )
    with transaction.atomic():
        ListedTable.objects.get_or_create(name=manifest.table)
        return _listed(prefix, manifest)


def _listed(prefix: str, manifest: Manifest) -> Backup:
    taken_at = datetime.fromisoformat(manifest.taken_at)
    return Backup.objects.create(
        table=manifest.table,
        status=BackupStatus.DONE,
        codec=manifest.codec,
        prefix=prefix,
        manifest_sha256=hashlib.sha256(manifest.sealed()).hexdigest(),
        digest=manifest.digest,
        parts=len(manifest.parts),
        runs=len(manifest.runs),
        rows=manifest.rows,
        rows_expected=manifest.rows,
        bytes=manifest.size,
        # What a restore has put aside is never the latest, wherever it is listed.
        trigger=manifest.taken_by[:20] if manifest.taken_by.startswith(SAFETY) else ADOPTED,
        started_at=taken_at,
        finished_at=taken_at,
    )
