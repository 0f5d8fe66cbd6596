"""Rejects as they leave the console: JSON lines, CSV, and Excel, with every reason; row by row, never all at once."""

import csv
import io
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import orjson
import xlsxwriter

from migration_console.lib.lake import lake

from .cells import Cells, marked
from .errors import RowError
from .models import MAX_REJECTS, Run
from .rejects import ALL, Choice, RejectedRow, pages
from .sheets import SAFE_MARK, safe
from .touched import SEEN, mark, sent_cell

# What a sheet holds, its header left out.
MAX_SHEET_ROWS = 1_048_575


def reject_lines(run: Run, choice: Choice = ALL) -> Iterator[dict[str, Any]]:
    """Yield each reject: its place, raw text, `values` by column where it can be cut, state and errors."""
    cells = Cells(run) if run.schema_version and run.survey else None
    for page in pages(run, choice=choice):
        for reject in page:
            kept = RejectedRow(reject.row, reject.line, reject.start, reject.end, bytes(reject.raw), reject.errors)
            values, corrected = cells and cells.original(reject), reject.corrected
            if cells and corrected:
                corrected = cells.renamed(corrected)
            yield {**kept.as_dict(), "values": values, "corrected": corrected, "state": reject.state}
    if choice == ALL and run.rejected > MAX_REJECTS and run.report_key:
        yield from _beyond(run)


def _beyond(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the rejects past what the table keeps, from the report."""
    kept = run.rejects.order_by("-row").values_list("row", flat=True)[:1]
    last = kept[0] if kept else 0
    with lake().open(lake().stat(run.report_key)) as file:
        for line in file:
            reject = orjson.loads(line)
            if reject.get("row", 0) > last:
                yield {**reject, "values": None, "corrected": None, "state": "open"}


def as_json_lines(run: Run) -> Iterator[bytes]:
    """Yield a line a reject."""
    for line in reject_lines(run):
        yield orjson.dumps(line) + b"\n"


def as_csv(run: Run, choice: Choice = ALL, *, safely: bool = False) -> Iterator[bytes]:
    """Yield CSV that can be corrected and sent back: `_row`, the columns as they stand, `_errors`.

    In `_seen` is the mark of how they stand, so that nothing is taken back that others correct meanwhile.
    With `safely` no spreadsheet takes a cell for a formula; reading it back takes the signs away. One that saves
    CSV drops zeros and long numbers all the same: the workbook does not.
    """
    names, made = _names(run), safe if safely else str
    buffer = io.StringIO()
    write = csv.writer(buffer).writerow
    if safely:
        buffer.write("\ufeff")  # without it Excel takes the file for one of its old encodings
    marks = [SAFE_MARK] if safely else []
    write([made(name) for name in ["_row", "_line", *marks, *names, "_errors", SEEN]])
    for line in reject_lines(run, choice):
        cells = [None if cell is None else made(cell) for cell in _cells(line, names)]
        told = [made(sentence(line["errors"])), mark(line["corrected"])]
        write([line["row"], line["line"], *["1" for _ in marks], *cells, *told])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    if rest := buffer.getvalue():
        yield rest.encode()


def as_xlsx(run: Run, choice: Choice = ALL) -> IO[bytes]:
    """Return an Excel file of text cells: no date, number or formula is made of anything. Wrong cells are coloured."""
    names, file = _names(run), tempfile.TemporaryFile()  # noqa: SIM115  # closed by the answer that streams it
    with xlsxwriter.Workbook(file, {"constant_memory": True, "strings_to_urls": False}) as book:
        sheet, text = book.add_worksheet("rejects"), book.add_format({"num_format": "@"})
        wrong = book.add_format({"num_format": "@", "bg_color": "#FFD9D9", "border": 1, "border_color": "#C00000"})
        head = book.add_format({"num_format": "@", "bold": True})
        sheet.freeze_panes(1, 1)
        sheet.set_column(0, 1, 8, text)
        sheet.set_column(2, len(names) + 1, 18, text)
        sheet.set_column(len(names) + 2, len(names) + 2, 80, text)
        for column, name in enumerate(["_row", "_line", *names, "_errors", SEEN, "_raw"]):
            sheet.write_string(0, column, name, head)
        for number, line in enumerate(reject_lines(run, choice), start=1):
            if number > MAX_SHEET_ROWS:
                break
            bad = marked(line["errors"], names)
            cells = [str(line["row"]), str(line["line"]), *_cells(line, names), sentence(line["errors"])]
            cells += [mark(line["corrected"]), line.get("raw", line.get("raw_hex")) if line["values"] is None else None]
            for column, (name, value) in enumerate(zip(["", "", *names, "", "", ""], cells)):
                style = wrong if name and name in bad else text
                if value is not None:
                    sheet.write_string(number, column, sent_cell(value) or "", style)
                elif style is wrong:
                    sheet.write_blank(number, column, None, style)
    file.seek(0)
    return file


def sentence(errors: list[RowError]) -> str:
    """Return every reason as one line of text."""
    return " ".join(f"{error['field']}: {error['message']}" if error["field"] else error["message"] for error in errors)


def _names(run: Run) -> list[str]:
    return run.dataset.current.schema.names if run.schema_version and run.dataset else []


def _cells(line: dict[str, Any], names: list[str]) -> list[str | None]:
    values = {**(line["values"] or {}), **(line["corrected"] or {})}
    return [None if values.get(name) is None else str(values[name]) for name in names]


FORMATS = {
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
