"""Workers on several machines, which share the database, the bucket and the broker and nothing else."""

import io
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, current_app
from django.conf import settings
from django.db import connection

from ingest import bell
from ingest.admission import admit_upload
from ingest.bell import ring
from ingest.checks import check_region
from ingest.datasets import save_dataset
from ingest.models import Part, Run, Status
from migration_console.broker import QUEUE, transport_options
from migration_console.lib.bucket import Bucket
from tests.ingest.test_crash import NUMBERS, finished
from tests.rabbitmq import RabbitMQ
from tests.workers import BEAT, LEASE, WORKER, Worker, ledger_problems, wait_until

pytestmark = [pytest.mark.database, pytest.mark.timeout(300)]
FILES, FILE_ROWS, BIG_ROWS = 40, 50, 100_000


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    """Run Debian's RabbitMQ."""
    server = RabbitMQ()
    yield server
    server.end()


@pytest.fixture(autouse=True)
def _several_machines() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("machines cannot share an SQLite file")


@contextmanager
def ringing_through(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process ring through a broker of its own choice, as a web process would."""
    before = current_app._get_current_object()
    app = Celery("ringing", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.conf.broker_transport_options = transport_options(url, Path(), settings.BELL_SECONDS)
    monkeypatch.setenv("CELERY_BROKER_URL", url)  # which Celery prefers to anything configured
    monkeypatch.setattr(bell, "_silent_until", 0.0)
    app.set_current()
    try:
        yield
    finally:
        before.set_current()
        app.close()


class Machines:
    """Starts processes, each on what stands for a machine of its own: no folder is another one's too."""

    def __init__(self, folder: Path, broker: str, stack: ExitStack) -> None:
        self.folder, self.broker, self.stack, self.count = folder, broker, stack, 0

    def start(self, arguments: list[str]) -> Worker:
        self.count += 1
        own = self.folder / f"machine-{self.count}"
        (own / "tmp").mkdir(parents=True)
        name = [] if arguments is BEAT else ["--hostname", f"machine-{self.count}"]
        worker = Worker(
            own, arguments=[*arguments, *name], CELERY_BROKER_URL=self.broker, TMPDIR=str(own / "tmp"),
            SWEEP_SECONDS="2", PART_BYTES=str(128 << 10), BATCH_BYTES=str(4 << 10),
        )  # fmt: skip
        self.stack.callback(worker.kill)
        return worker


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def file_of_numbers(name: str, first: int, rows: int) -> Run:
    version = save_dataset(NUMBERS)
    data = "n,text\n" + "".join(f"{n},a line of text for the number {n}\n" for n in range(first, first + rows))
    return admit_upload(f"raw/{name}.csv", io.BytesIO(data.encode()), trigger="test", dataset=version.dataset)


def small_files(first: int, count: int) -> list[Run]:
    return [file_of_numbers(f"small-{n}", n * FILE_ROWS, FILE_ROWS) for n in range(first, first + count)]


def holders(run: Run) -> set[int]:
    """Return the processes that hold a part of the run just now."""
    owners = run.parts.filter(Part.unfinished()).exclude(owner="").values_list("owner", flat=True)
    return {int(owner.split(":")[-2]) for owner in owners}


def all_finished(runs: list[Run]) -> bool:
    return not Run.objects.filter(pk__in=[run.pk for run in runs], closed_at=None).exists()


def all_hold(run: Run, workers: list[Worker]) -> bool:
    """Tell whether each of the workers has a part in hand at this moment."""
    assert not finished(run), "the file was loaded before all workers were seen at it"
    return {worker.process.pid for worker in workers} <= holders(run)


def stop_at_work(worker: Worker, run: Run) -> None:
    """Stop a worker that has a part of the run in hand."""
    for _ in range(50):
        wait_until(lambda: all_hold(run, [worker]), 60, "the worker to hold a part")
        worker.signal(signal.SIGSTOP)
        if all_hold(run, [worker]):
            return
        worker.signal(signal.SIGCONT)  # it was between two parts
    raise AssertionError("the worker was never stopped at work")


@pytest.mark.heavy
@pytest.mark.parametrize("broker", ["rabbitmq", "sqs"])
def test_workers_that_share_no_disk_load_each_row_once(
    tables: None, bucket: Bucket, broker: str, tmp_path: Path, stack: ExitStack, request: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    url = request.getfixturevalue("rabbitmq").url if broker == "rabbitmq" else "sqs://"
    runs = small_files(0, FILES // 2)
    big = file_of_numbers("big", FILES * FILE_ROWS, BIG_ROWS)
    runs += [big, *small_files(FILES // 2, FILES // 2)]
    with ringing_through(url, monkeypatch):
        for run in runs:
            ring(run)
    machines = Machines(tmp_path, url, stack)
    machines.start(BEAT)
    first, second = machines.start(WORKER), machines.start(WORKER)
    wait_until(lambda: all_hold(big, [first, second]), 90, "both workers to load the big file")
    first.kill()
    third = machines.start(WORKER)
    stop_at_work(second, big)
    wait_until(lambda: all_hold(big, [third]), 60, "the third worker to load the big file")
    time.sleep(LEASE * 1.5)
    second.signal(signal.SIGCONT)
    wait_until(lambda: all_finished(runs), 120, "the end")
    # Give the sleeper the time to do the harm that it is fenced from.
    time.sleep(LEASE)
    rows = FILES * FILE_ROWS + BIG_ROWS
    assert {run.pk: found for run in runs if (found := ledger_problems(run, "numbers", rows))} == {}
    assert {run.status for run in runs} == {Status.ARCHIVED}
    assert sum(big.parts.values_list("fenced", flat=True)) >= 1
    assert big.parts.count() >= 10
    assert (list(bucket.list("raw")), len(list(bucket.list("processed")))) == ([], FILES + 1)
    assert not list(tmp_path.glob("*/broker")), "a worker has used the folder broker"


@pytest.mark.heavy
def test_a_broker_that_stops_in_the_middle_costs_time_only(
    tables: None, bucket: Bucket, rabbitmq: RabbitMQ, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = small_files(0, 20)
    machines = Machines(tmp_path, rabbitmq.url, stack)
    machines.start(BEAT)
    machines.start(WORKER)
    wait_until(lambda: finished(runs[0]), 60, "the first file")
    rabbitmq.stop()
    late = small_files(20, 5)
    with ringing_through(rabbitmq.url, monkeypatch):
        for run in late:
            ring(run)
    assert not Run.objects.filter(pk__in=[run.pk for run in late]).exclude(rung_at=None).exists()
    rabbitmq.start()
    wait_until(lambda: all_finished(runs + late), 60, "the end")
    rows = 25 * FILE_ROWS
    assert {run.pk: found for run in runs + late if (found := ledger_problems(run, "numbers", rows))} == {}


@pytest.mark.heavy
def test_ringing_reaches_a_broker_that_has_been_restarted(
    tables: None, bucket: Bucket, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = file_of_numbers("numbers", 0, 10)
    with ringing_through(rabbitmq.url, monkeypatch):
        ring(run)
        rabbitmq.stop()
        rabbitmq.start()
        with current_app.connection_for_read() as connected:
            connected.SimpleQueue(QUEUE).clear()
            ring(run)  # through the connection that has died meanwhile
            assert connected.SimpleQueue(QUEUE).qsize() == 1


@pytest.mark.heavy
@pytest.mark.parametrize("state", ["down", "frozen"])
def test_ringing_takes_seconds_where_the_broker_is(
    tables: None, bucket: Bucket, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    run = file_of_numbers("numbers", 0, 10)
    with ringing_through(rabbitmq.url, monkeypatch):
        rabbitmq.stop() if state == "down" else rabbitmq.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            for _ in range(200):
                ring(run)
            assert time.monotonic() - began < 8
        finally:
            rabbitmq.start() if state == "down" else rabbitmq.signal(signal.SIGCONT)


def test_sqs_without_a_region_is_refused(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CELERY_BROKER_URL = "sqs://"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert check_region() == []
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    assert [problem.id for problem in check_region()] == ["ingest.E002"]
