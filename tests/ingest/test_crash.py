"""Workers killed and stopped at random moments: each row once, and the ledger adds up."""

import io
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from ingest.admission import admit_upload
from ingest.bell import ring
from ingest.datasets import save_dataset
from ingest.models import Batch, Run, Status
from migration_console.lib.lease import writing
from tests.workers import LEASE, SECOND_SERVER, Worker, ledger_problems, wait_until, workers

pytestmark = [pytest.mark.database, pytest.mark.timeout(600)]
ROWS = 200_000
KILLS = 4 if SECOND_SERVER else 10
# Without a unique key, so that nothing but the ledger keeps a row from entering twice.
NUMBERS = {
    "name": "numbers",
    "schema": {
        "fields": [
            {"name": "n", "type": "integer", "constraints": {"required": True}},
            {"name": "text", "constraints": {"maxLength": 100}},
        ]
    },
}


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """Return a folder for the broker."""
    (tmp_path / "var").mkdir()
    return tmp_path / "var"


def file_of_numbers(rows: int = ROWS, **keys: str) -> Run:
    version = save_dataset(NUMBERS | keys)
    data = "n,text\n" + "".join(f"{n},a line of text for the number {n}\n" for n in range(rows))
    return admit_upload("raw/numbers.csv", io.BytesIO(data.encode()), trigger="test", dataset=version.dataset)


def finished(run: Run) -> bool:
    run.refresh_from_db()
    return run.closed_at is not None


@pytest.mark.parametrize("count", [1, 2])
def test_workers_killed_at_random_moments(tables: None, var: Path, count: int) -> None:
    chance = random.Random(count)
    run = file_of_numbers()
    kills = 0
    while kills < KILLS:
        before = claims(run)
        with workers(count, var) as running:
            # The clock runs from the moment at which work begins, not from the start of Python.
            wait_until(partial(begun_or_finished, run, before), 60, "work")
            if finished(run):
                break
            time.sleep(chance.random() * 0.3)
            running[chance.randrange(count)].kill()
            kills += 1
    with workers(count, var):
        wait_until(lambda: finished(run), 120, "the end")
    assert kills == KILLS, "the file was loaded before enough was killed"
    assert ledger_problems(run, "numbers", ROWS) == []
    assert (run.status, run.loaded) == (Status.ARCHIVED, ROWS)


def begun_or_finished(run: Run, before: int) -> bool:
    return claims(run) > before or finished(run)


def one_more_batch(run: Run, before: int) -> bool:
    return run.batches.count() > before or finished(run)


def claims(run: Run) -> int:
    """Count how often work on the run was begun."""
    run.refresh_from_db()
    return run.epoch + sum(run.parts.values_list("epoch", flat=True))


def stop_past_its_lease(run: Run, var: Path, sabotage: str = "") -> None:
    """Stop a worker in the middle, let another one take over, and wake the first one up."""
    if connection.vendor == "sqlite":
        pytest.skip("a stopped writer of SQLite holds the file's lock: there is nobody to take over")
    sleeper = Worker(var, sabotage)
    try:
        wait_until(lambda: run.batches.exists(), 60, "the first batch")
        sleeper.signal(signal.SIGSTOP)
        time.sleep(LEASE * 1.5)
        with workers(1, var, sabotage):
            before = run.batches.count()
            wait_until(lambda: run.batches.count() > before or finished(run), 60, "the other worker")
            sleeper.signal(signal.SIGCONT)
            wait_until(lambda: finished(run), 60, "the end")
            # Give the sleeper the time to do the harm that it is fenced from.
            time.sleep(LEASE)
    finally:
        sleeper.kill()


def test_a_worker_stopped_past_its_lease_is_fenced(tables: None, var: Path) -> None:
    run = file_of_numbers()
    stop_past_its_lease(run, var)
    assert ledger_problems(run, "numbers", ROWS) == []
    assert sum(run.parts.values_list("fenced", flat=True)) >= 1


def test_a_worker_stopped_past_the_tables_lease_writes_nothing_while_another_one_has_it(
    tables: None, var: Path
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("a stopped writer of SQLite holds the file's lock: there is nobody to take over")
    # Staged, as a replace and an upsert with a limit are: the part stays the sleeper's, the table does not.
    run = file_of_numbers(publish="whole")
    with workers(1, var) as (sleeper,):
        wait_until(lambda: run.batches.exists(), 60, "the first batch")
        sleeper.signal(signal.SIGSTOP)
        time.sleep(LEASE * 1.5)
        with writing("numbers") as lease:
            assert lease is not None
            before = run.batches.count()
            sleeper.signal(signal.SIGCONT)
            wait_until(lambda: run.parts.filter(fenced__gt=0).exists(), 60, "the fence")
            time.sleep(LEASE)
            assert run.batches.count() == before
        wait_until(lambda: finished(run), 120, "the end")
    assert ledger_problems(run, "numbers", ROWS) == []


@pytest.mark.heavy
@pytest.mark.parametrize("sabotage", ["rows_first", "ledger_first"])
def test_the_checker_sees_a_broken_order_of_commits(tables: None, var: Path, sabotage: str) -> None:
    run = file_of_numbers()
    for _ in range(6):
        with workers(1, var, sabotage) as (worker,):
            done = run.batches.count()
            wait_until(partial(one_more_batch, run, done), 60, "a batch")
            time.sleep(0.08)
            worker.kill()
    with workers(1, var, sabotage):
        wait_until(lambda: finished(run), 120, "the end")
    assert ledger_problems(run, "numbers", ROWS) != []


@pytest.mark.heavy
def test_the_checker_sees_a_missing_fence(tables: None, var: Path) -> None:
    run = file_of_numbers()
    (key,) = Batch._meta.constraints
    with connection.schema_editor() as editor:
        editor.remove_constraint(Batch, key)
    try:
        stop_past_its_lease(run, var, "no_fence")
        assert ledger_problems(run, "numbers", ROWS) != []
    finally:
        Batch.objects.all().delete()
        with connection.schema_editor() as editor:
            editor.add_constraint(Batch, key)


def test_a_connection_killed_at_commit_is_looked_up(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "mysql":
        pytest.skip("there is no connection to lose")
    from django.db.backends.mysql.base import DatabaseWrapper

    from ingest.sweeper import work_off

    original: Any = getattr(DatabaseWrapper, "_commit")  # noqa: B009  # the types know it not
    lost: list[bool] = []

    def commit(self: DatabaseWrapper) -> None:
        original(self)
        if not lost and run.batches.exists():
            lost.append(True)
            from django.db import OperationalError

            raise OperationalError(2013, "Lost connection to server during query")

    run = file_of_numbers(1000)
    monkeypatch.setattr(DatabaseWrapper, "_commit", commit)
    work_off([run])
    assert lost
    assert ledger_problems(run, "numbers", 1000) == []


def test_five_takeovers_without_progress_end_a_run(tables: None) -> None:
    from ingest.services import advance

    run = file_of_numbers(10)
    Run.objects.filter(pk=run.pk).update(takeovers=6)
    run = advance(run.pk)
    assert (run.status, run.problems[0]["code"]) == (Status.FAILED, "takeovers")
    assert run.archived_key.startswith("errors/")


def test_a_run_that_ended_for_takeovers_goes_on_after_a_retry(tables: None, settings: Any) -> None:
    from ingest.services import advance, retry

    class Killed(BaseException):
        pass

    def kill(done: int, _total: int) -> None:
        if done > 300:
            raise Killed

    settings.BATCH_BYTES = 1024
    run = file_of_numbers(1000)
    with pytest.raises(Killed):
        advance(run.pk, kill)
    run.parts.update(takeovers=6, owner="", lease_until=None)
    Run.objects.filter(pk=run.pk).update(owner="", lease_until=None)
    run = advance(run.pk)
    assert (run.status, run.problems[0]["code"]) == (Status.FAILED, "takeovers")
    retry(run)
    run = advance(run.pk)
    assert (run.status, run.loaded, ledger_problems(run, "numbers", 1000)) == (Status.ARCHIVED, 1000, [])


def test_a_failure_that_comes_again_ends_a_run(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest import loader
    from ingest.services import advance

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    run = file_of_numbers(10)
    monkeypatch.setattr(loader.Loader, "_straight", fail)
    for _ in range(6):
        run = advance(run.pk)
    assert (run.status, run.problems[0]["code"]) == (Status.FAILED, "failure")
    assert "ZeroDivisionError" in run.problems[0]["message"]


def test_a_bell_that_nobody_heard_costs_only_time(tables: None, var: Path) -> None:
    run = file_of_numbers(100)
    ring(run)  # into a broker that no worker reads
    assert settings.CELERY_BROKER_URL == "memory://"
    with workers(1, var):
        wait_until(lambda: finished(run), 30, "the sweep at the worker's start")
    assert ledger_problems(run, "numbers", 100) == []
