"""Backups in a versioned bucket: proved, killed, cancelled, damaged, deleted."""

import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from backups.dump import write_manifest
from backups.models import Backup, BackupStatus
from backups.services import add_table, cancel_backup, check, delete_backup, request_backup, request_check, take
from backups.verify import read_manifest
from migration_console.env import ROOT
from migration_console.lib.bucket import Bucket
from migration_console.lib.errors import Refused
from tests.backups.conftest import backed_up, fingerprint, lapse, rehearsed, restored, run_sql
from tests.workers import environment

pytestmark = pytest.mark.database


@pytest.fixture
def t(tables: None, bucket: Bucket) -> str:
    """Make a table of more than one part of an upload."""
    text, strict = ("MEDIUMTEXT", "") if connection.vendor == "mysql" else ("TEXT", " STRICT")
    run_sql(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {text}){strict}")
    run_sql("INSERT INTO t VALUES (1, 'a'), (2, NULL)")
    return "t"


def big() -> None:
    """Let the table grow beyond one part of an upload, where it is kept as it is."""
    letters = "REPEAT('x', 4000000)" if connection.vendor == "mysql" else "REPLACE(HEX(ZEROBLOB(2000000)), '0', 'x')"
    run_sql(*(f"INSERT INTO t VALUES ({n}, {letters})" for n in range(10, 16)))


def keys(bucket: Bucket, backup: Backup) -> list[str]:
    return [version.key.rpartition("/")[2] for version in bucket.list(backup.prefix)]


def uploads(bucket: Bucket) -> list[str]:
    return [found["Key"] for found in bucket.client.list_multipart_uploads(Bucket=bucket.bucket).get("Uploads", [])]


def killed(place: str, backup: Backup, var: Path) -> None:
    """Take a backup in a process that is killed at a place."""
    command = [sys.executable, "-m", "tests.backups.killed", place, str(backup.pk), "backup"]
    assert subprocess.run(command, cwd=ROOT, env=environment(var)).returncode == -signal.SIGKILL
    backup.refresh_from_db()
    lapse()


def test_a_backup_in_a_bucket_is_proved_restored_and_deleted(t: str, bucket: Bucket) -> None:
    before = fingerprint(t)
    backup = rehearsed(backed_up(t))
    assert backup.check_problems == []
    run_sql("DELETE FROM t")
    restored(t, backup=backup.pk)
    assert fingerprint(t) == before
    prefix = delete_backup(backup).prefix
    assert list(bucket.list(prefix)) == []


@pytest.mark.parametrize("place", ["before write_manifest", "after upload_part"])
def test_a_backup_killed_in_the_middle_counts_for_nothing(t: str, bucket: Bucket, place: str, tmp_path: Path) -> None:
    big()
    add_table(t)
    backup = request_backup(t, codec="null")
    killed(place, backup, tmp_path)
    parts, first = keys(bucket, backup), backup.prefix
    assert (parts, uploads(bucket)) != ([], []), "it was killed before it had written anything"
    assert "manifest.json" not in parts
    done = take(backup.pk)
    assert (done.status, done.prefix != first) == (BackupStatus.DONE, True)
    assert (list(bucket.list(first)), uploads(bucket)) == ([], []), "what was left is gone, half an upload too"
    assert rehearsed(done).check_problems == []


def test_a_cancelled_backup_leaves_nothing(t: str, bucket: Bucket, tmp_path: Path) -> None:
    big()
    add_table(t)
    backup = request_backup(t, codec="null")
    killed("after upload_part", backup, tmp_path)
    assert cancel_backup(backup).status == BackupStatus.CANCELLED
    assert (list(bucket.list("backups")), uploads(bucket)) == ([], [])


def test_an_upload_that_others_have_begun_is_let_be(t: str, bucket: Bucket) -> None:
    bucket.client.create_multipart_upload(Bucket=bucket.bucket, Key="some/where/raw/other.csv")
    delete_backup(backed_up(t))
    assert uploads(bucket) == ["some/where/raw/other.csv"]


@pytest.mark.parametrize("name", ["part-001-0001.avro", "manifest.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "hidden"])
def test_a_damaged_object_is_found(t: str, bucket: Bucket, name: str, how: str) -> None:
    backup = backed_up(t)
    key = f"{backup.prefix}/{name}"
    with bucket.open(bucket.stat(key)) as file:
        data = file.read()
    if how == "hidden":
        bucket.client.delete_object(Bucket=bucket.bucket, Key=bucket.prefix + key)
    else:
        damaged = data[:-1] if how == "cut" else bytes([*data[:-5], data[-5] ^ 1, *data[-4:]])
        bucket.put(key, io.BytesIO(damaged))
    request_check(backup)
    found = check(backup.pk)
    assert (found.verified_at, len(found.check_problems)) == (None, 1)
    assert name.partition(".")[0].partition("-")[0] in found.check_problems[0]["message"]


def test_a_manifest_in_a_bucket_is_never_written_over(t: str, bucket: Bucket) -> None:
    backup = backed_up(t)
    with pytest.raises(Refused, match="there already"):
        write_manifest(backup.prefix, read_manifest(backup.prefix))
