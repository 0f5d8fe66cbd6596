"""The lists and the dashboard with 100 runs and with 100,000: as many queries, each by an index, and about as quick."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.models import Backup, BackupStatus, Restore, RestoreStatus
from ingest.datasets import save_dataset
from ingest.models import Dataset, Reject, Run, Status, key_hash
from tests.pages.test_lists import SMALL

pytestmark = [pytest.mark.database, pytest.mark.heavy]
FEW, MANY, REJECTS = 100, 100_000, 1_000_000
MAX_QUERIES, MAX_TIMES, TURNS = 15, 3, 9
# Whose rows nobody may read from end to end; the others are small, and read so on purpose.
BIG = {
    "ingest_run", "ingest_reject", "ingest_batch", "backups_backup", "backups_restore", "migration_console_auditentry"
}  # fmt: skip
PAGES = [
    "/admin/",
    "/admin/ingest/run/",
    "/admin/ingest/run/?q=file-9",
    "/admin/ingest/run/?needs=mending",
    "/admin/ingest/run/?needs=rejects",
    "/admin/ingest/run/?needs=dataset",
    "/admin/ingest/run/?status=loaded",
    "/admin/ingest/run/?status=failed",
    "/admin/ingest/run/?trigger=upload",
    "/admin/ingest/run/?days=30",
    "/admin/ingest/run/?dataset__id__exact=1",
    "/admin/ingest/reject/",
    "/admin/ingest/reject/?state=open",
    "/admin/ingest/dataset/",
    "/admin/ingest/schemaversion/",
    "/admin/backups/backup/",
    "/admin/backups/backup/?status=done",
    "/admin/backups/backup/?table=small1",
    "/admin/backups/restore/",
    "/admin/backups/restore/?status=done",
    "/admin/backups/restore/?table=small1",
    "/admin/backups/listedtable/",
    "/admin/migration_console/auditentry/",
]


def fill(runs: int, rejects: int) -> None:
    """Make runs of 20 datasets, spread over a year; every tenth has rejects, most of them dealt with."""
    names = [f"small{number}" for number in range(20)]
    for name in names:
        save_dataset({**SMALL, "name": name})
    datasets = list(Dataset.objects.order_by("id"))
    now, year = timezone.now(), timedelta(days=365)
    badly = {3: Status.FAILED, 4: Status.REFUSED, 5: Status.CANCELLED, 6: Status.DUPLICATE}
    made = []
    for number in range(runs):
        at = now - year + year * (number / runs)
        status = badly.get(number % 50, Status.ARCHIVED)
        made.append(
            Run(
                dataset=datasets[number % 20], key=f"raw/file-{number}.csv", key_hash=key_hash(f"{number}"),
                version="1", status=status, read=1000, loaded=990, rejected=10 if number % 10 == 0 else 0,
                skipped=0, trigger=("event", "upload")[number % 5 == 0], started_at=at, closed_at=at,
                finished_at=at + timedelta(seconds=1), survey={"columns": {"id": 0}, "parts": ["x" * 500]},
                attention=status in {Status.FAILED, Status.REFUSED} and number % 3 == 0,
                rejects_open=number % 40 == 0,
            )
        )  # fmt: skip
    Run.objects.bulk_create(made, batch_size=2000)
    moved = f"UPDATE {Run._meta.db_table} SET received_at = started_at"
    with connection.cursor() as cursor:
        cursor.execute(moved)
    fill_rejects(rejects)
    # Plans keep few backups; the others are deleted, and stay on the list.
    Backup.objects.bulk_create(
        (
            Backup(table=f"small{number % 20}", status=BackupStatus.DELETED if number % 7 else BackupStatus.DONE,
                   started_at=now, verified_at=now)
            for number in range(max(runs // 10, 100))
        ),
        batch_size=2000,
    )  # fmt: skip
    made_of = list(Backup.objects.order_by("id"))
    Restore.objects.bulk_create(
        (Restore(backup=backup, table=backup.table, status=RestoreStatus.DONE) for backup in made_of), batch_size=2000
    )
    fill_audit(runs)
    analyze()


def fill_rejects(rejects: int) -> None:
    """Give each tenth run as many rejects as it says, by the server's own arithmetic."""
    with_rejects = list(Run.objects.filter(rejected__gt=0).order_by("id"))
    each = max(rejects // len(with_rejects), 1)
    digits = " UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10))
    numbers = f"SELECT a.d + 10 * b.d + 100 * c.d AS n FROM ({digits}) a, ({digits}) b, ({digits}) c"
    error = '[{"field": "id", "code": "not-an-integer", "message": "“x” is not a whole number.", "value": "x"}]'
    sql = f"""INSERT INTO {Reject._meta.db_table}
        (run_id, batch_id, `row`, line, start, `end`, raw, errors, state, corrected)
        SELECT r.id, 0, n.n + 1, n.n + 2, n.n, n.n + 1, x'782C626164', %s,
               CASE WHEN r.rejects_open THEN 'open' ELSE 'fixed' END, NULL
        FROM {Run._meta.db_table} r JOIN ({numbers}) n ON n.n < %s WHERE r.rejected > 0"""
    with connection.cursor() as cursor:
        cursor.execute(sql, [error, each])
    Run.objects.filter(rejected__gt=0).update(rejected=each)


def fill_audit(lines: int) -> None:
    """Write lines whose chain nobody checks here."""
    from migration_console.lib.audit import AuditEntry

    AuditEntry.objects.bulk_create(
        (
            AuditEntry(at=timezone.now(), actor=f"person{n % 10}", action=("run.retried", "run.cancelled")[n % 2],
                       subject_type="run", subject_id=str(n), subject=f"run {n}", previous="", digest="")
            for n in range(lines)
        ),
        batch_size=5000,
    )  # fmt: skip


def analyze() -> None:
    """Tell the server how many rows there are now; it finds out by itself some time later."""
    tables = sorted(BIG)
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ANALYZE TABLE {table}" if connection.vendor == "mysql" else f"ANALYZE {table}")
            cursor.fetchall()


def seconds(ask: Callable[[], Any]) -> float:
    """Return how long the quickest of some turns took: what is slower was somebody else on this machine."""
    found = []
    for _ in range(TURNS):
        begin = time.perf_counter()
        ask()
        found.append(time.perf_counter() - begin)
    return min(found)


def queries_of(client: Client, page: str) -> list[str]:
    """Return the SELECTs of a page."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(page).status_code == 200, page
    return [query["sql"] for query in queries if query["sql"].startswith("SELECT")]


def times(client: Client) -> dict[str, float]:
    """Return the seconds that each page takes on the server."""

    def ask(page: str) -> Callable[[], Any]:
        return lambda: client.get(page)

    return {page: seconds(ask(page)) for page in PAGES}


def without_index(sql: str) -> list[str]:
    """Return the big tables that a SELECT reads from end to end, by EXPLAIN."""
    server: Any = connection
    if server.vendor != "mysql":
        return []  # SQLite says SCAN of what it reads along a key, too
    with server.cursor() as cursor:
        cursor.execute(f"EXPLAIN {'' if server.mysql_is_mariadb else 'FORMAT=TRADITIONAL'} {sql}")
        names = [column[0] for column in cursor.description]
        plan = [dict(zip(names, line)) for line in cursor.fetchall()]
    return [
        f"{line['table']}: {line['type']}" for line in plan
        if (line["table"] in BIG or line["table"] in {"U0", "r"}) and (line["type"] == "ALL" or line["key"] is None)
    ]  # fmt: skip


@pytest.fixture
def client(tables: None) -> Iterator[Client]:
    """Return a superuser's client."""
    found = Client()
    found.force_login(get_user_model().objects.create_superuser("ann"))
    yield found
    if connection.vendor == "mysql":
        # The end of each test deletes row by row.
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE TABLE {Reject._meta.db_table}")


def check(client: Client, few: dict[str, list[str]]) -> None:
    """Hold each page against what it was with few runs."""
    many = {page: queries_of(client, page) for page in PAGES}
    assert {page: len(sqls) for page, sqls in many.items()} == {page: len(sqls) for page, sqls in few.items()}
    assert {page: len(sqls) for page, sqls in many.items() if len(sqls) > MAX_QUERIES} == {}
    assert [sql for sqls in many.values() for sql in sqls if "COUNT(*)" in sql and "LIMIT" not in sql] == []
    assert [(page, sql, wrong) for page, sqls in many.items() for sql in sqls if (wrong := without_index(sql))] == []


def test_pages_ask_no_more_of_more_runs_and_each_time_an_index(client: Client) -> None:
    fill(FEW, 1000)
    few = {page: queries_of(client, page) for page in PAGES}
    Run.objects.all().delete()
    fill(3000, 20_000)
    check(client, few)


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_pages_stay_as_quick_with_a_thousand_times_as_many_runs(client: Client) -> None:
    fill(FEW, 1000)
    few, quick = {page: queries_of(client, page) for page in PAGES}, times(client)
    Run.objects.all().delete()
    fill(MANY, REJECTS)
    slow = times(client)
    for page in PAGES:
        print(f"{page:50} {len(few[page]):2} queries {quick[page] * 1000:7.1f} ms {slow[page] * 1000:7.1f} ms")
    check(client, few)
    # A filtered list of few runs has few lines: it is held against a full one.
    full = {page: quick[page.partition("?")[0]] for page in PAGES}
    assert {page: slow[page] / full[page] for page in PAGES if slow[page] > MAX_TIMES * full[page]} == {}
