"""Descriptors, drafts, versions, patterns, and the table that a dataset goes to."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from ingest.datasets import match_dataset, save_dataset
from ingest.draft import draft_from_csv, draft_from_table
from ingest.models import Dataset, Status
from ingest.patterns import best_match, matches, tie
from ingest.schema import compile_schema
from migration_console.lib.errors import Refused
from tests.conftest import Loads, codes, query

ID = {"name": "id", "type": "integer", "constraints": {"required": True}}
SMALL: dict[str, Any] = {"name": "small", "schema": {"fields": [ID], "primaryKey": "id"}}
mysql_only = pytest.mark.skipif(connection.vendor != "mysql", reason="about MySQL's own types")


def problems(data: object) -> dict[str, str]:
    """Return the mistakes in a descriptor by their place."""
    with pytest.raises(Refused) as refused:
        compile_schema(data)
    return {problem.where: problem.message for problem in refused.value.problems}


def test_all_mistakes_are_listed_with_their_place() -> None:
    fields = [
        {"name": "id", "type": "integr"},
        {"name": "ID", "constraints": {"minLength": 5, "maxLength": 2}},
        {"name": "x", "type": "integer", "constraints": {"pattern": "a"}},
        {"name": "y", "constraints": {"pattern": "("}, "aliasses": []},
    ]
    found = problems({"name": "Bad Name", "shema": {}, "mode": "insert", "schema": {"fields": fields}})
    assert set(found) == {
        "/name", "/shema", "/mode", "/schema/fields/0/type", "/schema/fields/1", "/schema/fields/1/name",
        "/schema/fields/2", "/schema/fields/3/constraints/pattern", "/schema/fields/3/aliasses",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ({"type": "integer", "constraints": {"minimum": "x"}}, "/schema/fields/0/constraints/minimum"),
        ({"type": "integer", "constraints": {"minimum": 9, "maximum": 1}}, "/schema/fields/0/constraints"),
        ({"type": "date", "format": "any"}, "/schema/fields/0/format"),
        ({"type": "date", "constraints": {"enum": ["2024-02-30"]}}, "/schema/fields/0/constraints/enum"),
        ({"type": "integer", "default": "x"}, "/schema/fields/0/default"),
        ({"type": "integer", "sqlType": "TINYINT", "default": "300"}, "/schema/fields/0/default"),
        ({"type": "integer", "sqlType": "DATE"}, "/schema/fields/0/sqlType"),
        ({"type": "integer", "sqlType": "DECIMAL(70,2)"}, "/schema/fields/0/sqlType"),
        ({"type": "string", "format": "phone"}, "/schema/fields/0"),
        ({"type": "boolean", "trueValues": ["1"], "falseValues": ["1"]}, "/schema/fields/0"),
        ({"type": "datetime", "timezone": "Mars/Olympus"}, "/schema/fields/0/timezone"),
    ],
)
def test_what_no_value_could_satisfy_is_a_mistake(field: dict[str, Any], place: str) -> None:
    assert place in problems({"name": "x", "schema": {"fields": [{"name": "a", **field}]}})


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"mode": "upsert"}, "/schema/primaryKey"),
        ({"schema": {"fields": [ID], "primaryKey": "no"}}, "/schema/primaryKey"),
        ({"encoding": "utf-9"}, "/encoding"),
        ({"dialect": {"delimiter": ";;"}}, "/dialect/delimiter"),
        ({"dialect": {"delimiter": '"'}}, "/dialect"),
        ({"onError": {}}, "/onError"),
        ({"files": ["raw/x.csv"]}, "/files/0"),
        ({"model": "tests.models:Nobody"}, "/model"),
        ({"schema": {"fields": []}}, "/schema/fields"),
    ],
)
def test_impossible_datasets(keys: dict[str, Any], place: str) -> None:
    assert place in problems({"name": "x", "schema": {"fields": [ID]}, **keys})


def test_a_version_changes_only_until_a_run_has_used_it(load: Loads) -> None:
    assert save_dataset(SMALL).number == 1
    assert save_dataset({**SMALL, "title": "Small"}).number == 1
    run = load({**SMALL, "title": "Small"}, "id\n1\n")
    changed = {**SMALL, "schema": {"fields": [ID | {"description": "the number"}], "primaryKey": "id"}}
    assert save_dataset(changed).number == 2
    run.refresh_from_db()
    assert run.schema_version is not None
    assert run.schema_version.descriptor == {**SMALL, "title": "Small"}


def test_a_foreign_key_needs_its_dataset(tables: None) -> None:
    key = {"fields": "id", "reference": {"resource": "nobody", "fields": "id"}}
    with pytest.raises(Refused, match="add it first"):
        save_dataset({"name": "child", "schema": {"fields": [ID], "foreignKeys": [key]}})
    assert not Dataset.objects.exists()


def test_patterns() -> None:
    assert matches("users-*.csv", "users-2024.csv")
    assert not matches("users-*.csv", "users-a/b.csv")
    assert matches("users/**", "users/a/b.csv")
    assert best_match("a/users.csv", [("any", ["**"]), ("users", ["a/users.csv"]), ("a", ["a/**"])]) == ["users"]
    assert best_match("other.txt", [("users", ["users.csv"])]) == []


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("a*.csv", "*b.csv", True),
        ("a*.csv", "b*.csv", False),
        ("a/*", "b*c", False),
        ("x/**", "x/**", True),
        ("*/a", "**/a", True),
        ("?.csv", "/.csv", False),
    ],
)
def test_ties(left: str, right: str, expected: bool) -> None:
    assert tie(left, right) is tie(right, left) is expected


def test_patterns_that_tie_are_refused_when_saving(tables: None) -> None:
    save_dataset(SMALL)
    with pytest.raises(Refused, match="match the same files"):
        save_dataset({**SMALL, "name": "other", "files": ["small.csv"]})


def test_a_file_without_a_dataset_waits_until_there_is_one(load: Loads, tables: None) -> None:
    import io

    from ingest.admission import admit_upload
    from ingest.sweeper import sweep, work_off

    run = admit_upload("raw/small.csv", io.BytesIO(b"id\n1\n"), trigger="test", dataset=None)
    assert (run.dataset, run.status) == (None, Status.RECEIVED)
    assert sweep() == []
    save_dataset(SMALL)
    assert match_dataset("raw/small.csv") is not None
    run.refresh_from_db()
    (run,) = work_off([run])
    assert (run.status, run.loaded) == (Status.ARCHIVED, 1)


def test_a_hand_written_model_decides(load: Loads) -> None:
    booking = {"name": "bookings", "model": "tests.models:Booking", "schema": {"primaryKey": "id"}}
    run = load(
        booking,
        "id,guest,arrives,leaves,price,note\n1,ann baker,2024-01-01,2024-01-03,99.90,\n"
        "2,bob,2024-01-03,2024-01-01,5,x\n1_000,cid,2024-02-30,2024-01-01,1.005,\n",
    )
    assert codes(run) == {2: ["rule"], 3: ["not-an-integer", "not-a-date", "too-many-decimals"]}
    assert "leaves is before arrives" in run.rejects.get(row=2).errors[0]["message"]
    assert query("SELECT guest, price + 0 FROM bookings")[0][0] == "Ann Baker"


# Drafts


def draft(tmp_path: Path, data: bytes) -> dict[str, Any]:
    path = tmp_path / "My File.csv"
    path.write_bytes(data)
    return draft_from_csv(path)


def test_a_draft_finds_delimiter_header_types_and_what_is_required(tmp_path: Path) -> None:
    found = draft(
        tmp_path, "id;name;born;paid;zip;at\n1;Zoë;31.01.1990;1.5;01234;2024-01-01T10:00:00Z\n2;;;2;99999;\n".encode()
    )
    assert (found["name"], found["encoding"], found["dialect"]) == (
        "my_file",
        "utf-8",
        {"delimiter": ";", "header": True},
    )
    kinds = {field["name"]: field["type"] for field in found["schema"]["fields"]}
    assert kinds == {
        "id": "integer",
        "name": "string",
        "born": "date",
        "paid": "number",
        "zip": "string",
        "at": "datetime",
    }
    required = {field["name"] for field in found["schema"]["fields"] if field["constraints"].get("required")}
    assert (required, found["schema"]["primaryKey"]) == ({"id", "paid", "zip"}, "id")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_a_draft_of_a_file_loads_that_file(load: Loads, tmp_path: Path, encoding: str) -> None:
    data = "id,name\n1,Zoë\n2,Bob\n".encode(encoding)
    run = load(draft(tmp_path, data), data, "my_file.csv")
    assert (run.status, run.loaded) == (Status.ARCHIVED, 2)
    assert query("SELECT name FROM my_file WHERE id = 1") == [("Zoë",)]


def test_a_draft_without_a_header(tmp_path: Path) -> None:
    found = draft(tmp_path, b"1,Ann\n2,Bob\n")
    assert found["dialect"]["header"] is False
    assert [field["name"] for field in found["schema"]["fields"]] == ["column_1", "column_2"]


@pytest.mark.database
def test_a_draft_of_a_table_fits_the_table(load: Loads) -> None:
    load(SMALL, "id\n1\n")
    found = draft_from_table("small")
    assert (found["mode"], found["schema"]["primaryKey"]) == ("upsert", ["id"])
    assert load({**found, "name": "again"}, "id\n1\n2\n").loaded == 2


# Tables that exist


@pytest.mark.database
@mysql_only
@pytest.mark.parametrize(
    ("column", "field", "words"),
    [
        ("v VARCHAR(10)", {"constraints": {"maxLength": 20}}, "too short"),
        ("v INT", {"type": "integer"}, "does not hold every number"),
        ("v INT", {"type": "string", "constraints": {"maxLength": 3}}, "does not hold text"),
        ("v DECIMAL(8,2)", {"type": "number", "sqlType": "DECIMAL(10,2)"}, "narrower"),
        ("v DATETIME", {"type": "datetime"}, "fractional digits"),
        ("v VARCHAR(10) CHARACTER SET latin1", {"constraints": {"maxLength": 10}}, "cannot hold every text"),
        ("v VARCHAR(10) NOT NULL", {"constraints": {"maxLength": 10}}, "NOT NULL"),
        ("w INT NULL", {"constraints": {"maxLength": 10}}, "missing in the table"),
        ("v CHAR(10)", {"constraints": {"maxLength": 10}}, "drops the spaces"),
        ("v BINARY(16)", {"format": "binary", "constraints": {"maxLength": 16}}, "fills bytes up"),
        ("v BIT(8)", {"type": "integer", "sqlType": "TINYINT UNSIGNED"}, "digits of a number for bytes"),
        ("v VARCHAR(10), w INT NOT NULL", {"constraints": {"maxLength": 10}}, "needs a value"),
        ("v VARCHAR(10)", {"constraints": {"maxLength": 10, "unique": True}}, "no unique key"),
    ],
)
def test_a_table_that_does_not_fit_is_named_before_anything_is_written(
    tables: None, column: str, field: dict[str, Any], words: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE narrow ({column})")
    with pytest.raises(Refused, match=words):
        save_dataset({"name": "narrow", "schema": {"fields": [{"name": "v", **field}]}})
    assert not Dataset.objects.exists()


@pytest.mark.database
@mysql_only
def test_a_table_that_changed_since_refuses_the_file(load: Loads) -> None:
    load(SMALL, "id\n1\n")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE small ADD COLUMN extra INT NOT NULL")
    import io

    from ingest.admission import admit_upload
    from ingest.sweeper import work_off

    run = admit_upload("raw/small.csv", io.BytesIO(b"id\n2\n"), trigger="test", dataset=Dataset.objects.get())
    (run,) = work_off([run])
    assert (run.status, run.loaded) == (Status.REFUSED, 0)
    assert "extra" in run.problems[0]["message"]
    assert query("SELECT COUNT(*) FROM small") == [(1,)]


@pytest.mark.database
def test_a_dataset_whose_files_have_gone_into_a_table_keeps_it(load: Loads) -> None:
    moved = {**SMALL, "table": "elsewhere"}
    load(SMALL, "id\nx\n", "small-1.csv")
    with pytest.raises(Refused, match=r"files of small have gone into small, .* retire this dataset"):
        save_dataset(moved)
    assert Dataset.objects.get().table == "small"
    assert save_dataset({**SMALL, "title": "Small", "table": "small"}).number == 2


def test_a_dataset_that_has_loaded_nothing_may_go_elsewhere(load: Loads) -> None:
    assert load(SMALL, "other\n1\n", "small-1.csv").status == Status.REFUSED
    assert load({**SMALL, "table": "elsewhere"}, "id\n1\n", "small-2.csv").status == Status.ARCHIVED
    assert query("SELECT id FROM elsewhere") == [(1,)]


@pytest.mark.database
def test_no_two_datasets_spell_a_table_differently(load: Loads) -> None:
    load(SMALL, "id\n1\n")
    again = {**SMALL, "name": "again", "table": "Small"}
    if not connection.features.ignores_table_name_case:
        assert save_dataset(again).dataset.table == "Small"
        return
    with pytest.raises(Refused, match="there is a table small already"):
        save_dataset(again)
