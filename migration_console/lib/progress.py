"""How far long work is, told to whoever asked for it; on a terminal, a bar."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

# Told how many rows of how many are through.
Progress = Callable[[int, int], None]


def no_progress(_done: int, _total: int) -> None:
    """Show nothing."""


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress]:
    """Yield a progress function that draws a bar on a terminal; work of several rounds counts each from the start."""
    if quiet or not sys.stderr.isatty():
        yield no_progress
        return
    with tqdm(unit=" rows", unit_scale=True, dynamic_ncols=True, leave=False) as bar:

        def show(done: int, total: int) -> None:
            if bar.total != max(total, done) or done < bar.n:
                bar.reset(max(total, done))
            bar.update(done - bar.n)

        yield show
