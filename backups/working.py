"""Long work under a lease: told how far it is, stopped when it is cancelled, ended when it fails again and again."""

import errno
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import F

from migration_console.lib.engine import engine
from migration_console.lib.errors import Busy, Denied, Fenced, Gone, Problem, Refused, Unavailable
from migration_console.lib.lease import Heartbeat
from migration_console.lib.progress import Progress

from .errors import Damaged, OutOfRange
from .meter import Tell
from .models import Backup, DryRun, Restore

Worked = Backup | Restore | DryRun

log = logging.getLogger(__name__)
MAX_TAKEOVERS = 5
# How the wait for another try begins, and that for a table.
AGAIN, BUSY = "another try after ", "whoever reads "
# A network folder that is away; a full disk or a missing right is a matter for a person.
PASSING = {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH}
End = Callable[[str, list[dict[str, str]]], object]
# How often progress is written down, and a wish to stop is looked at.
NOTE_SECONDS = 0.5


class Cancelled(Exception):
    """Somebody asked for the work to stop."""


def teller(work: Worked, heartbeat: Heartbeat, progress: Progress) -> Tell:
    """Return what long work tells its rows and bytes; it raises where the work must stop."""
    return telling(work, heartbeat, lambda rows, _: progress(rows, work.rows_expected), partial(note, work))


def telling(work: Worked, heartbeat: Heartbeat, show: Tell, write: Tell) -> Tell:
    """Return a Tell that shows each step, writes some of them down, and raises where the lease was lost."""
    noted = 0.0

    def tell(rows: int, size: int) -> None:
        nonlocal noted
        show(rows, size)
        if heartbeat.lost.is_set():
            raise Fenced(str(work))
        if time.monotonic() - noted < NOTE_SECONDS:
            return
        noted = time.monotonic()
        write(rows, size)

    return tell


def note(work: Worked, rows: int, size: int) -> None:
    """Write progress down where the lease is still ours; Cancelled where somebody asked for it."""
    mine = type(work)._default_manager.filter(work.held())
    if not mine.update(rows=rows, bytes=size):
        raise Fenced(str(work))
    if mine.filter(cancel_requested=True).exists():
        raise Cancelled


@contextmanager
def failures(work: Worked, heartbeat: Heartbeat, end: End) -> Iterator[None]:
    """Turn errors into the end of the work, or into another try; `end` takes a status and problems."""
    try:
        with _ended(work, heartbeat, end):
            yield
    except Busy as busy:
        # Also where it is the end that has to wait.
        heartbeat.failed = True
        work.wait(str(busy))


@contextmanager
def _ended(work: Worked, heartbeat: Heartbeat, end: End) -> Iterator[None]:
    try:
        yield
    except Busy:
        raise
    except Refused as refused:
        end("refused", [problem.as_dict() for problem in refused.problems])
    except (Damaged, Gone, OutOfRange) as damage:
        end("failed", [Problem("damaged", str(damage)).as_dict()])
    except Cancelled:
        end("cancelled", [])
    except Fenced as fenced:
        log.warning("%s: another worker has taken over; this one stops: %s", work, fenced)
    except (Unavailable, OSError, DatabaseError, InterfaceError) as error:
        heartbeat.failed = _again(work, error, end)
    except Exception as error:
        log.exception("%s failed", work)
        heartbeat.failed = _again(work, error, end)


def passes(error: Exception) -> bool:
    """Tell whether an error is no fault of the work and goes by: the database or the lake is away."""
    if isinstance(error, Unavailable):
        return not isinstance(error, Denied)
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError | TimeoutError) or error.errno in PASSING
    lost = connection.vendor == "mysql" and isinstance(error, InterfaceError)
    return lost or bool(engine(connection).is_transient(error))


def reason(error: Exception) -> str:
    """Return what people are told of an error: an OSError's own text has the server's paths in it."""
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


def _again(work: Worked, error: Exception, end: End) -> bool:
    """Leave the work to another try; one that fails again and again ends, so that a person sees it.

    What passes may last as long as it likes. A worker that was taken over finds its tables gone, and fails: that
    is no failure of the work. Returns whether there is to be another try.
    """
    log.warning("%s: %s: %s", work, type(error).__name__, error)
    connection.close()
    try:
        mine = type(work)._default_manager.filter(work.held())
        if not mine.update(takeovers=F("takeovers") + (0 if passes(error) else 1)):
            log.warning("%s: another worker has taken over", work)
            return True
        work.refresh_from_db(fields=["takeovers"])
        if work.takeovers > MAX_TAKEOVERS:
            end("failed", [Problem("failure", reason(error)).as_dict()])
            return False
        work.wait(f"{AGAIN}{reason(error)}")
    except DatabaseError:
        log.warning("%s: the database is still away", work)
    return True
