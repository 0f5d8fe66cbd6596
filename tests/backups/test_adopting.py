"""A console with an empty database finds the backups of the one that was lost."""

import pytest
from django.db import connection

from backups.dryrun import ask
from backups.models import Backup, ListedTable, Restore
from backups.services import adopt, bring_back, finished, request_backup, request_restore
from ingest.models import Batch, Part, Reject, Run
from migration_console.lib.bucket import Bucket
from migration_console.lib.errors import Refused
from migration_console.lib.folder import Folder
from migration_console.lib.ledger import ContainedRun, ledger
from tests.backups.conftest import backed_up, fingerprint, rehearsed, restored, run_sql
from tests.backups.test_ledger import APPEND, contents, rows
from tests.conftest import Loads

pytestmark = pytest.mark.database


@pytest.fixture
def t(tables: None) -> str:
    run_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)" + ("" if connection.vendor == "mysql" else " STRICT"))
    run_sql("INSERT INTO t VALUES (1), (2)")
    return "t"


def lose_database() -> None:
    """Forget every backup, every run and every table; the lake stays."""
    for model in (Restore, Backup, ListedTable, Reject, Batch, Part):
        model._default_manager.all().delete()
    Run.objects.all().delete()
    run_sql("DROP TABLE t")


def test_a_lost_database_is_brought_back_from_the_lake(t: str) -> None:
    before = fingerprint(t)
    first, second = rehearsed(backed_up(t)), backed_up(t)
    lose_database()
    with pytest.raises(Refused, match="not one of"):
        request_backup(t)
    found, problems = adopt()
    assert ([backup.prefix for backup in found], problems) == ([first.prefix, second.prefix], [])
    assert (found[0].rows, found[0].bytes, found[0].digest) == (first.rows, first.bytes, first.digest)
    assert (found[0].verified_at, [backup.pk for backup in finished(t)]) == (None, [found[1].pk, found[0].pk])
    assert rehearsed(found[0]).check_problems == []
    restored(t)
    assert fingerprint(t) == before
    assert adopt() == ([], []), "a second time there is nothing to adopt"


def test_a_bucket_is_searched_too(t: str, bucket: Bucket) -> None:
    backup = backed_up(t)
    lose_database()
    assert [found.prefix for found in adopt()[0]] == [backup.prefix]


def test_what_is_damaged_deleted_or_under_way_is_not_adopted(t: str, folder: Folder) -> None:
    damaged = backed_up(t)
    manifest = folder.path(f"{damaged.prefix}/manifest.json")
    manifest.write_bytes(manifest.read_bytes()[:-9])
    Backup.objects.filter(pk=damaged.pk).delete()
    halves = folder.path("backups/t/half")
    halves.mkdir()
    (halves / "part-001-0001.avro").write_bytes(b"Obj")
    found, problems = adopt()
    assert (found, [(problem["code"], problem["where"]) for problem in problems]) == ([], [("damaged", damaged.prefix)])


def test_a_manifest_of_another_table_is_refused(t: str, folder: Folder) -> None:
    backup = backed_up(t)
    folder.path(backup.prefix).rename(folder.path("backups/auth_user"))
    Backup.objects.all().delete()
    found, problems = adopt()
    assert (found, problems[0]["code"]) == ([], "wrong-place")


def test_what_a_restore_put_aside_is_not_the_latest_afterwards(t: str) -> None:
    first = backed_up(t)
    run_sql("DELETE FROM t")
    restored(t)
    lose_database()
    assert len(adopt()[0]) == 2
    assert restored(t).backup.prefix == first.prefix
    assert len(fingerprint(t)) == 2


def test_rows_of_files_that_the_ledger_has_lost_are_told(load: Loads) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    backed_up("t")
    lose_database()
    adopt()
    restore = bring_back(request_restore("t").pk)
    assert (restore.status, [problem["code"] for problem in restore.problems]) == ("done", ["unknown-runs"])
    assert "raw/t-1.csv" in restore.problems[0]["message"]
    assert len(contents()) == 5


def test_a_run_of_another_console_is_not_taken_for_one_of_the_same_number(load: Loads) -> None:
    mine = load(APPEND, rows(0, 5, "mine"), "t-1.csv")
    (contained,) = ledger().contents(ask, "t")
    assert ledger().strangers("t", [contained]) == []
    theirs: ContainedRun = {**contained, "sha256": "0" * 64}
    assert ledger().strangers("t", [theirs]) == [theirs]
    assert ledger().rewind("t", [contained]) == []
    assert ledger().rewind("t", [theirs]) == [mine.pk]
