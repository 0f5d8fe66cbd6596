"""Work in threads, watched by the one that started it: it alone speaks to the console's own tables."""

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

# Told the rows and the compressed bytes that are through so far; it raises to stop the work.
Tell = Callable[[int, int], None]
LOOK_SECONDS = 0.25
T = TypeVar("T")


def silent(_rows: int, _size: int) -> None:
    """Tell nobody."""


class Stopped(Exception):
    """Another thread has failed, or the work was cancelled; this one ends too."""


class Meter:
    """Counts what several threads get done."""

    def __init__(self) -> None:
        self.rows = self.bytes = 0
        self.stopped = False
        self._lock = threading.Lock()

    def add(self, rows: int, size: int) -> None:
        """Count; Stopped where the work is over."""
        if self.stopped:
            raise Stopped
        with self._lock:
            self.rows += rows
            self.bytes += size


def side_by_side(work: Sequence[Callable[[], T]], meter: Meter, tell: Tell, threads: int) -> list[T]:
    """Do all of the work, some of it at once; the first error stops the rest and is raised."""
    with few_collections(), ThreadPoolExecutor(threads, thread_name_prefix="backup") as pool:
        futures = [pool.submit(one) for one in work]
        try:
            while not _all_done(futures):
                tell(meter.rows, meter.bytes)
        except BaseException:
            meter.stopped = True
            raise
        finally:
            for future in futures:
                future.cancel()
    tell(meter.rows, meter.bytes)
    return [future.result() for future in futures]


@contextmanager
def few_collections() -> Iterator[None]:
    """Let Python look for cycles rarely: millions of rows have none, and the search took a quarter of a backup."""
    before = gc.get_threshold()
    gc.set_threshold(1_000_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _all_done(futures: Sequence[Future[T]]) -> bool:
    done, waiting = wait(futures, timeout=LOOK_SECONDS, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    return not waiting


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Make the next item in a thread while the caller works on this one."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        future = pool.submit(next, items, end)
        while (item := future.result()) is not end:
            future = pool.submit(next, items, end)
            yield item  # type: ignore[misc]
