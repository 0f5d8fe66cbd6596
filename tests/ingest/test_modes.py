"""Append, upsert, replace and limits, against what the database itself thinks is equal."""

from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection

from ingest.models import Reject, Status
from ingest.services import advance
from migration_console.lib.definition import read_definition
from tests.conftest import Loads, codes, query

pytestmark = pytest.mark.database
ID = {"name": "id", "type": "integer", "constraints": {"required": True}}
mysql_only = pytest.mark.skipif(connection.vendor != "mysql", reason="about MySQL's own types and collations")


def people(mode: str = "append", **keys: object) -> dict[str, object]:
    fields = [ID, {"name": "name", "constraints": {"maxLength": 20}}]
    return {"name": "people", "mode": mode, "schema": {"fields": fields, "primaryKey": "id"}, **keys}


def staff(mode: str = "append", **keys: object) -> dict[str, object]:
    """People with a boss among them, and an address that is unique."""
    fields = [ID, {"name": "boss", "type": "integer"}, {"name": "email", "constraints": {"maxLength": 40}}]
    schema = {
        "fields": fields,
        "primaryKey": "id",
        "uniqueKeys": [["email"]],
        "foreignKeys": [{"fields": "boss", "reference": {"resource": "", "fields": "id"}}],
    }
    return {"name": "staff", "mode": mode, "schema": schema, **keys}


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_append_keeps_the_first_row_of_a_key(load: Loads) -> None:
    load(people(), "id,name\n1,old\n")
    run = load(people(), "id,name\n2,a\n1,b\n2,c\n3,d\n")
    assert codes(run) == {2: ["duplicate-key"], 3: ["duplicate-key"]}
    assert query("SELECT id, name FROM people ORDER BY id") == [(1, "old"), (2, "a"), (3, "d")]


def test_a_reject_names_the_key_and_its_value(load: Loads) -> None:
    run = load(people(), "id,name\n7,a\n7,b\n")
    (error,) = run.rejects.get().errors
    assert (error["field"], error["code"], error["value"]) == ("id", "duplicate-key", "7")


def test_upsert_keeps_the_last_row_of_a_key(load: Loads) -> None:
    load(people(), "id,name\n1,old\n2,kept\n")
    run = load(people("upsert"), "id,name\n1,a\n3,b\n1,c\n3,d\n")
    assert (run.loaded, run.skipped, run.rejected) == (2, 2, 0)
    assert query("SELECT id, name FROM people ORDER BY id") == [(1, "c"), (2, "kept"), (3, "d")]


def test_upsert_counts_a_key_that_comes_back_in_a_later_batch(load: Loads, settings: Any) -> None:
    settings.BATCH_BYTES = 64
    rows = "".join(f"{n % 10},name {n}\n" for n in range(100))
    run = load(people("upsert"), f"id,name\n{rows}")
    assert run.batches.count() > 5
    assert (run.read, run.loaded, run.skipped) == (100, 10, 90)
    assert query("SELECT id, name FROM people ORDER BY id") == [(n, f"name {90 + n}") for n in range(10)]


def test_upsert_never_overwrites_the_owner_of_another_unique_key(load: Loads) -> None:
    load(staff(), "id,boss,email\n1,,ann@x\n2,,bob@x\n")
    run = load(staff("upsert"), "id,boss,email\n3,,ann@x\n2,1,bob@y\n")
    assert codes(run) == {1: ["duplicate-key"]}
    assert query("SELECT id, boss, email FROM staff ORDER BY id") == [(1, None, "ann@x"), (2, 1, "bob@y")]


def test_upsert_lets_a_unique_value_move_to_another_row(load: Loads) -> None:
    load(staff(), "id,boss,email\n1,,ann@x\n")
    run = load(staff("upsert"), "id,boss,email\n1,,new@x\n2,,ann@x\n")
    assert (run.loaded, run.rejected) == (2, 0)
    assert query("SELECT id, email FROM staff ORDER BY id") == [(1, "new@x"), (2, "ann@x")]


def test_replace_puts_the_file_in_the_tables_place(load: Loads) -> None:
    load(people(), "id,name\n1,old\n2,old\n")
    run = load(people("replace"), "id,name\n2,new\n3,new\nx,bad\n3,again\n")
    assert (run.loaded, run.rejected) == (2, 2)
    assert query("SELECT id, name FROM people ORDER BY id") == [(2, "new"), (3, "new")]
    assert [name for name in connection.introspection.table_names() if name.startswith("_console")] == []


def test_replace_by_a_file_without_one_good_row_changes_nothing(load: Loads) -> None:
    load(people(), "id,name\n1,old\n")
    run = load(people("replace"), "id,name\nx,bad\n")
    assert (run.status, run.problems[0]["code"], run.loaded) == (Status.REFUSED, "nothing-to-load", 0)
    assert query("SELECT id FROM people") == [(1,)]


def test_replace_of_a_parent_keeps_its_children(load: Loads) -> None:
    load(people(), "id,name\n1,old\n2,old\n")
    child = {
        "name": "notes",
        "schema": {
            "fields": [ID, {"name": "person", "type": "integer"}],
            "primaryKey": "id",
            "foreignKeys": [{"fields": "person", "reference": {"resource": "people", "fields": "id"}}],
        },
    }
    load(child, "id,person\n1,1\n")
    assert load(people("replace"), "id,name\n1,new\n5,new\n").status == Status.ARCHIVED
    refused = load(people("replace"), "id,name\n2,new\n")
    assert (refused.status, refused.problems[0]["code"]) == (Status.REFUSED, "orphans")
    assert query("SELECT id, name FROM people ORDER BY id") == [(1, "new"), (5, "new")]
    run = load(child, "id,person\n2,2\n3,5\n")
    assert codes(run) == {1: ["foreign-key"]}


def test_replace_twice_keeps_keys_and_references(load: Loads) -> None:
    for _ in range(2):
        load(staff("replace"), "id,boss,email\n1,,a@x\n2,1,b@x\n")
    run = load(staff(), "id,boss,email\n3,9,c@x\n4,2,a@x\n5,2,e@x\n")
    assert codes(run) == {1: ["foreign-key"], 2: ["duplicate-key"]}


@mysql_only
@pytest.mark.parametrize("code", [1205, 1213, 2013])
def test_a_replaced_table_keeps_the_foreign_keys_that_its_first_try_could_not_add(load: Loads, code: int) -> None:
    load(staff(), "id,boss,email\n1,,a@x\n")
    failed: list[str] = []

    def fail_once(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "ADD CONSTRAINT" in sql and not failed:
            failed.append(sql)
            raise OperationalError(code, "of the server's choosing")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail_once):
        run = load(staff("replace"), "id,boss,email\n1,,a@x\n2,1,b@x\n")
    assert failed
    assert advance(run.pk).status == Status.ARCHIVED
    definition = read_definition(connection, "staff")
    assert definition is not None
    assert [(key.columns, key.table) for key in definition.foreign_keys] == [(("boss",), "staff")]
    with pytest.raises(IntegrityError):
        execute("INSERT INTO staff (id, boss, email) VALUES (3, 9, 'c@x')")


def test_a_boss_may_stand_below_in_the_file(load: Loads) -> None:
    run = load(staff(), "id,boss,email\n1,2,a@x\n2,3,b@x\n3,,c@x\n4,4,d@x\n5,99,e@x\n")
    assert codes(run) == {5: ["foreign-key"]}
    assert query("SELECT id FROM staff ORDER BY id") == [(1,), (2,), (3,), (4,)]


def test_a_boss_may_stand_in_a_later_batch(load: Loads, settings: Any) -> None:
    settings.BATCH_BYTES = 64
    rows = "".join(f"{n},{n + 1 if n < 60 else ''},p{n}@x\n" for n in range(1, 61))
    run = load(staff(), f"id,boss,email\n{rows}")
    assert run.batches.count() > 5
    assert (run.loaded, run.rejected) == (60, 0)
    assert sum(batch.loaded for batch in run.batches.all()) == 60
    assert not Reject.objects.exists()


def test_every_reason_of_a_row_that_the_database_sees(load: Loads) -> None:
    load(people(), "id,name\n1,a\n")
    notes = {
        "name": "notes",
        "schema": {
            "fields": [ID, {"name": "person", "type": "integer"}, {"name": "other", "type": "integer"}],
            "primaryKey": "id",
            "foreignKeys": [
                {"fields": "person", "reference": {"resource": "people", "fields": "id"}},
                {"fields": "other", "reference": {"resource": "people", "fields": "id"}},
            ],
        },
    }
    load(notes, "id,person,other\n1,1,\n")
    run = load(notes, "id,person,other\n1,8,9\n2,1,1\n")
    assert sorted(codes(run)[1]) == ["duplicate-key", "foreign-key", "foreign-key"]


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_whole_file_appears_in_one_step_or_not_at_all(load: Loads, mode: str) -> None:
    load(people(), "id,name\n1,old\n")
    limited = people(mode, onError={"rows": 1})
    run = load(limited, "id,name\n2,a\nx,b\ny,c\n")
    assert (run.status, run.problems[0]["code"], run.loaded, run.rejected) == (Status.REFUSED, "too-many-errors", 0, 2)
    assert query("SELECT COUNT(*) FROM people") == [(1,)]
    run = load(limited, "id,name\n2,a\nx,b\n3,c\n")
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, 2, 1)
    assert query("SELECT id FROM people ORDER BY id") == [(1,), (2,), (3,)]


def test_a_limit_may_be_a_share(load: Loads) -> None:
    rows = "".join(f"{n},a\n" for n in range(1, 99))
    assert load(people(onError={"percent": 2}), f"id,name\n{rows}x,a\ny,a\n").status == Status.ARCHIVED
    assert load(people(onError={"percent": 1}), f"id,name\nx,a\ny,a\n{rows}").status == Status.REFUSED


def test_a_whole_file_sees_keys_of_the_table_and_of_itself(load: Loads) -> None:
    load(people(), "id,name\n1,old\n")
    run = load(people(publish="whole"), "id,name\n1,a\n2,b\n2,c\n")
    assert codes(run) == {1: ["duplicate-key"], 3: ["duplicate-key"]}
    assert query("SELECT id, name FROM people ORDER BY id") == [(1, "old"), (2, "b")]


def test_again_needs_a_reason_and_then_loads(load: Loads) -> None:
    notes = {"name": "notes", "schema": {"fields": [{"name": "text", "constraints": {"maxLength": 20}}]}}
    load(notes, "text\nhello\n")
    assert load(notes, "text\nhello\n").status == Status.DUPLICATE
    assert load(notes, "text\nhello\n", reason="the table was emptied").status == Status.ARCHIVED
    assert query("SELECT COUNT(*) FROM notes") == [(2,)]


def test_upsert_and_replace_load_the_same_bytes_again(load: Loads) -> None:
    for mode in ("upsert", "replace"):
        load(people(mode), "id,name\n1,a\n")
        assert load(people(mode), "id,name\n1,a\n").status == Status.ARCHIVED


def test_rows_carry_the_run_that_they_came_from(load: Loads) -> None:
    run = load(people(), "id,name\n1,a\n")
    assert query("SELECT _run FROM people") == [(run.pk,)]


# What MySQL thinks is equal, and what its types hold


@mysql_only
@pytest.mark.parametrize(
    ("collation", "rows", "rejected"),
    [
        ("utf8mb4_0900_ai_ci", ["straße", "STRASSE", "cafe ", "cafe", "Zoë", "zoe"], {2, 6}),
        ("utf8mb4_general_ci", ["straße", "STRASSE", "cafe ", "cafe", "Zoë", "zoe"], {4, 6}),
    ],
)
def test_equality_is_the_servers(load: Loads, collation: str, rows: list[str], rejected: set[int]) -> None:
    if collation not in [row[0] for row in query(f"SHOW COLLATION LIKE '{collation}'")]:
        pytest.skip("the server has no such collation")
    execute(f"CREATE TABLE words (word VARCHAR(20) COLLATE {collation} NOT NULL, UNIQUE (word)) CHARSET utf8mb4")
    words = {
        "name": "words",
        "schema": {"fields": [{"name": "word", "constraints": {"required": True, "maxLength": 20}}]},
    }
    run = load(words, "word\n" + "".join(f"{word}\n" for word in rows))
    assert set(codes(run)) == rejected
    assert run.loaded == len(rows) - len(rejected)


@mysql_only
def test_types_keep_exactly_what_was_validated(load: Loads) -> None:
    execute(
        "CREATE TABLE things (id INT UNSIGNED PRIMARY KEY, kind ENUM('a','é') NULL, price DECIMAL(65,30) NULL,"
        " big BIGINT UNSIGNED NULL, at DATETIME(6) NULL, old VARCHAR(10) CHARACTER SET utf8mb3 NULL,"
        " tags SET('x','y') NULL, flags BIT(12) NULL, bytes VARBINARY(8) NULL, doc JSON NULL, ratio DOUBLE NULL,"
        " born YEAR NULL, span TIME(3) NULL)"
    )
    from ingest.draft import draft_from_table

    draft = draft_from_table("things") | {"mode": "append"}
    digits = "9" * 35 + "." + "1" * 30
    good = (
        f'4294967295,é,{digits},18446744073709551615,2024-02-29T23:59:59.123456,é,"y,x",4095,AP8=,'
        + '"{""a"": 1}",0.1,2155,10:00:00.125'
    )
    run = load(draft, "id,kind,price,big,at,old,tags,flags,bytes,doc,ratio,born,span\n" + good + "\n")
    assert (run.loaded, run.errors) == (1, [])
    ((number, kind, price, big, at, old, tags, flags, raw, ratio, born, span),) = query(
        "SELECT id, kind, CAST(price AS CHAR), big, CAST(at AS CHAR), old, CAST(tags AS CHAR), flags + 0, HEX(bytes),"
        " ratio, born, CAST(span AS CHAR) FROM things"
    )
    assert (number, kind, price, big) == (4294967295, "é", digits, 18446744073709551615)
    assert (at, old, tags, flags, raw) == ("2024-02-29 23:59:59.123456", "é", "x,y", 4095, "00FF")
    assert (ratio, born, span) == (0.1, 2155, "10:00:00.125")


@mysql_only
def test_values_that_do_not_fit_are_set_aside_before_the_server_bends_them(load: Loads) -> None:
    execute(
        "CREATE TABLE narrow (tiny TINYINT UNSIGNED NULL, price DECIMAL(5,2) NULL, kind ENUM('a') NULL,"
        " old VARCHAR(3) CHARACTER SET utf8mb3 NULL, day DATE NULL, at DATETIME NULL)"
    )
    from ingest.draft import draft_from_table

    rows = ["256,,,,,", "-1,,,,,", ",1.005,,,,", ",1000.00,,,,", ",,b,,,", ",,,abcd,,", ",,,😀,,", ",,,,2024-02-30,"]
    rows += [",,,,,2024-01-01T00:00:00.5", "255,-999.99,a,abc,2024-02-29,2024-01-01T00:00:00"]
    run = load(draft_from_table("narrow"), "tiny,price,kind,old,day,at\n" + "\n".join(rows) + "\n")
    assert [reasons[0] for reasons in codes(run).values()] == [
        *["out-of-range"] * 2, "too-many-decimals", "too-many-digits", "not-in-list", "too-long", "character-set",
        "not-a-date", "too-many-decimals",
    ]  # fmt: skip
    assert run.loaded == 1


@mysql_only
def test_a_check_of_the_table_is_told_in_the_servers_words(load: Loads) -> None:
    execute("CREATE TABLE ages (id INT PRIMARY KEY, age INT, CONSTRAINT grown_up CHECK (age >= 18))")
    ages = {
        "name": "ages",
        "schema": {
            "fields": [ID | {"sqlType": "INT"}, {"name": "age", "type": "integer", "sqlType": "INT"}],
            "primaryKey": "id",
        },
    }
    rows = "".join(f"{n},{17 if n in (3, 700) else 30}\n" for n in range(1, 1001))
    run = load(ages, f"id,age\n{rows}")
    assert codes(run) == {3: ["check"], 700: ["check"]}
    assert "grown_up" in run.rejects.get(row=3).errors[0]["message"]
    assert query("SELECT COUNT(*) FROM ages") == [(998,)]


@mysql_only
def test_a_key_over_the_start_of_a_column(load: Loads) -> None:
    execute("CREATE TABLE codes (code VARCHAR(20) NOT NULL, UNIQUE (code(3)))")
    code = {
        "name": "codes",
        "schema": {"fields": [{"name": "code", "constraints": {"required": True, "maxLength": 20}}]},
    }
    assert codes(load(code, "code\nabcd\nabce\nabd\n")) == {2: ["duplicate-key"]}


@mysql_only
def test_text_that_load_data_gives_a_meaning_arrives_as_it_was(load: Loads) -> None:
    text = 'back\\slash,tab\there,"new\nline","quote""d",\\N,\\\\'
    fields = [{"name": f"c{n}", "constraints": {"maxLength": 20}} for n in range(6)]
    load({"name": "odd", "schema": {"fields": fields}}, f"c0,c1,c2,c3,c4,c5\n{text}\n")
    assert query("SELECT c0, c1, c2, c3, c4, c5 FROM odd") == [
        ("back\\slash", "tab\there", "new\nline", 'quote"d', "\\N", "\\\\")
    ]


@mysql_only
def test_where_load_data_is_forbidden_inserts_do_the_same(load: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    execute("SET GLOBAL local_infile = 0")
    connection.close()
    try:
        load(people(), "id,name\n1,old\n")
        run = load(people(), "id,name\n2,a\n1,b\n2,c\n3,d\n")
    finally:
        execute("SET GLOBAL local_infile = 1")
        connection.close()
    assert codes(run) == {2: ["duplicate-key"], 3: ["duplicate-key"]}
    assert query("SELECT id, name FROM people ORDER BY id") == [(1, "old"), (2, "a"), (3, "d")]
