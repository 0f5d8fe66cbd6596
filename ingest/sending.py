"""Rows that a client sends while it reads the file itself: cut at line ends, each batch at its place.

The client holds the part's lease by its epoch. Whoever takes over raises the epoch, and the client is
told so; what it has sent is in the ledger, and the worker goes on behind it.
"""

import hashlib
from dataclasses import asdict, dataclass
from functools import lru_cache

from migration_console.lib.errors import Fenced, Refused, conflict, refuse

from .batches import prepare_sent
from .bell import ring
from .destination import Destination
from .loader import Cancelled, Loader, transient_errors
from .models import Batch, Part, Run, Status
from .services import advance, schema_of, target_of
from .survey import stored_survey
from .target import destination

# A larger file is surveyed by a worker: nobody should wait so long for an answer.
MAX_SENT_FILE = 16 << 20
MAX_ROWS = 1000


@dataclass(frozen=True)
class Place:
    """Where a batch belongs: byte offset, row and line of its first record, and the sender's epoch."""

    epoch: int
    start: int
    row: int
    line: int


def offer(run: Run) -> Part | None:
    """Survey a file at once; return the part whose rows the client may send, its lease taken.

    None where a worker does it.
    """
    if run.status != Status.RECEIVED or run.size > MAX_SENT_FILE:
        return None
    run = advance(run.pk, load=False)
    if run.status != Status.LOADING or run.parts.count() != 1:
        return None
    found = stored_survey(run.survey)
    if not (found.plain and found.seekable):
        return None
    descriptor = schema_of(run).descriptor
    if descriptor.mode != "append" or descriptor.whole:
        return None  # these hold the table's writing lease from the first row to the last
    part = run.parts.get()
    if not part.claim(Part.unfinished()):
        return None
    Part.objects.filter(pk=part.pk).update(sent=True)
    return part


def load_sent(run: Run, place: Place, data: bytes, *, last: bool) -> Batch:
    """Load a batch at its place and return its line of the ledger; the same one again changes nothing.

    With `last` the client sends no more: the lease is given back and a worker goes on, or finishes.
    Raises Fenced where another worker has taken over, Refused where the batch does not belong there.
    """
    if (known := Batch.objects.filter(run=run, start=place.start).first()) is not None:
        return _same(known, data)
    part = _held_part(run, place)
    _check_place(part, place, data)
    schema, found = schema_of(run), stored_survey(run.survey)
    batch = prepare_sent(data, found, schema, start=place.start, row=place.row, line=place.line)
    if batch.rows > MAX_ROWS:
        raise refuse("too-many-rows", f"the batch has {batch.rows} rows; {MAX_ROWS} is the limit")
    try:
        with transient_errors():
            Loader(run, schema, found, _destination(run.pk), lambda _rows: None).load_batch(part, batch)
    except Cancelled:
        _leave(run, part)
        raise Fenced(f"{run} was cancelled") from None
    except Refused:
        _leave(run, part)  # the table no longer fits: a worker ends the run, and says why
        raise
    if last or part.next_byte == part.end:
        _leave(run, part)
    return Batch.objects.get(run=run, start=place.start)


@lru_cache(maxsize=256)
def _destination(run: int) -> Destination:
    """Look at the target table once a run, as a worker does."""
    found = Run.objects.select_related("schema_version").get(pk=run)
    schema = schema_of(found)
    return destination(found, schema, target_of(schema))


def _same(known: Batch, data: bytes) -> Batch:
    if hashlib.sha256(data).hexdigest() != known.digest:
        raise conflict("other-bytes", f"the batch at byte {known.start} was sent before, with other bytes", "start")
    return known


def _held_part(run: Run, place: Place) -> Part:
    """Return the part that the client still holds, its lease renewed."""
    part = run.parts.filter(start__lte=place.start, end__gt=place.start, sent=True, epoch=place.epoch).first()
    if part is None or not part.owner or not part.renew():
        raise Fenced(f"another worker goes on with {run}")
    return part


def _check_place(part: Part, place: Place, data: bytes) -> None:
    expected = {"start": part.next_byte, "row": part.next_row, "line": part.next_line}
    if expected != {name: value for name, value in asdict(place).items() if name != "epoch"}:
        raise conflict("out-of-order", f"the next batch begins at {expected}", "start")
    end = place.start + len(data)
    if not data or end > part.end or (end < part.end and not data.endswith(b"\n")):
        raise refuse("not-whole-lines", f"send whole lines, up to byte {part.end} of the file", "end")


def _leave(run: Run, part: Part) -> None:
    part.release()
    ring(run)
