"""Which backups stay, when they are taken, and who may be deleted."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from backups import plans
from backups.gauges import gauges
from backups.models import Backup, BackupStatus, Check, ListedTable
from backups.plans import tables
from backups.retention import Kept, reasons_to_keep
from backups.services import (
    add_table,
    bring_back,
    delete_backup,
    prune,
    request_restore,
    scheduled_backup,
    scheduled_rehearsal,
    set_plan,
    take,
)
from backups.sweeper import sweep
from migration_console.lib.errors import Refused
from migration_console.lib.folder import Folder
from tests.backups.conftest import backed_up, rehearsed, run_sql

NEW_YEAR = datetime(2026, 1, 1, 3, tzinfo=UTC)


def nightly(days: int, verified: set[int] | None = None) -> list[Kept]:
    return [Kept(n, NEW_YEAR + timedelta(days=n), verified=n in (verified or set())) for n in range(days)]


def kept(backups: list[Kept], **keeps: int) -> list[int]:
    return sorted(reasons_to_keep(backups, keeps))


def test_without_a_rule_everything_stays() -> None:
    assert kept(nightly(5)) == [0, 1, 2, 3, 4]


def test_the_last_ones_stay() -> None:
    assert kept(nightly(10), last=3) == [7, 8, 9]


def test_the_last_of_each_day_week_and_month_stays() -> None:
    twice_a_day = [Kept(n, NEW_YEAR + timedelta(hours=12 * n)) for n in range(10)]
    assert kept(twice_a_day, daily=3) == [5, 7, 9]
    # 2026 began on a Thursday: the weeks end on days 3, 10, 17 and 24.
    assert kept(nightly(28), weekly=3) == [17, 24, 27]
    assert kept(nightly(90), monthly=3) == [30, 58, 89]


def test_rules_add_up() -> None:
    assert kept(nightly(40), last=1, monthly=2) == [30, 39]
    assert reasons_to_keep(nightly(3), {"last": 1, "daily": 1})[2] == ["last", "daily"]


def test_the_newest_verified_one_is_never_deleted() -> None:
    assert kept(nightly(10, verified={1, 2}), last=1) == [2, 9]


def test_days_without_a_backup_do_not_count() -> None:
    old = [Kept(1, NEW_YEAR), Kept(2, NEW_YEAR + timedelta(days=100))]
    assert kept(old, daily=2) == [1, 2]


@pytest.fixture
def t(tables: None) -> str:
    run_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)" + ("" if connection.vendor == "mysql" else " STRICT"))
    run_sql("INSERT INTO t VALUES (1), (2)")
    return "t"


def test_a_dry_run_deletes_nothing_and_says_the_same(t: str, folder: Folder) -> None:
    backups = [backed_up(t) for _ in range(3)]
    rehearsed(backups[0])
    set_plan(t, keep_last=1)
    found = prune(t, dry_run=True)
    assert [(line["id"], line["keep"]) for line in found] == [
        (backups[2].pk, True),
        (backups[1].pk, False),
        (backups[0].pk, True),
    ]
    assert Backup.objects.filter(status=BackupStatus.DONE).count() == 3
    assert prune(t) == found
    backups[1].refresh_from_db()
    assert backups[1].status == BackupStatus.DELETED
    assert list(folder.list(backups[1].prefix)) == []
    assert len(list(folder.list(backups[0].prefix))) == 2


def test_a_backup_that_is_being_restored_stays(t: str) -> None:
    backup = backed_up(t)
    restore = request_restore(t)
    with pytest.raises(Refused, match="being restored"):
        delete_backup(backup)
    bring_back(restore.pk)
    assert delete_backup(backup).status == BackupStatus.DELETED
    with pytest.raises(Refused, match="no finished backup"):
        request_restore(t, backup=backup.pk)


@pytest.mark.database
def test_a_table_is_on_the_list_by_one_name(t: str) -> None:
    own = "main" if connection.vendor == "sqlite" else connection.settings_dict["NAME"]
    names = ["t", " t ", f"{own}.t", f" {own} . t"]
    if connection.features.ignores_table_name_case:
        names += ["T", f"{own.upper()}.T"]
    assert {add_table(name).name for name in names} == {"t"}
    assert ListedTable.objects.count() == 1


def test_a_schedule_is_a_line_of_beat(t: str) -> None:
    backed_up(t)
    set_plan(t, schedule="0 3 * * *", rehearsal_schedule="30 4 * * 0")
    lines = {task.name: task for task in PeriodicTask.objects.filter(name__endswith=f" {t}")}
    assert {line.task for line in lines.values()} == {"backups.scheduled_backup", "backups.scheduled_rehearsal"}
    assert lines["backup t"].crontab.hour == "3"
    set_plan(t, schedule="")
    assert not PeriodicTask.objects.filter(name="backup t").exists()
    assert PeriodicTask.objects.filter(name="rehearse t").exists()


@pytest.mark.parametrize("schedule", ["3", "61 * * * *", "a b c d e", "* * * * * *"])
def test_a_schedule_that_is_none_is_refused(t: str, schedule: str) -> None:
    backed_up(t)
    with pytest.raises(Refused, match="no schedule"):
        set_plan(t, schedule=schedule)


def test_what_a_schedule_asks_for_is_taken_verified_and_rehearsed(t: str) -> None:
    missed(t)
    asked = scheduled_backup(t)
    assert asked is not None
    backup = take(asked.pk)
    assert (backup.status, backup.verified_at is not None, backup.check_wanted) == ("done", True, Check.NONE)
    found = scheduled_rehearsal(t)
    assert found is not None
    assert take(found.pk).rehearsed_at is not None


def missed(t: str) -> None:
    """Give a table schedules that nobody has served for two days."""
    backed_up(t)
    set_plan(t, schedule="0 3 * * *", rehearsal_schedule="30 4 * * *")
    past = timezone.now() - timedelta(days=2)
    ListedTable.objects.update(backed_up_until=past, rehearsed_until=past)


def scheduled() -> int:
    return Backup.objects.filter(trigger="schedule").count()


@pytest.mark.database
def test_what_was_lost_with_a_message_is_asked_for_by_the_sweep_once(t: str) -> None:
    missed(t)
    sweep()
    assert (scheduled(), Backup.objects.get(trigger="schedule").check_wanted) == (1, Check.VERIFY)
    (first, second) = Backup.objects.order_by("pk")
    assert (first.check_wanted, second.status) == (Check.REHEARSE, BackupStatus.REQUESTED)
    for backup in (first, second):
        assert take(backup.pk).check_wanted == Check.NONE
    sweep()
    assert scheduled_backup(t, rung=True) is None, "beat's message comes late"
    assert (scheduled(), Backup.objects.exclude(check_wanted=Check.NONE).count()) == (1, 0)


def test_what_beat_has_asked_for_is_not_asked_for_again(t: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def it_is(day: int, hour: int, minute: int, second: int = 0) -> None:
        monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 1, day, hour, minute, second, tzinfo=UTC))

    backed_up(t)
    it_is(5, 2, 0)
    set_plan(t, schedule="0 3 * * *")
    it_is(5, 2, 59, 50)  # beat's clock is ahead of this one
    sweep()
    assert scheduled() == 0
    backup = scheduled_backup(t, rung=True)
    assert backup is not None
    take(backup.pk)
    it_is(5, 3, 0, 30)
    sweep()
    assert scheduled() == 1
    it_is(6, 3, 0)
    sweep()
    assert scheduled() == 2


def test_a_new_schedule_has_missed_nothing(t: str) -> None:
    backed_up(t)
    ListedTable.objects.update(created_at=timezone.now() - timedelta(days=900))
    Backup.objects.update(created_at=timezone.now() - timedelta(days=900))
    set_plan(t, schedule="0 3 * * *", rehearsal_schedule="0 4 * * *")
    sweep()
    assert (scheduled(), Backup.objects.get().check_wanted) == (0, Check.NONE)


def test_a_plan_of_an_older_console_counts_from_its_newest_backup(t: str) -> None:
    missed(t)
    ListedTable.objects.update(backed_up_until=None, created_at=timezone.now() - timedelta(days=9))
    sweep()
    assert scheduled() == 0
    Backup.objects.update(created_at=timezone.now() - timedelta(days=2))
    sweep()
    assert scheduled() == 1


@pytest.mark.database
def test_of_many_who_come_at_once_one_asks(t: str) -> None:
    missed(t)
    asked: list[str] = []
    together = threading.Barrier(5)

    def come() -> None:
        together.wait()
        plans._served(t, "schedule", lambda name: asked.append(name), False)
        connection.close()

    threads = [threading.Thread(target=come) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [t]


def test_a_worker_that_dies_while_it_asks_leaves_it_to_the_next(t: str) -> None:
    missed(t)

    class Killed(BaseException):
        pass

    def kill(_: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        plans._served(t, "schedule", kill, False)
    sweep()
    assert scheduled() == 1


def test_a_plan_that_is_refused_holds_up_no_other_and_comes_when_it_is_due_next(t: str) -> None:
    ListedTable.objects.create(name="a_table_that_was_retired", added=False)
    missed(t)
    ListedTable.objects.filter(added=False).update(schedule="0 3 * * *")
    sweep()
    assert scheduled() == 1
    retired = ListedTable.objects.get(added=False)
    assert retired.backed_up_until is not None
    assert timezone.now() - retired.backed_up_until < timedelta(minutes=1)


def test_the_age_of_the_newest_verified_backup(t: str) -> None:
    backup = rehearsed(backed_up(t))
    backed_up(t)
    Backup.objects.filter(pk=backup.pk).update(started_at=timezone.now() - timedelta(hours=5))
    (line,) = [table for table in tables() if table["table"] == t]
    assert (line["newest_verified"], line["newest_verified_age"] // 3600) == (backup.pk, 5)
    numbers = {sample.name: sample.value for metric in gauges() for sample in metric.samples}
    assert numbers["console_newest_verified_backup_age_seconds"] // 3600 == 5
    assert numbers["console_backups"] == 2
