"""Corrected rejects as a spreadsheet brings them back: .xlsx or CSV, compared with what stands; only changes count.

Excel and LibreOffice keep the text cells that we sent; what somebody has retyped may be a number or a date: retyped.py.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, BinaryIO

from migration_console.lib.audit import record
from migration_console.lib.errors import Problem, Refused, refuse

from .amending import EDITED, correct, holding
from .cells import Cells, Texts
from .descriptor import REJECT_COLUMNS
from .models import UNSENT, Reject, Run
from .rejects import save_rejects
from .retyped import as_column_text
from .touched import SEEN, touched

MAX_BYTES = 64 << 20
MAX_UNPACKED = 512 << 20
# A workbook is read as a full table up to its last cell: a stray cell far outside would fill the memory.
MAX_CELLS = 10_000_000
SLICE = 2000
SAMPLES = 12
# The first column of the form whose cells no spreadsheet takes for formulas.
SAFE_MARK = "_safe"
RUNS = re.compile(r"'*[=+\-@\t\r\n|%＝＋－＠]")
# The beginning of a row or a cell in a sheet's XML, and what it says of its place.
CELL = re.compile(rb"<(?:[\w.-]+:)?(row|c)\b([^<>]*)>")
REFERENCE = re.compile(rb"""\br\s*=\s*["']([A-Z]{0,3})([0-9]{1,8})["']""")
# What a spreadsheet shows of a long number, and saves as CSV.
SHORTENED = re.compile(r"[+-]?[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]{2,3}")
LONG_NUMBER = re.compile(r"[+-]?[0-9]{12,}")
Line = tuple[int, dict[str, Any]]


def safe(text: str) -> str:
    """Return text that no spreadsheet runs: ' in front of what could be a formula. `unsafe` takes it away again."""
    return f"'{text}" if RUNS.match(text) else text


def unsafe(text: str) -> str:
    """Return what `safe` was given."""
    return text[1:] if text.startswith("'") and RUNS.match(text) else text


@dataclass
class Found:
    """What a corrected file would change."""

    rows: int = 0
    same: int = 0
    changed: int = 0
    cells: int = 0
    passing: int = 0
    # Rows that somebody has sent or dismissed, or that are no rejects of the run.
    gone: list[int] = field(default_factory=list)
    # Rows whose cells somebody else has corrected since the file went out.
    overtaken: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    samples: list[tuple[int, str, str | None, str | None]] = field(default_factory=list)


def look_at(run: Run, source: BinaryIO, name: str, *, user: Any = None) -> Found:
    """Say what a user's corrected file would change; nothing is written. Refused where it is no such file."""
    cells, found = Cells(run), Found()
    for slice_ in _slices(read_lines(source, name), cells, found):
        _take(run, slice_, cells, found, user=user)
    return found


def take(run: Run, source: BinaryIO, name: str, *, user: Any = None) -> Found:
    """Correct the rejects as a file says, a slice in a transaction; what it leaves as it is stays so."""
    cells, found = Cells(run), Found()
    for slice_ in _slices(read_lines(source, name), cells, found):
        with holding(run):
            before = found.changed
            save_rejects(_take(run, slice_, cells, found, user=user), EDITED)
            if found.changed > before:
                record("reject.edited", run, user=user, rows=found.changed - before, file=name)
    return found


def _slices(lines: Iterator[Line], cells: Cells, found: Found) -> Iterator[dict[int, dict[str, Any]]]:
    seen: set[int] = set()
    some: dict[int, dict[str, Any]] = {}
    for row, values in lines:
        if unknown := values.keys() - {*cells.names, SEEN}:
            raise refuse("unknown-column", f"the dataset has no column {min(unknown)!r}", min(unknown))
        if row in seen:
            raise refuse("row", f"row {row} is there twice", str(row))
        seen.add(row)
        some[row] = values
        found.rows += 1
        if len(some) == SLICE:
            yield some
            some = {}
    if some:
        yield some
    if not found.rows:
        raise refuse("no-rows", "there is no row below the names of the columns")


def _take(run: Run, lines: dict[int, dict[str, Any]], cells: Cells, found: Found, *, user: Any) -> list[Reject]:
    """Correct rejects in memory; return those that changed."""
    there = {reject.row: reject for reject in run.rejects.filter(row__in=lines, state__in=UNSENT)}
    found.gone += sorted(lines.keys() - there.keys())
    changed = []
    for row, reject in sorted(there.items()):
        now, seen = cells.current(reject), str(lines[row].get(SEEN) or "")
        new, overtaken = touched(reject, _texts(row, lines[row], now or {}, cells, found), cells, seen=seen, user=user)
        if overtaken:
            found.overtaken.append(row)
        elif new:
            found.samples += [(row, name, (now or {}).get(name), text) for name, text in new.items()]
            # A row that could not be cut went out empty.
            base = dict(reject.corrected or {}) if now is not None else dict.fromkeys(cells.names)
            correct(reject, cells, {**base, **new}, user=user)
            found.cells += len(new)
            found.passing += reject.state == Reject.State.READY
            changed.append(reject)
        else:
            found.same += 1
    found.changed += len(changed)
    del found.samples[SAMPLES:]
    return changed


def _texts(row: int, values: dict[str, Any], now: Texts, cells: Cells, found: Found) -> Texts:
    """Return the cells of a row as text; those that nobody can understand are told, and left out."""
    texts = {}
    for column in cells.schema.columns:
        if column.name in values:
            text, problem = as_column_text(values[column.name], column)
            if problem := problem or _shortened(text, now.get(column.name)):
                found.problems.append(f"Row {row}, {column.name}: {problem}")
            else:
                texts[column.name] = text
    return texts


def _shortened(text: str | None, now: str | None) -> str:
    """Return what is wrong where a spreadsheet has made 1.23457E+15 of a long number; its digits are lost."""
    if not SHORTENED.fullmatch(text or "") or not LONG_NUMBER.fullmatch(now or ""):
        return ""
    return (
        f"a spreadsheet has shortened {now} to {text}; type it again in the workbook, whose cells are text, not in CSV"
    )


def read_lines(source: BinaryIO, name: str) -> Iterator[Line]:
    """Yield row number and cells by column of a corrected file; those that only the way out has are left out."""
    head = source.read(4)
    source.seek(0)
    return _read_xlsx(source) if head.startswith(b"PK") else read_csv_lines(source)


def _read_xlsx(source: BinaryIO) -> Iterator[Line]:
    rows = iter(_table(source))
    header = [str(cell) for cell in next(rows, [])]
    while header and not header[-1]:
        header.pop()
    columns = _columns(header)
    for number, cells in enumerate(rows, start=2):
        if any(cell not in {"", None} for cell in cells[: len(header)]):
            yield _row_number(cells[header.index("_row")], f"line {number}"), {n: cells[at] for n, at in columns}


def _table(source: BinaryIO) -> list[list[Any]]:
    """Return the cells of a workbook's sheet of rejects, or of its first one."""
    from python_calamine import CalamineWorkbook

    try:
        with zipfile.ZipFile(source) as packed:
            check_workbook(packed)
        source.seek(0)
        book = CalamineWorkbook.from_filelike(source)
        names = book.sheet_names
        sheet = book.get_sheet_by_name("rejects" if "rejects" in names else names[0])
        return sheet.to_python(skip_empty_area=False)
    except Refused:
        raise
    except Exception as error:  # zipfile and zlib raise nearly anything about bytes that were damaged
        told = f"{error or 'it ends in the middle'}; save it anew, or send it again"
        raise refuse("not-xlsx", f"the file cannot be read as an Excel workbook (.xlsx): {told}") from error


def check_workbook(packed: zipfile.ZipFile) -> None:
    """Refuse a workbook that would not fit into memory; by what is really in it, not by what it says of itself."""
    names = set(packed.namelist())
    if "xl/workbook.xml" not in names or names & {"xl/workbook.bin", "content.xml"}:
        raise refuse("not-xlsx", "the file is no Excel workbook (.xlsx); save it as one, or as CSV")
    left = MAX_UNPACKED
    for name in sorted(names):
        with packed.open(name) as part:
            left = _check_part(part, left)


def _check_part(part: IO[bytes], left: int) -> int:
    """Look for the last row and column of a part of a workbook; return how many bytes the others may have."""
    row = column = rows = columns = 0
    rest = b""
    while chunk := part.read(1 << 20):
        left -= len(chunk)
        if left < 0:
            raise refuse("too-large", f"the workbook unpacks to more than {MAX_UNPACKED >> 20} MiB; split it")
        data = rest + chunk
        whole = data.rfind(b"<")
        rest = data[whole:] if whole >= 0 and len(data) - whole < 1 << 16 else b""
        for tag in CELL.finditer(data[: len(data) - len(rest)]):
            kind, reference = tag[1], REFERENCE.search(tag[2])
            letters, digits = reference.groups() if reference else (b"", b"")
            if kind == b"row":
                row, column = int(digits) if digits else row + 1, 0
            else:
                column = _column_number(letters) if letters else column + 1
                row = int(digits) if digits else row
            rows, columns = max(rows, row), max(columns, column)
            if rows * columns > MAX_CELLS:
                far = f"the workbook reaches to row {rows}, column {columns}"
                raise refuse("too-large", f"{far}; delete what is far outside the table, or split the file")
    return left


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def read_csv_lines(source: BinaryIO) -> Iterator[Line]:
    """Yield row number and cells by column of a CSV file, delimited as its header is."""
    text = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
    try:
        first = text.readline(1 << 20)
        delimiter = next((mark for mark in ";\t" if f"_row{mark}" in first.replace('"', "")), ",")
        text.seek(0)
        lines = csv.reader(text, delimiter=delimiter, strict=True)
        header = next(lines, [])
        safely = SAFE_MARK in header
        columns = _columns([unsafe(name) if safely else name for name in header])
        at_row = header.index("_row")
        for fields in lines:
            if not fields:
                continue
            if len(fields) != len(header):
                raise refuse("row", f"line {lines.line_num} has too few or too many fields")
            row = _row_number(fields[at_row], f"line {lines.line_num}")
            yield row, {name: (unsafe(fields[at]) if safely else fields[at]) or None for name, at in columns}
    except (csv.Error, UnicodeDecodeError) as error:
        raise refuse("not-csv", f"the file is neither an Excel workbook nor CSV in UTF-8: {error}") from None
    finally:
        text.detach()


def _columns(header: list[str]) -> list[tuple[str, int]]:
    if "_row" not in header or len(set(header)) < len(header):
        raise refuse("missing-column", "the first line must name the columns, each once, _row among them")
    return [(name, at) for at, name in enumerate(header) if name == SEEN or name not in REJECT_COLUMNS]


def _row_number(cell: Any, place: str) -> int:
    text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
    if not re.fullmatch("[0-9]{1,18}", text):
        raise Refused([Problem("row", f"{place} has no row number in the column _row; keep it as it was", place)])
    return int(text)
