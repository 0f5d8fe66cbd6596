"""Rejected rows sent again with better values: a file of their own under raw/, loaded by a run with a parent.

Each reject is claimed once; the original bytes stay as they came. What becomes of it: settling.py.
"""

import hashlib
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import orjson
from django.db import connection

from migration_console.lib.audit import record
from migration_console.lib.engine import engine
from migration_console.lib.errors import Problem, Refused, conflict, refuse
from migration_console.lib.statements import quote

from .admission import admit_upload
from .amending import SLICE, check_workable, holding, judged, recheck
from .bell import ring
from .cells import BLANK, Cells, as_text, is_blank
from .descriptor import Dialect
from .models import CORRECTION, UNSENT, Reject, Run, Status
from .rejects import Choice, pages, save_rejects
from .schema import Schema
from .sheets import read_csv_lines
from .touched import SEEN, touched

Values = Mapping[str, object]
CLAIMED = "_claimed_rejects"


@dataclass
class Sheet:
    """Rows on their way into a file, and what must still be so when they are claimed."""

    rows: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    # Rejects that were ready by an older version of the rules.
    fallen: list[int] = field(default_factory=list)

    def note(self, row: int, corrected: object) -> None:
        """Take a row in."""
        self.rows += 1
        self.digest.update(orjson.dumps([row, corrected], option=orjson.OPT_SORT_KEYS))


def resubmit(run: Run, corrections: Mapping[int, Values], *, user: Any = None, sheet: bool = False) -> Run:
    """Send rejected rows of a run again; `corrections` maps row numbers to what changes, by column.

    Those of a `sheet` have a cell for every column, as it went out where nobody touched it: no such cell changes
    anything, an empty one least of all, which may have been the empty text, or a row that cannot be cut.
    Raises Refused for rows and columns that do not exist, Conflict for rows that are not open any more.
    """
    cells = sendable(run)
    rejects = _open_rejects(run, corrections)
    if sheet:
        corrections = {reject.row: _touched(reject, corrections[reject.row], cells, user) for reject in rejects}
    rows = _rows(run, rejects, corrections, cells)
    seen = {reject.row: reject.corrected for reject in rejects}

    def claim(child: Run) -> None:
        for number, reject in enumerate(rejects, start=1):
            reject.corrected, reject.corrected_by = {**(reject.corrected or {}), **corrections[reject.row]}, user
            reject.child, reject.child_row, reject.state = child, number, Reject.State.RESUBMITTED
        # Of two who send the same reject, the second finds it taken.
        with holding(run):
            if {reject.row: reject.corrected for reject in _open_rejects(run, corrections)} != seen:
                raise _meanwhile()
            save_rejects(rejects, ["corrected", "corrected_by", "child", "child_row", "state"])
            record("reject.resubmitted", run, user=user, rows=len(rejects), child=child.pk)
            _still_ours(child)

    with tempfile.TemporaryFile() as file:
        write_file(file, rows, cells.schema)
        return _admit(run, file, claim, user)


def send(run: Run, *, rows: list[int] | None = None, action: str = "reject.resubmitted", user: Any = None) -> Run:
    """Send the rejects that are ready, or those of some rows, in one child run.

    Streams: neither rows nor rejects are in memory all at once. Refused where none is ready.
    """
    cells, sheet = sendable(run), Sheet()
    choice = Choice(states=[Reject.State.READY], rows=rows)

    def claim(child: Run) -> None:
        with holding(run):
            _let_fall(sheet.fallen)
            _claim_ready(choice.rejects(run), child, sheet)
            record(action, run, user=user, rows=sheet.rows, child=child.pk)
            _still_ours(child)

    with tempfile.TemporaryFile() as file:
        write_file(file, _passing(run, choice, cells, sheet), cells.schema)
        if not sheet.rows:
            with holding(run):
                _let_fall(sheet.fallen)
            raise refuse("nothing-ready", "no corrected row passes the rules yet; mend the marked cells first", "rows")
        return _admit(run, file, claim, user)


def replay(run: Run, *, database: bool = False, user: Any = None) -> Run:
    """Send all rejects that pass the newest rules as they are; with `database` those too that only it has refused."""
    sendable(run)
    recheck(run, database=database)
    return send(run, action="reject.replayed", user=user)


def would_pass(run: Run) -> tuple[int, int]:
    """Count the unsent rejects that pass the newest rules: ready to go, or refused by the database alone."""
    cells, by_rules, by_database = Cells(run), 0, 0
    for page in pages(run, SLICE, choice=Choice()):
        for reject in page:
            if judged(reject, cells) == Reject.State.READY:
                by_rules += 1
            elif judged(reject, cells, database=True) == Reject.State.READY:
                by_database += 1
    return by_rules, by_database


def sendable(run: Run) -> Cells:
    """Return the cells of a run whose rejects can be sent again; Refused or Conflict where they cannot."""
    check_workable(run)
    cells = Cells(run)
    if cells.schema.descriptor.mode == "replace":
        raise refuse("replace", f"{run.dataset} replaces its table by each file; send the whole file again")
    return cells


def _admit(run: Run, file: BinaryIO, claim: Any, user: Any) -> Run:
    file.seek(0)
    child = admit_upload(
        f"raw/{run.dataset}-corrected-{run.pk}.csv", file, trigger=CORRECTION, dataset=run.dataset, then=claim,
        parent=run, reason=f"corrected rows of run {run.pk}", user=user,
    )  # fmt: skip
    ring(child)
    return child


def _passing(run: Run, choice: Choice, cells: Cells, sheet: Sheet) -> Iterator[list[str | None]]:
    """Yield the chosen rows as they shall be; those that the newest rules refuse are left out, and noted."""
    for page in pages(run, SLICE, choice=choice):
        for reject in page:
            values = cells.current(reject)
            if values is None or cells.judge(values):
                sheet.fallen.append(reject.pk)
                continue
            sheet.note(reject.row, reject.corrected)
            yield [values[name] for name in cells.names]


def _let_fall(fallen: list[int]) -> None:
    """Take back that rejects are ready, which a newer version of the rules refuses."""
    for start in range(0, len(fallen), 1000):
        some = Reject.objects.filter(pk__in=fallen[start : start + 1000], state=Reject.State.READY)
        some.filter(corrected__isnull=True).update(state=Reject.State.OPEN)
        some.exclude(corrected__isnull=True).update(state=Reject.State.EDITED)


def _claim_ready(chosen: Any, child: Run, sheet: Sheet) -> None:
    """Give the rejects to a child run, numbered as its file has them; Conflict if they are not those of the file."""
    there, after = Sheet(), 0
    while some := list(chosen.filter(row__gt=after).values_list("row", "corrected")[:SLICE]):
        for row, corrected in some:
            there.note(row, corrected)
        after = some[-1][0]
    if there.digest.digest() != sheet.digest.digest():
        raise _meanwhile()
    sql, parameters = chosen.order_by().values_list("id", "row").query.sql_with_params()
    numbered = f"SELECT id, ROW_NUMBER() OVER (ORDER BY {quote('row')}) AS child_row FROM ({sql}) chosen"
    table = Reject._meta.db_table
    with connection.cursor() as cursor:
        temporary = "" if connection.vendor == "sqlite" else "TEMPORARY "
        # One that failed here before has left it: rolling back drops no temporary table.
        cursor.execute(f"DROP {temporary}TABLE IF EXISTS {quote(CLAIMED)}")
        cursor.execute(f"CREATE TEMPORARY TABLE {quote(CLAIMED)} AS {numbered}", parameters)
        constants = {"child_id": child.pk}
        cursor.execute(engine(connection).update_from_sql(table, CLAIMED, ["id"], ["child_row"], constants, "TRUE"))
        cursor.execute(f"DROP {temporary}TABLE {quote(CLAIMED)}")
    Reject.objects.filter(child=child).update(state=Reject.State.RESUBMITTED)


def _meanwhile() -> Refused:
    return conflict("not-open", "somebody has changed or sent some of these rows just now; look again, then send")


def _still_ours(child: Run) -> None:
    """Raise Conflict where claiming took longer than the lease: a worker may have found the child without its file.

    Last in the transaction: the child's row stays locked until the claim is seen, by whoever takes the child over.
    """
    if not Run.objects.select_for_update().filter(child.held(), status=Status.RECEIVED).exists():
        raise conflict("too-slow", "this took too long, and nothing was sent; send the rows once more")


def _open_rejects(run: Run, corrections: Mapping[int, Values]) -> list[Reject]:
    """Return the rejects that the corrections name, in the order of the file, if all of them are open."""
    found = {r.row: r for r in run.rejects.filter(row__in=corrections).order_by("row")}
    if missing := sorted(corrections.keys() - found.keys()):
        raise Refused(Problem("no-such-row", f"row {row} of {run} was not rejected", str(row)) for row in missing)
    if taken := [r for r in found.values() if r.state not in UNSENT]:
        words = ", ".join(f"{r.row} ({r.state})" for r in taken[:20])
        raise conflict("not-open", f"rows that are not open any more: {words}", "rows")
    return list(found.values())


def _touched(reject: Reject, values: Values, cells: Cells, user: Any) -> Values:
    """Return the cells of a sheet that are not as they went out; all of them for a row that had none."""
    texts = {name: value for name, value in values.items() if name != SEEN}
    new, overtaken = touched(reject, texts, cells, seen=str(values.get(SEEN) or ""), user=user)
    if overtaken:
        told = f"somebody has corrected row {reject.row} since the file was made; get the rejects again"
        raise conflict("not-open", told, str(reject.row))
    return {**dict.fromkeys(cells.names), **new} if new and cells.current(reject) is None else new


def _rows(run: Run, rejects: list[Reject], corrections: Mapping[int, Values], cells: Cells) -> list[list[str | None]]:
    """Return the rows as they shall be, in the order of the schema's columns; Refused with every mistake."""
    rows, problems = list[list[str | None]](), list[Problem]()
    for reject in rejects:
        values, now = corrections[reject.row], cells.current(reject)
        merged: dict[str, object] = {**(now or {}), **values}
        problems += [
            Problem("unknown-column", f"the dataset has no column {name!r}", f"{reject.row}.{name}")
            for name in merged.keys() - set(cells.names)
        ]
        if now is None and (absent := [name for name in cells.names if name not in values]):
            missing = f"give all of it, or leave it out: {', '.join(absent)} is missing"
            message = f"row {reject.row} cannot be cut into fields; {missing}"
            problems.append(Problem("missing-column", message, str(reject.row)))
        rows.append([as_text(merged.get(name)) for name in cells.names])
    if problems:
        raise Refused(problems)
    return rows


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
    if is_blank(row, quote):
        raise refuse("blank-line", BLANK)
    if quote is None:
        if any(mark in (value or "") for value in row for mark in (delimiter, "\n", "\r")):
            raise refuse("quote", "a value holds the delimiter or a line end, and the dataset's files have no quotes")
        return delimiter.join(value or "" for value in row) + "\n"
    return delimiter.join("" if v is None else _field(v, quote, delimiter) for v in row) + "\n"


def _field(value: str, quote: str, delimiter: str) -> str:
    plain = value and not any(mark in value for mark in (quote, delimiter, "\n", "\r"))
    return value if plain else quote + value.replace(quote, quote * 2) + quote


def read_csv(source: BinaryIO, limit: int) -> dict[int, Values]:
    """Return the corrections of a CSV file with the column `_row`; what we put beside the columns is left out."""
    found: dict[int, Values] = {}
    for row, values in read_csv_lines(source):
        if row in found:
            raise refuse("row", f"row {row} is there twice", str(row))
        found[row] = values
        if len(found) > limit:
            raise refuse("too-many-rows", f"send at most {limit} rows at a time")
    if not found:
        raise refuse("no-rows", "there is no row below the names of the columns")
    return found
