"""The commands as scripts call them: what they print, and how they exit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from ingest.datasets import save_dataset
from ingest.models import Run, Status
from migration_console.env import ROOT
from migration_console.lib.folder import Folder
from tests.conftest import query
from tests.workers import environment

SMALL: dict[str, Any] = {
    "name": "small",
    "schema": {"fields": [{"name": "id", "type": "integer", "constraints": {"required": True}}], "primaryKey": "id"},
}


@pytest.fixture
def manage(tables: None, tmp_path: Path) -> Any:
    """Return a function that runs manage.py in a process of its own."""
    (tmp_path / "var").mkdir()

    def run(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *map(str, arguments)]
        return subprocess.run(
            command, cwd=ROOT, env=environment(tmp_path / "var", **more), capture_output=True, text=True, timeout=60
        )

    return run


def test_the_way_of_a_script(manage: Any, tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_text("id\n1\nx\n2\n")
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    done = manage("dataset", "add", tmp_path / "small.json", "--json")
    assert json.loads(done.stdout) == {"datasets": [{"name": "small", "version": 1, "table": "small"}]}
    done = manage("ingest", tmp_path / "small.csv", "--json")
    (run,) = json.loads(done.stdout)["runs"]
    assert done.returncode == 0
    assert (run["dataset"], run["status"], run["key"]) == ("small", "archived", "raw/small.csv")
    assert (run["read"], run["loaded"], run["rejected"], run["skipped"]) == (3, 2, 1, 0)
    assert run["errors"] == [{"field": "id", "code": "not-an-integer", "count": 1, "sample": "x"}]
    assert run["seconds"] > 0
    listed = json.loads(manage("dataset", "list", "--json").stdout)["datasets"]
    assert [dataset["name"] for dataset in listed] == ["small"]
    assert json.loads(manage("dataset", "show", "small", "--json").stdout) == SMALL


def test_a_refused_file_exits_with_1_and_says_what_to_do(manage: Any, tmp_path: Path) -> None:
    save_dataset(SMALL)
    (tmp_path / "small.csv").write_text("ID\n1\n")
    done = manage("ingest", tmp_path / "small.csv")
    assert done.returncode == 1
    assert "the column 'id' is missing; 'ID' differs by capitals only" in done.stdout


def test_wrong_use_exits_with_2_and_loads_nothing(manage: Any, tmp_path: Path) -> None:
    assert manage("ingest").returncode == 2
    done = manage("ingest", tmp_path / "nosuch.csv")
    assert (done.returncode, "there is no such file" in done.stderr) == (2, True)
    (tmp_path / "small.csv").write_text("id\n1\n")
    done = manage("ingest", tmp_path / "small.csv", "--dataset", "nobody")
    assert (done.returncode, "There is no dataset 'nobody'" in done.stderr) == (2, True)
    assert not Run.objects.exists()


def test_an_impossible_descriptor_lists_all_mistakes(manage: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(
        json.dumps({"name": "x", "mode": "insert", "schema": {"fields": [{"name": "a", "type": "b"}]}})
    )
    done = manage("dataset", "add", tmp_path / "bad.json")
    assert done.returncode == 1
    assert "/mode" in done.stderr
    assert "/schema/fields/0/type" in done.stderr
    done = manage("dataset", "add", tmp_path / "bad.json", "--json")
    assert {problem["where"] for problem in json.loads(done.stdout)["problems"]} == {"/mode", "/schema/fields/0/type"}


def test_a_dry_run_changes_nothing(manage: Any, tmp_path: Path, folder: Folder) -> None:
    save_dataset(SMALL)
    (tmp_path / "small.csv").write_text("id\n1\nx\n")
    done = manage("ingest", tmp_path / "small.csv", "--dry-run", "--json")
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["status"], run["read"], run["loaded"], run["rejected"]) == ("dry run", 2, 1, 1)
    assert not Run.objects.exists()
    assert list(folder.list("raw")) == []


def test_again_needs_the_word(manage: Any, tmp_path: Path) -> None:
    save_dataset({**SMALL, "schema": {"fields": SMALL["schema"]["fields"]}})
    (tmp_path / "small.csv").write_text("id\n1\n")
    for reason, status in (("", "archived"), ("", "duplicate"), ("tested", "archived")):
        done = manage("ingest", tmp_path / "small.csv", "--json", *(["--again", reason] if reason else []))
        assert json.loads(done.stdout)["runs"][0]["status"] == status
    assert query("SELECT COUNT(*) FROM small") == [(2,)]
    assert Run.objects.latest("pk").reason == "tested"


def test_the_sweep_takes_up_a_file_that_nobody_announced(tables: None, folder: Folder) -> None:
    save_dataset(SMALL)
    path = folder.path("raw/small.csv")
    path.write_text("id\n1\n")
    call_command("sweep", json=True)
    assert not Run.objects.exists(), "a file that is two seconds young may still be written to"
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3))
    call_command("sweep", json=True)
    assert (Run.objects.get().status, query("SELECT id FROM small")) == (Status.ARCHIVED, [(1,)])
    call_command("sweep", json=True)
    assert Run.objects.count() == 1


def test_the_watcher_leaves_files_alone_that_are_not_files_yet(tables: None, folder: Folder) -> None:
    save_dataset(SMALL)
    for name in (".small.csv", "small.csv.part", "small.csv.tmp", "small.csv"):
        path = folder.path(f"raw/{name}")
        path.write_text("id\n1\n")
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3))
    call_command("watch", looks=2, interval=0.01, json=True)
    assert [run.key for run in Run.objects.all()] == ["raw/small.csv"]


def test_a_wrong_environment_lists_every_mistake(manage: Any) -> None:
    done = manage("check", DATABASE_URL="postgres://x/y", SECRET_KEY="short", LEASE_SECONDS="0", LAKE_URL="ftp://x")
    assert done.returncode == 1
    for name in ("DATABASE_URL", "SECRET_KEY", "LEASE_SECONDS", "LAKE_URL"):
        assert name in done.stderr
    assert "short" not in done.stderr


def test_a_database_that_is_away_is_said_so(manage: Any, tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_text("id\n1\n")
    done = manage("ingest", tmp_path / "small.csv", DATABASE_URL="mysql://root@127.0.0.1:9/none")
    assert done.returncode == 1
    assert "The database does not answer" in done.stderr
    assert "Traceback" not in done.stderr
