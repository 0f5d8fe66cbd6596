"""The console as a process of its own: gunicorn, reached over HTTP."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migration_console.env import ROOT
from tests.mariadb import free_port
from tests.workers import environment


@contextmanager
def console(var: Path, **more: str) -> Iterator[str]:
    """Run a console on the test's database and lake; yield its address."""
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        "--worker-class",
        "gthread",
        "--workers",
        "1",
        "--threads",
        "4",
        "--bind",
        address,
        "--log-level",
        "info",
        "--no-control-socket",
        "--access-logfile",
        "-",
        "--access-logformat",
        "%(m)s %(U)s %(s)s %(D)s",
    ]
    with (var / "console.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "migration_console.wsgi", *arguments],
            cwd=ROOT, env=environment(var, **more), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait_for(f"http://{address}", process, var / "console.log")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:  # nobody listens yet, or somebody is slow to answer
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise AssertionError(f"the console did not come up:\n{log.read_text()[-4000:]}")
