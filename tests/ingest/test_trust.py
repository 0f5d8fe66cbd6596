"""What once went wrong, or nearly: rows altered, doubled or half loaded without a word."""

import io
from typing import Any

import pytest
from django.db import connection

from ingest.admission import admit_upload
from ingest.datasets import save_dataset
from ingest.models import Dataset, Run, Status
from ingest.services import advance, cancel
from ingest.sweeper import sweep, work_off
from migration_console.lib.errors import Refused
from migration_console.lib.folder import Folder
from tests.conftest import Loads, codes, query

pytestmark = pytest.mark.database
ID = {"name": "id", "type": "integer", "constraints": {"required": True}}
NAME = {"name": "name", "constraints": {"maxLength": 40}}
# Without a key: nothing but the ledger keeps rows from entering twice.
NOTES: dict[str, Any] = {"name": "notes", "schema": {"fields": [ID, NAME]}}
mysql_only = pytest.mark.skipif(connection.vendor != "mysql", reason="about MySQL")


def staff(mode: str = "append", **keys: object) -> dict[str, Any]:
    boss = {"fields": "boss", "reference": {"resource": "", "fields": "id"}}
    fields = [ID, {"name": "boss", "type": "integer"}, {"name": "email", "constraints": {"maxLength": 40}}]
    schema = {"fields": fields, "primaryKey": "id", "uniqueKeys": [["email"]], "foreignKeys": [boss]}
    return {"name": "staff", "mode": mode, "schema": schema, **keys}


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def upload(data: str | bytes, key: str = "raw/notes.csv") -> Run:
    return admit_upload(key, io.BytesIO(data.encode() if isinstance(data, str) else data), trigger="test", dataset=None)


def lines(count: int) -> str:
    return "id,name\n" + "".join(f"{n},name {n}\n" for n in range(count))


@pytest.mark.parametrize("number", ["12345678901234567890", "9007199254740993", "0"])
def test_a_large_integer_keeps_every_digit(load: Loads, number: str) -> None:
    field = {"name": "n", "type": "integer", "sqlType": "DECIMAL(20,0)"}
    load({"name": "big", "schema": {"fields": [field]}}, f"n\n{number}\n")
    assert str(query("SELECT n FROM big")[0][0]) == number


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "shift_jis"])
def test_text_that_grows_when_it_becomes_utf8(load: Loads, settings: Any, encoding: str) -> None:
    settings.BATCH_BYTES = 1024
    fields = [{"name": "番号番号番号番号番号", "type": "integer"}, {"name": "名前", "constraints": {"maxLength": 40}}]
    data = "番号番号番号番号番号,名前\n" + "".join(f"{n},太郎{n}表ソ能\n" for n in range(300)) + "\n\n"
    run = load({"name": "taro", "encoding": encoding, "schema": {"fields": fields}}, data.encode(encoding), "taro.csv")
    assert (run.loaded, run.rejected) == (300, 0)
    assert query("SELECT COUNT(*), COUNT(DISTINCT `名前`), MIN(`番号番号番号番号番号`) FROM taro") == [(300, 300, 0)]


def test_a_quote_that_closes_far_away_refuses_the_file_before_anything_is_loaded(load: Loads) -> None:
    rows = [f"{n},{'n' * 30}\n" for n in range(120_000)]
    rows[75_000], rows[115_000] = '75000,"nnn\n', '115000,mm"m\n'
    run = load(NOTES, "id,name\n" + "".join(rows))
    assert (run.status, run.problems[0]["code"]) == (Status.REFUSED, "unclosed-quote")
    assert (run.loaded, run.batches.count(), run.parts.count()) == (0, 0, 0)
    assert "notes" not in connection.introspection.table_names()


def test_a_stray_quote_at_the_end_of_a_part_costs_one_row(load: Loads, settings: Any) -> None:
    settings.PART_BYTES, settings.BATCH_BYTES = 1 << 20, 64 << 10
    rows = [f"{n},{'n' * 30}\n" for n in range(300_000)]
    for at in range(1000, 300_000, 20_000):
        rows[at], rows[at + 3000] = f'{at},"nnn\n', f'{at + 3000},mm"m\n'
    run = load(NOTES, "id,name\n" + "".join(rows))
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, 300_000 - 30, 30)
    assert run.parts.count() > 2


def test_a_file_written_to_while_it_loads_never_loads_twice(tables: None, settings: Any, folder: Folder) -> None:
    settings.BATCH_BYTES = 1024
    save_dataset(NOTES)
    run = upload(lines(2000))

    def append(done: int, _total: int) -> None:
        if done < 1000:
            with folder.path("raw/notes.csv").open("a") as file:
                file.write("9999,late\n")

    run = advance(run.pk, append)
    assert (run.status, run.problems[0]["code"]) == (Status.FAILED, "changed-while-loading")
    assert 0 < run.loaded < 2000
    assert query("SELECT COUNT(*) FROM notes") == [(run.loaded,)]
    path = folder.path("raw/notes.csv")
    assert path.exists()
    import os

    os.utime(path, (1, 1))
    (second,) = work_off(sweep())
    assert (second.status, second.problems[0]["code"]) == (Status.REFUSED, "partly-loaded")
    assert query("SELECT COUNT(*) FROM notes") == [(run.loaded,)]


def test_the_same_bytes_after_a_cancelled_run_are_not_doubled(tables: None, settings: Any) -> None:
    settings.BATCH_BYTES = 1024
    save_dataset(NOTES)
    run = upload(lines(1000))
    run = advance(run.pk, lambda *_: cancel(Run.objects.get(pk=run.pk)))
    assert run.status == Status.CANCELLED
    (again,) = work_off([upload(lines(1000))])
    assert (again.status, again.problems[0]["code"]) == (Status.REFUSED, "partly-loaded")
    assert f"_run = {run.pk}" in again.problems[0]["message"]
    assert query("SELECT COUNT(*) FROM notes") == [(run.loaded,)]


def test_the_ledger_says_how_much_of_a_file_is_loaded_not_the_runs_last_count(tables: None, settings: Any) -> None:
    settings.BATCH_BYTES = 1024
    save_dataset(NOTES)
    run = upload(lines(1000))
    run = advance(run.pk, lambda *_: cancel(Run.objects.get(pk=run.pk)))
    # Ended by one worker before another one committed the last batch.
    Run.objects.filter(pk=run.pk).update(loaded=0)
    (again,) = work_off([upload(lines(1000))])
    assert (again.status, again.problems[0]["code"]) == (Status.REFUSED, "partly-loaded")
    assert f"has loaded {run.loaded} rows" in again.problems[0]["message"]


def test_a_run_that_was_to_be_published_whole_has_left_nothing_to_double(tables: None, settings: Any) -> None:
    settings.BATCH_BYTES = 1024
    save_dataset({**NOTES, "publish": "whole"})
    run = upload(lines(1000))
    run = advance(run.pk, lambda *_: cancel(Run.objects.get(pk=run.pk)))
    assert (run.status, run.batches.exists()) == (Status.CANCELLED, True)
    save_dataset(NOTES)
    (again,) = work_off([upload(lines(1000))])
    assert (again.status, query("SELECT COUNT(*) FROM notes")) == (Status.ARCHIVED, [(1000,)])


def test_two_files_of_one_name_are_both_loaded(tables: None, folder: Folder) -> None:
    save_dataset(NOTES)
    runs = work_off([upload("id,name\n1,a\n"), upload("id,name\n2,b\n")])
    assert [(run.status, run.loaded) for run in runs] == [(Status.ARCHIVED, 1)] * 2
    assert query("SELECT id FROM notes ORDER BY id") == [(1,), (2,)]
    assert len(list(folder.list("processed"))) == 2


def test_the_sweep_leaves_other_peoples_tables_alone(tables: None) -> None:
    execute("CREATE TABLE _old_2024 (id INTEGER)", "CREATE TABLE _console_old_2024 (id INTEGER)")
    sweep()
    assert query("SELECT COUNT(*) FROM _old_2024") == query("SELECT COUNT(*) FROM _console_old_2024") == [(0,)]


@pytest.mark.parametrize("table", ["auth_user", "AUTH_group", "ingest_run", "django_migrations", "_console_stage_1"])
def test_the_consoles_own_tables_are_no_targets(tables: None, table: str) -> None:
    with pytest.raises(Refused, match="console's own"):
        save_dataset({**NOTES, "table": table})
    assert not Dataset.objects.exists()


@mysql_only
def test_a_table_without_transactions_is_refused(tables: None) -> None:
    execute("CREATE TABLE notes (id BIGINT NOT NULL, name VARCHAR(40)) ENGINE=MyISAM CHARSET utf8mb4")
    with pytest.raises(Refused, match="no InnoDB table"):
        save_dataset(NOTES)


@mysql_only
def test_a_type_that_rounds_is_refused(tables: None) -> None:
    execute("CREATE TABLE notes (ratio DOUBLE(10,2))")
    with pytest.raises(Refused, match="cannot be loaded"):
        save_dataset(
            {"name": "notes", "schema": {"fields": [{"name": "ratio", "type": "number", "sqlType": "DOUBLE"}]}}
        )


def test_a_number_that_a_double_does_not_keep_is_set_aside(load: Loads) -> None:
    field = {"name": "x", "type": "number", "sqlType": "DOUBLE"}
    run = load({"name": "xs", "schema": {"fields": [field]}}, "x\n0.1\n12345678901234567.89\n1e5\n9007199254740992\n")
    assert codes(run) == {2: ["too-many-digits"]}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite's affinities and cascades")
def test_sqlite_tables_that_change_values_are_refused(tables: None) -> None:
    execute("CREATE TABLE notes (id INTEGER, name NUMERIC)")
    with pytest.raises(Refused, match="cannot be loaded"):
        save_dataset({"name": "notes", "schema": {"fields": [{"name": "name"}]}})
    with pytest.raises(Refused, match="would change the values"):
        save_dataset({"name": "notes", "schema": {"fields": [{"name": "id"}]}})


@pytest.mark.skipif(connection.vendor != "sqlite", reason="MySQL's cascades rest while checks are off")
def test_a_replace_that_would_cascade_is_refused(load: Loads) -> None:
    people = {"name": "people", "schema": {"fields": [ID, NAME], "primaryKey": "id"}}
    load(people, "id,name\n1,a\n")
    execute("CREATE TABLE kids (id INTEGER, person INTEGER REFERENCES people (id) ON DELETE CASCADE)")
    execute("INSERT INTO kids VALUES (1, 1)")
    run = load({**people, "mode": "replace"}, "id,name\n1,b\n")
    assert (run.status, run.problems[0]["code"]) == (Status.REFUSED, "orphans")
    assert query("SELECT COUNT(*) FROM kids") == [(1,)]


@pytest.mark.parametrize(
    "text",
    [
        '{""a"":1,""a"":2}',
        '{""id"":12345678901234567890123}',
        '{""x"":0.12345678901234567890}',
        "{NaN}",
        '{""s"":""\\ud800""}',
    ],
)
def test_json_that_would_be_changed_is_set_aside(load: Loads, text: str) -> None:
    run = load({"name": "docs", "schema": {"fields": [{"name": "doc", "type": "object"}]}}, f'doc\n"{text}"\n')
    assert codes(run) == {1: ["not-json"]}


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_whole_file_with_bosses_loses_one_row_for_one_orphan(load: Loads, mode: str) -> None:
    whole = staff(mode, publish="whole")
    run = load(whole, "id,boss,email\n1,2,a@x\n2,3,b@x\n3,,c@x\n4,99,d@x\n5,4,e@x\n")
    assert (run.status, run.loaded, set(codes(run))) == (Status.ARCHIVED, 3, {4, 5})
    run = load(whole, "id,boss,email\n6,3,f@x\n7,6,c@x\n")
    assert (run.status, run.loaded, set(codes(run))) == (Status.ARCHIVED, 1, {2})
    assert query("SELECT id FROM staff ORDER BY id") == [(1,), (2,), (3,), (6,)]


def test_in_an_upsert_the_last_good_row_of_a_key_wins(load: Loads) -> None:
    run = load(staff("upsert"), "id,boss,email\n1,,first@x\n1,,ok@x\n1,99,bad@x\n2,,b@x\n")
    assert (run.loaded, run.skipped, set(codes(run))) == (2, 1, {3})
    assert query("SELECT id, email FROM staff ORDER BY id") == [(1, "ok@x"), (2, "b@x")]


def test_an_upsert_finds_a_boss_in_a_later_batch(load: Loads, settings: Any) -> None:
    load(staff(), "id,boss,email\n1,,old@x\n2,,two@x\n")
    settings.BATCH_BYTES = 1024
    more = "".join(f"{n},,p{n}@x\n" for n in range(10, 300))
    run = load(staff("upsert"), f"id,boss,email\n1,999,new@x\n2,999,early@x\n{more}2,,late@x\n999,,boss@x\n")
    assert run.batches.count() > 2
    assert query("SELECT id, boss, email FROM staff WHERE id IN (1, 2) ORDER BY id") == [
        (1, 999, "new@x"),
        (2, None, "late@x"),
    ]
    assert set(codes(run)) == {2}


def test_a_child_that_comes_before_its_parents_table_exists(load: Loads) -> None:
    save_dataset({"name": "people", "schema": {"fields": [ID, NAME], "primaryKey": "id"}})
    parent = {"fields": "person", "reference": {"resource": "people", "fields": "id"}}
    fields = [ID, {"name": "person", "type": "integer"}]
    kids = {"name": "kids", "schema": {"fields": fields, "primaryKey": "id", "foreignKeys": [parent]}}
    run = load(kids, "id,person\n1,\n2,7\n")
    assert (run.status, run.loaded, codes(run)) == (Status.ARCHIVED, 1, {2: ["foreign-key"]})


def test_a_table_that_cannot_be_made_refuses_the_file_with_the_servers_words(load: Loads) -> None:
    fields = [{"name": f"c{n}", "constraints": {"maxLength": 8000}} for n in range(30)]
    if connection.vendor == "sqlite":
        fields = [{"name": f"c{n}"} for n in range(2100)]
    names = ",".join(str(field["name"]) for field in fields)
    run = load({"name": "wide", "schema": {"fields": fields}}, f"{names}\n")
    assert (run.status, "cannot be made" in run.problems[0]["message"]) == (Status.REFUSED, True)


@mysql_only
def test_a_replace_that_died_behind_its_rename_is_finished(load: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    load(staff("replace"), "id,boss,email\n1,,a@x\n")
    with monkeypatch.context() as dying:
        dying.setattr(Run, "end", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            load(staff("replace"), "id,boss,email\n2,,b@x\n3,99,c@x\n")
    assert query("SELECT id FROM staff") == [(2,)]
    (run,) = work_off([Run.objects.latest("pk")])
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, 1, 1)
    assert [name for name in connection.introspection.table_names() if name.startswith("_console")] == []


def test_one_file_that_fails_does_not_keep_others_from_loading(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    save_dataset(NOTES)
    save_dataset({**NOTES, "name": "other"})
    from ingest import loader

    original = loader.Loader._straight

    def fail_for_notes(self: Any, *arguments: Any) -> None:
        if self.to.table == "notes":
            raise ZeroDivisionError("of all things")
        original(self, *arguments)

    monkeypatch.setattr(loader.Loader, "_straight", fail_for_notes)
    bad, good = work_off([upload(lines(3)), upload(lines(3), "raw/other.csv")])
    assert (bad.status, good.status) == (Status.LOADING, Status.ARCHIVED)
    assert "ZeroDivisionError: of all things" in bad.waiting_for


def test_a_name_of_255_bytes_is_archived_with_its_report(load: Loads, folder: Folder) -> None:
    name = "n" * 251 + ".csv"
    run = load({**NOTES, "files": ["*"]}, "id,name\nx,bad\n", name)
    assert (run.status, folder.path(run.report_key).exists()) == (Status.ARCHIVED, True)
