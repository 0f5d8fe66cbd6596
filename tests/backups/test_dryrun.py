"""A dry run by a worker, and the restore that was decided upon by it."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from backups import sweeper
from backups.dryrun import forget_old_dry_runs
from backups.models import Backup, BackupStatus, DryRun, Restore
from backups.services import bring_back, cancel_dry_run, dry_run, request_dry_run, restore_as_seen, try_out
from migration_console.lib.errors import Refused
from tests.backups.conftest import backed_up, run_sql
from tests.conftest import query

pytestmark = pytest.mark.database


@pytest.fixture
def backup(tables: None) -> Backup:
    """Return a backup of a table that has changed since."""
    strict = "" if connection.vendor == "mysql" else " STRICT"
    run_sql(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER){strict}", "INSERT INTO t VALUES (1, 1), (2, 2)")
    found = backed_up("t")
    run_sql("UPDATE t SET v = 9 WHERE id = 2", "DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES (3, 3), (4, 4)")
    return found


def tried() -> DryRun:
    return try_out(request_dry_run("t").pk)


def test_a_worker_finds_what_a_request_would_have_found(backup: Backup) -> None:
    seen = tried()
    assert (seen.status, seen.problems) == (BackupStatus.DONE, [])
    assert {name: value for name, value in seen.result.items() if name != "stand"} == dry_run("t")
    assert [seen.result[name] for name in ("added", "removed", "changed")] == [1, 2, 1]
    restore = bring_back(restore_as_seen(seen, user=None).pk)
    assert (restore.status, query("SELECT id, v FROM t ORDER BY id")) == ("done", [(1, 1), (2, 2)])


def test_the_same_question_is_asked_once_at_a_time(backup: Backup) -> None:
    first = request_dry_run("t")
    assert request_dry_run("t") == first
    try_out(first.pk)
    assert request_dry_run("t") != first


def test_one_that_nobody_works_on_is_rung_for_and_may_be_cancelled(backup: Backup) -> None:
    seen = request_dry_run("t")
    DryRun.objects.update(rung_at=timezone.now() - timedelta(hours=1))
    assert sweeper.sweep() == [seen]
    assert cancel_dry_run(seen).status == BackupStatus.CANCELLED
    assert try_out(seen.pk).status == BackupStatus.CANCELLED


def test_a_definition_that_has_changed_since_is_noticed(backup: Backup) -> None:
    seen = tried()
    run_sql("ALTER TABLE t ADD COLUMN w INTEGER")
    with pytest.raises(Refused, match="has changed since the dry run"):
        restore_as_seen(seen, user=None)
    again = tried()
    assert again.result["only_now"] != []
    assert Restore.objects.count() == 0


def test_what_cannot_be_done_is_said_by_the_dry_run(backup: Backup) -> None:
    run_sql("DELETE FROM t", "CREATE TABLE k (id INTEGER PRIMARY KEY, t INTEGER)")
    body = "BEGIN DELETE FROM k; END" if connection.vendor == "sqlite" else "DELETE FROM k"
    run_sql(f"CREATE TRIGGER gone AFTER DELETE ON t FOR EACH ROW {body}")
    seen = tried()
    assert "has INSERT or DELETE triggers" in " ".join(seen.result["problems"])
    with pytest.raises(Refused, match="triggers"):
        restore_as_seen(seen, user=None)


def test_old_ones_are_forgotten(backup: Backup) -> None:
    old = tried()
    young = tried()
    DryRun.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=8))
    forget_old_dry_runs()
    assert list(DryRun.objects.all()) == [young]
