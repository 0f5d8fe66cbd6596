"""Tables that somebody reads for long, as a backup does: DDL steps back after moments, so that other readers get on."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from backups.models import RestoreStatus
from backups.services import bring_back, cancel_restore, request_backup, request_restore
from backups.sessions import open_snapshots
from ingest.admission import admit_upload
from ingest.altering import alter
from ingest.datasets import save_dataset
from ingest.models import Dataset, Status
from ingest.schema import compile_schema
from ingest.services import advance
from ingest.sweeper import sweep, work_off
from migration_console.lib.definition import read_definition
from migration_console.lib.errors import Refused
from migration_console.lib.mysql import briefly
from tests.backups.conftest import OURS, backed_up, fingerprint, run_sql
from tests.conftest import query

pytestmark = pytest.mark.database
LOG = {"name": "log", "mode": "replace", "schema": {"fields": [{"name": "n", "type": "integer"}]}}


@pytest.fixture(autouse=True)
def _mysql(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "mysql":
        pytest.skip("SQLite's readers hold nobody up")
    monkeypatch.setattr("migration_console.lib.mysql.LOCK_SECONDS", 1)


@contextmanager
def read(table: str) -> Iterator[list[float]]:
    """Read a table for long, as a backup does; yields how long others waited who came meanwhile for a short look."""
    (long,) = open_snapshots(connection, table, 1)
    waited: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            begun = time.monotonic()
            query(f"SELECT COUNT(*) FROM {table}")
            waited.append(time.monotonic() - begun)
        connection.close()

    other = threading.Thread(target=look)
    other.start()
    try:
        yield waited
    finally:
        over.set()
        long.close()
        other.join()


def send(name: str, text: str, dataset: str = "log") -> int:
    file = io.BytesIO(text.encode())
    return admit_upload(f"raw/{name}", file, trigger="test", dataset=Dataset.objects.get(name=dataset)).pk


def test_a_restore_holds_no_reader_up_and_swaps_when_the_table_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    run_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    backed_up("t")
    before = fingerprint("t")
    run_sql("DELETE FROM t")
    restore = request_restore("t")
    with read("t") as waited:
        for _ in range(2):
            restore = bring_back(restore.pk)
            assert (restore.status, restore.takeovers) == (RestoreStatus.SWAPPING, 0)
            assert restore.waiting_for.startswith("whoever reads t")
        under_way = request_backup("t")
        assert str(under_way) in bring_back(restore.pk).waiting_for
    assert 0.5 < max(waited) < 2.5

    def fill(*_: object) -> None:
        raise AssertionError("the shadow was filled and compared already")

    monkeypatch.setattr("backups.restoring.fill", fill)
    assert bring_back(restore.pk).status == RestoreStatus.DONE
    assert fingerprint("t") == before


def test_a_restore_that_waits_for_readers_can_be_cancelled() -> None:
    run_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    backed_up("t")
    restore = request_restore("t")
    with read("t"):
        assert cancel_restore(bring_back(restore.pk)).status == RestoreStatus.CANCELLED
    with connection.cursor() as cursor:
        assert not [name for name in connection.introspection.table_names(cursor) if name.startswith(OURS)]


def test_a_file_that_replaces_a_table_holds_no_reader_up() -> None:
    save_dataset(LOG)
    work_off([advance(send("log-1.csv", "n\n1\n"))])
    run = send("log-2.csv", "n\n2\n")
    with read("log") as waited:
        for _ in range(2):
            waiting = advance(run)
            assert (waiting.status, waiting.takeovers) == (Status.LOADING, 0)
            assert waiting.waiting_for.startswith("whoever reads log")
    assert 0.5 < max(waited) < 2.5
    assert advance(run).status == Status.ARCHIVED
    assert query("SELECT n FROM log") == [(2,)]


def test_a_staging_table_gets_the_foreign_keys_that_it_could_not_get_while_the_parent_was_read() -> None:
    if getattr(connection, "mysql_is_mariadb", False):
        pytest.skip("MariaDB locks no parent for its child's DDL")
    run_sql("CREATE TABLE one (id BIGINT PRIMARY KEY)", "CREATE TABLE two (id BIGINT PRIMARY KEY)")
    run_sql("INSERT INTO one VALUES (1)", "INSERT INTO two VALUES (1)")
    run_sql(
        "CREATE TABLE log (n BIGINT, a BIGINT, b BIGINT, CONSTRAINT a FOREIGN KEY (a) REFERENCES one (id),"
        " CONSTRAINT b FOREIGN KEY (b) REFERENCES two (id))"
    )
    fields: list[dict[str, Any]] = [{"name": name, "type": "integer"} for name in ("n", "a", "b")]
    save_dataset({**LOG, "schema": {"fields": fields}})
    run = send("log-1.csv", "n,a,b\n1,1,1\n")
    with read("two"):
        assert advance(run).waiting_for.startswith("whoever reads log, or a table that it refers to")
    assert advance(run).status == Status.ARCHIVED
    definition = read_definition(connection, "log")
    assert definition is not None
    assert sorted(key.table for key in definition.foreign_keys) == ["one", "two"]
    sweep(everything=True)
    with connection.cursor() as cursor:
        assert not [name for name in connection.introspection.table_names(cursor) if name.startswith("_console")]


def test_a_table_that_is_read_is_changed_later() -> None:
    run_sql("CREATE TABLE log (n INT)")
    schema = compile_schema({**LOG, "mode": "append"})
    with read("log") as waited, pytest.raises(Refused, match="whoever reads log") as refused:
        alter(schema)
    assert (refused.value.problems[0].code, max(waited) < 2.5) == ("table-in-use", True)
    assert alter(schema) is not None


def test_the_patience_of_the_session_is_put_back() -> None:
    ((before,),) = query("SELECT @@SESSION.lock_wait_timeout")
    with briefly(connection, "t"):
        assert query("SELECT @@SESSION.lock_wait_timeout") == [(1,)]
    assert query("SELECT @@SESSION.lock_wait_timeout") == [(before,)]
