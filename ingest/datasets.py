"""Datasets: saved as schema versions, matched to files, resolved to tables."""

from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q

from migration_console.lib.audit import record
from migration_console.lib.definition import read_definition
from migration_console.lib.errors import Problem, Refused, conflict
from migration_console.lib.tables import is_own, proper

from .changes import changes
from .descriptor import Descriptor
from .handwritten import model_hash
from .models import IN_THE_TABLE, OPEN, Batch, Dataset, Run, SchemaVersion
from .patterns import best_match, tie
from .schema import Schema, compile_schema
from .target import table_problems

# Changes that the audit log names.
MOST_TOLD = 50


def save_dataset(data: dict[str, Any], *, user: Any = None) -> SchemaVersion:
    """Save a descriptor as the dataset's newest version; the same again changes nothing.

    Raises Refused with every mistake: in the descriptor, its references, its patterns, and against the
    table where it exists.
    """
    schema = compile_schema(data)
    descriptor = schema.descriptor
    if problems := own_problems(descriptor) + misfits(schema):
        raise Refused(problems)
    with transaction.atomic():
        dataset, new = Dataset.objects.select_for_update().get_or_create(
            name=descriptor.name, defaults={"table": descriptor.target}
        )
        # Once more, locked: a run may have begun meanwhile, and goes where its version says.
        if problems := move_problems(descriptor):
            raise Refused(problems)
        before = {} if new else dataset.current.descriptor
        version = _version(dataset, data, descriptor.model, user)
        Dataset.objects.filter(pk=dataset.pk).update(table=descriptor.target, retired=False)
        if new or dataset.retired or before != data:
            told = ["the first version"] if new else changes(before, data)[:MOST_TOLD]
            record("dataset.saved", dataset, user=user, version=version.number, changes=told)
    assign_files()
    return version


def own_problems(descriptor: Descriptor) -> list[Problem]:
    """Return what is wrong with a descriptor among the others: references, patterns, the table."""
    problems = reference_problems(descriptor) + pattern_problems(descriptor)
    return problems + name_problems(descriptor) + move_problems(descriptor)


def misfits(schema: Schema) -> list[Problem]:
    """Return what the table of a schema cannot hold; nothing where it is yet to be made."""
    table = read_definition(connection, schema.descriptor.target)
    return [] if table is None else table_problems(connection.vendor, schema, table)


def _version(dataset: Dataset, data: dict[str, Any], model: str | None, user: Any) -> SchemaVersion:
    latest = dataset.versions.order_by("-number").first()
    source = model_hash(model)
    if latest and latest.descriptor == data and latest.model_hash == source:
        return latest
    if latest and not latest.run_set.exists():
        # Nothing was loaded by it: it may still change.
        latest.descriptor, latest.model_hash, latest.created_by = data, source, user
        latest.save(update_fields=["descriptor", "model_hash", "created_by"])
        return latest
    number = latest.number + 1 if latest else 1
    return SchemaVersion.objects.create(
        dataset=dataset, number=number, descriptor=data, model_hash=source, created_by=user
    )


def descriptors(*, besides: str = "") -> list[Descriptor]:
    """Return the current descriptor of each dataset."""
    return [
        dataset.current.parsed
        for dataset in Dataset.objects.filter(retired=False).exclude(name=besides).order_by("name")
    ]


def reference_problems(descriptor: Descriptor) -> list[Problem]:
    """Return the foreign keys that name datasets or fields which do not exist."""
    known = {other.name: other for other in descriptors(besides=descriptor.name)}
    problems = []
    for index, key in enumerate(descriptor.schema_.foreign_keys):
        place = f"/schema/foreignKeys/{index}/reference"
        resource = key.reference.resource
        if resource in {"", descriptor.name}:
            continue
        if resource not in known:
            message = f"there is no dataset {resource!r}; add it first"
            problems.append(Problem("descriptor", message, f"{place}/resource"))
            continue
        names = {field.name for field in known[resource].schema_.fields}
        problems += [
            Problem("descriptor", f"{resource!r} has no field {name!r}", f"{place}/fields")
            for name in key.reference.fields
            if names and name not in names
        ]
    return problems


def pattern_problems(descriptor: Descriptor) -> list[Problem]:
    """Return the file patterns that tie with another dataset's: a file could belong to both."""
    return [
        Problem("descriptor", f"{mine!r} and {theirs!r} of {other.name} match the same files", f"/files/{index}")
        for other in descriptors(besides=descriptor.name)
        for index, mine in enumerate(descriptor.file_patterns)
        for theirs in other.file_patterns
        if tie(mine, theirs)
    ]


def name_problems(descriptor: Descriptor) -> list[Problem]:
    """Refuse the console's own tables as targets: whoever writes users could make himself one. And second names."""
    if is_own(descriptor.target):
        return [Problem("descriptor", f"{descriptor.target} is the console's own; choose another table", "/table")]
    if (name := proper(descriptor.target)) != descriptor.target:
        message = f"there is a table {name} already, and the server ignores case in names: write it like that"
        return [Problem("descriptor", message, "/table")]
    return []


def move_problems(descriptor: Descriptor) -> list[Problem]:
    """Refuse another table once files have gone into the first: a restore of that one would forget them."""
    dataset = Dataset.objects.filter(name=descriptor.name).exclude(table=descriptor.target).first()
    if dataset is None:
        return []
    begun = Q(status__in=[*OPEN, *IN_THE_TABLE], schema_version__isnull=False)
    loaded = Exists(Batch.objects.filter(run=OuterRef("pk")))
    if not dataset.runs.filter(begun | Q(loaded)).exists():
        return []
    message = (
        f"files of {dataset} have gone into {dataset.table}, and a dataset keeps its table: retire this dataset, and"
        f" make another one for {descriptor.target}"
    )
    return [Problem("descriptor", message, "/table")]


def target_tables() -> list[str]:
    """Return the tables that datasets load into."""
    return list(Dataset.objects.values_list("table", flat=True))


def match_dataset(key: str) -> Dataset | None:
    """Return the dataset that a key under raw/ belongs to; None for none, or for a tie."""
    path = key.removeprefix("raw/")
    names = best_match(path, [(d.name, d.file_patterns) for d in descriptors()])
    return Dataset.objects.get(name=names[0]) if len(names) == 1 else None


def assign_files() -> list[Run]:
    """Give files that had no dataset the one that matches now; return their runs."""
    found = []
    for run in Run.objects.filter(dataset=None, status__in=OPEN, closed_at=None):
        dataset = match_dataset(run.key)
        if dataset and Run.objects.filter(pk=run.pk, dataset=None).update(dataset=dataset):
            run.dataset = dataset
            found.append(run)
    return found


def parent_tables(schema: Schema) -> dict[str, str]:
    """Return the tables of the datasets that foreign keys name."""
    names = {key.reference.resource for key in schema.descriptor.schema_.foreign_keys} - {""}
    tables = dict(Dataset.objects.filter(name__in=names).values_list("name", "table"))
    return {**tables, schema.descriptor.name: schema.descriptor.target}


def parents_to_wait_for(descriptor: Descriptor) -> set[str]:
    """Return the datasets that must load before this one; those that wait for this one in turn are left out."""
    references = {
        other.name: {key.reference.resource for key in other.schema_.foreign_keys} - {"", other.name}
        for other in [*descriptors(besides=descriptor.name), descriptor]
    }
    return {parent for parent in references[descriptor.name] if descriptor.name not in _reachable(parent, references)}


def _reachable(start: str, references: dict[str, set[str]]) -> set[str]:
    seen, todo = set[str](), [start]
    while todo:
        for name in references.get(todo.pop(), set()) - seen:
            seen.add(name)
            todo.append(name)
    return seen


def referring(name: str) -> list[Descriptor]:
    """Return the descriptors whose foreign keys name a dataset."""
    return [
        other
        for other in descriptors(besides=name)
        if name in {key.reference.resource for key in other.schema_.foreign_keys}
    ]


def remove_dataset(dataset: Dataset, *, user: Any = None) -> None:
    """Retire a dataset; one that was never used goes altogether. Its table stays."""
    if others := [other.name for other in referring(dataset.name)]:
        raise conflict("referenced", f"{', '.join(others)} refer to {dataset}; change them first")
    _refuse_open_runs([dataset.name])
    with transaction.atomic():
        gone = Dataset.objects.select_for_update().get(pk=dataset.pk)
        used = dataset.runs.exists()
        if used:
            Dataset.objects.filter(pk=dataset.pk).update(retired=True)
        else:
            dataset.delete()
        record("dataset.retired", gone, user=user, table=gone.table, deleted=not used)


def _refuse_open_runs(names: list[str]) -> None:
    if busy := Run.objects.filter(dataset__name__in=names, closed_at=None).select_related("dataset").first():
        raise conflict("runs", f"{busy.dataset} has runs under way; wait for them, or cancel them")


def rename_dataset(dataset: Dataset, name: str, *, keep_files: bool, user: Any = None) -> SchemaVersion:
    """Give a dataset another name. Its table stays, runs and versions stay with it; others' references follow.

    With `keep_files` the files that it takes stay the same, without it default patterns follow the new name.
    """
    others = referring(dataset.name)
    _refuse_open_runs([dataset.name, *(other.name for other in others)])
    was = dataset.current
    data = {**was.descriptor, "name": name, "table": was.parsed.target}
    if keep_files:
        data["files"] = was.parsed.file_patterns
    schema = compile_schema(data)
    with transaction.atomic():
        if Dataset.objects.filter(name=name).exclude(pk=dataset.pk).exists():
            raise conflict("name", f"there is a dataset {name!r} already", "/name")
        old, dataset.name = dataset.name, name
        Dataset.objects.filter(pk=dataset.pk).update(name=name, table=schema.descriptor.target)
        version = _version(dataset, data, schema.descriptor.model, user)
        for other in Dataset.objects.filter(name__in=[other.name for other in others]):
            now = _pointing_at(other.current.descriptor, old, name)
            _version(other, now, other.current.parsed.model, user)
        # Now that nothing has the old name any more.
        if problems := own_problems(schema.descriptor):
            raise Refused(problems)
        record("dataset.renamed", dataset, user=user, old=old, new=name, files=schema.descriptor.file_patterns)
    assign_files()
    return version


def _pointing_at(data: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return a descriptor whose foreign keys name a dataset by its new name."""
    keys = [
        {**key, "reference": {**key["reference"], "resource": new}} if key["reference"].get("resource") == old else key
        for key in data["schema"]["foreignKeys"]
    ]
    return {**data, "schema": {**data["schema"], "foreignKeys": keys}}


def pause(dataset: Dataset, *, paused: bool, user: Any = None) -> None:
    """Keep a dataset's files waiting, or let them go on."""
    with transaction.atomic():
        if Dataset.objects.filter(pk=dataset.pk, paused=not paused).update(paused=paused):
            record("dataset.paused" if paused else "dataset.resumed", dataset, user=user)
    dataset.paused = paused
