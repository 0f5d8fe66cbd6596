"""Rejects as they leave the console: JSON lines, CSV, and Excel, with every reason; row by row, never all at once."""

import csv
import io
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import orjson
import xlsxwriter

from migration_console.lib.lake import lake

from .corrections import original_values
from .errors import RowError
from .models import MAX_REJECTS, Run
from .rejects import RejectedRow, pages
from .survey import stored_survey

# What a sheet holds, its header left out.
MAX_SHEET_ROWS = 1_048_575


def reject_lines(run: Run) -> Iterator[dict[str, Any]]:
    """Yield each reject: its place, raw text, `values` by column where it can be cut, state and errors."""
    schema = run.schema_version.schema if run.schema_version and run.survey else None
    for page in pages(run):
        for reject in page:
            kept = RejectedRow(reject.row, reject.line, reject.start, reject.end, bytes(reject.raw), reject.errors)
            values = schema and original_values(reject, schema, stored_survey(run.survey))
            yield {**kept.as_dict(), "values": values, "corrected": reject.corrected, "state": reject.state}
    if run.rejected > MAX_REJECTS and run.report_key:
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


def as_csv(run: Run) -> Iterator[bytes]:
    """Yield CSV that can be corrected and sent back: `_row`, the columns as they came, `_errors`."""
    names = _names(run)
    buffer = io.StringIO()
    write = csv.writer(buffer).writerow
    write(["_row", "_line", *names, "_errors"])
    for line in reject_lines(run):
        write([line["row"], line["line"], *_cells(line, names), sentence(line["errors"])])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    if rest := buffer.getvalue():
        yield rest.encode()


def as_xlsx(run: Run) -> IO[bytes]:
    """Return an Excel file of text cells: no date, number or formula is made of anything."""
    names, file = _names(run), tempfile.TemporaryFile()  # noqa: SIM115  # closed by the answer that streams it
    with xlsxwriter.Workbook(file, {"constant_memory": True, "strings_to_urls": False}) as book:
        sheet, text = book.add_worksheet("rejects"), book.add_format({"num_format": "@"})
        sheet.freeze_panes(1, 0)
        for column, name in enumerate(["_row", "_line", *names, "_errors"]):
            sheet.write_string(0, column, name, text)
        for number, line in enumerate(reject_lines(run), start=1):
            if number > MAX_SHEET_ROWS:
                break
            cells = [str(line["row"]), str(line["line"]), *_cells(line, names), sentence(line["errors"])]
            for column, value in enumerate(cells):
                if value is not None:
                    # A cell holds 32,767 characters; an empty one that means the empty text is marked by being there.
                    sheet.write_string(number, column, value[:32_767], text)
    file.seek(0)
    return file


def sentence(errors: list[RowError]) -> str:
    """Return every reason as one line of text."""
    return " ".join(f"{error['field']}: {error['message']}" if error["field"] else error["message"] for error in errors)


def _names(run: Run) -> list[str]:
    return run.schema_version.schema.names if run.schema_version else []


def _cells(line: dict[str, Any], names: list[str]) -> list[str | None]:
    values = {**(line["values"] or {}), **(line["corrected"] or {})}
    return [None if values.get(name) is None else str(values[name]) for name in names]


FORMATS = {
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
