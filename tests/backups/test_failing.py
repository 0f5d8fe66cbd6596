"""Work that fails: what passes comes again for as long as it lasts, what does not ends with its reason."""

import errno
from pathlib import Path
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection

from backups import console, restoring
from backups.models import Backup, BackupStatus, Restore, RestoreStatus
from backups.restore import has_swapped
from backups.services import (
    add_table,
    bring_back,
    cancel_backup,
    cancel_restore,
    check,
    request_backup,
    request_check,
    request_restore,
    take,
)
from backups.sweeper import sweep
from backups.working import MAX_TAKEOVERS, passes, reason
from migration_console.lib.bucket import Bucket
from migration_console.lib.errors import Denied, Fenced, Refused, Unavailable
from migration_console.lib.folder import Folder
from migration_console.lib.lease import TableLease
from tests.backups.conftest import OURS, backed_up, fingerprint, lapse, restored, run_sql, without

pytestmark = pytest.mark.database
TRIES = MAX_TAKEOVERS + 1


class Killed(BaseException):
    """The worker dies here."""


def kill(*_: object) -> None:
    """Die."""
    raise Killed


@pytest.fixture
def t(tables: None) -> str:
    text, strict = ("VARCHAR(20)", "") if connection.vendor == "mysql" else ("TEXT", " STRICT")
    run_sql(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {text}){strict}", "INSERT INTO t VALUES (1, 'a'), (2, NULL)")
    add_table("t")
    return "t"


def unwritable(folder: Folder) -> Path:
    """Put a file where the backups' folder would be."""
    place = folder.path("backups")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("no folder")
    return place


def leftovers() -> list[str]:
    with connection.cursor() as cursor:
        return [name for name in connection.introspection.table_names(cursor) if name.startswith(OURS)]


def test_a_backup_that_fails_again_and_again_ends_with_its_reason(t: str, folder: Folder) -> None:
    place = unwritable(folder)
    pk = request_backup(t).pk
    counts = [take(pk).takeovers for _ in range(TRIES)]
    backup = Backup.objects.get(pk=pk)
    assert counts[:-1] == list(range(1, TRIES))
    assert (backup.status, backup.under_way, backup.problems[0]["code"]) == (BackupStatus.FAILED, None, "failure")
    assert str(place) not in backup.problems[0]["message"]
    place.unlink()
    assert take(request_backup(t).pk).status == BackupStatus.DONE


def test_what_has_failed_a_few_times_may_still_succeed(t: str, folder: Folder) -> None:
    place = unwritable(folder)
    pk = request_backup(t).pk
    for _ in range(TRIES - 1):
        assert "another try" in take(pk).waiting_for
    place.unlink()
    assert (take(pk).status, take(pk).takeovers) == (BackupStatus.DONE, 0)


def test_a_lake_that_is_away_uses_no_tries_up(
    t: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    lake_url, pk = settings.LAKE_URL, request_backup(t).pk
    with monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        patched.setenv("AWS_MAX_ATTEMPTS", "1")
        settings.LAKE_URL = lake_url.replace("/some/", "/away/")
        for _ in range(TRIES + 1):
            backup = take(pk)
            assert (backup.status, backup.takeovers) == (BackupStatus.RUNNING, 0)
            assert "did not answer" in backup.waiting_for
        assert cancel_backup(backup).status == BackupStatus.CANCELLED
    settings.LAKE_URL = lake_url
    assert take(request_backup(t).pk).status == BackupStatus.DONE


def test_a_bucket_that_refuses_does(t: str, bucket: Bucket, settings: Any) -> None:
    settings.LAKE_URL = "s3://there-is-no-such-bucket/at/all"
    pk = request_backup(t).pk
    for _ in range(TRIES):
        backup = take(pk)
    assert (backup.status, "NoSuchBucket" in backup.problems[0]["message"]) == (BackupStatus.FAILED, True)


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (Unavailable("S3 did not answer"), True),
        (Denied("S3 refused"), False),
        (OSError(errno.ESTALE, "Stale file handle", "/lake/x"), True),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset"), True),
        (OSError(errno.ENOSPC, "No space left on device", "/lake/x"), False),
        (PermissionError(errno.EACCES, "Permission denied", "/lake/x"), False),
        (ValueError("a mistake of ours"), False),
    ],
)
def test_which_errors_pass(error: Exception, passing: bool) -> None:
    assert passes(error) is passing
    assert "/lake/x" not in reason(error)


def test_which_errors_of_a_server_pass(tables: None) -> None:
    if connection.vendor != "mysql":
        pytest.skip("these are MySQL's numbers")
    assert passes(OperationalError(2006, "gone away"))
    assert passes(OperationalError(1205, "Lock wait timeout"))
    assert passes(InterfaceError(0, ""))
    assert not passes(OperationalError(1142, "ALTER command denied"))


def test_a_check_that_fails_again_and_again_ends_and_may_be_asked_for_anew(
    t: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/lake/x")

    backup = backed_up(t)
    request_check(backup)
    with monkeypatch.context() as patched:
        patched.setattr("backups.proof.read_manifest", deny)
        for _ in range(TRIES):
            found = check(backup.pk)
    assert (found.check_wanted, found.check_problems[0]["code"]) == ("", "failure")
    request_check(backup)
    assert (check(backup.pk).verified_at is not None, check(backup.pk).check_problems) == (True, [])


def test_a_command_leaves_what_fails_alone_for_longer_each_time(
    t: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwritable(folder)
    slept: list[float] = []
    monkeypatch.setattr("backups.console.time.sleep", slept.append)
    backup = console.finish(request_backup(t), lambda _rows, _of: None)
    assert (backup.status, slept) == (BackupStatus.FAILED, [2, 4, 8, 16, 32])


@pytest.fixture
def stuck(t: str) -> Any:
    """Return a restore that fails at its swap, each time."""
    backed_up(t)
    restore = request_restore(t, into="copy")
    if connection.vendor == "mysql":
        with without("ALTER"):
            yield restore
    else:
        # SQLite renames no table while a view of the schema is broken.
        run_sql("CREATE VIEW broken AS SELECT * FROM nowhere")
        yield restore
        run_sql("DROP VIEW IF EXISTS broken")


def test_a_swap_that_fails_again_and_again_ends_and_lets_the_table_go(stuck: Restore) -> None:
    for _ in range(TRIES):
        restore = bring_back(stuck.pk)
    assert (restore.status, restore.under_way) == (RestoreStatus.FAILED, None)
    assert restore.problems[0]["code"] == "failure"
    assert leftovers() == []
    assert TableLease.objects.get(table="copy").reserved_by == ""


def test_a_swap_that_fails_can_be_cancelled(stuck: Restore) -> None:
    restore = bring_back(stuck.pk)
    assert (restore.status, restore.takeovers) == (RestoreStatus.SWAPPING, 1)
    assert cancel_restore(restore).status == RestoreStatus.CANCELLED
    assert leftovers() == []
    assert TableLease.objects.get(table="copy").reserved_by == ""


@pytest.fixture
def swapped(t: str, monkeypatch: pytest.MonkeyPatch) -> Restore:
    """Return a restore whose worker died behind the swap, before the ledger was told."""
    backed_up(t)
    run_sql("UPDATE t SET v = 'newer'")
    restore = request_restore(t)
    with monkeypatch.context() as patched:
        patched.setattr("backups.restoring._finish", kill)
        with pytest.raises(Killed):
            bring_back(restore.pk)
    restore.refresh_from_db()
    assert restore.status == RestoreStatus.SWAPPED
    return restore


def test_a_restore_that_has_swapped_never_ends_failed(swapped: Restore, folder: Folder) -> None:
    manifest = folder.path(swapped.backup.prefix) / "manifest.json"
    hidden = manifest.rename(manifest.with_name("hidden"))
    for _ in range(TRIES + 1):
        restore = cancel_restore(bring_back(swapped.pk))
        assert (restore.status, restore.under_way) == (RestoreStatus.SWAPPED, "t")
    assert "manifest" in restore.waiting_for
    assert restore.claim()
    assert not restore.end(RestoreStatus.FAILED)
    restore.release()
    hidden.rename(manifest)
    assert bring_back(swapped.pk).status == RestoreStatus.DONE


def test_what_fails_behind_the_swap_is_tried_for_ever(swapped: Restore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a mistake of ours")

    with monkeypatch.context() as patched:
        patched.setattr("backups.restoring.tell_ledger", fail)
        for _ in range(2 * TRIES):
            restore = bring_back(swapped.pk)
            assert (restore.status, "a mistake of ours" in restore.waiting_for) == (RestoreStatus.SWAPPED, True)
    assert bring_back(swapped.pk).status == RestoreStatus.DONE


@pytest.mark.parametrize("looks", [1, 2])
def test_a_rename_that_lands_while_its_restore_ends_is_not_denied(
    t: str, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """The worker is dead, its statement still at the server when another one looks."""
    if connection.vendor != "mysql":
        pytest.skip("SQLite has no server that outlives the worker")
    backed_up(t)
    before = fingerprint(t)
    run_sql("UPDATE t SET v = 'newer'")
    restore = request_restore(t)
    with monkeypatch.context() as patched:
        patched.setattr("backups.restore.swap_sql", kill)
        with pytest.raises(Killed):
            bring_back(restore.pk)
    restore.refresh_from_db()
    assert restore.status == RestoreStatus.SWAPPING
    answers: list[bool] = []

    def look(found: Restore) -> bool:
        answers.append(has_swapped(found))
        if len(answers) == looks:
            run_sql(f"RENAME TABLE t TO _console_replaced_{found.pk}, {found.shadow} TO t")
        return answers[-1]

    monkeypatch.setattr("backups.restoring.has_swapped", look)
    monkeypatch.setattr("backups.restore.has_swapped", look)
    restore = cancel_restore(restore)
    assert restore.status == RestoreStatus.SWAPPED
    assert bring_back(restore.pk).status == RestoreStatus.DONE
    assert fingerprint(t) == before


def test_a_parent_that_is_gone_is_a_refusal(t: str) -> None:
    strict = "" if connection.vendor == "mysql" else " STRICT"
    run_sql(f"CREATE TABLE kids (id INTEGER PRIMARY KEY, t_id INTEGER, FOREIGN KEY (t_id) REFERENCES t (id)){strict}")
    run_sql("INSERT INTO kids VALUES (1, 1)")
    backed_up("kids")
    run_sql("DROP TABLE kids", "DROP TABLE t")
    restore = bring_back(request_restore("kids").pk)
    assert (restore.status, restore.problems[0]["code"]) == (RestoreStatus.REFUSED, "orphans")
    assert "refer to t," in restore.problems[0]["message"]
    assert leftovers() == []


@pytest.mark.parametrize("name", ["copy ", " ", "\U0001d400b", "copy\n"])
def test_names_that_the_server_would_not_take_are_refused_at_once(t: str, name: str) -> None:
    backed_up(t)
    with pytest.raises(Refused, match="no name for a table"):
        request_restore(t, into=name)


@pytest.mark.parametrize("name", ["My copy", "Straße", "kopie$1-a"])
def test_names_that_it_takes_are_not(t: str, name: str) -> None:
    backed_up(t)
    restored(t, into=name)
    assert fingerprint(name) == fingerprint(t)


def test_a_restorer_that_wakes_up_behind_the_end_reserves_nothing(t: str) -> None:
    backed_up(t)
    restore = request_restore(t)
    sleeper = Restore.objects.get(pk=restore.pk)
    assert sleeper.claim()
    lapse()
    assert bring_back(restore.pk).status == RestoreStatus.DONE
    with pytest.raises(Fenced):
        restoring._waits(sleeper)
    assert TableLease.objects.get(table=t).reserved_by == ""


def test_the_sweep_lets_a_table_go_whose_restore_has_ended(t: str) -> None:
    backed_up(t)
    done, going = restored(t), request_restore(t, into="copy")
    others = {t: f"restore {done.pk}", "copy": f"restore {going.pk}", "gone": "restore 99999", "own": "somebody"}
    for table, by in others.items():
        TableLease.objects.update_or_create(table=table, defaults={"reserved_by": by})
    sweep(everything=True)
    left = dict(TableLease.objects.exclude(reserved_by="").values_list("table", "reserved_by"))
    assert left == {"copy": f"restore {going.pk}", "own": "somebody"}
