"""An older version of a file never overwrites a newer one, and who lost a table's writing lease writes nothing."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from ingest.admission import admit_upload
from ingest.datasets import save_dataset
from ingest.models import Dataset, Run, Status
from ingest.services import advance, cancel, retry
from migration_console.lib import swap
from migration_console.lib.errors import Conflict
from migration_console.lib.lease import TableLease
from tests.conftest import query

pytestmark = pytest.mark.database
ROWS = 300
WHOLE = [{"mode": "replace"}, {"mode": "upsert", "publish": "whole"}]


@pytest.fixture
def versions(tables: None, settings: Any) -> Callable[..., list[Run]]:
    """Return a function that saves a dataset and admits two versions of one of its files, the older one first."""
    settings.BATCH_BYTES = 1024

    def make(**keys: Any) -> list[Run]:
        fields = [{"name": "id", "type": "integer", "constraints": {"required": True}}]
        fields.append({"name": "age", "constraints": {"maxLength": 10}})
        save_dataset({"name": "st", "schema": {"fields": fields, "primaryKey": "id"}, **keys})
        runs = [upload(f"raw/{folder}/st.csv", age) for folder, age in (("a", "old"), ("b", "new"))]
        # Of one object; under two names, since a folder keeps one version of each.
        Run.objects.update(key_hash="same")
        return runs

    return make


def upload(key: str, age: str) -> Run:
    data = "id,age\n" + "".join(f"{n},{age}\n" for n in range(ROWS))
    return admit_upload(key, io.BytesIO(data.encode()), trigger="test", dataset=Dataset.objects.get())


def ages() -> dict[str, int]:
    return dict(query("SELECT age, COUNT(*) FROM st GROUP BY age"))


def break_off(_done: int, _total: int) -> None:
    raise OSError("the lake does not answer")


def behind_the_last(act: Callable[[], object]) -> Callable[[int, int], None]:
    """Return a progress that acts once, when all rows are through."""

    def progress(done: int, total: int) -> None:
        if done == total:
            act()

    return progress


def take_lease() -> None:
    """Take the table's writing lease as another worker does when it has run out."""
    TableLease.objects.update(lease_until=None)
    assert TableLease.objects.get(table="st").claim()


def let_go() -> None:
    """Give back whatever lease is left."""
    TableLease.objects.update(lease_until=None)


def leftovers() -> list[str]:
    return [name for name in connection.introspection.table_names() if name.startswith("_console")]


def test_a_cancelled_upsert_is_not_taken_up_behind_a_newer_version(versions: Callable[..., list[Run]]) -> None:
    old, new = versions(mode="upsert")
    old = advance(old.pk, lambda *_: cancel(Run.objects.get(pk=old.pk)))
    assert (old.status, 0 < old.loaded < ROWS) == (Status.CANCELLED, True)
    assert advance(new.pk).status == Status.ARCHIVED
    with pytest.raises(Conflict, match=f"a newer version of this file is loaded, by run {new.pk}; send"):
        retry(old)
    old.refresh_from_db()
    assert (old.status, ages()) == (Status.CANCELLED, {"new": ROWS})


def test_an_upsert_that_was_interrupted_makes_way_for_a_newer_version(versions: Callable[..., list[Run]]) -> None:
    old, new = versions(mode="upsert")
    assert advance(old.pk, break_off).status == Status.LOADING
    assert advance(new.pk).status == Status.ARCHIVED
    old = advance(old.pk)
    assert (old.status, old.problems[0]["code"], ages()) == (Status.FAILED, "superseded", {"new": ROWS})
    assert 0 < old.loaded < ROWS
    assert f"{old.loaded} rows of it were loaded before" in old.problems[0]["message"]
    assert f"by run {new.pk}" in old.problems[0]["message"]


def test_an_upsert_makes_way_for_a_newer_version_that_has_begun(versions: Callable[..., list[Run]]) -> None:
    old, new = versions(mode="upsert")
    assert advance(old.pk, break_off).status == Status.LOADING
    assert advance(new.pk, break_off).status == Status.LOADING
    assert advance(old.pk).status == Status.FAILED
    assert advance(new.pk).status == Status.ARCHIVED
    assert ages() == {"new": ROWS}


@pytest.mark.parametrize("keys", WHOLE)
def test_a_whole_file_that_was_interrupted_makes_way_for_a_newer_version(
    versions: Callable[..., list[Run]], keys: dict[str, str]
) -> None:
    old, new = versions(**keys)
    assert advance(old.pk, break_off).status == Status.LOADING
    assert leftovers() == [swap.staging_name("st", old.pk)]
    assert advance(new.pk).status == Status.ARCHIVED
    old = advance(old.pk)
    assert (old.status, old.read, old.loaded, ages()) == (Status.SUPERSEDED, 0, 0, {"new": ROWS})
    assert (old.batches.count(), old.rejects_open, leftovers()) == (0, False, [])


@pytest.mark.parametrize("keys", WHOLE)
def test_a_newer_version_that_is_loaded_meanwhile_is_seen_when_publishing(
    versions: Callable[..., list[Run]], keys: dict[str, str]
) -> None:
    old, new = versions(**keys)
    loaded = behind_the_last(lambda: Run.objects.filter(pk=new.pk).update(status=Status.LOADED))
    old = advance(old.pk, loaded)
    assert (old.status, old.loaded, ages(), leftovers()) == (Status.SUPERSEDED, 0, {}, [])


@pytest.mark.skipif(connection.vendor != "mysql", reason="only there tables are renamed")
def test_a_newer_version_in_the_tables_place_counts_before_its_run_has_ended(
    versions: Callable[..., list[Run]],
) -> None:
    old, new = versions(mode="replace")
    assert advance(old.pk, break_off).status == Status.LOADING
    advance(new.pk)
    # As a worker leaves it that dies between RENAME and the end of the run.
    Run.objects.filter(pk=new.pk).update(status=Status.LOADING, closed_at=None, finished_at=None)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE `{swap.old_name('st', new.pk)}` (id INT)")
    assert advance(old.pk).status == Status.SUPERSEDED
    assert ages() == {"new": ROWS}


def test_append_loads_an_older_version_to_its_end(versions: Callable[..., list[Run]]) -> None:
    old, new = versions()
    Run.objects.filter(pk=new.pk).update(status=Status.ARCHIVED)
    assert advance(old.pk, break_off).status == Status.LOADING
    assert advance(old.pk).status == Status.ARCHIVED
    assert ages() == {"old": ROWS}


def test_an_upsert_that_lost_the_writing_lease_writes_no_more(versions: Callable[..., list[Run]]) -> None:
    old, _new = versions(mode="upsert")
    done: list[int] = []

    def lose(rows: int, _total: int) -> None:
        done.append(rows)
        if len(done) == 1:
            take_lease()

    old = advance(old.pk, lose)
    assert (old.status, ages(), len(done)) == (Status.LOADING, {"old": done[0]}, 1)
    assert old.parts.get().fenced == 1
    assert advance(old.pk).waiting_for.startswith("the writing lease of st")
    let_go()
    assert advance(old.pk).status == Status.ARCHIVED
    assert ages() == {"old": ROWS}


@pytest.mark.parametrize("keys", [*WHOLE, {"publish": "whole"}])
def test_who_lost_the_writing_lease_publishes_nothing(versions: Callable[..., list[Run]], keys: dict[str, str]) -> None:
    old, _new = versions(**keys)
    old = advance(old.pk, behind_the_last(take_lease))
    assert (old.status, ages()) == (Status.LOADING, {})
    let_go()
    assert advance(old.pk).status == Status.ARCHIVED
    assert ages() == {"old": ROWS}


def test_who_lost_the_writing_lease_brings_no_orphan_in(versions: Callable[..., list[Run]]) -> None:
    versions()
    fields = [{"name": name, "type": "integer"} for name in ("id", "boss")]
    boss = {"fields": "boss", "reference": {"resource": "", "fields": "id"}}
    fields[0]["constraints"] = {"required": True}  # type: ignore[assignment]
    schema = {"fields": fields, "primaryKey": "id", "foreignKeys": [boss]}
    dataset = save_dataset({"name": "staff", "mode": "upsert", "schema": schema}).dataset
    data = "id,boss\n" + "".join(f"{n},{n + 1 if n < ROWS else ''}\n" for n in range(1, ROWS + 1))
    run = admit_upload("raw/staff.csv", io.BytesIO(data.encode()), trigger="test", dataset=dataset)

    def take() -> None:
        TableLease.objects.update(lease_until=None)
        assert TableLease.objects.get(table="staff").claim()

    run = advance(run.pk, behind_the_last(take))
    rejected = run.rejects.count()
    assert rejected > 0
    assert (run.status, query("SELECT COUNT(*) FROM staff")) == (Status.LOADING, [(ROWS - rejected,)])
    let_go()
    run = advance(run.pk)
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, ROWS, 0)
