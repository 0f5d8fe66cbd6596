"""Datasets: saved as schema versions, matched to files, resolved to tables."""

from typing import Any

from django.db import connection, transaction

from migration_console.lib.definition import read_definition
from migration_console.lib.errors import Problem, Refused, conflict
from migration_console.lib.tables import is_own

from .descriptor import Descriptor
from .handwritten import model_hash
from .models import OPEN, Dataset, Run, SchemaVersion
from .patterns import best_match, tie
from .schema import Schema, compile_schema
from .target import table_problems


def save_dataset(data: dict[str, Any], *, user: Any = None) -> SchemaVersion:
    """Save a descriptor as the dataset's newest version; the same again changes nothing.

    Raises Refused with every mistake: in the descriptor, its references, its patterns, and against the
    table where it exists.
    """
    schema = compile_schema(data)
    descriptor = schema.descriptor
    problems = reference_problems(descriptor) + pattern_problems(descriptor) + name_problems(descriptor)
    table = read_definition(connection, descriptor.target)
    if table is not None:
        problems += table_problems(connection.vendor, schema, table)
    if problems:
        raise Refused(problems)
    with transaction.atomic():
        dataset, _ = Dataset.objects.select_for_update().get_or_create(
            name=descriptor.name, defaults={"table": descriptor.target}
        )
        version = _version(dataset, data, descriptor.model, user)
        Dataset.objects.filter(pk=dataset.pk).update(table=descriptor.target, retired=False)
    assign_files()
    return version


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
    """Refuse the console's own tables as targets: whoever writes users could make himself one."""
    if is_own(descriptor.target):
        return [Problem("descriptor", f"{descriptor.target} is the console's own; choose another table", "/table")]
    return []


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


def remove_dataset(dataset: Dataset) -> None:
    """Retire a dataset; one that was never used goes altogether. Its table stays."""
    others = [
        other.name
        for other in descriptors(besides=dataset.name)
        if dataset.name in {key.reference.resource for key in other.schema_.foreign_keys}
    ]
    if others:
        raise conflict("referenced", f"{', '.join(others)} refer to {dataset}; change them first")
    if dataset.runs.filter(closed_at=None).exists():
        raise conflict("runs", f"{dataset} has runs under way; wait for them, or cancel them")
    if dataset.runs.exists():
        Dataset.objects.filter(pk=dataset.pk).update(retired=True)
    else:
        dataset.delete()
