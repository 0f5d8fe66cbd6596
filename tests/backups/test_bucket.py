"""The same on a versioned bucket."""

import pytest
from django.db import connection

from backups.services import delete_backup
from migration_console.lib.bucket import Bucket
from tests.backups.conftest import backed_up, fingerprint, rehearsed, restored, run_sql


@pytest.mark.database
def test_a_backup_in_a_bucket_is_proved_restored_and_deleted(tables: None, bucket: Bucket) -> None:
    run_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)" + ("" if connection.vendor == "mysql" else " STRICT"))
    run_sql("INSERT INTO t VALUES (1), (2)")
    before = fingerprint("t")
    backup = rehearsed(backed_up("t"))
    assert backup.check_problems == []
    run_sql("DELETE FROM t")
    restored("t", backup=backup.pk)
    assert fingerprint("t") == before
    prefix = delete_backup(backup).prefix
    assert list(bucket.list(prefix)) == []
