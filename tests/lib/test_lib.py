"""The library: types, statements as text, leases, swaps."""

import threading
import time
from typing import Any

import pytest
from django.db import connection

from migration_console.lib import mysql, swap
from migration_console.lib.definition import ForeignKey, read_definition
from migration_console.lib.lease import TableLease, writing
from migration_console.lib.sqltype import narrower, parse_sql_type
from migration_console.lib.statements import insert_sql, quote


@pytest.mark.parametrize(
    "text",
    [
        "INT UNSIGNED",
        "DECIMAL(10,2)",
        "VARCHAR(20) CHARACTER SET utf8mb3",
        "ENUM('a','b''c')",
        "DATETIME(6)",
        "BIT(12)",
        "JSON",
    ],
)
def test_a_type_is_written_as_it_was_read(text: str) -> None:
    assert parse_sql_type(text).sql == text


@pytest.mark.parametrize("text", ["POINT", "VARCHAR", "DECIMAL(66,2)", "INT(x)", "DATETIME(7)", "TEXT CHARSET big5"])
def test_a_type_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_sql_type(text)


@pytest.mark.parametrize(
    ("have", "need", "fits"),
    [
        ("BIGINT", "INT", True),
        ("INT", "BIGINT", False),
        ("INT UNSIGNED", "INT", False),
        ("BIGINT", "INT UNSIGNED", True),
        ("DECIMAL(20,0)", "BIGINT", True),
        ("DECIMAL(10,2)", "DECIMAL(10,3)", False),
        ("TEXT", "VARCHAR(100)", True),
        ("VARCHAR(99)", "VARCHAR(100)", False),
        ("VARCHAR(100) CHARACTER SET latin1", "VARCHAR(10)", False),
        ("DATETIME(6)", "DATETIME(3)", True),
        ("DATETIME", "DATETIME(3)", False),
        ("DATE", "DATETIME", False),
        ("ENUM('a','b')", "ENUM('a')", True),
        ("ENUM('a')", "VARCHAR(5)", False),
        ("LONGTEXT", "JSON", True),
        ("FLOAT", "DOUBLE", False),
    ],
)
def test_what_fits_into_what(have: str, need: str, fits: bool) -> None:
    assert (narrower(parse_sql_type(have), parse_sql_type(need)) == "") is fits


def test_identifiers_are_quoted_whatever_they_hold() -> None:
    assert quote("a`b.c d") == "`a``b`.`c d`"
    assert (
        insert_sql("t", ["a%", "b.c"], {"b.c": "UNHEX({})"}) == "INSERT INTO `t` (`a%%`, `b.c`) VALUES (%s, UNHEX(%s))"
    )


def test_load_data_as_text() -> None:
    sql = mysql.load_data_sql("/p", "t", ["a", "b"], {"b": "UNHEX({})"}, {"_run": 7})
    assert sql == (
        "LOAD DATA LOCAL INFILE '/p' INTO TABLE `t` CHARACTER SET utf8mb4"
        " FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'"
        " (`a`, @v1) SET `b` = UNHEX(@v1), `_run` = 7"
    )


def test_swap_as_text() -> None:
    assert (
        swap.rename_sql("s.t", 5) == "RENAME TABLE `s`.`t` TO `s`.`_console_old_5`, `s`.`_console_stage_5` TO `s`.`t`"
    )
    key = ForeignKey("t_ibfk_1_r4", ("boss",), "t", ("id",), "CASCADE", "RESTRICT")
    assert swap.foreign_key_sql("t", "_stage_5", key, 5, 2) == (
        "ALTER TABLE `_stage_5` ADD CONSTRAINT `t_ibfk_2_r5` FOREIGN KEY (`boss`) REFERENCES `_stage_5` (`id`)"
        " ON DELETE CASCADE ON UPDATE RESTRICT"
    )


@pytest.mark.database
def test_a_lease_is_held_by_one(transactional_db: None) -> None:
    with writing("t") as first, writing("t") as second:
        assert first is not None
        assert second is None
    with writing("t") as third:
        assert third


@pytest.mark.database
def test_a_lapsed_lease_is_taken_over_and_its_holder_fenced(transactional_db: None, settings: Any) -> None:
    settings.LEASE_SECONDS = 1
    lease = TableLease.objects.create(table="t")
    assert lease.claim()
    assert not TableLease.objects.get(table="t").claim()
    time.sleep(1.1)
    other = TableLease.objects.get(table="t")
    assert other.claim()
    assert (other.epoch, other.takeovers) == (lease.epoch + 1, 1)
    assert not lease.renew()
    lease.release()
    assert TableLease.objects.get(table="t").owner == other.owner


@pytest.mark.database
def test_a_try_that_failed_leaves_the_count_of_takeovers_as_it_is(transactional_db: None) -> None:
    lease = TableLease.objects.create(table="t", takeovers=3)
    for failed, left in ((True, 3), (False, 0)):
        assert lease.claim()
        with lease.holding() as heartbeat:
            heartbeat.failed = failed
        lease.refresh_from_db()
        assert (lease.takeovers, lease.owner) == (left, "")


@pytest.mark.database
def test_a_heartbeat_keeps_a_lease(transactional_db: None, settings: Any) -> None:
    settings.LEASE_SECONDS = 1
    with writing("t"):
        time.sleep(1.6)
        assert not TableLease.objects.get(table="t").claim()


@pytest.mark.database
def test_of_many_claimants_one_wins(transactional_db: None) -> None:
    TableLease.objects.create(table="t")
    won = []

    def claim() -> None:
        won.append(TableLease.objects.get(table="t").claim())
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won.count(True) == 1


@pytest.mark.database
def test_a_definition_is_read_from_the_server(tables: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        cursor.execute(
            "CREATE TABLE kids (a INTEGER NOT NULL, b VARCHAR(20), parent INTEGER, PRIMARY KEY (a), UNIQUE (b, parent),"
            " FOREIGN KEY (parent) REFERENCES parents (id))"
        )
    kids, parents = read_definition(connection, "kids"), read_definition(connection, "parents")
    assert kids is not None
    assert parents is not None
    assert [key.columns for key in kids.keys] == [("a",), ("b", "parent")]
    assert [(key.columns, key.table, key.references) for key in kids.foreign_keys] == [
        (("parent",), "parents", ("id",))
    ]
    assert parents.referenced_by == ("kids",)
    assert read_definition(connection, "nobody") is None
