"""The list of all rejects with many of them: few queries, each by an index, however they are filtered."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ingest.models import Reject, Run
from tests.conftest import Loads
from tests.pages.test_rejects import FILE, PEOPLE

FILTERS = ["", "state=open", "dataset=people", "dataset=people&state=ready", "field=id&code=not-an-integer", "code=x"]
MANY = 20_000


def multiply(run: Run) -> None:
    """Give a run many rejects, as a large file has them."""
    first = run.rejects.order_by("row").first()
    assert first is not None
    made = []
    for number in range(MANY):
        state = ["open", "ready", "fixed"][number % 3]
        values = {name: getattr(first, name) for name in ("run", "dataset", "batch_id", "line", "start", "end", "raw")}
        made.append(Reject(row=1000 + number, errors=first.errors, state=state, note="", **values))
    Reject.objects.bulk_create(made, batch_size=1000)


@pytest.mark.database
@pytest.mark.heavy
@pytest.mark.parametrize("asked", FILTERS)
def test_pages_ask_little_and_by_an_index(load: Loads, asked: str) -> None:
    run = load(PEOPLE, FILE)
    run.rejects.filter(row=3).update(state="ready")
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ann"))
    counts = []
    for many in (False, True):
        if many:
            multiply(run)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = client.get(f"/admin/ingest/reject/?{asked}")
        assert answer.status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 15
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE TABLE ingest_reject")
            cursor.fetchall()
            for query in queries.captured_queries:
                if "ingest_reject" in query["sql"]:
                    assert by_index(cursor, query["sql"]), query["sql"]


def by_index(cursor: Any, sql: str) -> bool:
    """Tell whether a query uses an index and sorts no more than its page."""
    cursor.execute("EXPLAIN FORMAT=TRADITIONAL " + sql)
    names = [column[0] for column in cursor.description]
    plan = [dict(zip(names, line)) for line in cursor.fetchall()]
    return all(
        line["key"] and ("filesort" not in (line["Extra"] or "") or int(line["rows"] or 0) <= 100) for line in plan
    )


@pytest.mark.database
@pytest.mark.heavy
def test_the_page_of_a_run_asks_no_more_with_many(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ann"))
    multiply(run)
    Run.objects.filter(pk=run.pk).update(rejected=MANY)
    for asked in ("", "?state=ready", "?field=country&code=none", "?at=15000"):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"/admin/ingest/reject/run/{run.pk}/{asked}").status_code == 200
        assert len(queries) <= 25 if "code" in asked else len(queries) <= 15, [q["sql"][:80] for q in queries]
