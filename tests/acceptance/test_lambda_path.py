"""From an object in the bucket to rows in the table: the event that it raises, the real Lambda runtime, the console
over HTTP, and a worker; all of them processes of their own.
"""

import io
import json
import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.db import connection

from ingest.datasets import save_dataset
from ingest.models import Batch, Reject, Run, Status
from ingest.sweeper import sweep, unfinished, work_off
from migration_console.lib.bucket import Bucket
from migration_console.lib.errors import Gone
from tests.conftest import Client, query
from tests.console import console
from tests.runtime import Function, FunctionError
from tests.workers import ledger_problems, wait_until, workers

pytestmark = [pytest.mark.database, pytest.mark.timeout(600)]
OBJECTS, STOPS = 500, 10
needs_server = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="minutes of what holds on SQLite by the other tests of this path"
)
USERS: dict[str, Any] = {
    "name": "users",
    "schema": {
        "fields": [
            {"name": "n", "type": "integer", "constraints": {"required": True}},
            {"name": "text", "constraints": {"maxLength": 60}},
            {"name": "day", "type": "date"},
        ]
    },
}
KEY = "raw/users/año 2026+1.csv"


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """Return a folder for broker and logs."""
    (tmp_path / "var").mkdir()
    return tmp_path / "var"


@pytest.fixture
def address(tables: None, bucket: Bucket, var: Path) -> Iterator[str]:
    """Run a console."""
    with console(var) as address:
        yield address


@pytest.fixture
def function(address: str, s3_server: str) -> Iterator[Function]:
    """Deploy the Lambda."""
    with Function(settings_of(address, s3_server)) as function:
        yield function


def settings_of(address: str, s3_server: str, **more: str) -> dict[str, str]:
    keys = {"AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    return {"CONSOLE_URL": address, "CONSOLE_TOKEN": Client("ingest").token, **keys, **more}


class Events:
    """The notifications of a bucket, by way of a queue."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket, self.sqs = bucket, boto3.client("sqs")
        self.queue = self.sqs.create_queue(QueueName=bucket.bucket)["QueueUrl"]
        arn = f"arn:aws:sqs:eu-central-1:123456789012:{bucket.bucket}"
        bucket.client.put_bucket_notification_configuration(
            Bucket=bucket.bucket,
            NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
        )
        self.take()  # the test event that S3 sends first

    def take(self) -> list[str]:
        """Return the bodies of the messages that wait, and forget them."""
        found: list[str] = []
        while messages := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(message["Body"])
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return found


def of_sqs(*bodies: str) -> dict[str, Any]:
    """Return the event in which SQS brings messages to a Lambda."""
    records = [{"messageId": str(n), "body": body, "eventSource": "aws:sqs"} for n, body in enumerate(bodies)]
    return {"Records": records}


def lines(count: int) -> bytes:
    """Return a file of numbers with a bad row in a hundred."""
    row = ["%d,a line for the number %d,2026-01-31\n", "%d,a line for the number %d,2026-02-30\n"]
    return b"n,text,day\n" + "".join(row[n % 100 == 50] % (n, n) for n in range(count)).encode()


def closed(run: Run) -> bool:
    run.refresh_from_db()
    return run.closed_at is not None


def result(run: Run) -> dict[str, Any]:
    """Return all that a file leaves behind, but for names and times."""
    counts = (run.status, run.read, run.loaded, run.rejected, run.skipped, run.errors)
    rejects = Reject.objects.filter(run=run).order_by("row").values_list("row", "line", "start", "end", "raw", "errors")
    return {"counts": counts, "rejects": list(rejects), "rows": query("SELECT n, text, day FROM users ORDER BY n")}


def test_both_ways_leave_the_same(address: str, s3_server: str, bucket: Bucket, var: Path) -> None:
    save_dataset(USERS)
    events, found = Events(bucket), []
    data = lines(2500) + b"\n7,short\nx,not a number,2026-01-01\n2500,last,2026-12-31"
    for way in ("true", "false"):
        with Function(settings_of(address, s3_server, SEND_ROWS=way)) as function, workers(1, var):
            bucket.put(KEY, io.BytesIO(data))
            (body,) = events.take()
            assert "a%C3%B1o+2026%2B1.csv" in body
            assert function.invoke(of_sqs(body)) == {"batchItemFailures": []}
            (run,) = Run.objects.all()
            wait_until(partial(closed, run), 30, "the end")
        found.append(result(run))
        assert list(bucket.list("raw")) == []
        with bucket.open(bucket.stat(f"processed/{run.pk}/users/año 2026+1.csv")) as kept:
            assert kept.read() == data
        with bucket.open(bucket.stat(f"errors/{run.pk}/users/año 2026+1.csv.report.jsonl")) as report:
            assert len(report.read().splitlines()) == 1 + run.rejected
        # The processed file raises events too, and they are nobody's business.
        assert function_ignores(address, s3_server, events.take())
        sent = run.parts.filter(sent=True).count()
        assert sent == (way == "true")
        query_all("DELETE FROM users")
        Run.objects.all().delete()
    assert found[0] == found[1]
    assert found[0]["counts"][:5] == (Status.ARCHIVED, 2504, 2476, 28, 0)


def function_ignores(address: str, s3_server: str, bodies: list[str]) -> bool:
    with Function(settings_of(address, s3_server)) as function:
        before = Run.objects.count()
        done = bool(bodies) and function.invoke(of_sqs(*bodies)) == {"batchItemFailures": []}
        return done and Run.objects.count() == before


def query_all(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@needs_server
@pytest.mark.heavy
def test_events_lost_doubled_shuffled_and_spoilt(function: Function, bucket: Bucket, var: Path) -> None:
    save_dataset(USERS)
    chance = random.Random(5)
    with workers(2, var, SWEEP_SECONDS="3600"):
        # The workers sweep when they start; what comes behind that is told by events only.
        bucket.put("raw/users/one.csv", io.BytesIO(b"n,text,day\n%d,x,\n" % OBJECTS))
        wait_until(lambda: Run.objects.exclude(closed_at=None).exists(), 60, "the sweep at the start")
        time.sleep(1)
        deliver(bucket, function, chance)
        assert OBJECTS / 2 < Run.objects.count() < OBJECTS + 1
        sweep()
        work_off(unfinished())  # the bells of this process reach no worker
        wait_until(lambda: Run.objects.exclude(closed_at=None).count() == OBJECTS + 1, 120, "all files")
    assert set(Run.objects.values_list("status", "loaded", "attempt")) == {(Status.ARCHIVED, 1, 1)}
    assert query("SELECT COUNT(*), COUNT(DISTINCT n), MIN(n), MAX(n) FROM users") == [
        (OBJECTS + 1, OBJECTS + 1, 0, OBJECTS)
    ]
    assert list(bucket.list("raw")) == []


def deliver(bucket: Bucket, function: Function, chance: random.Random) -> None:
    """Put objects, and deliver their events as badly as AWS may, and worse."""
    bodies = []
    for number in range(OBJECTS):
        version = bucket.put(f"raw/users/{number}.csv", io.BytesIO(b"n,text,day\n%d,x,\n" % number))
        bodies.append(json.dumps(direct(bucket, version.key, version.id)))
    delivered = [body for body in bodies if chance.random() >= 0.1 for _ in range(chance.randrange(1, 11))]
    delivered += ['{"Records": [{"s3": 5}]}', "{", '{"Records": 1}'] * (len(delivered) // 60)
    chance.shuffle(delivered)
    for start in range(0, len(delivered), 50):
        messages = delivered[start : start + 50]
        # Malformed messages come back as failures; AWS would put them aside after some tries.
        answer = function.invoke(of_sqs(*messages), seconds=120)
        failed = {int(item["itemIdentifier"]) for item in answer["batchItemFailures"]}
        assert failed == {n for n, body in enumerate(messages) if len(body) < 40}, function.output[-6000:]


@needs_server
@pytest.mark.heavy
def test_the_lambda_stopped_at_random_batches(address: str, s3_server: str, bucket: Bucket, var: Path) -> None:
    save_dataset(USERS)
    chance, rows = random.Random(3), 20_000
    stopped = 0
    with workers(1, var, SWEEP_SECONDS="3"), Function(settings_of(address, s3_server)) as function:
        for turn in range(30):
            version = bucket.put(f"raw/users/{turn}.csv", io.BytesIO(lines(rows)))
            event = direct(bucket, version.key, version.id)
            function.start()
            thread = threading.Thread(target=invoke_and_die, args=(function, event))
            thread.start()
            wait_until(partial(more_batches, chance.randrange(1, 16)), 60, "a batch")
            function.kill()
            thread.join(30)
            run = Run.objects.get(key=version.key)
            wait_until(partial(closed, run), 60, "the worker")
            assert (run.status, run.read, run.loaded, run.rejected) == (Status.ARCHIVED, rows, rows - 200, 200)
            assert ledger_problems(run, "users", rows - 200) == []
            # Stopped in the middle: what it sent is there, and a worker took the part over.
            (part,) = run.parts.all()
            stopped += part.sent and part.epoch > 1
            query_all("DELETE FROM users")
            Run.objects.all().delete()
            if stopped == STOPS:
                return
    raise AssertionError(f"the Lambda was stopped in the middle of {stopped} files only")


def invoke_and_die(function: Function, event: dict[str, Any]) -> None:
    try:
        function.invoke(event)
    except FunctionError as error:
        assert error.report["errorType"] == "Runtime.ExitError", error.report


def more_batches(than: int) -> bool:
    return Batch.objects.count() >= than


def direct(bucket: Bucket, key: str, version: str) -> dict[str, Any]:
    """Return the event that S3 sends to a Lambda by itself."""
    from urllib.parse import quote_plus

    thing = {"key": quote_plus(bucket.prefix + key, safe="/"), "versionId": version, "sequencer": "00"}
    s3 = {"s3SchemaVersion": "1.0", "bucket": {"name": bucket.bucket}, "object": thing}
    return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventVersion": "2.1", "s3": s3}]}


def test_an_object_overwritten_deleted_or_swapped_before_it_is_read(function: Function, bucket: Bucket) -> None:
    save_dataset(USERS)
    keys = {name: f"raw/users/{name}.csv" for name in ("over", "hidden", "erased", "swapped")}
    first = {n: bucket.put(k, io.BytesIO(b"n,text,day\n1,%s,\n" % n.encode())) for n, k in keys.items()}
    again = {n: bucket.put(keys[n], io.BytesIO(b"n,text,day\n2,%s,\n" % n.encode())) for n in ("over", "swapped")}
    bucket.client.delete_object(Bucket=bucket.bucket, Key=bucket.prefix + keys["hidden"])
    bucket.delete(first["erased"])
    order = [first["over"], first["hidden"], first["erased"], again["swapped"], first["swapped"], again["over"]]
    for version in order:
        function.invoke(direct(bucket, version.key, version.id))
    work_off(unfinished())
    ends = {(run.key, run.version): run.status for run in Run.objects.all()}
    assert len(ends) == 6
    assert {key for key, status in ends.items() if status != Status.ARCHIVED} == {(keys["erased"], first["erased"].id)}
    assert ends[keys["erased"], first["erased"].id] == Status.GONE
    loaded = sorted(query("SELECT text, n FROM users"))
    assert loaded == [("hidden", 1), ("over", 1), ("over", 2), ("swapped", 1), ("swapped", 2)]


def test_the_newer_version_wins_though_its_event_came_first(function: Function, bucket: Bucket) -> None:
    save_dataset({**USERS, "mode": "upsert", "schema": {**USERS["schema"], "primaryKey": "n"}})
    old, new = (bucket.put("raw/users/a.csv", io.BytesIO(b"n,text,day\n1,%s,\n" % w)) for w in (b"old", b"new"))
    for version in (new, old, new):
        function.invoke(direct(bucket, "raw/users/a.csv", version.id))
    newest_first = list(reversed(unfinished()))
    assert [run.version for run in newest_first] == [new.id, old.id]
    work_off(newest_first)
    assert query("SELECT n, text FROM users") == [(1, "new")]
    assert sorted(Run.objects.values_list("status", flat=True)) == ["archived", "superseded"]


def test_identical_bytes_are_loaded_once(function: Function, bucket: Bucket, var: Path) -> None:
    save_dataset(USERS)
    with workers(1, var):
        for _ in range(2):
            version = bucket.put("raw/users/a.csv", io.BytesIO(lines(10)))
            function.invoke(direct(bucket, "raw/users/a.csv", version.id))
        wait_until(lambda: Run.objects.exclude(closed_at=None).count() == 2, 30, "both")
    assert sorted(Run.objects.values_list("status", "loaded")) == [("archived", 10), ("duplicate", 0)]
    assert list(bucket.list("raw")) == []


def test_rows_that_are_not_those_of_the_file_never_end_green(tables: None, bucket: Bucket) -> None:
    from ingest.services import advance

    save_dataset(USERS)
    script, data = Client("ingest"), lines(20)
    version = bucket.put("raw/users/a.csv", io.BytesIO(data))
    body = {"bucket": bucket.bucket, "key": f"{bucket.prefix}raw/users/a.csv", "version": version.id, "rows": True}
    offer = script("POST", "/files", body).json()
    place = "&".join(f"{name}={offer[name]}" for name in ("run", "epoch", "start", "end", "row", "line"))
    forged = data[offer["start"] :].replace(b"number 7", b"number 8")
    assert script.csv(f"/validate-transform?{place}&last=true", forged).status_code == 200
    run = advance(offer["run"])
    assert (run.status, run.problems[0]["code"]) == (Status.FAILED, "ledger")
    assert "not those of the file" in run.problems[0]["message"]


def test_a_broken_upload_ends_as_gone_and_a_finished_one_is_found(tables: None, bucket: Bucket) -> None:
    from ingest.admission import admit
    from ingest.models import UPLOADING
    from ingest.services import advance
    from migration_console.lib.lake import Version

    dataset = save_dataset(USERS).dataset
    broken, _ = admit(Version("raw/1/users.csv", UPLOADING, 0), trigger="test", dataset=dataset)
    finished, _ = admit(Version("raw/2/users.csv", UPLOADING, 0), trigger="test", dataset=dataset)
    bucket.put("raw/2/users.csv", io.BytesIO(lines(10)))
    gone = advance(broken.pk)
    assert (gone.status, gone.closed_at is not None) == (Status.GONE, True)
    run = advance(finished.pk)
    assert (run.status, run.loaded) == (Status.ARCHIVED, 10)
    with pytest.raises(Gone):
        bucket.stat("raw/2/users.csv")
