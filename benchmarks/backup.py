"""python -m benchmarks.backup: a table to the lake and back, beside mariadb-dump | gzip and mariadb < dump.

Both in turn, in one run, of the same table; quoted are medians and the median of the pairwise ratios. Ours
is the whole process: start of Python, snapshot, digest, hashes, manifest; on the way back the hashes, the
shadow, its digest, and the swap. The restore goes where no table is, as the dump's does. The server is the
one of TEST_MYSQL_URL, else a throw-away MariaDB.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fastavro

from migration_console.env import ROOT
from tests import mariadb

from . import files
from .load import SCHEMA, Bench

TABLE = "people"
CREATE = (
    "CREATE TABLE people (id INT UNSIGNED NOT NULL PRIMARY KEY, name VARCHAR(60) NOT NULL, email VARCHAR(80),"
    " country CHAR(2), born DATE, joined DATETIME, balance DECIMAL(12,2), team_id INT UNSIGNED, active TINYINT(1))"
)


class Backups(Bench):
    """A server with one big table."""

    def fill(self, rows: int) -> None:
        """Load the table."""
        path = files.made("people", rows)
        names = [str(field["name"]) for field in files.FIELDS]
        columns = ", ".join({"joined": "@joined", "active": "@active"}.get(name, name) for name in names)
        self.sql(
            "DROP TABLE IF EXISTS people",
            CREATE,
            f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE people CHARACTER SET utf8mb4 FIELDS TERMINATED BY ','"
            f" IGNORE 1 LINES ({columns}) SET joined = LEFT(@joined, 19), active = @active = 'true'",
            "ANALYZE TABLE people",
        )
        self.manage("table", "add", TABLE)

    def client(self, program: str, schema: str) -> list[str]:
        """Return how a command-line client reaches the server."""
        words = [program, f"--host={self.server['host']}", f"--port={self.server['port']}"]
        return [*words, f"--user={self.server['user']}", schema]

    def theirs(self, dump: Path) -> tuple[float, float]:
        """Dump and gzip, unpack, and feed it to the client; return the seconds of both."""
        begin = time.perf_counter()
        command = " ".join([*self.client("mariadb-dump", SCHEMA), "--single-transaction", TABLE])
        subprocess.run(["bash", "-o", "pipefail", "-c", f"{command} | gzip > {dump}.gz"], check=True)
        taken = time.perf_counter() - begin
        subprocess.run(["gzip", "-dkf", f"{dump}.gz"], check=True)
        self.sql("DROP DATABASE IF EXISTS console_bench_dump", "CREATE DATABASE console_bench_dump", schema="")
        begin = time.perf_counter()
        with dump.open("rb") as source:
            subprocess.run(self.client("mariadb", "console_bench_dump"), stdin=source, check=True)
        back = time.perf_counter() - begin
        self.sql("DROP DATABASE console_bench_dump", schema="")
        return taken, back

    def ours(self, *arguments: str) -> tuple[float, int]:
        """Run a command of the console; return seconds and peak memory in MB."""
        command = [sys.executable, "-m", "benchmarks.peak", "manage.py", *arguments, "--json"]
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return time.perf_counter() - begin, int(done.stderr.strip().rpartition("peak ")[2])


def report(title: str, ours: list[float], theirs: list[float], peak: int) -> float:
    """Print one line, and return the ratio."""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs))
    medians = f"{statistics.median(ours):6.2f} s   theirs {statistics.median(theirs):6.2f} s"
    print(f"{title:34} {medians}   ratio {ratio:.2f}   peak {peak} MB", flush=True)
    return ratio


def compare_writers(bench: Backups) -> None:
    """Write the same records by fastavro: what our own encoder is measured against."""
    part = next((Path(bench.lake) / "backups" / TABLE).glob("*/part-001-0001.avro"))
    with part.open("rb") as source:
        reader = fastavro.reader(source)
        schema: Any = reader.writer_schema
        records = list(reader)
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as target:
        fastavro.writer(target, schema, records, codec="deflate", codec_compression_level=1)
    rate = len(records) / (time.perf_counter() - begin)
    print(f"fastavro's writer alone, from dictionaries that are there: {rate:,.0f} rows a second")


def main() -> None:
    """Compare, print, and fail where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if not (shutil.which("mariadb-dump") and shutil.which("mariadb")):
        raise SystemExit("mariadb-dump and mariadb are needed: apt-get install mariadb-client")
    bench = Backups(os.environ.get("TEST_MYSQL_URL") or mariadb.start())
    bench.set_up()
    bench.fill(options.rows)
    print(
        f"server {bench.version}, {os.cpu_count()} cores, {options.rows:,} rows of 9 columns, median of {options.runs}"
    )
    times: dict[str, list[float]] = {"backup": [], "restore": [], "dump": [], "load": []}
    peaks = {"backup": 0, "restore": 0}
    with tempfile.TemporaryDirectory(prefix="console-bench-") as folder:
        for _ in range(options.runs):
            dumped, loaded = bench.theirs(Path(folder) / "dump.sql")
            taken, peaks["backup"] = bench.ours("backup", TABLE)
            bench.sql("DROP TABLE people")
            back, peaks["restore"] = bench.ours("restore", TABLE)
            for name, seconds in zip(times, (taken, back, dumped, loaded)):
                times[name].append(seconds)
    ratios = [
        report("backup beside dump | gzip", times["backup"], times["dump"], peaks["backup"]),
        report("restore beside mariadb < dump", times["restore"], times["load"], peaks["restore"]),
    ]
    compare_writers(bench)
    if max(ratios) > 2.0 or max(peaks.values()) > 300:
        raise SystemExit("a bound is broken: 2.0 times, 300 MB")


if __name__ == "__main__":
    main()
