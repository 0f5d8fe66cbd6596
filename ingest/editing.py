"""Datasets as stewards make them: drafts with a sample, published as schema versions; files without a dataset."""

import re
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from django.db import connection, transaction

from migration_console.lib.audit import record
from migration_console.lib.errors import Gone, Problem, Refused, conflict
from migration_console.lib.lake import lake
from migration_console.lib.tables import is_own

from .altering import Alteration, alter, alteration
from .archive import version_of
from .bell import ring
from .datasets import misfits, own_problems, pause, save_dataset
from .descriptor import Descriptor
from .draft import draft_from_sample, draft_from_table, name_for
from .models import OPEN, UPLOADING, Dataset, Draft, Run, SchemaVersion, Status
from .patterns import matches
from .preview import Preview, head_of, preview
from .schema import Schema, compile_schema


@dataclass
class Judged:
    """What is to be said about a descriptor before it is published."""

    schema: Schema | None = None
    problems: list[Problem] = field(default_factory=list)
    change: Alteration | None = None
    preview: Preview | None = None

    @property
    def publishable(self) -> bool:
        """Tell whether it can be published as it is."""
        return not self.problems and self.change is None


def judge(draft: Draft, data: dict[str, Any]) -> Judged:
    """Return every mistake in a draft's descriptor, what its table lacks, and how the sample's rows fare."""
    found = Judged()
    try:
        found.schema = compile_schema(data)
        found.problems = name_problems(draft, found.schema.descriptor) + own_problems(found.schema.descriptor)
    except Refused as refused:
        found.problems = refused.problems
    if found.schema is not None:
        if not is_own(found.schema.descriptor.target):
            found.change = alteration(connection, found.schema)
            if found.change is None:
                found.problems += misfits(found.schema)
        if draft.sample:
            found.preview = preview(bytes(draft.sample), found.schema, cut=draft.sample_cut)
    return found


def name_problems(draft: Draft, descriptor: Descriptor) -> list[Problem]:
    """Refuse a name that would publish the draft into another dataset."""
    name = descriptor.name
    if draft.dataset is not None and name != draft.dataset.name:
        return [Problem("name", f"this is a version of {draft.dataset}; rename it on its own page", "/name")]
    if draft.dataset is None and Dataset.objects.filter(name=name).exists():
        return [Problem("name", f"there is a dataset {name!r} already; choose another name, or edit that one", "/name")]
    return []


def draft_of_file(source: BinaryIO, file_name: str, *, user: Any) -> Draft:
    """Return a draft of a new dataset from a sample that somebody sends."""
    data, cut = head_of(source)
    descriptor = draft_from_sample(data, file_name=file_name, cut=cut)
    return Draft.objects.create(
        descriptor=descriptor, sample=data, sample_name=file_name[:255], sample_cut=cut, user=user
    )


def draft_of_table(table: str, *, user: Any) -> Draft:
    """Return a draft of a new dataset from a table in the database."""
    if table not in tables_to_offer():
        raise Refused([Problem("no-table", f"there is no table {table!r} to make a dataset from", "table")])
    return Draft.objects.create(descriptor=draft_from_table(table), user=user)


def draft_of_dataset(dataset: Dataset, *, user: Any) -> Draft:
    """Return a draft of a dataset's next version, with a sample of its last file where there is one."""
    descriptor = dataset.current.descriptor
    draft = Draft(dataset=dataset, descriptor=descriptor, base=descriptor, user=user)
    last = dataset.runs.exclude(status=Status.GONE).exclude(version=UPLOADING).order_by("-id").first()
    if last is not None:
        sample = sample_of(last)
        if sample is not None:
            draft.sample, draft.sample_cut = sample
            draft.sample_name = last.key.rpartition("/")[2][:255]
    draft.save()
    return draft


def draft_of_run(run: Run, *, user: Any) -> Draft:
    """Return a draft of a new dataset from a file that waits for one, with a pattern that the file matches."""
    sample = sample_of(run)
    if sample is None:
        raise conflict("gone", f"{run.key} is no longer there")
    path = run.key.removeprefix("raw/")
    name = re.sub(r"[-_.]*[0-9][-_.0-9]*$", "", name_for(path.rpartition("/")[2])) or "dataset"
    data, cut = sample
    descriptor = draft_from_sample(data, file_name=path.rpartition("/")[2], name=name, cut=cut)
    if not any(matches(pattern, path) for pattern in Descriptor(name=name).file_patterns):
        descriptor["files"] = [pattern_for(path)]
    return Draft.objects.create(
        descriptor=descriptor, sample=data, sample_cut=cut, sample_name=path.rpartition("/")[2][:255], user=user
    )


def pattern_for(path: str) -> str:
    """Return a pattern that a file and its later siblings match: what is counted or dated in it is left open."""
    return re.sub(r"\*(?:[-_. ]?\*)+", "*", re.sub(r"[0-9]+", "*", path)).replace("\\", "?")


def sample_of(run: Run) -> tuple[bytes, bool] | None:
    """Return the start of a run's file; None where it is gone, or cannot be read as a file of rows."""
    try:
        with lake().open(version_of(run)) as source:
            return head_of(source)
    except (Gone, Refused):
        return None


def set_sample(draft: Draft, source: BinaryIO, file_name: str) -> None:
    """Put another sample under a draft."""
    draft.sample, draft.sample_cut = head_of(source)
    draft.sample_name = file_name[:255]
    draft.save(update_fields=["sample", "sample_cut", "sample_name", "touched_at"])


def tables_to_offer() -> list[str]:
    """Return the tables that a dataset may be made from: none of the console's own."""
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    return sorted(name for name in names if not is_own(name))


def publish(draft: Draft, data: dict[str, Any], *, user: Any, over: bool = False) -> SchemaVersion:
    """Make a draft the dataset's newest version, and ring for the files that waited for it.

    Raises Conflict where somebody else has published since the draft was begun, unless told to go `over` it.
    """
    descriptor = compile_schema(data).descriptor
    if problems := name_problems(draft, descriptor):
        raise Refused(problems)
    if draft.dataset is not None and not over:
        current = draft.dataset.current
        if draft.base != current.descriptor and data != current.descriptor:
            who = f" by {current.created_by.get_username()}" if current.created_by else ""
            raise conflict(
                "overtaken", f"version {current.number} was published{who} since you began; compare it first"
            )
    version = save_dataset(data, user=user)
    draft.delete()
    ring_all(version.dataset)
    return version


def change_table(data: dict[str, Any], *, user: Any) -> Alteration | None:
    """Bring a table to what a descriptor needs; the caller has made sure that this user may."""
    schema = compile_schema(data)
    if problems := own_problems(schema.descriptor):
        raise Refused(problems)
    done = alter(schema)
    if done is not None:
        subject = Dataset.objects.filter(name=schema.descriptor.name).first() or Dataset(name=schema.descriptor.name)
        record("table.altered", subject, user=user, table=done.table, sql=list(done.statements))
    return done


def ring_all(dataset: Dataset) -> None:
    """Ring for the runs of a dataset that nobody works on."""
    if not dataset.paused:
        for run in dataset.runs.filter(Run.free(), closed_at=None, status__in=OPEN).order_by("id")[:1000]:
            ring(run)


def resume(dataset: Dataset, *, user: Any) -> None:
    """Let a paused dataset's files go on, now."""
    pause(dataset, paused=False, user=user)
    ring_all(dataset)


def waiting_files() -> Any:
    """Return the runs that no dataset matches."""
    return Run.objects.filter(dataset=None, status__in=OPEN, closed_at=None).order_by("-id")


def assign(run: Run, dataset: Dataset, *, user: Any) -> None:
    """Load a file that no dataset matches into this one."""
    if dataset.retired:
        raise conflict("retired", f"{dataset} is retired and takes no files")
    with transaction.atomic():
        if not waiting_files().filter(pk=run.pk).update(dataset=dataset):
            raise conflict("assigned", f"{run} does not wait for a dataset any more")
        record("run.assigned", run, user=user, dataset=dataset.name)
    run.dataset = dataset
    ring(run)
