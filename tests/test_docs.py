"""What README and docs say to type is typed here; what they show is read."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.schema import compile_schema
from migration_console.env import ROOT, Env
from tests.typed import as_pattern, link_console, steps, typed
from tests.workers import environment

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readmes_commands_do_what_it_shows(tables: None, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,name,born\n1,Ann,1990-01-31\n2,Bob,1991-02-28\n")
    commands = re.findall(r"^\$ (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) >= 5
    shown = ""
    for command in commands:
        command, _, target = command.partition(" > ")
        program, script, *arguments = shlex.split(command)
        assert (program, script) == (".venv/bin/python", "manage.py")
        done = subprocess.run(
            [sys.executable, str(ROOT / script), *arguments],
            cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr)
        if target:
            (tmp_path / target).write_text(done.stdout)
            (tmp_path / "people.csv").write_text("id,name,born\n1,Ann,1990-01-31\n2,Bob,2024-02-30\n3,Cid,1991-02-28\n")
        shown += done.stdout
    assert "people: archived" in shown
    assert "read 3 = loaded 2 + rejected 1 + skipped 0" in shown
    assert "1 × born: not-a-date, such as “2024-02-30”" in shown


def test_the_walk_through_backups_shows_what_comes_back(tmp_path: Path) -> None:
    link_console(tmp_path)
    page = (ROOT / "docs/backups.md").read_text()
    (tmp_path / "people.json").write_text(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    (tmp_path / "people-monday.csv").write_text("id,name\n1,Ann\n2,Bob\n")
    (tmp_path / "people-tuesday.csv").write_text("id,name\n3,Cid\n")
    here = {"DATABASE_URL": f"sqlite:///{tmp_path}/console.sqlite3", "LAKE_URL": f"file:{tmp_path}/var/lake"}
    variables = environment(tmp_path / "var", **here, CELERY_BROKER_URL="memory://")
    begin = "manage.py migrate --verbosity 0"
    walk = [(f".venv/bin/python {begin}", ""), *steps(page)]
    assert len(walk) > 15
    for (command, shown), answer in zip(walk, typed([command for command, _ in walk], tmp_path, variables)):
        assert re.fullmatch(as_pattern(shown), answer.strip(), re.DOTALL), f"{command}\n\n{answer}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_descriptors_compile(page: Path) -> None:
    for block in re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL):
        compile_schema(json.loads(block))


def test_the_example_environment_names_every_variable() -> None:
    named = set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named == {name.upper() for name in Env.model_fields}


def test_every_target_of_the_readme_is_in_the_makefile() -> None:
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"(?m)(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text()):
        assert target == "help" or f"make {target}" in helped
