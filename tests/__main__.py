"""python -m tests [--torture] [PYTEST ARGUMENTS]: the suite on SQLite, then its database tests on MariaDB, and on the
server of TEST_MYSQL_URL where that is set. Starts what it needs; assumes nothing running.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import mariadb

ROOT = Path(__file__).resolve().parent.parent


def run(name: str, url: str, arguments: list[str]) -> int:
    """Run the suite against one database."""
    with tempfile.TemporaryDirectory(prefix="console-tests-") as var:
        environment = os.environ | {
            "DATABASE_URL": url,
            "TEST_SERVER": name,
            "VAR_FOLDER": var,
            "LAKE_URL": "",
            "CELERY_BROKER_URL": "memory://",
            "SECRET_KEY": "tests-0123456789-abcdefghijklmnopqrstuvwxyz",
            "DEBUG": "false",
        }
        torture = "torture" if "--torture" in arguments else "not torture"
        marks = torture if name == "sqlite" else f"database and {torture}"
        arguments = [argument for argument in arguments if argument != "--torture"]
        print(f"\n=== {name} ===", flush=True)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-m", marks, *arguments], cwd=ROOT, env=environment
        ).returncode


def main() -> None:
    """Run all; fail if one failed."""
    wanted = os.environ.get("TEST_SERVERS", "sqlite mariadb mysql").split()
    codes = []
    if "sqlite" in wanted:
        codes.append(run("sqlite", "", sys.argv[1:]))
    if "mariadb" in wanted:
        codes.append(run("mariadb", mariadb.start(), sys.argv[1:]))
    if "mysql" in wanted and (url := os.environ.get("TEST_MYSQL_URL")):
        codes.append(run("mysql", url, sys.argv[1:]))
    # 5: no test of the selection concerns this server.
    sys.exit(max(code for code in [0, *codes] if code != 5))


if __name__ == "__main__":
    main()
