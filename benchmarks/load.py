"""python -m benchmarks.load: a file through the console beside LOAD DATA LOCAL INFILE of the same file.

Both load the same bytes into the same table definition, in turn, in one run; the baseline checks
nothing and the console everything. Quoted are medians and their ratio. The server is the one of
TEST_MYSQL_URL, else a throw-away MariaDB.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import MySQLdb

from migration_console.env import ROOT
from tests import mariadb

from . import files

SCHEMA = "console_bench"


class Bench:
    """One server, one lake, one schema."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.server = {"host": parts.hostname, "port": parts.port or 3306, "user": parts.username}
        self.server |= {"passwd": parts.password} if parts.password else {}
        self.lake = tempfile.mkdtemp(prefix="console-bench-")
        self.environment = os.environ | {
            "DATABASE_URL": f"{url.rpartition('/')[0]}/{SCHEMA}",
            "LAKE_URL": f"file:{self.lake}",
            "SECRET_KEY": "benchmark-0123456789-abcdefghijklmnopqrstuvwxyz",
            "LOG_LEVEL": "ERROR",
            "DEBUG": "false",
        }

    def sql(self, *statements: str, schema: str = SCHEMA) -> float:
        """Run statements and return the seconds of the last one."""
        connection = MySQLdb.connect(**self.server, db=schema, local_infile=True, charset="utf8mb4", autocommit=True)
        cursor = connection.cursor()
        for statement in statements:
            begin = time.perf_counter()
            cursor.execute(statement)
        seconds = time.perf_counter() - begin
        self.version = connection.get_server_info()
        connection.close()
        return seconds

    def manage(self, *arguments: str) -> dict[str, Any]:
        """Run a command of the console and return what it prints."""
        command = [sys.executable, "manage.py", *arguments, "--json"]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, check=True)
        return dict(json.loads(done.stdout))

    def set_up(self) -> None:
        """Make an empty schema with the datasets."""
        self.sql(f"DROP DATABASE IF EXISTS {SCHEMA}", f"CREATE DATABASE {SCHEMA} CHARSET utf8mb4", schema="")
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=self.environment, check=True)
        for descriptor in (files.TEAMS, files.PEOPLE, files.MEMBERS):
            path = Path(self.lake) / f"{descriptor['name']}.json"
            path.write_text(json.dumps(descriptor))
            self.manage("dataset", "add", str(path))
        teams = Path(self.lake) / "teams.csv"
        teams.write_text("id\n" + "".join(f"{n}\n" for n in range(1, files.TEAM_COUNT + 1)))
        self.manage("ingest", str(teams))

    def console(self, path: Path, dataset: str) -> tuple[float, int, dict[str, Any]]:
        """Load a file by the command; return seconds, peak memory in MB, and the run."""
        self.sql(f"DROP TABLE IF EXISTS {dataset}")
        command = [sys.executable, "-m", "benchmarks.peak", "manage.py", "ingest", str(path), "--dataset", dataset]
        begin = time.perf_counter()
        again = ["--again", "benchmark", "--json"]
        done = subprocess.run([*command, *again], cwd=ROOT, env=self.environment, capture_output=True, text=True)
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        run = json.loads(done.stdout)["runs"][0]
        return seconds, int(done.stderr.strip().rpartition("peak ")[2]), run

    def baseline(self, path: Path, dataset: str) -> float:
        """LOAD DATA LOCAL INFILE of the raw file into an empty table of the same definition, as careless as it is."""
        connection = MySQLdb.connect(**self.server, db=SCHEMA)
        cursor = connection.cursor()
        cursor.execute(f"SHOW CREATE TABLE {dataset}")
        create = (
            cursor.fetchone()[1].replace(f"`{dataset}`", "`baseline`", 1).replace(f"{dataset}_ibfk", "baseline_ibfk")
        )
        connection.close()
        names = [str(field["name"]) for field in files.FIELDS]
        columns = ", ".join({"joined": "@joined", "active": "@active"}.get(name, name) for name in names)
        return self.sql(
            "DROP TABLE IF EXISTS baseline",
            create,
            f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE baseline CHARACTER SET utf8mb4 FIELDS TERMINATED BY ','"
            f" IGNORE 1 LINES ({columns}) SET joined = LEFT(@joined, 19), active = @active = 'true'",
        )

    def compare(self, title: str, path: Path, dataset: str, runs: int) -> float:
        """Load a file both ways in turn; print medians, ratio and memory; return the ratio."""
        ours, theirs, peaks = [], [], []
        run: dict[str, Any] = {}
        self.console(path, dataset)  # warm-up: page cache, buffer pool
        for _ in range(runs):
            theirs.append(self.baseline(path, dataset))
            seconds, peak, run = self.console(path, dataset)
            ours.append(seconds)
            peaks.append(peak)
        ratio = statistics.median(a / b for a, b in zip(ours, theirs))
        counts = f"{run['read']} = {run['loaded']} + {run['rejected']} + {run['skipped']}"
        print(
            f"{title:34} {statistics.median(ours):7.2f} s   LOAD DATA {statistics.median(theirs):7.2f} s   "
            f"ratio {ratio:.2f}   peak {max(peaks)} MB   {counts}",
            flush=True,
        )
        return ratio


def main() -> None:
    """Compare, print, and fail where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="the plain file only")
    options = parser.parse_args()
    bench = Bench(os.environ.get("TEST_MYSQL_URL") or mariadb.start())
    bench.set_up()
    print(
        f"server {bench.version}, {os.cpu_count()} cores, median of {options.runs}, whole process against one statement"
    )
    plain = bench.compare("9 columns, 1% bad", files.made("people", options.rows), "people", options.runs)
    if options.quick:
        return
    shares = files.made("members", options.rows, duplicates=5, orphans=5)
    dirty = bench.compare("… 5% duplicate keys, 5% orphans", shares, "members", options.runs)
    _, peak, _ = bench.console(files.made("people", 3 * options.rows), "people")
    print(f"memory at {3 * options.rows} rows: peak {peak} MB")
    if plain > 2.0 or dirty > 2.5 or peak > 300:
        raise SystemExit("a bound is broken: 2.0 times plain, 2.5 times with duplicates and orphans, 300 MB")


if __name__ == "__main__":
    main()
