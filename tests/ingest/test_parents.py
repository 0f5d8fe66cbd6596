"""Tables whose rows refer to one another, in the order that costs most."""

import time

import pytest
from django.db import connection

from ingest.models import Run, Status
from tests.conftest import Loads, codes, query

pytestmark = pytest.mark.database
ID = {"name": "id", "type": "integer", "constraints": {"required": True}}
MODES = [
    ("append", "batches"),
    ("upsert", "batches"),
    ("append", "whole"),
    ("upsert", "whole"),
    ("replace", "whole"),
]


def steps(mode: str = "append", *, kind: str = "integer", **keys: object) -> dict[str, object]:
    """Rows with the one before them."""
    more = {"maxLength": 20} if kind == "string" else {}
    fields = [
        {"name": "id", "type": kind, "constraints": {"required": True, **more}},
        {"name": "prev", "type": kind, "constraints": more},
    ]
    own = [{"fields": "prev", "reference": {"resource": "", "fields": "id"}}]
    schema = {"fields": fields, "primaryKey": "id", "foreignKeys": own}
    return {"name": "steps", "mode": mode, "schema": schema, **keys}


def chain(rows: int, first: int = 1) -> str:
    """Return a chain, newest first."""
    lines = [f"{n},{n - 1 if n > first else ''}\n" for n in range(first, first + rows)]
    return "".join(reversed(lines))


def timed(load: Loads, descriptor: dict[str, object], data: str) -> tuple[Run, float]:
    start = time.monotonic()
    return load(descriptor, data), time.monotonic() - start


@pytest.mark.parametrize(("mode", "publish"), MODES)
def test_a_chain_newest_first_takes_time_by_its_length(load: Loads, mode: str, publish: str) -> None:
    run, took = timed(load, steps(mode, publish=publish), f"id,prev\n{chain(4000)}")
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, 4000, 0)
    assert query("SELECT COUNT(*), COUNT(prev) FROM steps") == [(4000, 3999)]
    assert took < 60


@pytest.mark.parametrize(("mode", "publish"), MODES)
def test_in_a_chain_the_rows_without_a_beginning_are_set_aside(load: Loads, mode: str, publish: str) -> None:
    lost = "7000,6999\n7001,7000\n7002,7001\n8001,8002\n8002,8001\n8003,8002\n9000,9000\n"
    run, took = timed(load, steps(mode, publish=publish), f"id,prev\n{chain(1000)}{lost}")
    assert (run.loaded, run.rejected) == (1001, 6)
    assert codes(run) == {n: ["foreign-key"] for n in range(1001, 1007)}
    message = run.rejects.get(row=1002).errors[0]
    assert (message["field"], message["value"]) == ("prev", "7000")
    assert took < 60


def test_a_long_chain_that_never_begins_is_set_aside_at_once(load: Loads) -> None:
    run, took = timed(load, steps(), f"id,prev\n{''.join(f'{n},{n - 1}{chr(10)}' for n in range(5000, 2, -1))}")
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, 0, 4998)
    assert took < 60


def test_an_upsert_moves_old_rows_behind_new_ones(load: Loads) -> None:
    load(steps(), "id,prev\n1,\n2,1\n3,2\n")
    run = load(steps("upsert"), f"id,prev\n1,500\n3,12\n2,499\n{chain(500, 10)}")
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, 503, 0)
    assert query("SELECT id, prev FROM steps WHERE id < 10 ORDER BY id") == [(1, 500), (2, 499), (3, 12)]


def test_text_is_a_parent_where_the_server_calls_it_equal(load: Loads) -> None:
    same = str.upper if connection.vendor == "mysql" else str
    lines = [f"a{n},{same(f'a{n - 1}') if n > 1 else ''}\n" for n in range(1, 601)]
    run, took = timed(load, steps(kind="string"), f"id,prev\n{''.join(reversed(lines))}")
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, 600, 0)
    assert took < 60


def test_of_two_rows_of_a_key_in_a_chain_one_goes_in(load: Loads) -> None:
    run = load(steps(), "id,prev\n3,2\n2,1\n2,1\n3,1\n1,\n")
    assert (run.loaded, codes(run)) == (3, {1: ["duplicate-key"], 3: ["duplicate-key"]})


@pytest.mark.parametrize("publish", ["batches", "whole"])
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_what_stands_behind_a_row_that_the_table_refuses_is_set_aside(load: Loads, mode: str, publish: str) -> None:
    with connection.cursor() as cursor:
        kind, tail = ("BIGINT", "ENGINE=InnoDB") if connection.vendor == "mysql" else ("INTEGER", "STRICT")
        cursor.execute(
            f"CREATE TABLE steps (id {kind} PRIMARY KEY, prev {kind}, CHECK (id <> 300),"
            f" FOREIGN KEY (prev) REFERENCES steps (id)) {tail}"
        )
    run, took = timed(load, steps(mode, publish=publish), f"id,prev\n{chain(600)}")
    assert (run.status, run.loaded, run.rejected) == (Status.ARCHIVED, 299, 301)
    found = codes(run)
    assert found.pop(301) == ["check"]
    assert set(map(tuple, found.values())) == {("foreign-key",)}
    assert took < 120


def test_two_references_to_the_table_itself(load: Loads) -> None:
    fields = [ID, {"name": "prev", "type": "integer"}, {"name": "top", "type": "integer"}]
    own = [{"fields": name, "reference": {"resource": "", "fields": "id"}} for name in ("prev", "top")]
    pairs = {"name": "pairs", "schema": {"fields": fields, "primaryKey": "id", "foreignKeys": own}}
    lines = [f"{n},{n - 1 if n > 1 else ''},{n // 2 or ''}\n" for n in range(1, 501)]
    run = load(pairs, f"id,prev,top\n{''.join(reversed(lines))}700,1,701\n701,702,1\n")
    assert (run.loaded, set(codes(run))) == (500, {501, 502})


def people(mode: str = "upsert") -> dict[str, object]:
    fields = [ID, {"name": "town", "type": "integer"}]
    towns = [{"fields": "town", "reference": {"resource": "towns", "fields": "id"}}]
    return {"name": "people", "mode": mode, "schema": {"fields": fields, "primaryKey": "id", "foreignKeys": towns}}


def test_an_upsert_sets_aside_all_rows_of_a_key_without_a_parent_at_once(load: Loads) -> None:
    load({"name": "towns", "schema": {"fields": [ID], "primaryKey": "id"}}, "id\n1\n")
    run, took = timed(load, people(), "id,town\n" + "7,99\n" * 20_000 + "8,1\n" + "9,99\n9,1\n9,1\n9,99\n9,99\n")
    assert (run.loaded, run.rejected, run.skipped) == (2, 20_002, 2)
    assert set(codes(run)) == {*range(1, 20_001), 20_005, 20_006}
    assert query("SELECT id, town FROM people ORDER BY id") == [(8, 1), (9, 1)]
    assert took < 60


def test_a_parent_may_have_a_number_that_the_table_gives(load: Loads) -> None:
    with connection.cursor() as cursor:
        id_, kind, tail = "INTEGER PRIMARY KEY", "INTEGER", "STRICT"
        if connection.vendor == "mysql":
            id_, kind, tail = "BIGINT AUTO_INCREMENT PRIMARY KEY", "BIGINT", "ENGINE=InnoDB"
        cursor.execute(f"CREATE TABLE steps (id {id_}, prev {kind}, FOREIGN KEY (prev) REFERENCES steps (id)) {tail}")
        cursor.execute("INSERT INTO steps VALUES (5, NULL)")
    prev = {"name": "prev", "type": "integer"}
    run = load({"name": "steps", "schema": {"fields": [prev]}}, "prev\n5\n99\n5\n")
    assert (run.status, run.loaded, codes(run)) == (Status.ARCHIVED, 2, {2: ["foreign-key"]})
