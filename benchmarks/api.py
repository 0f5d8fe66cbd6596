"""python -m benchmarks.api: the API under the clock, both sides of each comparison in one run.

Rows: POST /validate-transform with 1,000 JSON rows of 9 columns beside a plain FastAPI endpoint that validates the same
rows one by one with the same Pydantic model; one process each, one client, requests in turn.

Path: a file of 10,000 rows in a bucket (moto's S3 server), its event through AWS's Lambda runtime to the console, until
the first and the last row are in the table; with the rows sent by the Lambda, and taken by a worker.
"""

import argparse
import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
import MySQLdb

from migration_console.env import ROOT
from tests import mariadb
from tests.runtime import Function

from . import files
from .load import SCHEMA, Bench

ROWS = 1000


@contextmanager
def process(*command: str, environment: dict[str, str], port: int = 0) -> Iterator[None]:
    """Run a process, and wait until it listens."""
    with tempfile.TemporaryFile() as log:
        running = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            for _ in range(300):
                if not port or _listens(port):
                    break
                time.sleep(0.1)
            yield
        finally:
            running.terminate()
            running.wait(30)


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def console(environment: dict[str, str]) -> Iterator[int]:
    """Run the console with one process; yield its port."""
    port = mariadb.free_port()
    arguments = ["--worker-class", "gthread", "--threads", "4", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    with process("gunicorn", "migration_console.wsgi", *arguments, environment=environment, port=port):
        yield port


def token(bench: Bench) -> str:
    """Return a token that may send rows."""
    return str(bench.manage("token", "benchmark", "--group", "ingest")["token"])


def rows_of_people() -> bytes:
    """Return 1,000 rows as a script sends them: numbers as numbers, decimals as text."""
    header, *lines = (line.rstrip("\n").split(",") for line in files.people(ROWS))
    rows = [
        {**dict(zip(header, line)), "id": int(line[0]), "team_id": int(line[7]), "active": line[8] == "true"}
        for line in lines
    ]
    return json.dumps({"dataset": "people", "rows": rows}).encode()


class Side:
    """One server, asked over one connection."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.path, self.headers = path, {"Content-Type": "application/json", **headers}

    def ask(self, body: bytes) -> tuple[float, dict[str, Any]]:
        """Return seconds and answer."""
        begin = time.perf_counter()
        self.connection.request("POST", self.path, body, self.headers)
        answer = self.connection.getresponse()
        data = answer.read()
        seconds = time.perf_counter() - begin
        assert answer.status == 200, data[:1000]
        return seconds, json.loads(data)


def compare_rows(bench: Bench, runs: int) -> float:
    """Ask both in turn; print medians and their ratio; return it."""
    body, port = rows_of_people(), mariadb.free_port()
    plain = ["uvicorn", "benchmarks.plain_fastapi:app", "--port", str(port), "--log-level", "warning"]
    with console(bench.environment) as ours_port, process(*plain, environment=bench.environment, port=port):
        ours = Side(ours_port, "/validate-transform", {"Authorization": f"Token {token(bench)}"})
        theirs = Side(port, "/validate", {})
        for side in (ours, theirs):
            side.ask(body)  # warm-up: imports, connections
        times: list[tuple[float, float]] = []
        for _ in range(runs):
            mine, answer = ours.ask(body)
            other, reference = theirs.ask(body)
            assert len(answer["valid"]) == len(reference["valid"]) == ROWS - ROWS // 100
            times.append((mine, other))
    ratio = statistics.median(other / mine for mine, other in times)
    mine, other = (ROWS / statistics.median(side) for side in zip(*times))
    print(
        f"1,000 JSON rows of 9 columns: {mine:,.0f} rows/s, FastAPI {other:,.0f} rows/s, ratio {ratio:.1f}", flush=True
    )
    return ratio


class Path10k:
    """The path of a file: bucket, console, worker and Lambda, each a process of its own."""

    def __init__(self, bench: Bench, endpoint: str) -> None:
        self.bench = bench
        self.keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}
        self.keys["AWS_ENDPOINT_URL"] = endpoint
        os.environ |= self.keys
        self.s3 = boto3.client("s3")
        self.s3.create_bucket(Bucket="bench", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.s3.put_bucket_versioning(Bucket="bench", VersioningConfiguration={"Status": "Enabled"})
        var = tempfile.mkdtemp(prefix="console-bench-")
        self.environment = bench.environment | self.keys | {"LAKE_URL": "s3://bench", "VAR_FOLDER": var}

    def measure(self, way: str, runs: int) -> tuple[float, float]:
        """Return the medians of the seconds until the first and the last row."""
        worker = ["celery", "-A", "migration_console", "worker", "--pool", "solo", "--concurrency", "1"]
        with console(self.environment) as port, process(*worker, environment=self.environment):
            settings = {"CONSOLE_URL": f"http://127.0.0.1:{port}", "CONSOLE_TOKEN": token(self.bench), "SEND_ROWS": way}
            with Function(self.keys | settings) as function:
                self.once(function, 0)  # warm-up: imports, connections, the table
                times = [self.once(function, number + 1) for number in range(runs)]
        first, last = (statistics.median(side) for side in zip(*times))
        return first, last

    def once(self, function: Function, number: int) -> tuple[float, float]:
        """Put a file; return the seconds from its event to the first and to the last row."""
        rows = 10_000
        self.bench.sql("TRUNCATE people") if number else None
        seed = int(time.time() * 1000)
        data = "".join(files.people(rows, seed=seed)).encode()
        done = self.s3.put_object(Bucket="bench", Key=f"raw/people-{seed}.csv", Body=io.BytesIO(data))
        thing = {"key": f"raw/people-{seed}.csv", "versionId": done["VersionId"], "size": len(data), "sequencer": "0"}
        event = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventVersion": "2.1"}
        records = {"Records": [{**event, "s3": {"bucket": {"name": "bench"}, "object": thing}}]}
        from threading import Thread

        thread = Thread(target=function.invoke, args=(records,))
        begin = time.perf_counter()
        thread.start()
        first, last = self._watch(begin, rows - rows // 100, wait=120 if not number else 30)
        thread.join()
        return first, last

    def _watch(self, begin: float, rows: int, wait: float) -> tuple[float, float]:
        connection = MySQLdb.connect(**self.bench.server, db=SCHEMA, autocommit=True)
        cursor, first = connection.cursor(), 0.0
        while time.perf_counter() - begin < wait:
            try:
                cursor.execute("SELECT COUNT(*) FROM people")
                (count,) = cursor.fetchone()
            except MySQLdb.ProgrammingError:
                count = 0  # no table yet
            now = time.perf_counter() - begin
            first = first or (now if count else 0.0)
            if count == rows:
                connection.close()
                return first, now
            time.sleep(0.005)
        raise SystemExit(f"{count} of {rows} rows after {wait} s")


def main() -> None:
    """Compare, print, and fail where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    url = os.environ.get("TEST_MYSQL_URL") or mariadb.start()
    assert urlsplit(url).hostname
    bench = Bench(url)
    bench.set_up()
    print(f"server {bench.version}, {os.cpu_count()} cores, medians", flush=True)
    ratio = compare_rows(bench, runs=10 * options.runs)
    broken = ["3 times FastAPI"] if ratio < 3 else []
    port = mariadb.free_port()
    with process("moto.server", "-p", str(port), environment=dict(os.environ), port=port):
        path = Path10k(bench, f"http://127.0.0.1:{port}")
        for way, name in (("true", "rows sent by the Lambda"), ("false", "file taken by a worker")):
            first, last = path.measure(way, options.runs)
            print(
                f"10,000 rows, {name}: first row {first:.2f} s, last row {last:.2f} s, {10_000 / last:,.0f} rows/s",
                flush=True,
            )
            broken += [f"10,000 rows/s, {name}"] if last > 1 else []
            broken += [f"first rows in 2 s, {name}"] if first > 2 else []
    if broken:
        raise SystemExit(f"bounds are broken: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
