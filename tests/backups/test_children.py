"""The trap of RENAME: foreign keys of children and triggers follow the old table. Here they never do."""

from collections.abc import Iterator

import pytest
from django.db import connection

from backups.models import RestoreStatus
from backups.services import bring_back, dry_run, request_restore
from tests.backups.conftest import OURS, backed_up, fingerprint, restored, run_sql
from tests.conftest import query

pytestmark = pytest.mark.database
MYSQL = "SQLite has no such thing"


@pytest.fixture
def t(tables: None) -> str:
    if connection.vendor != "mysql":
        pytest.skip(MYSQL)
    run_sql("CREATE TABLE t (id INT, land CHAR(2), code VARCHAR(9) UNIQUE, PRIMARY KEY (id, land))")
    run_sql("INSERT INTO t VALUES (1, 'DE', 'a'), (2, 'DE', 'b'), (2, 'AT', NULL)")
    return "t"


@pytest.fixture
def elsewhere(tables: None) -> Iterator[str]:
    if connection.vendor != "mysql":
        pytest.skip(MYSQL)
    schema = f"{connection.settings_dict['NAME']}_other"
    run_sql(f"DROP DATABASE IF EXISTS {schema}", f"CREATE DATABASE {schema}")
    yield schema
    run_sql(f"DROP DATABASE {schema}")


def refused(table: str, code: str) -> None:
    """Prove that a restore is refused and changes nothing."""
    before = fingerprint(table)
    restore = bring_back(request_restore(table).pk)
    assert (restore.status, restore.problems[0]["code"]) == (RestoreStatus.REFUSED, code)
    names = [name for (name,) in query("SHOW TABLES")]
    assert (fingerprint(table), [name for name in names if name.startswith(OURS)]) == (before, [])


def test_rename_would_lead_a_child_astray(t: str) -> None:
    """If this ever fails, the server has mended the trap, and exchanging rows is no longer needed."""
    run_sql("CREATE TABLE kids (id INT PRIMARY KEY, code VARCHAR(9), FOREIGN KEY (code) REFERENCES t (code))")
    run_sql("CREATE TABLE other LIKE t", "RENAME TABLE t TO old, other TO t")
    parents = query(
        "SELECT referenced_table_name FROM information_schema.referential_constraints"
        " WHERE table_name = 'kids' AND constraint_schema = DATABASE()"
    )
    assert parents == [("old",)]


@pytest.mark.parametrize("action", ["RESTRICT", "CASCADE", "SET NULL"])
def test_children_of_a_key_of_two_columns_keep_every_row(t: str, action: str) -> None:
    run_sql(
        "CREATE TABLE kids (id INT PRIMARY KEY, t_id INT, land CHAR(2),"
        f" FOREIGN KEY (t_id, land) REFERENCES t (id, land) ON DELETE {action} ON UPDATE {action})"
    )
    run_sql("INSERT INTO kids VALUES (1, 2, 'AT'), (2, 2, NULL), (3, 1, 'DE')")
    before, kids = fingerprint(t), fingerprint("kids")
    backed_up(t)
    run_sql("UPDATE t SET code = NULL", "INSERT INTO t VALUES (3, 'CH', 'new')")
    assert dry_run(t)["how"] == "exchange"
    restored(t)
    assert (fingerprint(t), fingerprint("kids")) == (before, kids)
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        run_sql("INSERT INTO kids VALUES (9, 3, 'CH')")


def test_a_child_of_a_unique_key_would_lose_its_parent(t: str) -> None:
    run_sql("CREATE TABLE kids (id INT PRIMARY KEY, code VARCHAR(9), FOREIGN KEY (code) REFERENCES t (code))")
    backed_up(t)
    run_sql("UPDATE t SET code = 'c' WHERE code = 'b'", "INSERT INTO kids VALUES (1, 'c'), (2, NULL)")
    refused(t, "orphans")


def test_a_child_in_another_schema_is_found(t: str, elsewhere: str) -> None:
    here = connection.settings_dict["NAME"]
    run_sql(
        f"CREATE TABLE {elsewhere}.kids (id INT PRIMARY KEY, code VARCHAR(9),"
        f" FOREIGN KEY (code) REFERENCES {here}.t (code) ON DELETE CASCADE)"
    )
    run_sql(f"INSERT INTO {elsewhere}.kids VALUES (1, 'a')")
    before = fingerprint(t)
    backed_up(t)
    run_sql("DELETE FROM t WHERE id = 2")
    restored(t)
    assert (fingerprint(t), query(f"SELECT * FROM {elsewhere}.kids")) == (before, [(1, "a")])
    run_sql("INSERT INTO t VALUES (3, 'CH', 'c')", f"INSERT INTO {elsewhere}.kids VALUES (2, 'c')")
    refused(t, "orphans")


def test_a_parent_and_child_at_once_with_a_trigger(t: str) -> None:
    run_sql("CREATE TABLE log (x INT)")
    run_sql(
        "CREATE TABLE mid (id INT PRIMARY KEY, code VARCHAR(9), boss INT, FOREIGN KEY (code) REFERENCES t (code),"
        " FOREIGN KEY (boss) REFERENCES mid (id))"
    )
    run_sql("CREATE TABLE kids (id INT PRIMARY KEY, mid_id INT, FOREIGN KEY (mid_id) REFERENCES mid (id))")
    run_sql("CREATE TRIGGER spy AFTER UPDATE ON mid FOR EACH ROW INSERT INTO log VALUES (1)")
    run_sql("CREATE TRIGGER kid BEFORE DELETE ON kids FOR EACH ROW INSERT INTO log VALUES (2)")
    run_sql(
        "INSERT INTO mid VALUES (2, 'a', NULL)", "INSERT INTO mid VALUES (1, 'b', 2)", "INSERT INTO kids VALUES (1, 1)"
    )
    before, kids = fingerprint("mid"), fingerprint("kids")
    backed_up("mid")
    run_sql("DELETE FROM kids", "DELETE FROM mid WHERE id = 1", "INSERT INTO kids VALUES (1, NULL)", "DELETE FROM log")
    restored("mid")
    run_sql("UPDATE kids SET mid_id = 1")
    assert (fingerprint("mid"), fingerprint("kids"), query("SELECT * FROM log")) == (before, kids, [])


def test_too_many_rows_to_exchange_are_refused(t: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run_sql("CREATE TABLE kids (id INT PRIMARY KEY, code VARCHAR(9), FOREIGN KEY (code) REFERENCES t (code))")
    backed_up(t)
    run_sql("DELETE FROM t WHERE id = 1")
    monkeypatch.setattr("migration_console.lib.swap.MAX_EXCHANGED", 2)
    refused(t, "too-large")
    run_sql("DROP TABLE kids")
    assert restored(t).status == RestoreStatus.DONE, "where it can be renamed, size is no matter"
