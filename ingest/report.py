"""The report of a run: JSON lines under errors/, first the run, then every rejected row with its reasons."""

import tempfile
import zlib
from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from typing import Any

import orjson

from migration_console.lib.lake import lake

from .models import Run, Status
from .rejects import RejectedRow, pages


def write_report(run: Run, key: str) -> str:
    """Write the report of a run that has anything to tell under a key, and return it; '' without one."""
    if not (run.rejected or run.problems or run.status in {Status.REFUSED, Status.FAILED}):
        return ""
    with tempfile.TemporaryFile() as file:
        head = {name: value for name, value in run.as_dict().items() if name not in {"report", "waiting_for"}}
        file.write(orjson.dumps({"run": head}) + b"\n")
        for line in report_lines(run):
            file.write(orjson.dumps(line) + b"\n")
        file.seek(0)
        lake().put(key, file)
    return key


def report_lines(run: Run) -> Iterator[dict[str, Any]]:
    """Yield every rejected row of a run, in the order of the file, those beyond the reject table included."""
    if run.batches.exclude(overflow=None).exists():
        yield from merge(_kept(run), _overflow(run), key=itemgetter("row"))
    else:
        yield from _kept(run)


def _kept(run: Run) -> Iterator[dict[str, Any]]:
    for page in pages(run):
        for kept in page:
            reject = RejectedRow(kept.row, kept.line, kept.start, kept.end, bytes(kept.raw), kept.errors)
            yield reject.as_dict()


def _overflow(run: Run) -> Iterator[dict[str, Any]]:
    for packed in run.batches.exclude(overflow=None).order_by("start").values_list("overflow", flat=True).iterator():
        yield from map(orjson.loads, zlib.decompress(bytes(packed or b"")).splitlines())
