"""Backups and restores killed at every step and at random moments: the table is the old one or the new one."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from backups.models import Backup, BackupStatus, Restore, RestoreStatus
from backups.services import add_table, bring_back, load_again, request_backup, request_restore, take
from backups.sweeper import sweep
from ingest.models import Run, Status
from ingest.sweeper import work_off
from migration_console.env import ROOT
from migration_console.lib.folder import Folder
from migration_console.lib.lease import TableLease
from tests.backups.conftest import OURS, backed_up, fingerprint, lapse, run_sql
from tests.backups.test_ledger import APPEND, rows
from tests.conftest import Loads, query
from tests.workers import LEASE, environment, wait_until, workers

pytestmark = [pytest.mark.database, pytest.mark.timeout(600)]
STEPS = ["backing up", "loading", "checking", "swapping", "swapped"]
PLACES = [f"{when} step {step}" for step in STEPS for when in ("before", "after")]
PLACES += [
    "after fill_shadow",
    "after put_in_place",
    "after tell_ledger",
    "after drop_replaced",
    "before drop_replaced",
    "before unreserve",
]


@pytest.fixture(params=["rename", "exchange"])
def table(request: pytest.FixtureRequest, tables: None) -> str:
    """Make a table, once free, once with a child that points at it and a trigger."""
    text, strict = ("VARCHAR(60)", "") if connection.vendor == "mysql" else ("TEXT", " STRICT")
    run_sql(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {text}){strict}")
    if request.param == "exchange":
        run_sql("CREATE TABLE kids (id INTEGER PRIMARY KEY, t_id INTEGER, FOREIGN KEY (t_id) REFERENCES t (id))")
        if connection.vendor == "mysql":
            run_sql("CREATE TRIGGER spy AFTER UPDATE ON t FOR EACH ROW INSERT INTO kids VALUES (NEW.id, NULL)")
    run_sql("INSERT INTO t VALUES " + ", ".join(f"({n}, 'old {n}')" for n in range(2000)))
    return str(request.param)


def prepare(table: str) -> tuple[Restore, Any, Any]:
    """Back up, change, ask for a restore; return it, and the table as it was and as it is."""
    backed_up("t")
    then = fingerprint("t")
    if table == "exchange":
        run_sql("DELETE FROM kids")
    run_sql("UPDATE t SET v = CONCAT(v, '!')" if connection.vendor == "mysql" else "UPDATE t SET v = v || '!'")
    if table == "exchange":
        run_sql("DELETE FROM kids", "INSERT INTO kids VALUES (1, 5), (2, NULL)")
    return request_restore("t"), then, fingerprint("t")


def leftovers() -> list[str]:
    with connection.cursor() as cursor:
        return [name for name in connection.introspection.table_names(cursor) if name.startswith(OURS)]


def finished(restore: Restore, then: Any, now: Any, table: str) -> None:
    """Take a restore up again as another worker would, and prove its end."""
    assert fingerprint("t") in (then, now), "neither the old table nor the new one"
    for _ in range(20):
        # The server may still be at the dead worker's last statement, a claim perhaps.
        lapse()
        restore = bring_back(restore.pk)
        if restore.status not in Restore.OPEN:
            break
        time.sleep(0.1)
    assert (restore.status, restore.problems) == (RestoreStatus.DONE, []), restore.waiting_for
    assert fingerprint("t") == then
    assert leftovers() == []
    assert TableLease.objects.get(table="t").reserved_by == ""
    assert restore.safety is not None
    assert restore.safety.status == BackupStatus.DONE
    if table == "exchange":
        assert query("SELECT t_id FROM kids ORDER BY id") == [(5,), (None,)]
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            run_sql("INSERT INTO kids VALUES (77, 123456)")


def killed(module: list[str], var: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *module], cwd=ROOT, env=environment(var), stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("place", PLACES)
def test_a_restore_killed_at_a_step(table: str, place: str, tmp_path: Path) -> None:
    restore, then, now = prepare(table)
    ended = killed(["-m", "tests.backups.killed", place, str(restore.pk)], tmp_path).wait()
    assert ended == -signal.SIGKILL, "nothing was killed: the place is not on the way"
    finished(restore, then, now, table)


def goes_on(restore: Restore) -> None:
    """Take a restore up as another worker would, once the lease of the one that was stopped has run out by itself."""

    def ended() -> bool:
        return bring_back(restore.pk).status not in Restore.OPEN

    wait_until(ended, 60, "the lease of the stopped worker")
    assert Restore.objects.get(pk=restore.pk).status == RestoreStatus.DONE


@contextmanager
def stopped(place: str, restore: Restore, var: Path) -> Iterator[None]:
    """Stop a restore at a place past its lease; at the end it goes on, and comes to its end."""
    process = killed(["-m", "tests.backups.killed", place, str(restore.pk), "stop"], var)
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "nothing was stopped: the place is not on the way"
        yield
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 0
    finally:
        process.kill()


STOPS = ["after fill_shadow", "before put_in_place", "after step swapping", "after step swapped", "after put_in_place"]


@pytest.mark.heavy
@pytest.mark.parametrize("place", [*STOPS, "before tell_ledger", "before drop_replaced"])
def test_a_worker_stopped_past_its_lease_changes_nothing_when_it_wakes(
    table: str, place: str, tmp_path: Path, settings: Any
) -> None:
    if (connection.vendor, place) == ("sqlite", "after step swapped"):
        pytest.skip("SQLite holds the lock of a stopped writer")
    settings.LEASE_SECONDS = LEASE
    restore, then, _ = prepare(table)
    with stopped(place, restore, tmp_path):
        goes_on(restore)
        ended = Restore.objects.filter(pk=restore.pk).values().get()
    assert Restore.objects.filter(pk=restore.pk).values().get() == ended
    assert (fingerprint("t"), leftovers()) == (then, [])


@pytest.mark.heavy
def test_who_wakes_after_a_restore_leaves_the_ledger_alone(load: Loads, tmp_path: Path, settings: Any) -> None:
    settings.LEASE_SECONDS = LEASE
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    load(APPEND, rows(5, 5, "tuesday"), "t-2.csv")
    restore = request_restore("t")
    with stopped("before tell_ledger", restore, tmp_path):
        goes_on(restore)
        (again,) = work_off(list(Run.objects.filter(pk__in=load_again(Restore.objects.get()))))
    again.refresh_from_db()
    assert (again.status, len(query("SELECT id FROM t"))) == (Status.ARCHIVED, 10)


def at_random(table: str, tmp_path: Path, seed: int) -> bool:
    """Kill a restore at a random moment; return whether it was still under way."""
    restore, then, now = prepare(table)
    process = killed(["-m", "tests.backups.killed", "never", str(restore.pk)], tmp_path)
    wait_until(lambda: Restore.objects.get(pk=restore.pk).epoch, 30, "the restore to begin")
    time.sleep(random.Random(seed).random() * (0.5 if connection.vendor == "mysql" else 0.1))
    process.kill()
    process.wait()
    under_way = Restore.objects.get(pk=restore.pk).status in Restore.OPEN
    finished(restore, then, now, table)
    return under_way


def test_a_restore_killed_at_random_moments(table: str, tmp_path: Path) -> None:
    moments = []
    for seed in range(3):
        if seed:
            run_sql("UPDATE t SET v = 'again'", "DELETE FROM t WHERE id > 1000") if table == "rename" else None
        moments.append(at_random(table, tmp_path, seed))
    assert any(moments), "every kill came too late"


@pytest.mark.torture
def test_a_restore_killed_at_many_random_moments(table: str, tmp_path: Path) -> None:
    assert sum(at_random(table, tmp_path, seed) for seed in range(60)) > 20


def test_a_backup_that_was_killed_does_not_count(tables: None, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    run_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)" + ("" if connection.vendor == "mysql" else " STRICT"))
    add_table("t")
    backup = request_backup("t")

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("backups.dump.write_manifest", kill)
        with pytest.raises(Killed):
            take(backup.pk)
    backup.refresh_from_db()
    first = backup.prefix
    assert list(folder.path(first).glob("*.avro")) == []  # an empty table has no parts, and no manifest either
    lapse()
    assert [work.pk for work in sweep(everything=True)] == [backup.pk]
    backup = take(backup.pk)
    assert (backup.status, backup.prefix == first) == (BackupStatus.DONE, False)


def test_a_worker_that_was_taken_over_writes_no_manifest(tables: None, folder: Folder) -> None:
    run_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)" + ("" if connection.vendor == "mysql" else " STRICT"))
    add_table("t")
    backup = request_backup("t")
    from backups import taking

    sleeper = Backup.objects.get(pk=backup.pk)
    assert sleeper.claim()
    taking._begin(sleeper)
    lapse()
    assert take(backup.pk).status == BackupStatus.DONE
    with pytest.raises(Exception, match="backup"):
        taking._still_ours(sleeper)
    backup.refresh_from_db()
    assert backup.prefix != sleeper.prefix


def test_a_worker_takes_up_what_lies_there(table: str, tmp_path: Path) -> None:
    """Nobody heard the bells: they went to a broker of this process."""
    (tmp_path / "var").mkdir()
    add_table("t")
    backup = request_backup("t")
    with workers(1, tmp_path / "var"):
        wait_until(lambda: Backup.objects.get(pk=backup.pk).status == BackupStatus.DONE, 60, "the backup")
        run_sql("UPDATE t SET v = NULL WHERE id = 1")
        restore = request_restore("t")
        wait_until(lambda: Restore.objects.get(pk=restore.pk).status not in Restore.OPEN, 60, "the restore")
    assert Restore.objects.get(pk=restore.pk).status == RestoreStatus.DONE
    assert query("SELECT v FROM t WHERE id = 1") == [("old 1",)]


def test_a_connection_lost_in_the_middle_costs_another_try(
    tables: None, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "mysql":
        pytest.skip("there is no connection to lose")
    from backups.sessions import MySQLSession

    run_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    add_table("t")
    backup = request_backup("t")

    def lose(self: MySQLSession, sql: str, size: int) -> Any:
        run_sql(f"KILL {self.raw.thread_id()}")
        self.ask(sql)

    with monkeypatch.context() as patched:
        patched.setattr(MySQLSession, "rows", lose)
        backup = take(backup.pk)
    assert (backup.status, backup.takeovers) == (BackupStatus.RUNNING, 0)
    assert "another try" in backup.waiting_for
    assert take(backup.pk).status == BackupStatus.DONE
