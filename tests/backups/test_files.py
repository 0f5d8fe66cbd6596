"""What lies in the lake: Avro that other readers open, and damage that verify finds, all of it."""

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest
from django.db import connection

from backups.container import CODECS
from backups.models import Backup
from backups.services import check, request_check
from migration_console.lib.folder import Folder
from tests.backups.conftest import backed_up, run_sql

COMPRESSED = ["deflate", "snappy", "zstandard"]
ROWS = 3000


@pytest.fixture
def sample(tables: None) -> str:
    """Make a table with something of everything."""
    if connection.vendor == "mysql":
        run_sql(
            "CREATE TABLE sample (id INT PRIMARY KEY, big BIGINT UNSIGNED, price DECIMAL(12,2), born DATE,"
            " at DATETIME(6), stamp TIMESTAMP NULL, long_time TIME(6), name VARCHAR(40), raw VARBINARY(10), x DOUBLE,"
            " `2 odd-näme` INT)"
        )
        values = (
            "18446744073709551615, -1.25, '1960-02-29', '2021-11-07 01:30:00.000001', '2024-07-01 12:00:00',"
            " '-838:59:59', 'é😀', x'00ff', 0.1, 7"
        )
    else:
        run_sql("CREATE TABLE sample (id INTEGER PRIMARY KEY, name TEXT, raw BLOB, x REAL) STRICT")
        values = "'é😀', x'00ff', 0.1"
    for start in range(0, ROWS, 500):
        run_sql("INSERT INTO sample VALUES " + ", ".join(f"({n}, {values})" for n in range(start, start + 500)))
    nulls = ", ".join(["NULL"] * (10 if connection.vendor == "mysql" else 3))
    run_sql(f"INSERT INTO sample VALUES ({ROWS}, {nulls})")
    return "sample"


def files(folder: Folder, backup: Backup) -> list[Path]:
    return sorted(folder.path(backup.prefix).glob("*.avro"))


@pytest.mark.database
@pytest.mark.parametrize("codec", COMPRESSED)
def test_fastavro_reads_what_we_write(sample: str, folder: Folder, codec: str) -> None:
    (file,) = files(folder, backed_up(sample, codec=codec))
    with file.open("rb") as source:
        reader = fastavro.reader(source)
        rows: list[Any] = list(reader)
        assert reader.metadata["avro.codec"] == codec
    assert len(rows) == ROWS + 1
    assert (rows[0]["name"], rows[0]["raw"], rows[0]["x"]) == ("é😀", b"\x00\xff", 0.1)
    if connection.vendor == "mysql":
        assert (rows[0]["big"], rows[0]["price"], rows[0]["_2_odd_n_me"]) == (Decimal(2**64 - 1), Decimal("-1.25"), 7)
        assert rows[0]["at"] == datetime(2021, 11, 7, 1, 30, 0, 1)
        assert rows[0]["stamp"] == datetime(2024, 7, 1, 12, tzinfo=UTC)
        assert rows[0]["long_time"] == -(838 * 3600 + 59 * 60 + 59) * 1_000_000
    assert {value for name, value in rows[-1].items() if name != "id"} == {None}


@pytest.mark.database
@pytest.mark.parametrize("codec", ["deflate", "snappy"])
def test_polars_reads_the_same_values(sample: str, folder: Folder, codec: str) -> None:
    (file,) = files(folder, backed_up(sample, codec=codec))
    frame = pl.read_avro(file)
    assert frame.height == ROWS + 1
    row = frame.row(0, named=True)
    assert (row["name"], row["raw"], row["x"]) == ("é😀", b"\x00\xff", 0.1)
    if connection.vendor == "mysql":
        assert (row["big"], row["price"], row["born"]) == (Decimal(2**64 - 1), Decimal("-1.25"), date(1960, 2, 29))
        assert (row["at"], row["stamp"]) == (datetime(2021, 11, 7, 1, 30, 0, 1), datetime(2024, 7, 1, 12, tzinfo=UTC))
        assert frame.schema["at"] == pl.Datetime("us")
        assert frame.schema["stamp"] == pl.Datetime("us", "UTC")


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_backup_is_smaller_than_its_rows(sample: str, folder: Folder, codec: str) -> None:
    plain = backed_up(sample, codec="null")
    assert backed_up(sample, codec=codec).bytes < plain.bytes / 4


def test_the_exact_type_rides_along(sample: str, folder: Folder) -> None:
    (file,) = files(folder, backed_up(sample))
    with file.open("rb") as source:
        schema = fastavro.reader(source).writer_schema
    assert isinstance(schema, dict)
    fields = {field["name"]: field for field in schema["fields"]}
    assert fields["name"]["type"] == ["null", "string"]
    assert fields["name"]["default"] is None
    assert fields["name"]["mysqlType"].lower() in {"text", "varchar(40)"}


def problems(backup: Backup) -> list[str]:
    """Verify, and return what was found."""
    request_check(backup)
    return [problem["message"] for problem in check(backup.pk).check_problems]


def damage(backup: Backup, folder: Folder, kind: str, count: int) -> int:
    """Damage the files of a backup in many ways, one at a time; return how often verify did not see it."""
    chance, missed = random.Random(f"{kind} {backup.codec}"), 0
    paths = [*files(folder, backup), folder.path(f"{backup.prefix}/manifest.json")]
    whole = {path: path.read_bytes() for path in paths}
    for number in range(count):
        path = paths[-1] if number % 10 == 0 else chance.choice(paths[:-1])
        data = bytearray(whole[path])
        if kind == "flip":
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        else:
            del data[chance.randrange(len(data)) :]
        path.write_bytes(data)
        missed += not problems(backup)
        path.write_bytes(whole[path])
    assert problems(backup) == []
    return missed


@pytest.mark.parametrize("kind", ["flip", "cut"])
@pytest.mark.parametrize("codec", CODECS)
def test_every_flipped_bit_and_every_cut_is_found(sample: str, folder: Folder, codec: str, kind: str) -> None:
    assert damage(backed_up(sample, codec=codec), folder, kind, 200) == 0


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["flip", "cut"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_thousand_flips_and_cuts_are_found(sample: str, folder: Folder, codec: str, kind: str) -> None:
    assert damage(backed_up(sample, codec=codec), folder, kind, 1000) == 0


def test_a_cut_between_two_blocks_is_found(sample: str, folder: Folder) -> None:
    backup = backed_up(sample, codec="null")
    (file,) = files(folder, backup)
    with file.open("rb") as source:
        first = next(fastavro.block_reader(source))
    assert first.num_records == ROWS + 1, "one block: cutting it off leaves a file that reads cleanly"
    file.write_bytes(file.read_bytes()[: first.offset])
    with file.open("rb") as source:
        assert list(fastavro.reader(source)) == []
    assert "bytes instead of" in problems(backup)[0]


def test_swapped_parts_are_found(sample: str, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backups.dump.PART_BYTES", 1000)
    monkeypatch.setattr("backups.source.BLOCK_ROWS", 500)
    monkeypatch.setattr("backups.source.CAREFUL", 500)
    backup = backed_up(sample, codec="null")
    first, second = files(folder, backup)[:2]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert len(problems(backup)) == 2


def test_an_edited_manifest_is_found(sample: str, folder: Folder) -> None:
    backup = backed_up(sample)
    manifest = folder.path(f"{backup.prefix}/manifest.json")
    manifest.write_text(manifest.read_text().replace(f'"rows": {ROWS + 1}', f'"rows": {ROWS}'))
    assert problems(backup) == ["the manifest is not the one that the console wrote"]


def test_an_edited_manifest_is_found_by_its_own_hash(sample: str, folder: Folder) -> None:
    backup = backed_up(sample)
    Backup.objects.update(manifest_sha256="")
    manifest = folder.path(f"{backup.prefix}/manifest.json")
    manifest.write_text(manifest.read_text().replace(f'"rows": {ROWS + 1}', f'"rows": {ROWS}'))
    assert "hash is another one" in problems(backup)[0]


def test_a_backup_without_its_manifest_does_not_exist(sample: str, folder: Folder) -> None:
    backup = backed_up(sample)
    folder.path(f"{backup.prefix}/manifest.json").unlink()
    assert "the manifest is missing" in problems(backup)[0]


def test_a_damaged_backup_loses_its_mark(sample: str, folder: Folder) -> None:
    backup = backed_up(sample)
    assert problems(backup) == []
    backup.refresh_from_db()
    assert backup.verified_at is not None
    (file,) = files(folder, backup)
    file.write_bytes(file.read_bytes()[:-1])
    assert problems(backup)
    backup.refresh_from_db()
    assert backup.verified_at is None
