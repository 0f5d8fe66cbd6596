"""The commands as scripts call them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from migration_console.env import ROOT
from tests.conftest import query
from tests.workers import environment

PEOPLE = (
    '{"name": "people", "schema": {"fields": [{"name": "id", "type": "integer", "constraints": {"required": true}},'
    ' {"name": "name", "constraints": {"maxLength": 20}}], "primaryKey": "id"}}'
)


@pytest.fixture
def manage(tables: None, tmp_path: Path) -> Any:
    """Return a function that runs manage.py in a process of its own."""
    (tmp_path / "var").mkdir()

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *map(str, arguments)]
        return subprocess.run(
            command, cwd=ROOT, env=environment(tmp_path / "var"), capture_output=True, text=True, timeout=60
        )

    return run


@pytest.mark.database
@pytest.mark.heavy
def test_monday_and_tuesday_on_the_command_line(manage: Any, tmp_path: Path) -> None:
    (tmp_path / "people.json").write_text(PEOPLE)
    (tmp_path / "people-1.csv").write_text("id,name\n1,Ann\n")
    (tmp_path / "people-2.csv").write_text("id,name\n2,Bob\n")
    assert manage("dataset", "add", tmp_path / "people.json").returncode == 0
    assert manage("ingest", tmp_path / "people-1.csv").returncode == 0
    backup = json.loads(manage("backup", "people", "--json").stdout)
    assert (backup["status"], backup["rows"], backup["runs"]) == ("done", 1, 1)
    assert manage("ingest", tmp_path / "people-2.csv").returncode == 0
    tried = json.loads(manage("restore", "people", "--dry-run", "--json").stdout)
    assert (tried["removed"], [run["key"] for run in tried["roll_back"]]) == (1, ["raw/people-2.csv"])
    restore = json.loads(manage("restore", "people", "--json").stdout)
    assert (restore["status"], len(restore["rolled_back"])) == ("done", 1)
    assert query("SELECT id FROM people") == [(1,)]
    again = manage("restore", "people", "--load-again", str(restore["id"]))
    assert again.returncode == 0, again.stderr
    assert manage("sweep").returncode == 0
    assert query("SELECT id FROM people ORDER BY id") == [(1,), (2,)]


def test_verify_says_what_is_wrong_and_exits_with_1(manage: Any, tmp_path: Path) -> None:
    (tmp_path / "people.json").write_text(PEOPLE)
    (tmp_path / "people-1.csv").write_text("id,name\n1,Ann\n")
    manage("dataset", "add", tmp_path / "people.json")
    manage("ingest", tmp_path / "people-1.csv")
    backup = json.loads(manage("backup", "people", "--json").stdout)
    done = manage("verify", str(backup["id"]), "--rehearse", "--json")
    assert (done.returncode, json.loads(done.stdout)["rehearsed_at"] is not None) == (0, True)
    (part,) = (tmp_path / "lake" / backup["prefix"]).glob("*.avro")
    part.write_bytes(part.read_bytes()[:-1])
    done = manage("verify", str(backup["id"]))
    assert done.returncode == 1
    assert "bytes instead of" in done.stdout
    assert json.loads(manage("table", "list", "--json").stdout)["tables"][0]["newest_verified"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["backup", "nobody"], 1, "not one of the console's tables"),
        (["backup", "auth_user"], 1, "not one of the console's tables"),
        (["table", "add", "auth_user"], 1, "the console's own"),
        (["table", "add"], 2, "Which table"),
        (["verify", "99"], 2, "There is no backup 99"),
        (["restore", "nobody"], 1, "not one of"),
    ],
)
def test_wrong_use_is_answered_in_a_sentence(manage: Any, arguments: list[str], code: int, says: str) -> None:
    done = manage(*arguments)
    assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
