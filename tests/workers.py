"""Real workers in processes of their own, to be killed and stopped; and the proof that nothing was lost."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from ingest.models import Run
from migration_console.env import ROOT
from tests.conftest import query

LEASE = 2
# MariaDB where MySQL comes next: what takes minutes is counted in full there.
SECOND_SERVER = os.environ.get("TEST_SERVER") == "mariadb" and "TEST_MYSQL_URL" in os.environ
WORKER = ["worker", "--pool", "solo", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
WORKER_AND_BEAT = [*WORKER, "--beat"]
BEAT = ["beat", "--loglevel", "INFO", "--pidfile", ""]


def environment(var: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that works on the test's database and lake."""
    name = settings.DATABASES["default"]["NAME"]
    url = f"sqlite:///{name}"
    if connection.vendor == "mysql":
        config = connection.settings_dict
        password = f":{config['PASSWORD']}" if config["PASSWORD"] else ""
        url = f"mysql://{config['USER']}{password}@{config['HOST']}:{config['PORT']}/{config['NAME']}"
    return os.environ | {
        "DATABASE_URL": url,
        "LAKE_URL": settings.LAKE_URL,
        "VAR_FOLDER": str(var),
        "CELERY_BROKER_URL": "filesystem://localhost",
        "LEASE_SECONDS": str(LEASE),
        # Small, so that there is much to interrupt.
        "SWEEP_SECONDS": "1",
        "BATCH_BYTES": str(16 << 10),
        "PART_BYTES": str(2 << 20),
        **more,
    }


class Worker:
    """One Celery worker, or beat, and whatever it started."""

    def __init__(self, var: Path, sabotage: str = "", arguments: Sequence[str] = WORKER_AND_BEAT, **more: str) -> None:
        module = ["-m", "tests.sabotage", sabotage] if sabotage else ["-m", "celery", "-A", "migration_console"]
        # With a guarantee taken out, fewer and larger batches: each waits for its crash.
        size = {"BATCH_BYTES": str(256 << 10)} if sabotage else {}
        with (var / "worker.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *module, *arguments],
                cwd=ROOT,
                env=environment(var, **(size | more)),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the worker and its children."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End the worker the hard way."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def workers(count: int, var: Path, sabotage: str = "", **more: str) -> Iterator[list[Worker]]:
    """Run workers; kill what is left of them at the end."""
    running = [Worker(var, sabotage, **more) for _ in range(count)]
    try:
        yield running
    finally:
        for worker in running:
            worker.kill()


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Poll until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            runs = Counter(Run.objects.values_list("status", "waiting_for"))
            raise AssertionError(f"waited {seconds} s for {what}: {dict(runs)}")
        time.sleep(0.05)


def ledger_problems(run: Run, table: str, rows: int) -> list[str]:
    """Return everything in which table and ledger differ from each row exactly once."""
    run.refresh_from_db()
    problems = []
    ((count, distinct),) = query(f"SELECT COUNT(*), COUNT(DISTINCT n) FROM {table}")
    if (count, distinct) != (rows, rows):
        problems.append(f"{count} rows, {distinct} different ones in the table; {rows} are right")
    position, row = run.survey["data_start"], 1
    for batch in run.batches.order_by("start"):
        if (batch.start, batch.first_row) != (position, row):
            problems.append(f"the ledger has a hole or an overlap at byte {batch.start}")
        if batch.rows != batch.loaded + batch.rejected + batch.skipped:
            problems.append(f"the batch at byte {batch.start} does not add up")
        position, row = batch.end, batch.first_row + batch.rows
    if position != run.survey["data_end"]:
        problems.append(f"the ledger ends at byte {position}")
    if run.read != run.loaded + run.rejected + run.skipped:
        problems.append(f"{run.read} = {run.loaded} + {run.rejected} + {run.skipped}")
    return problems
