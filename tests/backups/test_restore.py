"""Restores: what is swapped, what is exchanged, what is refused, and with which reason."""

from typing import Any

import pytest
from django.db import connection

from backups.models import Backup, BackupStatus, Restore, RestoreStatus
from backups.services import (
    add_table,
    bring_back,
    cancel_restore,
    dry_run,
    request_backup,
    request_restore,
    take,
)
from migration_console.lib.errors import Refused
from tests.backups.conftest import OURS, backed_up, fingerprint, restored, run_sql
from tests.conftest import query

pytestmark = pytest.mark.database


@pytest.fixture
def mysql(tables: None) -> None:
    if connection.vendor != "mysql":
        pytest.skip("SQLite has no such thing")


def integers(sql: str) -> str:
    """Return SQL with the types of a STRICT table where this is SQLite."""
    if connection.vendor == "mysql":
        return sql
    return sql.replace("VARCHAR(20)", "TEXT").replace(" INT ", " INTEGER ") + " STRICT"


@pytest.fixture
def t(tables: None) -> str:
    run_sql(integers("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))"))
    run_sql("INSERT INTO t VALUES " + ", ".join(f"({n}, 'row {n}')" for n in range(100)))
    return "t"


def refusal(table: str = "t", **options: Any) -> str:
    """Return the reason for which a restore is refused, at once or by its worker."""
    try:
        restore = bring_back(request_restore(table, **options).pk)
    except Refused as refused:
        return refused.problems[0].code
    assert restore.status == RestoreStatus.REFUSED
    return str(restore.problems[0]["code"])


def leftovers() -> list[str]:
    with connection.cursor() as cursor:
        return [name for name in connection.introspection.table_names(cursor) if name.startswith(OURS)]


def test_a_table_comes_back_as_it_was(t: str) -> None:
    before = fingerprint(t)
    backed_up(t)
    run_sql("UPDATE t SET v = 'wrong'", "DELETE FROM t WHERE id > 50")
    restore = restored(t)
    assert fingerprint(t) == before
    assert leftovers() == []
    assert restore.safety is not None
    assert restore.safety.rows == 51, "what was there before is in a backup of its own"


def test_the_restore_itself_can_be_taken_back(t: str) -> None:
    first = backed_up(t)
    run_sql("UPDATE t SET v = 'newer'")
    now = fingerprint(t)
    safety = restored(t, backup=first.pk).safety
    assert safety is not None
    restored(t, backup=safety.pk)
    assert fingerprint(t) == now


def test_a_dry_run_says_what_would_change_and_changes_nothing(t: str) -> None:
    backed_up(t)
    run_sql("UPDATE t SET v = 'x' WHERE id < 10", "DELETE FROM t WHERE id >= 95", "INSERT INTO t VALUES (200, 'new')")
    before = fingerprint(t)
    found = dry_run(t)
    assert (found["added"], found["removed"], found["changed"]) == (5, 1, 10)
    assert (found["rows_then"], found["rows_now"]) == (100, 96)
    assert fingerprint(t) == before
    assert Restore.objects.count() == 0


def test_rows_without_a_key_are_counted_as_a_bag(tables: None) -> None:
    run_sql(integers("CREATE TABLE t (id INT , v VARCHAR(20))"))
    run_sql("INSERT INTO t VALUES (1, 'a'), (1, 'a'), (2, NULL)")
    backed_up("t")
    run_sql("DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (1, 'a'), (3, 'c')")
    found = dry_run("t")
    assert (found["added"], found["removed"], found["changed"]) == (1, 2, 0)


def test_another_name_leaves_the_table_alone(t: str) -> None:
    backed_up(t)
    before = fingerprint(t)
    run_sql("DELETE FROM t")
    restored(t, into="copy_of_t")
    assert fingerprint("copy_of_t") == before
    assert query("SELECT COUNT(*) FROM t") == [(0,)]


@pytest.mark.parametrize("name", ["auth_user", "ingest_run", "_console_old_1", "a`b", "a.b", "../x"])
def test_names_that_are_none_of_ours_are_refused(t: str, name: str) -> None:
    backed_up(t)
    with pytest.raises(Refused):
        request_restore(t, into=name)


@pytest.mark.parametrize("name", ["auth_user", "AUTH_USER", "backups_backup", "django_migrations"])
def test_the_consoles_own_tables_are_never_listed(tables: None, name: str) -> None:
    with pytest.raises(Refused, match="own"):
        add_table(name)
    with pytest.raises(Refused, match="not one of"):
        request_backup(name)


def test_a_table_that_is_gone_comes_back(t: str) -> None:
    before = fingerprint(t)
    backed_up(t)
    run_sql("DROP TABLE t")
    restore = restored(t)
    assert (fingerprint(t), restore.safety) == (before, None)


def test_an_empty_table_comes_back_empty(tables: None) -> None:
    run_sql(integers("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))"))
    assert backed_up("t").rows == 0
    run_sql("INSERT INTO t VALUES (1, 'x')")
    restored("t")
    assert query("SELECT COUNT(*) FROM t") == [(0,)]


def test_another_definition_is_refused_until_told(mysql: None, t: str) -> None:
    before = fingerprint(t)
    backed_up(t)
    run_sql("ALTER TABLE t ADD COLUMN extra INT", "CREATE INDEX v_index ON t (v)")
    assert refusal() == "schema-differs"
    found = dry_run(t)
    assert found["only_now"] == ["KEY `v_index` (`v`)", "`extra` int DEFAULT NULL"] or len(found["only_now"]) == 2
    restored(t, take_schema=True)
    assert fingerprint(t) == before


def test_children_keep_their_parents(mysql: None, t: str) -> None:
    run_sql("CREATE TABLE kids (id INT PRIMARY KEY, t_id INT, FOREIGN KEY (t_id) REFERENCES t (id) ON DELETE CASCADE)")
    run_sql("INSERT INTO kids VALUES (1, 5), (2, 99), (3, NULL)")
    kids, before = fingerprint("kids"), fingerprint(t)
    backed_up(t)
    run_sql("UPDATE t SET v = 'x'", "INSERT INTO t VALUES (500, 'new')")
    restored(t)
    assert (fingerprint(t), fingerprint("kids")) == (before, kids)
    run_sql("DELETE FROM t WHERE id = 5")
    assert query("SELECT id FROM kids ORDER BY id") == [(2,), (3,)], (
        "the foreign key follows the table, not the old one"
    )


def test_a_restore_that_would_orphan_children_is_refused(mysql: None, t: str) -> None:
    run_sql("CREATE TABLE kids (id INT PRIMARY KEY, t_id INT, FOREIGN KEY (t_id) REFERENCES t (id))")
    backed_up(t)
    run_sql("INSERT INTO t VALUES (500, 'new')", "INSERT INTO kids VALUES (1, 500)")
    before = fingerprint(t)
    assert refusal() == "orphans"
    assert (fingerprint(t), leftovers()) == (before, [])


def test_rows_whose_parents_are_gone_are_refused(mysql: None, t: str) -> None:
    run_sql("CREATE TABLE kids (id INT PRIMARY KEY, t_id INT, FOREIGN KEY (t_id) REFERENCES t (id))")
    run_sql("INSERT INTO kids VALUES (1, 5)")
    backed_up("kids")
    run_sql("DELETE FROM kids", "DELETE FROM t WHERE id = 5")
    assert refusal("kids") == "orphans"


def test_a_table_that_refers_to_itself_and_to_others(mysql: None, t: str) -> None:
    run_sql(
        "CREATE TABLE staff (id INT PRIMARY KEY, boss INT, t_id INT, pay INT, CONSTRAINT chk CHECK (pay > 0),"
        " CONSTRAINT boss FOREIGN KEY (boss) REFERENCES staff (id), FOREIGN KEY (t_id) REFERENCES t (id))"
    )
    run_sql("INSERT INTO staff VALUES (2, NULL, 1, 1)", "INSERT INTO staff VALUES (1, 2, 1, 1)")
    before = fingerprint("staff")
    backed_up("staff")
    for _ in range(2):
        run_sql("DELETE FROM staff WHERE id = 1")
        restored("staff")
        assert fingerprint("staff") == before
    with pytest.raises(Exception, match=r"foreign key|FOREIGN KEY"):
        run_sql("INSERT INTO staff VALUES (3, 77, 1, 1)")
    with pytest.raises(Exception, match=r"(?i)constraint"):
        run_sql("INSERT INTO staff VALUES (4, NULL, 1, -1)")


@pytest.mark.parametrize("event", ["INSERT", "DELETE"])
def test_triggers_that_would_fire_are_a_reason_to_refuse(mysql: None, t: str, event: str) -> None:
    run_sql("CREATE TABLE log (x INT)")
    run_sql(f"CREATE TRIGGER spy AFTER {event} ON t FOR EACH ROW INSERT INTO log VALUES (1)")
    backed_up(t)
    run_sql("UPDATE t SET v = 'x'")
    before = fingerprint(t)
    assert refusal() == "triggers"
    assert (fingerprint(t), query("SELECT COUNT(*) FROM log")) == (before, [(0,)])


def test_update_triggers_stay_and_do_not_fire(mysql: None, t: str) -> None:
    run_sql("CREATE TABLE log (x INT)")
    run_sql("CREATE TRIGGER spy AFTER UPDATE ON t FOR EACH ROW INSERT INTO log VALUES (1)")
    before = fingerprint(t)
    backed_up(t)
    run_sql("DELETE FROM t WHERE id < 50")
    restored(t)
    assert (fingerprint(t), query("SELECT COUNT(*) FROM log")) == (before, [(0,)])
    run_sql("UPDATE t SET v = 'y' WHERE id = 1")
    assert query("SELECT COUNT(*) FROM log") == [(1,)]


def test_triggers_of_a_lost_table_come_back(mysql: None, t: str) -> None:
    run_sql("CREATE TABLE log (x INT)")
    run_sql("CREATE TRIGGER spy AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (1)")
    backed_up(t)
    run_sql("DROP TABLE t")
    restored(t)
    assert query("SELECT COUNT(*) FROM log") == [(0,)]
    run_sql("INSERT INTO t VALUES (1000, 'x')")
    assert query("SELECT COUNT(*) FROM log") == [(1,)]


def test_generated_columns_invisible_columns_and_id_0(mysql: None) -> None:
    run_sql(
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT, twice INT AS (a * 2) STORED, more INT AS (a + 1),"
        " hidden VARCHAR(9) INVISIBLE) AUTO_INCREMENT = 700"
    )
    run_sql("INSERT INTO t (id, a, hidden) VALUES (0, 1, 'secret'), (5, NULL, NULL)")
    everything = "SELECT id, a, twice, more, hidden FROM t ORDER BY id"
    before = query(everything)
    backed_up("t")
    run_sql("DELETE FROM t")
    restored("t")
    assert query(everything) == before == [(0, 1, 2, 2, "secret"), (5, None, None, None, None)]
    run_sql("INSERT INTO t (a) VALUES (9)")
    assert query("SELECT MAX(id) FROM t") == [(700,)]


@pytest.mark.parametrize("table", ["v", "m"])
def test_what_cannot_be_read_at_one_moment_is_refused(mysql: None, t: str, table: str) -> None:
    run_sql("CREATE VIEW v AS SELECT * FROM t", "CREATE TABLE m (id INT) ENGINE = MyISAM")
    add_table(table)
    backup = take(request_backup(table).pk)
    run_sql("DROP VIEW v")
    assert (backup.status, backup.problems[0]["code"]) == (BackupStatus.REFUSED, "engine")


def test_a_restore_asked_for_twice_runs_once(t: str) -> None:
    backup = backed_up(t)
    first, second = request_restore(t), request_restore(t, backup=backup.pk)
    assert first.pk == second.pk
    other = backed_up(t)
    with pytest.raises(Refused, match="under way"):
        request_restore(t, backup=other.pk)
    bring_back(first.pk)
    assert bring_back(first.pk).status == RestoreStatus.DONE
    assert Backup.objects.filter(trigger=f"restore {first.pk}").count() == 1


def test_two_backups_of_one_table_at_once_are_one(t: str) -> None:
    add_table(t)
    assert request_backup(t).pk == request_backup(t).pk
    take(Backup.objects.get().pk)
    assert request_backup(t).pk != Backup.objects.earliest("pk").pk


def test_a_cancelled_restore_changes_nothing(t: str) -> None:
    backed_up(t)
    run_sql("UPDATE t SET v = 'x'")
    before = fingerprint(t)
    restore = cancel_restore(request_restore(t))
    assert (restore.status, restore.under_way, fingerprint(t)) == (RestoreStatus.CANCELLED, None, before)


def test_a_damaged_backup_is_never_restored(t: str, folder: Any) -> None:
    backup = backed_up(t)
    (part,) = folder.path(backup.prefix).glob("*.avro")
    part.write_bytes(part.read_bytes()[:-20])
    before = fingerprint(t)
    restore = bring_back(request_restore(t).pk)
    assert (restore.status, restore.problems[0]["code"]) == (RestoreStatus.FAILED, "damaged")
    assert (fingerprint(t), leftovers()) == (before, [])
