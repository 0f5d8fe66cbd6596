"""Rejected rows sent again with better values: a file of their own under raw/, loaded by a run with a parent.

Each reject is claimed once. Where the child refuses the row, or ends badly, the reject is open again with
the child's reasons; the original bytes stay as they came.
"""

import csv
import io
import re
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from django.db import transaction

from migration_console.lib.errors import Problem, Refused, conflict, refuse

from .admission import admit_upload
from .bell import ring
from .descriptor import Dialect
from .models import CORRECTION, OPEN, Reject, Run, Status
from .reader import Scanner
from .schema import Schema
from .survey import Survey, layout_of, stored_survey

Values = Mapping[str, object]


def original_values(reject: Reject, schema: Schema, found: Survey) -> dict[str, str | None] | None:
    """Return a reject's fields as they came, by column; None where its bytes cannot be cut into fields."""
    raw = bytes(reject.raw)
    try:
        record = next(Scanner(layout_of(schema, found.encoding)).strict(raw, 0, len(raw), final=True), None)
    except Refused:
        return None
    if record is None or record.code or len(record.fields) != found.width:
        return None
    return {name: record.fields[index] for name, index in found.columns.items()}


def resubmit(run: Run, corrections: Mapping[int, Values], *, user: Any = None) -> Run:
    """Send rejected rows of a run again; `corrections` maps row numbers to what changes, by column.

    Raises Refused for rows and columns that do not exist, Conflict for rows that are not open any more.
    """
    if run.closed_at is None or run.schema_version is None or run.dataset is None:
        raise conflict("not-ended", f"{run} is {run.status}; its rejects can be sent again once it has ended")
    schema = run.dataset.current.schema
    if schema.descriptor.mode == "replace":
        raise refuse("replace", f"{run.dataset} replaces its table by each file; send the whole file again")
    rejects = _open_rejects(run, corrections)
    rows = _rows(run, rejects, corrections, schema)

    def claim(child: Run) -> None:
        for number, reject in enumerate(rejects, start=1):
            reject.corrected, reject.corrected_by = dict(corrections[reject.row]), user
            reject.child, reject.child_row, reject.state = child, number, Reject.State.RESUBMITTED
        with transaction.atomic():
            # The run's row is the lock: of two who send the same reject, the second finds it taken.
            Run.objects.select_for_update().get(pk=run.pk)
            _open_rejects(run, corrections)
            columns = ["corrected", "corrected_by", "child", "child_row", "state"]
            Reject.objects.bulk_update(rejects, columns, batch_size=500)

    with tempfile.TemporaryFile() as file:
        write_file(file, rows, schema)
        file.seek(0)
        child = admit_upload(
            f"raw/{run.dataset}-corrected-{run.pk}.csv", file, trigger=CORRECTION, dataset=run.dataset, then=claim,
            parent=run, reason=f"corrected rows of run {run.pk}", user=user,
        )  # fmt: skip
    run.note_open_rejects()
    ring(child)
    return child


def _open_rejects(run: Run, corrections: Mapping[int, Values]) -> list[Reject]:
    """Return the rejects that the corrections name, in the order of the file, if all of them are open."""
    found = {r.row: r for r in run.rejects.filter(row__in=corrections).order_by("row")}
    if missing := sorted(corrections.keys() - found.keys()):
        raise Refused(Problem("no-such-row", f"row {row} of {run} was not rejected", str(row)) for row in missing)
    if taken := [r for r in found.values() if r.state != Reject.State.OPEN]:
        words = ", ".join(f"{r.row} ({r.state})" for r in taken[:20])
        raise conflict("not-open", f"rows that are not open any more: {words}", "rows")
    return list(found.values())


def _rows(run: Run, rejects: list[Reject], corrections: Mapping[int, Values], schema: Schema) -> list[list[str | None]]:
    """Return the rows as they shall be, in the order of the schema's columns; Refused with every mistake."""
    assert run.schema_version is not None
    old, found = run.schema_version.schema, stored_survey(run.survey)
    rows, problems = list[list[str | None]](), list[Problem]()
    for reject in rejects:
        values = corrections[reject.row]
        problems += [
            Problem("unknown-column", f"the dataset has no column {name!r}", f"{reject.row}.{name}")
            for name in values.keys() - set(schema.names)
        ]
        came = original_values(reject, old, found)
        merged: dict[str, object] = {**(came or {}), **values}
        if came is None and (absent := [name for name in schema.names if name not in values]):
            message = f"row {reject.row} cannot be cut into fields; give all of it: {', '.join(absent)} is missing"
            problems.append(Problem("missing-column", message, str(reject.row)))
        rows.append([_text(merged.get(name)) for name in schema.names])
    if problems:
        raise Refused(problems)
    return rows


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else str(value)


def write_file(file: BinaryIO, rows: Iterable[list[str | None]], schema: Schema) -> None:
    """Write rows in the shape that the dataset's files have; NULL is an empty field, the empty text is quoted."""
    dialect, encoding = schema.descriptor.dialect, schema.descriptor.encoding
    text = io.TextIOWrapper(file, encoding=encoding, newline="", write_through=True)
    try:
        text.write("\n" * dialect.preamble)
        if dialect.header:
            text.write(_line(schema.names, dialect))
        for row in rows:
            text.write(_line(row, dialect))
        text.write("\n".join("end" for _ in range(dialect.footer)))
    except UnicodeEncodeError as error:
        raise refuse("encoding", f"{error.object[error.start]!r} does not fit the dataset's {encoding}") from None
    finally:
        text.flush()
        text.detach()


def _line(row: list[str | None] | list[str], dialect: Dialect) -> str:
    quote, delimiter = dialect.quote_char, dialect.delimiter
    if quote is None:
        if any(mark in (value or "") for value in row for mark in (delimiter, "\n", "\r")):
            raise refuse("quote", "a value holds the delimiter or a line end, and the dataset's files have no quotes")
        return delimiter.join(value or "" for value in row) + "\n"
    return delimiter.join("" if v is None else _field(v, quote, delimiter) for v in row) + "\n"


def _field(value: str, quote: str, delimiter: str) -> str:
    plain = value and not any(mark in value for mark in (quote, delimiter, "\n", "\r"))
    return value if plain else quote + value.replace(quote, quote * 2) + quote


def settle(child: Run) -> None:
    """Tell the rejects that a run was made of what became of them; done already is done."""
    if child.parent_id is None or child.trigger != CORRECTION or child.status in OPEN:
        return
    loaded = child.status in {Status.LOADED, Status.ARCHIVED}
    refused = {reject.row: reject for reject in child.rejects.all()} if loaded else {}
    for reject in Reject.objects.filter(child=child, state=Reject.State.RESUBMITTED):
        again = refused.get(reject.child_row or 0)
        if loaded and again is None:
            reject.state = Reject.State.FIXED
        else:
            reject.state = Reject.State.OPEN
            reject.errors = again.errors if again else reject.errors
        reject.save(update_fields=["state", "errors"])
    # They go on as rows of the parent: nobody should mend them twice.
    child.rejects.filter(state=Reject.State.OPEN).update(state=Reject.State.DISMISSED)
    for run in (child, child.parent):
        if run is not None:
            run.note_open_rejects()


def read_csv(source: BinaryIO, limit: int) -> dict[int, Values]:
    """Return the corrections of a CSV file with the column `_row`; other columns that begin with _ are left out."""
    lines = csv.DictReader(io.TextIOWrapper(source, encoding="utf-8-sig", newline=""), strict=True)
    found: dict[int, Values] = {}
    try:
        names = list(lines.fieldnames or [])
        if "_row" not in names or len(set(names)) < len(names):
            raise refuse("missing-column", "the first line must name the columns, each once, _row among them")
        for line in lines:
            row = line.pop("_row")
            if not re.fullmatch("[0-9]{1,18}", row) or int(row) in found or None in line or None in line.values():
                raise refuse("row", f"line {lines.line_num} has no row number of its own, or too few or many fields")
            found[int(row)] = {name: value or None for name, value in line.items() if not name.startswith("_")}
            if len(found) > limit:
                raise refuse("too-many-rows", f"send at most {limit} rows at a time")
    except (csv.Error, UnicodeDecodeError) as error:
        raise refuse("not-csv", f"line {lines.line_num}: {error}") from None
    if not found:
        raise refuse("no-rows", "there is no row below the names of the columns")
    return found
