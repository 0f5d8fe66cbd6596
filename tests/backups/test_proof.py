"""Checks as somebody watches them: progress, a change of mind, a worker that dies again and again."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from backups.admin.shown import badge_of
from backups.models import Backup, BackupStatus
from backups.services import cancel_backup, check, request_check, request_dry_run, try_out
from migration_console.lib.folder import Folder
from tests.backups.conftest import backed_up, rehearsed, run_sql, without
from tests.conftest import Client

pytestmark = pytest.mark.database
ROWS = 500


@pytest.fixture
def backup(tables: None, monkeypatch: pytest.MonkeyPatch) -> Backup:
    """Return the backup of a table, of which every step is written down."""
    monkeypatch.setattr("backups.working.NOTE_SECONDS", 0)
    run_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)" + ("" if connection.vendor == "mysql" else " STRICT"))
    run_sql("INSERT INTO t VALUES " + ", ".join(f"({n})" for n in range(ROWS)))
    return backed_up("t")


def test_how_far_a_rehearsal_is_can_be_seen(backup: Backup) -> None:
    seen: list[dict[str, Any]] = []

    def watch(_done: int, _total: int) -> None:
        found = Backup.objects.get(pk=backup.pk).as_dict()["check_progress"]
        seen.append(found)

    request_check(backup, rehearse=True)
    assert request_check(backup, rehearse=True).check_progress() == {
        "rows": 0, "bytes": 0, "rows_expected": 3 * ROWS, "rows_per_second": 0, "seconds": None, "seconds_left": None,
    }  # fmt: skip
    done = check(backup.pk, watch)
    assert [found["rows"] for found in seen] == sorted(found["rows"] for found in seen)
    assert {ROWS, 2 * ROWS} <= {found["rows"] for found in seen}
    assert max(found["bytes"] for found in seen) > 0
    assert seen[-1]["seconds_left"] is not None
    assert (done.check_progress(), done.rows, done.rehearsed_at is not None) == (None, ROWS, True)


def test_a_check_that_nobody_wants_any_more_proves_nothing(backup: Backup) -> None:
    def cancel(_done: int, _total: int) -> None:
        cancel_backup(backup)

    request_check(backup, rehearse=True)
    done = check(backup.pk, cancel)
    assert (done.status, done.verified_at, done.check_problems, done.check_wanted) == ("done", None, [], "")


def test_a_rehearsal_asked_for_during_a_check_is_done_afterwards(backup: Backup) -> None:
    def ask(_done: int, _total: int) -> None:
        request_check(backup, rehearse=True)

    request_check(backup)
    done = check(backup.pk, ask)
    assert (done.verified_at is not None, done.rehearsed_at, done.check_wanted) == (True, None, "rehearse")
    assert check(backup.pk).rehearsed_at is not None


def test_a_check_at_which_workers_die_again_and_again_ends(backup: Backup) -> None:
    request_check(backup)
    Backup.objects.filter(pk=backup.pk).update(takeovers=6)
    done = check(backup.pk)
    assert (done.check_wanted, done.verified_at, done.check_problems[0]["code"]) == ("", None, "takeovers")


def test_a_rehearsal_that_the_server_refuses_says_nothing_about_the_files(backup: Backup) -> None:
    rehearsed(backup)
    Backup.objects.update(verified_at=timezone.now() - timedelta(days=1))
    request_check(backup, rehearse=True)
    refusing = without("CREATE") if connection.vendor == "mysql" else full(backup)
    with refusing:
        for _ in range(6):
            done = check(backup.pk)
    assert done.check_problems != []
    assert done.verified_at is not None
    assert timezone.now() - done.verified_at < timedelta(minutes=1)
    assert (done.rehearsed_at, badge_of(done).word) == (None, "Check failed")
    assert (rehearsed(backup).rehearsed_at is not None, badge_of(rehearsed(backup)).word) == (True, "Done")


@contextmanager
def full(backup: Backup) -> Iterator[None]:
    """Put something in the place of each scratch table that SQLite does not drop as a table."""
    names = [f"_console_rehearsal_{backup.pk}_{epoch}" for epoch in range(backup.epoch, backup.epoch + 20)]
    run_sql(*(f"CREATE VIEW {name} AS SELECT 1" for name in names))
    yield
    run_sql(*(f"DROP VIEW {name}" for name in names))


def test_a_check_that_could_not_be_made_leaves_the_marks(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rehearsed(backup)

    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    request_check(backup)
    with monkeypatch.context() as patched:
        patched.setattr("backups.proof.read_manifest", deny)
        for _ in range(6):
            done = check(backup.pk)
    assert done.check_problems[0]["code"] == "failure"
    assert (done.verified_at, done.rehearsed_at) == (before.verified_at, before.rehearsed_at)


def test_a_damaged_backup_loses_its_marks(backup: Backup, folder: Folder) -> None:
    rehearsed(backup)
    (part,) = folder.path(backup.prefix).glob("*.avro")
    part.write_bytes(part.read_bytes()[:-20])
    done = rehearsed(backup)
    assert (done.verified_at, done.rehearsed_at, badge_of(done).word) == (None, None, "Damaged")


def test_a_dry_run_of_a_damaged_backup_is_refused(backup: Backup, folder: Folder) -> None:
    (part,) = folder.path(backup.prefix).glob("*.avro")
    part.write_bytes(part.read_bytes()[:-5] + b"xxxxx")
    answer = Client("operator")("POST", "/restore/t", {"backup": backup.pk, "dry_run": True})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "damaged")
    with pytest.raises(CommandError, match="cannot be restored"):
        call_command("restore", "t", "--dry-run", f"--backup={backup.pk}")
    seen = try_out(request_dry_run("t").pk)
    assert (seen.status, seen.problems[0]["code"]) == (BackupStatus.REFUSED, "damaged")
