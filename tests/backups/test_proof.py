"""Checks as somebody watches them: progress, a change of mind, a worker that dies again and again."""

from typing import Any

import pytest
from django.db import connection

from backups.models import Backup
from backups.services import cancel_backup, check, request_check
from tests.backups.conftest import backed_up, run_sql

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
