"""Every MySQL type with its edge values goes table → Avro → table and compares equal."""

import json
import struct
import time
from datetime import date, datetime
from random import Random

import pytest
from django.db import DatabaseError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backups.conftest import backed_up, fingerprint, rehearsed, restored, run_sql, same_rows
from tests.backups.many import RANDOM
from tests.conftest import query

pytestmark = [pytest.mark.database, pytest.mark.timeout(3600)]

MILLION = 1_000_000

Strategy = st.SearchStrategy[str]


def number(low: int, high: int) -> Strategy:
    return st.integers(low, high).map(str)


def quoted(texts: st.SearchStrategy[str]) -> Strategy:
    return texts.map(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "''") + "'")


def in_hex(size: int, exact: bool = False) -> Strategy:
    return st.binary(min_size=size if exact else 0, max_size=size).map(lambda data: f"x'{data.hex()}'")


def decimal(digits: int, scale: int) -> Strategy:
    most = 10**digits - 1
    return st.integers(-most, most).map(lambda n: f"{n}e-{scale}" if digits <= 15 else _point(n, scale))


def _point(n: int, scale: int) -> str:
    text = str(abs(n)).zfill(scale + 1)
    return ("-" if n < 0 else "") + (f"{text[:-scale]}.{text[-scale:]}" if scale else text)


def single(value: float) -> str:
    """Return the digits of the nearest FLOAT."""
    return repr(struct.unpack("f", struct.pack("f", value))[0])


def time_of(micros: int) -> str:
    seconds, fraction = divmod(abs(micros), 1_000_000)
    sign = "-" if micros < 0 else ""
    return f"'{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}'"


MOST_TIME = (838 * 3600 + 59 * 60 + 59) * 1_000_000
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
JSON: Strategy = quoted(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8"), max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé", max_size=3), inner, max_size=3),
        max_leaves=5,
    ).map(lambda value: json.dumps(value, ensure_ascii=False))
)  # fmt: skip
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
DATES = st.dates(date(1, 1, 1), date(9999, 12, 31)).map(lambda d: f"'{d.isoformat()}'")
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))
STAMPS = st.datetimes(datetime(1970, 1, 1, 0, 0, 1), datetime(2038, 1, 19, 3, 14, 7))

SECONDS = TIMES.map(lambda d: f"'{d.replace(microsecond=0)}'")
STAMP_SECONDS = STAMPS.map(lambda d: f"'{d.replace(microsecond=0)}'")
STAMP_MILLISECONDS = STAMPS.map(lambda d: f"'{d.isoformat(sep=' ', timespec='milliseconds')}'")
ALL_TIMES = st.integers(-MOST_TIME, MOST_TIME).map(time_of)
WHOLE_TIMES = st.integers(-MOST_TIME // 10**6, MOST_TIME // 10**6).map(lambda s: time_of(s * 10**6))
LATIN = quoted(st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=30))

# The type, its edge values as SQL, and random ones.
TYPES: dict[str, tuple[list[str], Strategy]] = {
    "TINYINT": (["-128", "127", "0"], number(-128, 127)),
    "TINYINT(1)": (["5", "-1"], number(-128, 127)),
    "TINYINT UNSIGNED": (["255"], number(0, 255)),
    "SMALLINT": (["-32768", "32767"], number(-(2**15), 2**15 - 1)),
    "MEDIUMINT UNSIGNED": (["0", "16777215"], number(0, 2**24 - 1)),
    "INT": (["-2147483648", "2147483647"], number(-(2**31), 2**31 - 1)),
    "INT(6) ZEROFILL": (["0", "42", "4294967295"], number(0, 2**32 - 1)),
    "INT UNSIGNED": (["4294967295"], number(0, 2**32 - 1)),
    "BIGINT": (["-9223372036854775808", "9223372036854775807"], number(-(2**63), 2**63 - 1)),
    "BIGINT UNSIGNED": (["0", "9223372036854775808", "18446744073709551615"], number(0, 2**64 - 1)),
    "DECIMAL(10,2)": (["99999999.99", "-99999999.99", "0", "-0.01"], decimal(10, 2)),
    "DECIMAL(18,9)": (["999999999.999999999", "-0.000000001"], decimal(18, 9)),
    "DECIMAL(20,0)": (["-99999999999999999999", "99999999999999999999"], decimal(20, 0)),
    "DECIMAL(65,30)": ([f"{'9' * 35}.{'9' * 30}", f"-{'9' * 35}.{'9' * 30}", "1e-30"], decimal(65, 30)),
    "FLOAT": (["3.4028234663852886e38", "1.17549435e-38", "0.1", "-0e0", "16777217"],
              st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False).map(single)),
    "DOUBLE": (["1.7976931348623157e308", "2.2250738585072014e-308", "0.1", "-0e0", "1e16"],
               st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False).map(repr)),
    "BIT(1)": (["b'0'", "b'1'"], number(0, 1)),
    "BIT(64)": (["0", "18446744073709551615", "9223372036854775808"], number(0, 2**64 - 1)),
    "DATE": (["'0001-01-01'", "'9999-12-31'", "'1970-01-01'", "'2024-02-29'"], DATES),
    "DATETIME": (["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59'"], SECONDS),
    "DATETIME(6)": (["'9999-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.999999'"], TIMES.map(lambda d: f"'{d}'")),
    "TIMESTAMP": (["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"], STAMP_SECONDS),
    "TIMESTAMP(3)": (["'1970-01-01 00:00:01.000'", "'2038-01-19 03:14:07.000'"],
                     STAMP_MILLISECONDS),
    "TIME": (["'-838:59:59'", "'838:59:59'", "'00:00:00'"], WHOLE_TIMES),
    "TIME(6)": (["'-838:59:59.000000'", "'-00:00:00.000001'", "'23:59:59.999999'"], ALL_TIMES),
    "YEAR": (["0", "1901", "2155", "'2000'"], number(1901, 2155)),
    "CHAR(10)": (["''", "'é 日本'", "'𝒳😀'"], quoted(TEXT.map(lambda t: t[:10]))),
    "VARCHAR(30)": (["''", "'tab\\tnew\\nline\\\\ \\'quote\\' \\0'", "'NULL'", "'\\\\N'", "' space '"], quoted(TEXT)),
    "VARCHAR(30) CHARACTER SET latin1": (["'é'", "'\\\\N'"], LATIN),
    "TEXT": (["''", "REPEAT('😀', 15000)"], quoted(TEXT)),
    "LONGTEXT": (["REPEAT('x', 3000000)"], quoted(TEXT)),
    "BINARY(4)": (["''", "x'00000000'", "x'ff000a5c'"], in_hex(4)),
    "VARBINARY(20)": (["''", "x'00090a0d5c5c4e'"], in_hex(20)),
    "BLOB": (["''", "REPEAT(x'00ff', 20000)"], in_hex(40)),
    "ENUM('a','b c','é','it''s')": (["'a'", "'é'", "'it''s'", "'no such member'"],
                                  st.sampled_from(["'a'", "'b c'", "'é'", "'it''s'"])),
    "SET('a','b','c d')": (["''", "'a,c d'", "'a,b,c d'"], st.sampled_from(["''", "'a'", "'b'", "'a,b'", "'b,c d'"])),
    "JSON": (["'null'", "'{}'", "'[1, 1.0, 1e400]'", "'{\"a\": 18446744073709551615}'", "'\"\\\\u00e9\\\\n\"'"], JSON),
    "POINT": (["POINT(1.5, -2.25)", "ST_GeomFromText('POINT(0 0)', 4326)"],
              st.tuples(DOUBLES, DOUBLES).map(lambda p: f"POINT({p[0]!r}, {p[1]!r})")),
    "GEOMETRY": (["ST_GeomFromText('LINESTRING(0 0,1 1)')", "ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))', 4326)",
                  "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,2 2))')"],
                 st.integers(-99, 99).map(lambda n: f"ST_GeomFromText('POINT({n} {-n})')")),
    "VECTOR(3)": (["STRING_TO_VECTOR('[1.5,-2,3e38]')"], st.tuples(st.integers(), st.integers(), st.integers()).map(
        lambda v: "STRING_TO_VECTOR('" + str([n % 1000 for n in v]).replace(" ", "") + "')")),
}  # fmt: skip
ODD_DATES = {
    "DATE": ["'0000-00-00'", "'2024-00-00'", "'2024-02-00'", "'2024-02-31'", "'0000-05-05'"],
    "DATETIME(3)": ["'0000-00-00 00:00:00'", "'2024-00-10 11:12:13.456'", "'2023-02-30 00:00:00'"],
    "TIMESTAMP": ["'0000-00-00 00:00:00'"],
}


@pytest.fixture(autouse=True)
def _mysql_only(tables: None) -> None:
    if connection.vendor != "mysql":
        pytest.skip("SQLite has five types; test_sqlite.py has them")


def is_mariadb() -> bool:
    return bool(getattr(connection, "mysql_is_mariadb", False))


def has(kind: str) -> bool:
    """Tell whether this server has a type."""
    return not kind.startswith("VECTOR") or not (is_mariadb() or connection.mysql_version < (9,))  # type: ignore[attr-defined]


def fits(kind: str, value: str) -> bool:
    """Tell whether this server takes an edge value at all."""
    if kind == "JSON" and "1e400" in value:
        return is_mariadb()
    return True


def fill(kind: str, values: list[str], null: str = "NULL") -> None:
    if not has(kind):
        pytest.skip("this server has no VECTOR")
    run_sql("DROP TABLE IF EXISTS t", f"CREATE TABLE t (id INT PRIMARY KEY, v {kind} {null}, e {kind} NULL)")
    for start in range(0, len(values), 200):
        rows = [f"({start + n}, {value}, NULL)" for n, value in enumerate(values[start : start + 200])]
        run_sql(f"INSERT INTO t VALUES {', '.join(rows)}")


def round_trip() -> None:
    """Back the table up, rehearse, empty it, restore, and compare what the server stores."""
    before = fingerprint("t")
    backup = rehearsed(backed_up("t"))
    assert (backup.check_problems, backup.rehearsed_at is not None) == ([], True)
    run_sql("DELETE FROM t")
    restored("t", back_up_first=False)
    assert fingerprint("t") == before


@pytest.mark.parametrize("kind", TYPES)
def test_edge_values_come_back(kind: str) -> None:
    fill(kind, [value for value in TYPES[kind][0] if fits(kind, value)] + ["NULL"])
    round_trip()


@pytest.mark.parametrize("kind", ODD_DATES)
def test_dates_that_are_none_come_back(kind: str) -> None:
    fill(kind, [*ODD_DATES[kind], "NULL", "'2024-05-05'"])
    round_trip()
    (stored,) = query("SELECT CAST(v AS CHAR) FROM t WHERE id = 0")
    assert stored[0].startswith("0000-00-00")


def random_rows(kind: str, count: int) -> list[str]:
    """Return rows that hypothesis makes, in lists of a hundred."""
    found: list[str] = []

    @settings(max_examples=max(count // 100, 1) * 3, database=None, deadline=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.lists(TYPES[kind][1], min_size=100, max_size=100))
    def collect(values: list[str]) -> None:
        if len(found) < count:
            found.extend(values)

    collect()
    assert len(found) >= count
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_a_thousand_random_rows_come_back(kind: str) -> None:
    fill(kind, random_rows(kind, 1000))
    round_trip()


def fill_at_random(kind: str, count: int) -> None:
    """Fill a table with rows that hypothesis drives: a hundred of its own, and many of a seed that it chooses."""
    fill(kind, [])
    there, some = 0, 5000

    @settings(max_examples=count // some * 2, database=None, deadline=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.lists(TYPES[kind][1], min_size=100, max_size=100), st.randoms(use_true_random=True))
    def add(values: list[str], chance: Random) -> None:
        nonlocal there
        if there >= count:
            return
        values += [RANDOM[kind](chance) for _ in range(some - len(values))]
        run_sql("INSERT INTO t VALUES " + ", ".join(f"({there + n}, {value}, NULL)" for n, value in enumerate(values)))
        there += some

    add()
    assert query("SELECT COUNT(*) FROM t") == [(count,)]


@pytest.mark.torture
@pytest.mark.parametrize("kind", TYPES)
def test_a_million_random_rows_come_back(kind: str) -> None:
    fill_at_random(kind, MILLION)
    run_sql("CREATE TABLE kept LIKE t", "INSERT INTO kept SELECT * FROM t")
    backup = rehearsed(backed_up("t"))
    assert (backup.check_problems, backup.rehearsed_at is not None) == ([], True)
    run_sql("TRUNCATE TABLE t")
    restored("t", back_up_first=False)
    assert (query("SELECT COUNT(*) FROM t"), same_rows("kept", "t")) == ([(MILLION,)], MILLION)


def all_types() -> list[tuple[str, list[str]]]:
    """Return every type that this server has, with its edge values."""
    kinds = [(kind, edges) for kind, (edges, _) in TYPES.items() if has(kind)]
    return [(kind, [value for value in edges if fits(kind, value)]) for kind, edges in [*kinds, *ODD_DATES.items()]]


def test_where_local_infile_is_forbidden_every_value_comes_back_by_insert() -> None:
    kinds = all_types()
    columns = ", ".join(f"c{n} {kind} NULL" for n, (kind, _) in enumerate(kinds))
    run_sql(f"CREATE TABLE t (id INT PRIMARY KEY, {columns})")
    for row in range(max(len(edges) for _, edges in kinds) + 1):
        values = ", ".join(edges[row] if row < len(edges) else "NULL" for _, edges in kinds)
        run_sql(f"INSERT INTO t VALUES ({row}, {values})")
    before = fingerprint("t")
    backup = backed_up("t")
    run_sql("DELETE FROM t", "SET GLOBAL local_infile = 0")
    try:
        restored("t", back_up_first=False)
        assert rehearsed(backup).check_problems == []
        with pytest.raises(DatabaseError, match=r"(?i)local|not allowed"):
            run_sql("LOAD DATA LOCAL INFILE '/dev/null' INTO TABLE t")
    finally:
        run_sql("SET GLOBAL local_infile = 1")
    assert fingerprint("t") == before


def test_null_everywhere_and_empty_are_two_things(tables: None) -> None:
    run_sql("CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(5), b VARBINARY(5))")
    run_sql("INSERT INTO t VALUES (1, NULL, NULL), (2, '', ''), (3, NULL, ''), (4, '', NULL)")
    backed_up("t")
    run_sql("DELETE FROM t")
    restored("t", back_up_first=False)
    assert query("SELECT a, b FROM t ORDER BY id") == [(None, None), ("", b""), (None, b""), ("", None)]


def test_the_time_zone_of_the_process_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        fill("TIMESTAMP", ["'2024-07-01 12:00:00'", "'2024-12-01 12:00:00'"])
        round_trip()
    finally:
        monkeypatch.undo()
        time.tzset()
