"""What becomes of a run when the world is not quiet: versions, names, cancelling, waiting, a database away."""

import io
import os
from typing import Any

import pytest
from django.db import OperationalError, connection

from ingest.admission import admit, admit_upload
from ingest.datasets import save_dataset
from ingest.models import Dataset, Run, Status
from ingest.services import advance, cancel
from ingest.sweeper import sweep, unfinished, work_off
from migration_console.lib.bucket import Bucket
from migration_console.lib.errors import Unavailable
from migration_console.lib.folder import Folder
from migration_console.lib.lease import writing
from tests.conftest import Loads, query

ID = {"name": "id", "type": "integer", "constraints": {"required": True}}
SMALL: dict[str, Any] = {"name": "small", "schema": {"fields": [ID], "primaryKey": "id"}}


def put(folder: Folder, key: str, data: str) -> Any:
    return folder.put(key, io.BytesIO(data.encode()))


@pytest.mark.parametrize(
    "name",
    ["a b+c%20é.csv", "..hidden..csv", "line\nbreak.csv", "x" * 200 + ".csv", "a/b/../c.csv", "日本.csv"],
)
def test_any_name_loads_and_is_archived(tables: None, folder: Folder, name: str) -> None:
    save_dataset({**SMALL, "files": ["**"]})
    run = admit_upload(f"raw/in/{name}", io.BytesIO(b"id\n1\n"), trigger="test", dataset=Dataset.objects.get())
    (run,) = work_off([run])
    assert (run.status, run.loaded) == (Status.ARCHIVED, 1)
    assert folder.path(run.archived_key).read_bytes() == b"id\n1\n"
    assert list(folder.list("raw")) == []


def test_a_key_never_leaves_the_lake(folder: Folder) -> None:
    with pytest.raises(ValueError, match="leaves the lake"):
        folder.path("raw/../../etc/passwd")


def test_one_version_is_admitted_once(tables: None, folder: Folder) -> None:
    save_dataset(SMALL)
    version = put(folder, "raw/small.csv", "id\n1\n")
    runs = {admit(version, trigger="test")[0].pk for _ in range(5)}
    assert len(runs) == 1


def test_a_file_overwritten_before_it_is_read_is_two_runs(tables: None, folder: Folder) -> None:
    save_dataset(SMALL)
    first, _ = admit(put(folder, "raw/small.csv", "id\n1\n"), trigger="test")
    second, _ = admit(put(folder, "raw/small.csv", "id\n1\n2\n"), trigger="test")
    first, second = work_off([first, second])
    assert (first.status, second.status) == (Status.GONE, Status.ARCHIVED)
    assert query("SELECT COUNT(*) FROM small") == [(2,)]


def test_a_newer_version_that_comes_while_loading_stays(tables: None, folder: Folder) -> None:
    version = put(folder, "raw/small.csv", "id\n1\n")
    put(folder, "raw/small.csv", "id\n2\n")
    folder.delete(version)
    assert folder.path("raw/small.csv").read_text() == "id\n2\n"


def test_a_file_that_is_deleted_is_gone(tables: None, folder: Folder) -> None:
    save_dataset(SMALL)
    run, _ = admit(put(folder, "raw/small.csv", "id\n1\n"), trigger="test")
    folder.path("raw/small.csv").unlink()
    (run,) = work_off([run])
    assert (run.status, run.closed_at is not None) == (Status.GONE, True)


def test_an_older_version_of_an_upsert_comes_too_late(tables: None, folder: Folder) -> None:
    save_dataset({**SMALL, "mode": "upsert"})
    old, new = put(folder, "raw/a/small.csv", "id\n1\n"), put(folder, "raw/b/small.csv", "id\n2\n")
    dataset = Dataset.objects.get()
    runs = [admit(version, trigger="test", dataset=dataset)[0] for version in (new, old)]
    Run.objects.update(key_hash="same")
    new_run, old_run = work_off(runs)
    assert (new_run.status, old_run.status) == (Status.ARCHIVED, Status.SUPERSEDED)
    assert query("SELECT id FROM small") == [(2,)]


def test_a_cancelled_run_keeps_its_batches_and_says_so(tables: None, settings: Any) -> None:
    settings.BATCH_BYTES = 1024
    save_dataset(SMALL)
    data = "id\n" + "".join(f"{n}\n" for n in range(5000))
    run = admit_upload("raw/small.csv", io.BytesIO(data.encode()), trigger="test", dataset=None)

    def stop(done: int, _total: int) -> None:
        if done > 1000:
            cancel(Run.objects.get(pk=run.pk))

    run = advance(run.pk, stop)
    assert run.status == Status.CANCELLED
    assert 1000 < run.loaded < 5000
    assert query("SELECT COUNT(*) FROM small") == [(run.loaded,)]
    assert run.archived_key.startswith("errors/")


def test_a_run_cancelled_just_as_a_worker_begins_counts_what_it_has_loaded(tables: None, settings: Any) -> None:
    settings.BATCH_BYTES = 1024
    save_dataset(SMALL)
    data = "id\n" + "".join(f"{n}\n" for n in range(5000))
    run = admit_upload("raw/small.csv", io.BytesIO(data.encode()), trigger="test", dataset=None)
    seen_before = Run.objects.get(pk=run.pk)
    assert seen_before.status == Status.RECEIVED
    run = advance(run.pk, lambda *_: cancel(seen_before))
    assert (run.status, 0 < run.loaded < 5000, run.cancel_requested) == (Status.CANCELLED, True, True)
    assert query("SELECT COUNT(*) FROM small") == [(run.loaded,)]


def test_an_upload_that_outlasts_its_lease_leaves_no_file(tables: None, bucket: Bucket) -> None:
    save_dataset(SMALL)

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            # Meanwhile the lease runs out, and a worker finds neither the file nor its sender.
            Run.objects.filter(closed_at=None).update(lease_until=None)
            work_off(unfinished())
            return super().read(size)

    with pytest.raises(Unavailable, match="send it again"):
        admit_upload("raw/small.csv", Slow(b"id\n1\n"), trigger="test", dataset=None)
    run = Run.objects.get()
    assert (run.status, run.closed_at is not None, list(bucket.list("raw"))) == (Status.GONE, True, [])


def test_a_paused_dataset_waits(tables: None) -> None:
    save_dataset(SMALL)
    Dataset.objects.update(paused=True)
    run = admit_upload("raw/small.csv", io.BytesIO(b"id\n1\n"), trigger="test", dataset=None)
    assert advance(run.pk).status == Status.RECEIVED
    assert unfinished() == []
    Dataset.objects.update(paused=False)
    assert advance(run.pk).status == Status.ARCHIVED


def test_upserts_of_one_table_take_turns(tables: None) -> None:
    save_dataset({**SMALL, "mode": "upsert"})
    run = admit_upload("raw/small.csv", io.BytesIO(b"id\n1\n"), trigger="test", dataset=None)
    with writing("small") as ours:
        assert ours
        waiting = advance(run.pk)
    assert (waiting.status, "writing lease" in waiting.waiting_for) == (Status.LOADING, True)
    assert advance(run.pk).status == Status.ARCHIVED


@pytest.mark.database
def test_a_database_that_goes_away_costs_time_only(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    save_dataset(SMALL)
    run = admit_upload("raw/small.csv", io.BytesIO(b"id\n1\n2\n"), trigger="test", dataset=None)
    from ingest import loader, rejects

    original = rejects.insert_rejects
    failures: list[bool] = []
    words = "database is locked" if connection.vendor == "sqlite" else "Lost connection to server during query"

    def sometimes(*arguments: Any) -> None:
        if len(failures) < 3:
            failures.append(True)
            raise OperationalError(2013, words)
        original(*arguments)

    monkeypatch.setattr(loader, "insert_rejects", sometimes)
    run = advance(run.pk)
    assert (run.status, run.loaded, len(failures)) == (Status.ARCHIVED, 2, 3)
    assert query("SELECT COUNT(*) FROM small") == [(2,)]


def test_a_database_that_stays_away_leaves_the_run_waiting(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest import loader

    save_dataset(SMALL)
    run = admit_upload("raw/small.csv", io.BytesIO(b"id\n1\n2\n"), trigger="test", dataset=None)
    words = "database is locked" if connection.vendor == "sqlite" else "Lost connection to server during query"

    def never(*_: Any) -> None:
        raise OperationalError(2013, words)

    with monkeypatch.context() as away:
        away.setattr(loader, "insert_rejects", never)
        away.setattr("time.sleep", lambda _seconds: None)
        run = advance(run.pk)
    assert (run.status, "did not answer" in run.waiting_for) == (Status.LOADING, True)
    assert query("SELECT COUNT(*) FROM small") == [(0,)]
    assert [found.pk for found in sweep(everything=True)] == [run.pk]
    assert advance(run.pk).loaded == 2


def test_a_loaded_file_whose_archiving_failed_is_archived_by_the_sweep(
    tables: None, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_dataset(SMALL)
    run = admit_upload("raw/small.csv", io.BytesIO(b"id\n1\n"), trigger="test", dataset=None)
    with monkeypatch.context() as full:
        full.setattr(Folder, "copy", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        run = advance(run.pk)
    assert (run.status, run.closed_at) == (Status.LOADED, None)
    assert folder.path("raw/small.csv").exists()
    (run,) = work_off([run])
    assert (run.status, query("SELECT COUNT(*) FROM small")) == (Status.ARCHIVED, [(1,)])


def test_rejects_past_the_limit_of_the_table_are_in_the_report(
    load: Loads, folder: Folder, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr("ingest.loader.MAX_REJECTS", 10)
    settings.BATCH_BYTES = 64
    run = load(SMALL, "id\n" + "".join(f"x{n}\n" for n in range(50)))
    assert (run.rejected, run.rejects.count()) == (50, 10)
    lines = folder.path(run.report_key).read_text().splitlines()[1:]
    assert len(lines) == 50
    assert run.errors == [{"field": "id", "code": "not-an-integer", "count": 50, "sample": "x0"}]
    assert not run.batches.exclude(overflow=None).exists()


def test_a_file_that_grows_while_it_is_read_is_gone(folder: Folder) -> None:
    from migration_console.lib.errors import Gone

    version = put(folder, "raw/small.csv", "id\n1\n")
    with pytest.raises(Gone), folder.open(version), folder.path("raw/small.csv").open("a") as file:
        file.write("2\n")
    os.utime(folder.path("raw/small.csv"))


@pytest.mark.parametrize(
    ("changes", "bells"),
    [
        ({}, 0),  # the keys do not rise: one part after the other
        ({"schema": {"fields": [ID]}}, 2),
        ({"schema": {"fields": [ID]}, "publish": "whole"}, 0),
    ],
)
def test_parts_that_load_side_by_side_call_more_workers(
    tables: None, settings: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], bells: int
) -> None:
    settings.PART_BYTES = 1024
    rung: list[int] = []

    def send_task(_name: str, arguments: list[int], **_: object) -> None:
        rung.extend(arguments)

    monkeypatch.setattr("ingest.bell.current_app.send_task", send_task)
    dataset = save_dataset({**SMALL, **changes}).dataset
    data = "id\n" + "".join(f"{n}\n" for n in range(1999, 1200, -1))
    run = admit_upload("raw/small.csv", io.BytesIO(data.encode()), trigger="test", dataset=dataset)
    run = advance(run.pk, load=False)
    assert (run.parts.count(), rung) == (3, [run.pk] * bells)
