"""Long work under a lease: told how far it is, stopped when it is cancelled, ended when it fails again and again."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.models import F

from migration_console.lib.engine import engine
from migration_console.lib.errors import Fenced, Gone, Problem, Refused, Unavailable
from migration_console.lib.lease import Heartbeat
from migration_console.lib.progress import Progress

from .errors import Damaged, OutOfRange
from .meter import Tell
from .models import Backup, DryRun, Restore

Worked = Backup | Restore | DryRun

log = logging.getLogger(__name__)
MAX_TAKEOVERS = 5
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
def failures(work: Worked, end: Callable[[str, list[dict[str, str]]], object]) -> Iterator[None]:
    """Turn errors into the end of the work, or into another try; `end` takes a status and problems."""
    try:
        yield
    except Refused as refused:
        end("refused", [problem.as_dict() for problem in refused.problems])
    except (Damaged, Gone, OutOfRange) as damage:
        end("failed", [Problem("damaged", str(damage)).as_dict()])
    except Cancelled:
        end("cancelled", [])
    except Fenced as fenced:
        log.warning("%s: another worker has taken over; this one stops: %s", work, fenced)
    except (Unavailable, OSError, DatabaseError, InterfaceError) as error:
        _again(work, error, end)
    except Exception as error:
        log.exception("%s failed", work)
        _again(work, error, end)


def _again(work: Worked, error: Exception, end: Callable[[str, list[dict[str, str]]], object]) -> None:
    """Leave the work to another try; one that fails again and again ends, so that a person sees it.

    A worker that was taken over finds its tables gone, and fails: that is no failure of the work.
    """
    words = f"{type(error).__name__}: {error}"
    log.warning("%s: %s", work, words)
    connection.close()
    passing = isinstance(error, Unavailable | OperationalError | InterfaceError) and engine(connection).is_transient(
        error
    )
    try:
        # A database that is away is no fault of the work: it may last as long as it likes.
        mine = type(work)._default_manager.filter(work.held())
        if not mine.update(takeovers=F("takeovers") + (0 if passing else 1)):
            log.warning("%s: another worker has taken over", work)
            return
        work.refresh_from_db(fields=["takeovers"])
        if work.takeovers > MAX_TAKEOVERS:
            end("failed", [Problem("failure", words).as_dict()])
        else:
            work.wait(f"another try after {words}")
    except DatabaseError:
        log.warning("%s: the database is still away", work)
