"""After a restore the ledger does not lie: what was loaded since is rolled back, and can be loaded again."""

import io
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backups.models import RestoreStatus
from backups.services import bring_back, dry_run, load_again, request_restore
from ingest.admission import admit_upload
from ingest.corrections import resubmit, send
from ingest.datasets import pause
from ingest.ledger import SLICE, rewind
from ingest.models import RESTORED, Batch, Dataset, Run, Status, key_hash
from ingest.services import advance, cancel, retry
from ingest.sweeper import unfinished, work_off
from migration_console.lib.errors import Conflict, Refused, Unavailable
from migration_console.lib.folder import Folder
from migration_console.lib.lease import reserve, unreserve
from migration_console.lib.ledger import ContainedRun
from tests.backups.conftest import backed_up, fingerprint, restored
from tests.conftest import Loads, query

pytestmark = pytest.mark.database
ID: dict[str, Any] = {"name": "id", "type": "integer", "constraints": {"required": True}}
TEXT: dict[str, Any] = {"name": "v", "constraints": {"maxLength": 20}}
APPEND: dict[str, Any] = {"name": "t", "schema": {"fields": [ID, TEXT], "primaryKey": "id"}}
KEYLESS: dict[str, Any] = {"name": "t", "schema": {"fields": [ID, TEXT]}}
UPSERT: dict[str, Any] = {**APPEND, "mode": "upsert"}


def rows(start: int, count: int, text: str) -> str:
    return "id,v\n" + "".join(f"{n},{text}\n" for n in range(start, start + count))


def contents() -> list[tuple[Any, ...]]:
    return query("SELECT id, v FROM t ORDER BY id")


@pytest.mark.parametrize("descriptor", [APPEND, UPSERT], ids=["append", "upsert"])
def test_monday_tuesday_restore_load_again(load: Loads, descriptor: dict[str, Any]) -> None:
    load(descriptor, rows(0, 50, "monday"), "t-1.csv")
    backup = backed_up("t")
    step = 40 if descriptor is UPSERT else 50
    tuesday = [load(descriptor, rows(50 + n * step, 50, f"tuesday {n}"), f"t-{n + 2}.csv") for n in range(3)]
    before = contents()
    restore = restored("t", backup=backup.pk)
    assert contents() == [(n, "monday") for n in range(50)]
    assert restore.rolled_back == [run.pk for run in tuesday]
    assert set(Run.objects.filter(pk__in=restore.rolled_back).values_list("status", flat=True)) == {Status.ROLLED_BACK}
    again = Run.objects.filter(pk__in=load_again(restore)).order_by("-pk")
    ended = work_off(list(again))  # the newest first: they go by the order of the files all the same
    assert {run.status for run in ended} == {Status.ARCHIVED}
    assert contents() == before
    assert load_again(restore) == [], "a second click loads nothing twice"


def test_of_two_who_load_again_at_once_one_does(load: Loads, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    run = load(APPEND, rows(5, 5, "tuesday"), "t-2.csv")
    restore, again, prepare = restored("t"), list[int](), Folder.prepare

    def just_before_the_other(*arguments: Any) -> Any:
        monkeypatch.setattr(Folder, "prepare", prepare)
        again.extend(load_again(restore))
        return prepare(*arguments)

    monkeypatch.setattr(Folder, "prepare", just_before_the_other)
    with pytest.raises(Refused, match="being loaded again already"):
        load_again(restore)
    assert [child.pk for child in run.children.all()] == again
    assert len(list(folder.list("raw"))) == 1, "the second one's file is not left behind"
    assert work_off(list(run.children.all()))[0].status == Status.ARCHIVED
    assert len(contents()) == 10


def test_a_file_that_is_gone_keeps_no_other_from_being_loaded_again(load: Loads, folder: Folder) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    runs = [load(APPEND, rows(5 * n, 5, "tuesday"), f"t-{n + 1}.csv") for n in (1, 2, 3)]
    restore = restored("t")
    folder.path(runs[1].archived_key).unlink()
    assert len(load_again(restore)) == len(restore.loaded_again) == 2
    (problem,) = restore.problems
    assert problem["message"] == f"{runs[1].archived_key} of run {runs[1].pk} is not there: send the file again"
    assert load_again(restore) == []
    assert restore.problems == [problem], "told once"


def test_runs_that_load_again_are_noted_one_by_one(load: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    for n in (1, 2):
        load(APPEND, rows(5 * n, 5, "tuesday"), f"t-{n + 1}.csv")
    restore, prepare = restored("t"), Folder.prepare

    def only_once(*arguments: Any) -> Any:
        monkeypatch.setattr(Folder, "prepare", broken)
        return prepare(*arguments)

    def broken(*_: Any) -> Any:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(Folder, "prepare", only_once)
    with pytest.raises(Unavailable):
        load_again(restore)
    restore.refresh_from_db()
    assert restore.loaded_again == [run.pk for run in Run.objects.filter(trigger=RESTORED)]
    monkeypatch.setattr(Folder, "prepare", prepare)
    assert len(load_again(restore)) == 1
    assert len(restore.loaded_again) == 2


def test_what_an_undone_restore_brought_back_is_not_loaded_again(load: Loads) -> None:
    load(KEYLESS, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    load(KEYLESS, rows(5, 5, "tuesday"), "t-2.csv")
    restore = restored("t")
    (again,) = work_off(list(Run.objects.filter(pk__in=load_again(restore))))
    undone = restored("t", backup=restore.safety_id)
    assert (undone.rolled_back, len(contents())) == ([again.pk], 10)
    assert load_again(undone) == [], "the rows of its file are those of the first run"


def test_a_run_that_loads_again_may_be_tried_again(load: Loads) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    load(APPEND, rows(5, 5, "tuesday"), "t-2.csv")
    (pk,) = load_again(restored("t"))
    cancel(Run.objects.get(pk=pk))
    run = advance(pk)
    assert (run.status, len(contents())) == (Status.CANCELLED, 5)
    retry(run)
    assert (advance(pk).status, len(contents())) == (Status.ARCHIVED, 10)


def test_a_file_sent_again_after_a_restore_is_loaded(load: Loads) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    load(APPEND, rows(5, 5, "tuesday"), "t-2.csv")
    restored("t")
    assert load(APPEND, rows(0, 5, "monday"), "t-4.csv").status == Status.DUPLICATE
    assert load(APPEND, rows(5, 5, "tuesday"), "t-3.csv").status == Status.ARCHIVED
    assert len(contents()) == 10


def test_a_restore_to_a_later_moment_brings_runs_back(load: Loads) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    monday = backed_up("t")
    tuesday_run = load(APPEND, rows(5, 5, "tuesday"), "t-2.csv")
    tuesday = backed_up("t")
    assert (monday.runs, tuesday.runs) == (1, 2)
    restored("t", backup=monday.pk)
    tuesday_run.refresh_from_db()
    assert tuesday_run.status == Status.ROLLED_BACK
    restored("t", backup=tuesday.pk)
    tuesday_run.refresh_from_db()
    assert (tuesday_run.status, len(contents())) == (Status.ARCHIVED, 10)


def test_the_dry_run_names_the_runs(load: Loads) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    run = load(APPEND, rows(5, 5, "tuesday"), "t-2.csv")
    assert [found["run"] for found in dry_run("t")["roll_back"]] == [run.pk]


class Killed(BaseException):
    """The end of a worker."""


def half_loaded(settings: Any, *, bad: str = "") -> Run:
    """Load the first batches of a file, and leave the rest, with a last row of a bad id, as a killed worker would."""
    settings.BATCH_BYTES = 1024
    data = rows(100, 2000, "x") + (f"{bad},x\n" if bad else "")
    run = admit_upload("raw/t-2.csv", io.BytesIO(data.encode()), trigger="test", dataset=None)
    load_until(run, 300)
    return run


def load_until(run: Run, many: int) -> None:
    """Load some rows of a file, and die."""

    def kill(done: int, _total: int) -> None:
        if done > many:
            raise Killed

    with pytest.raises(Killed):
        advance(run.pk, kill)
    run.parts.update(owner="", lease_until=None)
    Run.objects.filter(pk=run.pk).update(owner="", lease_until=None)


def test_a_restore_waits_for_a_file_that_is_loading(load: Loads, settings: Any) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    run = half_loaded(settings)
    restore = bring_back(request_restore("t").pk)
    assert (restore.status, f"run {run.pk}" in restore.waiting_for) == (RestoreStatus.REQUESTED, True)
    late = admit_upload("raw/t-9.csv", io.BytesIO(rows(9000, 5, "late").encode()), trigger="test", dataset=None)
    assert (advance(late.pk).status, advance(late.pk).waiting_for) == (Status.RECEIVED, f"restore {restore.pk}")
    assert advance(run.pk).status == Status.ARCHIVED
    restore = bring_back(restore.pk)
    assert (restore.status, restore.rolled_back) == (RestoreStatus.DONE, [run.pk])
    assert len(contents()) == 5
    assert advance(late.pk).status == Status.ARCHIVED, "whoever waited goes on afterwards"
    assert len(contents()) == 10


def test_a_file_half_in_the_backup_is_loaded_to_its_end_once(load: Loads, settings: Any) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    run = half_loaded(settings)
    backed_up("t")
    there = len(contents())
    assert advance(run.pk).status == Status.ARCHIVED
    restore = restored("t")
    run.refresh_from_db()
    assert (run.status, run.loaded, restore.rolled_back) == (Status.FAILED, there - 5, [])
    (problem,) = run.problems
    assert problem["code"] == "partly-restored"
    assert f"only {there - 5} rows of it are in the table" in problem["message"]
    assert f" {2000 - (there - 5)} rows of " in problem["message"], "what the ledger said is told"
    assert load(APPEND, rows(100, 2000, "x"), "t-3.csv").status == Status.REFUSED
    assert len(contents()) == there
    retry(run)
    assert (advance(run.pk).status, run.parts.get().next_byte) == (Status.ARCHIVED, run.parts.get().end)
    assert contents() == [(n, "monday") for n in range(5)] + [(n, "x") for n in range(100, 2100)]


def half_cancelled(settings: Any) -> Run:
    """Load the first batches of a file, and cancel the rest."""
    run = half_loaded(settings)
    cancel(run)
    run = advance(run.pk)
    assert (run.status, run.closed_at is not None) == (Status.CANCELLED, True)
    return run


def test_a_run_is_not_taken_up_again_while_a_restore_wants_its_table(load: Loads, settings: Any) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    run = half_cancelled(settings)
    reserve("t", "restore 7")
    with pytest.raises(Conflict, match="restore 7 is about to replace t; wait for its end"):
        retry(run)
    run.refresh_from_db()
    assert (run.status, run.attempt) == (Status.CANCELLED, 1)
    unreserve("t", "restore 7")
    retry(run)
    assert advance(run.pk).status == Status.ARCHIVED
    assert len(contents()) == 2005


def test_a_run_that_its_paused_dataset_holds_up_can_be_cancelled(load: Loads, settings: Any) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    run = half_loaded(settings)
    there = len(contents())
    pause(Dataset.objects.get(), paused=True)
    restore = bring_back(request_restore("t").pk)
    assert f"run {run.pk} of dataset t (its dataset is paused: resume it, or cancel the run)" in restore.waiting_for
    assert advance(run.pk).status == Status.LOADING
    cancel(run)
    part = run.parts.get()
    assert part.claim()
    assert advance(run.pk).status == Status.LOADING, "a worker is still at it"
    part.release()
    (run,) = work_off(unfinished())
    assert (run.status, run.loaded, run.closed_at is not None) == (Status.CANCELLED, there - 5, True)
    assert bring_back(restore.pk).status == RestoreStatus.DONE


def test_a_restore_waits_for_a_worker_that_is_still_at_a_run_which_has_ended(load: Loads, settings: Any) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    run = half_cancelled(settings)
    part = run.parts.get()
    assert part.claim()
    restore = bring_back(request_restore("t").pk)
    assert (restore.status, f"run {run.pk}" in restore.waiting_for) == (RestoreStatus.REQUESTED, True)
    part.release()
    restore = bring_back(restore.pk)
    assert (restore.status, restore.rolled_back) == (RestoreStatus.DONE, [run.pk])


def test_a_run_that_has_ended_gets_no_more_batches(load: Loads, settings: Any) -> None:
    settings.BATCH_BYTES = 1024
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    run = admit_upload("raw/t-2.csv", io.BytesIO(rows(100, 2000, "x").encode()), trigger="test", dataset=None)

    def rolled_back(_done: int, _total: int) -> None:
        Run.objects.filter(pk=run.pk).update(status=Status.ROLLED_BACK)

    assert advance(run.pk, rolled_back).status == Status.ROLLED_BACK
    assert (run.batches.count(), run.parts.get().fenced) == (1, 1)


def test_a_worker_at_a_run_that_a_restore_takes_back_is_fenced(load: Loads, settings: Any) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    run = half_cancelled(settings)
    part = run.parts.get()
    assert part.claim()
    assert run.pk in rewind("t", [])
    assert not part.advance(start=part.next_byte, byte=part.end, row=2001, line=2002)


def test_a_cancelled_run_that_comes_back_goes_on_behind_its_batches(load: Loads, settings: Any) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    run = half_cancelled(settings)
    there = len(contents())
    restore = restored("t")
    assert (restore.rolled_back, len(contents())) == ([run.pk], 5)
    assert restored("t", backup=restore.safety_id).rolled_back == []
    run.refresh_from_db()
    assert (run.status, len(contents())) == (Status.CANCELLED, there)
    assert load(APPEND, rows(100, 2000, "x"), "t-3.csv").status == Status.REFUSED, "it would be doubled"
    assert load_again(restore) == []
    retry(run)
    assert (advance(run.pk).status, len(contents())) == (Status.ARCHIVED, 2005)


def test_a_run_that_was_loading_comes_back_as_failed(load: Loads, settings: Any) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    monday = backed_up("t")
    run = half_loaded(settings)
    middle = backed_up("t")
    there = len(contents())
    cancel(run)
    assert advance(run.pk).status == Status.CANCELLED
    restored("t", backup=monday.pk)
    restored("t", backup=middle.pk)
    run.refresh_from_db()
    assert (run.status, run.attention, run.loaded) == (Status.FAILED, True, there - 5)
    assert f"only {there - 5} rows of it are in the table" in run.problems[0]["message"]
    retry(run)
    assert (advance(run.pk).status, len(contents())) == (Status.ARCHIVED, 2005)


def test_a_run_that_was_cut_and_comes_back_whole_is_not_taken_up(load: Loads, settings: Any) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    run = half_loaded(settings)
    backed_up("t")
    assert advance(run.pk).status == Status.ARCHIVED
    undone = restored("t")
    assert Run.objects.get(pk=run.pk).status == Status.FAILED
    for _ in range(2):
        restored("t", backup=undone.safety_id)
        run.refresh_from_db()
        assert (run.status, run.loaded, run.problems, run.attention) == (Status.ARCHIVED, 2000, [], False)
        assert len(contents()) == 2005
    assert load(APPEND, rows(100, 2000, "x"), "t-3.csv").status == Status.DUPLICATE


def test_rows_come_back_of_which_the_ledger_has_no_lines(load: Loads, settings: Any) -> None:
    load(KEYLESS, rows(0, 5, "monday"), "t-1.csv")
    run = half_loaded(settings)
    early = backed_up("t")
    load_until(run, 1000)
    late = backed_up("t")
    there = len(contents())
    assert early.rows < late.rows < 2005
    assert advance(run.pk).status == Status.ARCHIVED
    restored("t", backup=early.pk)
    restored("t", backup=late.pk)
    run.refresh_from_db()
    assert (run.status, run.problems[0]["code"]) == (Status.FAILED, "unknown-batches")
    retry(run)
    run = advance(run.pk)
    assert (run.status, len(contents())) == (Status.FAILED, there), "nothing is loaded twice"
    assert load(KEYLESS, rows(100, 2000, "x"), "t-3.csv").status == Status.REFUSED


def many_runs(run: Run, count: int) -> list[ContainedRun]:
    """Add runs beside one, half of them archived and half of them failed with a batch; as a backup lists them."""
    archived, failed = Status.ARCHIVED, Status.FAILED
    Run.objects.bulk_create(
        Run(
            dataset=run.dataset, schema_version=run.schema_version, key=f"raw/{n}", key_hash=key_hash(str(n)),
            version="1", sha256=key_hash(str(n)), survey=run.survey, status=failed if n % 2 else archived,
        )
        for n in range(count)
    )  # fmt: skip
    batch, made = run.batches.get(), list(Run.objects.exclude(pk=run.pk).order_by("pk"))
    Batch.objects.bulk_create(Batch(**{**of(batch), "id": None, "run_id": one.pk}) for one in made)
    return [
        ContainedRun(
            run=one.pk, dataset="t", key=one.key, sha256=one.sha256 or "", status=one.status, batches=1, loaded=5,
            whole=one.status == archived, starts=[] if one.status == archived else [batch.start],
        )
        for one in made
    ]  # fmt: skip


def of(batch: Batch) -> dict[str, Any]:
    return {field.attname: getattr(batch, field.attname) for field in Batch._meta.concrete_fields}


def test_many_runs_are_taken_back_in_slices(load: Loads) -> None:
    count = 2 * SLICE + 2
    contained = many_runs(load(APPEND, rows(0, 5, "monday"), "t-1.csv"), count)
    whole = [run for run in contained if run["whole"]]
    for there, gone, status in [(contained, 1, "failed"), ([], count, "rolled back"), (whole, 0, "loaded")]:
        with CaptureQueriesContext(connection) as queries:
            assert len(rewind("t", there)) == gone
        assert len(queries) < 60, "none a run"
        assert Run.objects.filter(status=status).count() >= count / 2
    # What is in the table in part comes back too.
    assert rewind("t", contained) == []
    assert Run.objects.filter(status="failed").count() == count / 2


def test_only_one_reserves_a_table(transactional_db: None) -> None:
    assert reserve("t", "restore 1")
    assert reserve("t", "restore 1"), "again by the same one, after a crash"
    assert not reserve("t", "restore 2")
    unreserve("t", "restore 2")
    assert not reserve("t", "restore 2")
    unreserve("t", "restore 1")
    assert reserve("t", "restore 2")


def test_a_restore_into_another_table_leaves_the_ledger_alone(load: Loads) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    run = load(APPEND, rows(5, 5, "tuesday"), "t-2.csv")
    assert restored("t", into="elsewhere").rolled_back == []
    run.refresh_from_db()
    assert (run.status, len(fingerprint("elsewhere"))) == (Status.ARCHIVED, 5)
    assert connection.vendor in {"mysql", "sqlite"}


BAD = "id,v\n1,fine\nx,mended\n"


def mended(run: Run) -> Run:
    """Send the row that lacks a number with one, and load it."""
    child = resubmit(run, {run.rejects.get().row: {"id": 2}})
    (ended,) = work_off([child])
    return ended


def test_a_correction_that_a_restore_took_away_is_ready_to_be_sent_again(load: Loads) -> None:
    run = load(APPEND, BAD, "t-1.csv")
    backup = backed_up("t")
    child = mended(run)
    later = backed_up("t")
    restore = restored("t", backup=backup.pk)
    assert (restore.rolled_back, run.rejects.get().state, contents()) == ([child.pk], "ready", [(1, "fine")])
    assert load_again(restore) == [], "its row is the parent's to send"
    run.refresh_from_db()
    assert run.rejects_open
    # Back to the later moment: the row is in the table, and nobody sends it twice.
    restored("t", backup=later.pk)
    assert (run.rejects.get().state, contents()) == ("fixed", [(1, "fine"), (2, "mended")])


def test_what_was_mended_is_not_mended_twice_when_the_file_is_loaded_again(load: Loads) -> None:
    load(APPEND, "id,v\n9,before\n", "t-0.csv")
    backup = backed_up("t")
    run = load(APPEND, BAD, "t-1.csv")
    child = mended(run)
    restore = restored("t", backup=backup.pk)
    assert restore.rolled_back == [run.pk, child.pk]
    (again,) = work_off(list(Run.objects.filter(pk__in=load_again(restore))))
    reject = again.rejects.get()
    assert (reject.state, reject.corrected) == ("ready", {"id": 2})
    work_off([send(again)])
    assert contents() == [(1, "fine"), (2, "mended"), (9, "before")]
    assert again.rejects.get().state == "fixed"
