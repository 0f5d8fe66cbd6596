"""A row that the database refuses is set aside in the server's words, and the others are loaded."""

import pytest
from django.db import OperationalError, connection

from ingest.models import OPEN, Status
from ingest.services import advance
from migration_console.lib.mysql import is_about_rows
from tests.conftest import Loads, codes, query

pytestmark = pytest.mark.database
ID = {"name": "id", "type": "integer", "constraints": {"required": True}}
N = {"name": "n", "type": "integer", "constraints": {"required": True}}
MODES = ["append", "upsert"]
mysql_only = pytest.mark.skipif(connection.vendor != "mysql", reason="about MySQL's own errors")


def numbers(mode: str = "append", **keys: object) -> dict[str, object]:
    return {"name": "numbers", "mode": mode, "schema": {"fields": [ID, N], "primaryKey": "id"}, **keys}


def make_table(more: str = "") -> None:
    kind, tail = ("BIGINT", "ENGINE=InnoDB") if connection.vendor == "mysql" else ("INTEGER", "STRICT")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE numbers (id {kind} NOT NULL PRIMARY KEY, n {kind} NOT NULL{more}) {tail}")


def guard(event: str, number: str = "") -> None:
    """Let a trigger refuse the row with n = 13."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                f"CREATE TRIGGER no_13_{event} BEFORE {event} ON numbers WHEN NEW.n = 13"
                " BEGIN SELECT RAISE(ABORT, 'no thirteen'); END"
            )
            return
        signal = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no thirteen'{number}"
        cursor.execute(
            f"CREATE TRIGGER no_13_{event} BEFORE {event} ON numbers FOR EACH ROW IF NEW.n = 13 THEN {signal}; END IF"
        )


@mysql_only
@pytest.mark.parametrize("mode", MODES)
def test_a_generated_column_that_divides_by_zero(load: Loads, mode: str) -> None:
    make_table(", share DOUBLE AS (id / n) STORED")
    run = load(numbers(mode), "id,n\n1,2\n2,0\n3,4\n")
    assert (run.status, run.loaded, codes(run)) == (Status.ARCHIVED, 2, {2: ["refused-by-database"]})
    assert query("SELECT id FROM numbers ORDER BY id") == [(1,), (3,)]


@mysql_only
@pytest.mark.parametrize("number", ["", ", MYSQL_ERRNO = 31001", ", MYSQL_ERRNO = 9999"])
@pytest.mark.parametrize("mode", MODES)
def test_a_trigger_may_signal_any_number(load: Loads, mode: str, number: str) -> None:
    make_table()
    guard("INSERT", number)
    run = load(numbers(mode), "id,n\n1,2\n2,13\n3,4\n")
    assert (run.status, run.loaded, codes(run)) == (Status.ARCHIVED, 2, {2: ["refused-by-database"]})
    assert "no thirteen" in run.rejects.get().errors[0]["message"]


@pytest.mark.parametrize("mode", MODES)
def test_what_the_table_cannot_work_out_of_a_row(load: Loads, mode: str) -> None:
    make_table(", CHECK (JSON_EXTRACT(CASE n WHEN 13 THEN '{' ELSE '{}' END, '$.a') IS NULL)")
    run = load(numbers(mode), "id,n\n1,2\n2,13\n3,4\n")
    assert (run.status, run.loaded, set(codes(run))) == (Status.ARCHIVED, 2, {2})


@pytest.mark.parametrize("depth", [101, 120, 300, 100_000])
@pytest.mark.parametrize("mode", MODES)
def test_json_that_is_nested_too_deep_is_set_aside(load: Loads, mode: str, depth: int) -> None:
    docs = {
        "name": "docs",
        "mode": mode,
        "schema": {"fields": [ID, {"name": "doc", "type": "array"}], "primaryKey": "id"},
    }
    run = load(docs, f"id,doc\n1,{'[' * 30}{']' * 30}\n2,{'[' * depth}{']' * depth}\n")
    assert (run.status, run.loaded, codes(run)) == (Status.ARCHIVED, 1, {2: ["too-deep"]})


@mysql_only
def test_json_nested_as_deep_as_the_server_keeps_it(load: Loads) -> None:
    docs = {"name": "docs", "schema": {"fields": [ID, {"name": "doc", "type": "array"}], "primaryKey": "id"}}
    run = load(docs, f"id,doc\n1,{'[' * 100}1{']' * 100}\n")
    # MariaDB keeps less deep JSON, and says so by its CHECK.
    assert (run.loaded, codes(run)) == (
        (0, {1: ["check"]}) if "MariaDB" in query("SELECT VERSION()")[0][0] else (1, {})
    )


@pytest.mark.parametrize("code", [1044, 1142, 1021, 1114, 1146, 1205, 1213, 1290, 1449, 2006, 2013])
def test_what_is_no_fault_of_a_row(code: int) -> None:
    assert not is_about_rows(OperationalError(code, "words"))


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
@pytest.mark.parametrize("mode", MODES)
def test_a_trigger_that_refuses_a_row_refuses_a_file_that_is_published_whole(
    load: Loads, mode: str, event: str
) -> None:
    load(numbers(), "id,n\n2,1\n")
    guard(event)
    run = load(numbers(mode, publish="whole"), f"id,n\n3,4\n{2 if event == 'UPDATE' else 5},13\n")
    if (mode, event) == ("append", "UPDATE"):
        assert (run.status, run.loaded) == (Status.ARCHIVED, 1)
        return
    (problem,) = run.problems
    assert (run.status, run.loaded, problem["code"]) == (Status.REFUSED, 0, "triggers")
    assert "no thirteen" in problem["message"] and "publish: batches" in problem["message"]
    assert query("SELECT id, n FROM numbers") == [(2, 1)]
    assert [name for name in connection.introspection.table_names() if name.startswith("_console")] == []


def test_a_trigger_that_only_watches_sees_a_whole_file_once(load: Loads) -> None:
    make_table()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE log (id INTEGER)")
        body = "INSERT INTO log VALUES (NEW.id)"
        body = f"BEGIN {body}; END" if connection.vendor == "sqlite" else body
        cursor.execute(f"CREATE TRIGGER watch AFTER INSERT ON numbers FOR EACH ROW {body}")
    run = load(numbers(publish="whole"), "id,n\n1,2\n2,3\n")
    assert (run.status, run.loaded) == (Status.ARCHIVED, 2)
    assert query("SELECT id FROM log ORDER BY id") == [(1,), (2,)]


def test_a_whole_file_that_failed_says_that_nothing_is_loaded(load: Loads) -> None:
    make_table()
    with connection.cursor() as cursor:
        body = "INSERT INTO missing VALUES (NEW.id)"
        body = f"BEGIN {body}; END" if connection.vendor == "sqlite" else body
        cursor.execute(f"CREATE TRIGGER broken AFTER INSERT ON numbers FOR EACH ROW {body}")
    run = load(numbers(publish="whole"), "id,n\n1,2\n2,3\n")
    while run.status in OPEN:
        run = advance(run.pk)
    assert (run.status, run.read, run.loaded) == (Status.FAILED, 2, 0)
    assert "missing" in run.problems[0]["message"]
    assert query("SELECT id FROM numbers") == []


def test_a_replace_that_triggers_forbid_is_refused_before_it_is_staged(load: Loads) -> None:
    load(numbers(), "id,n\n2,1\n")
    guard("INSERT")
    run = load(numbers("replace"), "id,n\n3,4\nx,y\n")
    assert (run.status, run.problems[0]["code"], run.batches.count()) == (Status.REFUSED, "triggers", 0)
