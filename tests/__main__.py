"""python -m tests [--torture] [PYTEST ARGUMENTS]: the suite on SQLite, beside it the database tests on MariaDB
and on the server of TEST_MYSQL_URL where that is set. Starts what it needs; assumes nothing running.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import mariadb

ROOT = Path(__file__).resolve().parent.parent


def run(name: str, url: str, arguments: list[str], *, shown: bool, last: bool) -> int:
    """Run the suite against one database; what is not shown at once is shown when it is over."""
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
        marks += "" if last else " and not heavy"
        command = [sys.executable, "-m", "pytest", "-m", marks, *(a for a in arguments if a != "--torture")]
        if shown:
            print(f"\n=== {name} ===", flush=True)
            return subprocess.run(command, cwd=ROOT, env=environment).returncode
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        print(f"\n=== {name} ===\n{done.stdout}", flush=True)
        return done.returncode


def address_of(name: str) -> str:
    """Return the address of a server; MariaDB is started for it."""
    if name == "mariadb":
        return mariadb.start()
    return os.environ["TEST_MYSQL_URL"] if name == "mysql" else ""


def main() -> None:
    """Run all side by side, since each waits for its server and its workers half of the time; fail if one failed."""
    wanted, arguments = os.environ.get("TEST_SERVERS", "sqlite mariadb mysql").split(), sys.argv[1:]
    known = {"sqlite": True, "mariadb": True, "mysql": bool(os.environ.get("TEST_MYSQL_URL"))}
    wanted = [name for name, there in known.items() if there and name in wanted]

    def on(name: str) -> int:
        return run(name, address_of(name), arguments, shown=name == wanted[0], last=name == wanted[-1])

    with ThreadPoolExecutor(max(len(wanted), 1)) as side_by_side:
        codes = list(side_by_side.map(on, wanted))
    # 5: no test of the selection concerns this server. One that was killed has a code below 0.
    sys.exit(1 if set(codes) - {0, 5} else 0)


if __name__ == "__main__":
    main()
