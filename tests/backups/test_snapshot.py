"""A backup is the table at one moment, whatever is written meanwhile."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import OperationalError, connection, transaction

from backups.models import Backup, BackupStatus
from backups.services import add_table, request_backup, take
from backups.sessions import open_snapshots
from backups.verify import read_manifest, read_part
from tests.backups.conftest import backed_up, run_sql

pytestmark = pytest.mark.database
ACCOUNTS, EACH = 5000, 1000


@pytest.fixture
def bank(tables: None) -> None:
    strict = "" if connection.vendor == "mysql" else " STRICT"
    run_sql(f"CREATE TABLE bank (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL){strict}")
    run_sql("INSERT INTO bank VALUES " + ", ".join(f"({n}, {EACH})" for n in range(ACCOUNTS)))


@contextmanager
def transfers(tellers: int = 2) -> Iterator[list[int]]:
    """Move money to and fro in many small transactions; yields how many there were."""
    stop, count = threading.Event(), [0] * tellers

    def teller(number: int) -> None:
        chance = random.Random(number)
        try:
            while not stop.is_set():
                giver, taker = chance.sample(range(ACCOUNTS), 2)
                try:
                    with transaction.atomic(), connection.cursor() as cursor:
                        cursor.execute("UPDATE bank SET amount = amount - 7 WHERE id = %s", [giver])
                        cursor.execute("UPDATE bank SET amount = amount + 7 WHERE id = %s", [taker])
                    count[number] += 1
                except OperationalError:
                    continue  # a deadlock between two tellers
                if connection.vendor == "sqlite":
                    time.sleep(0.005)  # its one lock is not given to who waits longest
        finally:
            connection.close()

    threads = [threading.Thread(target=teller, args=[number]) for number in range(tellers)]
    for thread in threads:
        thread.start()
    try:
        yield count
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def total(backup: Backup) -> int:
    """Return the sum of all amounts in a backup's files."""
    manifest = read_manifest(backup.prefix)
    frames = [frame for part in manifest.parts for frame, _, _ in read_part(manifest, backup.prefix, part)]
    return sum(int(frame.to_series(1).sum()) for frame in frames)


@pytest.mark.parametrize("readers", [1, 3])
def test_twenty_backups_while_money_moves(
    bank: None, readers: int, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "sqlite" and readers > 1:
        pytest.skip("SQLite is read by one session")
    settings.BACKUP_READERS = readers  # type: ignore[attr-defined]
    monkeypatch.setattr("backups.dump.MANY_ROWS", 0)
    # Small steps, so that much is written between the first row and the last.
    monkeypatch.setattr("backups.source.BLOCK_ROWS", 100)
    monkeypatch.setattr("backups.source.CAREFUL", 100)
    moved = []
    with transfers() as count:
        for _ in range(20):
            before = sum(count)
            backup = backed_up("bank")
            moved.append(sum(count) - before)
            assert (total(backup), backup.rows) == (ACCOUNTS * EACH, ACCOUNTS)
    assert backup.parts >= readers
    assert sum(moved) > 20, "nothing was written meanwhile: this proves nothing"


def test_without_a_snapshot_the_sum_is_wrong(bank: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no weaker isolation to show it with")
    from backups.sessions import MySQLSession

    monkeypatch.setattr(
        MySQLSession, "begin", lambda self: self.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    )
    monkeypatch.setattr("backups.dump.MANY_ROWS", 0)
    monkeypatch.setattr("backups.source.BLOCK_ROWS", 10)
    monkeypatch.setattr("backups.source.CAREFUL", 10)
    with transfers():
        sums = {total(backed_up("bank")) for _ in range(10)}
    assert sums != {ACCOUNTS * EACH}, "the checker does not see a torn backup"


def test_where_the_lock_is_not_to_be_had_one_session_reads(bank: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite is read by one session")
    monkeypatch.setattr("backups.sessions.LOCK_SECONDS", 1)
    writing, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE bank SET amount = amount WHERE id = 1")
            writing.set()
            done.wait()
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    writing.wait()
    sessions = open_snapshots(connection, "bank", 3)
    done.set()
    thread.join()
    assert len(sessions) == 1
    assert sessions[0].ask("SELECT COUNT(*) FROM bank")[0][0] in {ACCOUNTS, str(ACCOUNTS)}
    sessions[0].close()


@pytest.mark.parametrize("readers", [1, 3])
def test_a_table_that_is_altered_behind_the_snapshot_is_read_from_another_one(
    bank: None, readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite reads the table as it was")
    from backups.sessions import MySQLSession

    close, altered = MySQLSession.close, list[str]()

    def alter(when: str) -> None:
        if not altered:
            altered.append(when)
            run_sql("ALTER TABLE bank ADD COLUMN note VARCHAR(9) DEFAULT 'new', ALGORITHM=COPY")

    def close_and_alter(self: MySQLSession) -> None:
        # The gate is the first session that is closed: the snapshots are open, and nothing holds ALTER off.
        close(self)
        alter("behind the gate")

    begin = MySQLSession.begin

    def begin_and_alter(self: MySQLSession) -> None:
        begin(self)
        alter("behind the snapshot")

    with monkeypatch.context() as patched:
        if readers == 1:
            patched.setattr(MySQLSession, "begin", begin_and_alter)
        else:
            patched.setattr(MySQLSession, "close", close_and_alter)
        sessions = open_snapshots(connection, "bank", readers)
    assert (len(sessions), len(altered)) == (readers, 1)
    assert [session.ask("SELECT COUNT(note) FROM bank") for session in sessions] == [[(str(ACCOUNTS),)]] * readers
    for session in sessions:
        session.close()


def test_a_table_that_is_altered_all_the_time_costs_another_try(bank: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite reads the table as it was")
    from backups.sessions import MySQLSession

    begin = MySQLSession.begin

    def begin_and_alter(self: MySQLSession) -> None:
        begin(self)
        run_sql("ALTER TABLE bank FORCE, ALGORITHM=COPY")

    add_table("bank")
    backup = request_backup("bank")
    with monkeypatch.context() as patched:
        patched.setattr(MySQLSession, "begin", begin_and_alter)
        backup = take(backup.pk)
    assert (backup.status, "1412" in backup.waiting_for) == (BackupStatus.RUNNING, True)
    assert take(backup.pk).status == BackupStatus.DONE


def test_the_ledger_is_read_at_the_same_moment(tables: None, tmp_path: Path) -> None:
    from ingest.models import Run
    from tests.backups.test_ledger import APPEND, rows
    from tests.conftest import Loads

    load = Loads()
    load(APPEND, rows(0, 10, "a"), "t-1.csv")
    stop = threading.Event()

    def loads() -> None:
        number = 1
        while not stop.is_set():
            number += 1
            load(APPEND, rows(number * 10, 10, "b"), f"t-{number}.csv")
        connection.close()

    thread = threading.Thread(target=loads)
    thread.start()
    try:
        for _ in range(8):
            backup = backed_up("t")
            manifest = read_manifest(backup.prefix)
            assert manifest.rows == sum(run["loaded"] for run in manifest.runs)
    finally:
        stop.set()
        thread.join()
    assert Run.objects.count() > 2
