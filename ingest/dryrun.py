"""A file tried without loading: surveyed and validated, nothing written anywhere."""

from pathlib import Path
from typing import Any

from django.conf import settings

from migration_console.lib.errors import Problem, Refused

from .errors import ErrorGroup, group_errors, merge_groups
from .models import Dataset
from .reader import Scanner
from .rows import to_rows
from .schema import Schema
from .stream import decoded, limited, skip
from .survey import Survey, layout_of, survey
from .validation import check_rows

# Of a reject's text.
MOST_BYTES = 4096


def dry_run(file: Path, dataset: Dataset | None, *, name: str = "", bad_rows: int = 0) -> dict[str, Any]:
    """Return what loading would give, as far as the file alone tells: keys are checked by the database only.

    With `bad_rows`, that many of the rows that would be set aside are given under `rows`.
    """
    name = name or file.name
    result: dict[str, Any] = {
        "id": None, "dataset": dataset.name if dataset else None, "key": name, "status": "dry run",
        "read": 0, "loaded": 0, "rejected": 0, "skipped": 0, "seconds": None, "errors": [], "problems": [],
    }  # fmt: skip
    try:
        if dataset is None:
            raise Refused([Problem("no-dataset", f"no dataset matches {name}; name one with --dataset")])
        schema = dataset.current.schema
        with file.open("rb") as source:
            size = file.stat().st_size
            found = survey(
                source,
                schema,
                name=name,
                size=size,
                max_bytes=settings.MAX_FILE_BYTES,
                part_bytes=settings.PART_BYTES,
            )
        errors, rejected, rows = _validate(file, schema, found, bad_rows)
        if bad_rows:
            result["rows"] = rows
        result |= {"read": found.records, "loaded": found.records - rejected, "rejected": rejected, "errors": errors}
    except Refused as refused:
        result |= {"status": "refused", "problems": [problem.as_dict() for problem in refused.problems]}
    return result


def _validate(
    file: Path, schema: Schema, found: Survey, bad_rows: int
) -> tuple[list[ErrorGroup], int, list[dict[str, Any]]]:
    layout = layout_of(schema, found.encoding)
    errors: list[ErrorGroup] = []
    shown: list[dict[str, Any]] = []
    rejected = 0
    with file.open("rb") as source:
        stream = decoded(source, gzip=found.gzip, encoding=found.encoding, max_bytes=settings.MAX_FILE_BYTES)
        skip(stream, found.data_start)
        scanner = Scanner(layout, start=found.data_start)
        for span in scanner.scan(limited(stream, found.data_end - found.data_start)):
            checked = check_rows(to_rows(span, layout, found.columns, found.width), schema)
            rejected += len(checked.rejects)
            errors = merge_groups(errors, group_errors(e for reasons in checked.rejects.values() for e in reasons))
            for position in sorted(checked.rejects)[: bad_rows - len(shown)]:
                text = checked.rows.raw(position)[:MOST_BYTES].decode(layout.encoding, "replace")
                shown.append({"row": span.row + position, "text": text, "errors": checked.rejects[position]})
    return errors, rejected, shown
