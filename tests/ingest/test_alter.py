"""A table brought to what a new version needs: as text, and on the real servers."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from ingest.altering import alter, alteration, plan, widened
from ingest.datasets import misfits, save_dataset
from ingest.schema import compile_schema
from migration_console.lib.definition import TableColumn, TableDefinition
from migration_console.lib.errors import Conflict, Refused
from migration_console.lib.lease import writing
from migration_console.lib.sqltype import parse_sql_type
from tests.conftest import Loads, query

BIN = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
mysql_only = pytest.mark.skipif(connection.vendor != "mysql", reason="SQLite cannot change columns")


def of(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a descriptor of the dataset t."""
    schema = {key: more.pop(key) for key in ("primaryKey", "uniqueKeys") if key in more}
    return {"name": "t", "schema": {"fields": list(fields), **schema}, **more}


def table(*columns: tuple[str, str, bool]) -> TableDefinition:
    """Return a table of (name, type, nullable)."""
    return TableDefinition(
        "t", tuple(TableColumn(name, kind.lower(), parse_sql_type(kind), null, null) for name, kind, null in columns)
    )


INT = {"name": "id", "type": "integer", "sqlType": "INT"}


def test_the_sql_is_one_statement_that_adds_and_widens() -> None:
    fields = [
        {"name": "id", "type": "integer", "sqlType": "BIGINT", "constraints": {"required": True}},
        {"name": "na`me", "constraints": {"maxLength": 40}},
        {"name": "new", "type": "date", "constraints": {"required": True}},
    ]
    have = table(("id", "INT", False), ("na`me", "VARCHAR(20) CHARACTER SET latin1", False), ("gone", "INT", False))
    rests = {
        "id": " NOT NULL AUTO_INCREMENT",
        "na`me": " CHARACTER SET latin1 NOT NULL DEFAULT 'a NOT NULL b' COMMENT 'it''s'",
        "gone": " NOT NULL",
    }
    found = plan("mysql", compile_schema(of(*fields)), have, rests)
    assert found.obstacles == ()
    assert found.statements == (
        "ALTER TABLE `t`\n"
        "  MODIFY COLUMN `id` BIGINT NOT NULL AUTO_INCREMENT,\n"
        "  MODIFY COLUMN `na``me` VARCHAR(40) CHARACTER SET utf8mb4 NULL DEFAULT 'a NOT NULL b' COMMENT 'it''s',\n"
        "  ADD COLUMN `new` DATE NULL,\n"
        "  MODIFY COLUMN `gone` INT NULL",
    )
    assert len(found.notes) == 4


def test_sqlite_adds_columns_and_keys_one_by_one() -> None:
    have = TableDefinition("t", (TableColumn("id", "INTEGER", parse_sql_type("BIGINT"), True, True),))
    new = {"name": "new", "constraints": {"maxLength": 5, "unique": True}}
    found = plan("sqlite", compile_schema(of(INT, new)), have, {})
    assert found.statements == (
        "ALTER TABLE `t` ADD COLUMN `new` TEXT NULL",
        "CREATE UNIQUE INDEX `t_new_key` ON `t` (`new`)",
    )
    changed = plan("sqlite", compile_schema(of({"name": "id", "constraints": {"maxLength": 5}})), have, {})
    assert "SQLite cannot change a column" in changed.obstacles[0]


@pytest.mark.parametrize(
    ("have", "need", "becomes"),
    [
        ("INT", "BIGINT", "BIGINT"),
        ("BIGINT", "INT", "BIGINT"),
        ("INT UNSIGNED", "INT", "BIGINT"),
        ("BIGINT UNSIGNED", "BIGINT", "DECIMAL(20,0)"),
        ("DECIMAL(10,2)", "DECIMAL(6,4)", "DECIMAL(12,4)"),
        ("INT", "DECIMAL(8,2)", "DECIMAL(12,2)"),
        ("VARCHAR(20) CHARACTER SET latin1", "VARCHAR(10)", "VARCHAR(20)"),
        (f"VARCHAR(20) {BIN}", "VARCHAR(30)", f"VARCHAR(30) {BIN}"),
        ("VARCHAR(20)", "TEXT", "TEXT"),
        ("ENUM('a','b')", "ENUM('b','c')", "ENUM('a','b','c')"),
        ("DATE", "DATETIME(3)", "DATETIME(3)"),
        ("DATETIME", "DATETIME(6)", "DATETIME(6)"),
        ("FLOAT", "DOUBLE", "DOUBLE"),
        ("INT", "VARCHAR(50)", "VARCHAR(50)"),
        ("INT", "VARCHAR(5)", None),
        ("VARCHAR(20)", "INT", None),
        ("DATETIME", "DATE", "DATETIME"),
        ("TIMESTAMP", "DATETIME(6)", None),
        ("DOUBLE", "DECIMAL(10,2)", None),
    ],
)  # fmt: skip
def test_a_type_is_widened_to_what_holds_both_or_not_at_all(have: str, need: str, becomes: str | None) -> None:
    found = widened(parse_sql_type(have), parse_sql_type(need))
    assert (found and found.sql) == (becomes and parse_sql_type(becomes).sql)


@pytest.mark.database
def test_a_column_is_added_and_the_next_file_loads(load: Loads) -> None:
    key = {"primaryKey": "id"}
    load(of(INT, **key), "id\n1\n")
    wider = of(INT, {"name": "naïve %s `x`", "constraints": {"maxLength": 30, "required": True}}, **key)
    with pytest.raises(Refused, match="missing in the table"):
        save_dataset(wider)
    done = alter(compile_schema(wider))
    assert done
    assert alteration(connection, compile_schema(wider)) is None
    assert load(wider, "id,naïve %s `x`\n2,☃\n", name="t-2.csv").loaded == 1
    assert query("SELECT * FROM t WHERE id = 1")[0][-1] is None


@pytest.mark.database
@mysql_only
def test_columns_are_widened_and_keep_what_they_are(load: Loads) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE t (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'its NOT NULL',"
            " a VARCHAR(5) CHARACTER SET latin1 NOT NULL DEFAULT 'x', b DECIMAL(6,2) NULL,"
            " c ENUM('p','q') NOT NULL, gone INT NOT NULL)"
        )
        cursor.execute("INSERT INTO t VALUES (7, 'ä', 1234.56, 'q', 5)")
    fields: list[dict[str, Any]] = [
        {"name": "id", "type": "integer", "sqlType": "BIGINT", "constraints": {"required": True}},
        {"name": "a", "constraints": {"maxLength": 20}},
        {"name": "b", "type": "number", "sqlType": "DECIMAL(8,4)"},
        {"name": "c", "sqlType": "ENUM('q','r')"},
    ]
    wider = of(*fields, primaryKey="id")
    assert alter(compile_schema(wider))
    assert misfits(compile_schema(wider)) == []
    assert query("SELECT id, a, b, c, gone FROM t") == [(7, "ä", Decimal("1234.56"), "q", 5)]
    assert load(wider, "id,a,b,c\n8,日本,,r\n9,,9999.1234,q\n").loaded == 2
    ((_, made),) = query("SHOW CREATE TABLE t")
    assert "AUTO_INCREMENT" in made
    assert "its NOT NULL" in made
    assert "DEFAULT 'x'" in made
    assert alter(compile_schema(wider)) is None


@pytest.mark.database
def test_what_the_server_refuses_is_told(load: Loads) -> None:
    load(of(INT), "id\n1\n1\n")
    unique = of({**INT, "constraints": {"unique": True}})
    with pytest.raises(Refused, match="the server did not change t"):
        alter(compile_schema(unique))


@pytest.mark.database
def test_nobody_changes_a_table_that_is_being_written(load: Loads) -> None:
    load(of(INT), "id\n1\n")
    wider = of(INT, {"name": "b", "type": "date"})
    with writing("t") as ours, pytest.raises(Conflict, match="is being written to"):
        assert ours
        alter(compile_schema(wider))
    assert alter(compile_schema(wider))


@pytest.mark.database
def test_a_table_that_fits_needs_no_change(load: Loads) -> None:
    load(of(INT, {"name": "b", "type": "date"}), "id,b\n1,2024-01-01\n")
    assert alteration(connection, compile_schema(of(INT))) is None
    assert alteration(connection, compile_schema({**of(INT), "table": "another"})) is None
