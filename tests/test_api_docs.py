"""docs/api.md, typed into a shell against a real server and a real worker: what comes back is what the page shows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from migration_console.env import ROOT
from migration_console.groups import GROUPS
from tests.console import console
from tests.workers import environment, workers

PAGE = (ROOT / "docs/api.md").read_text()
HERE = "http://127.0.0.1:8000"
END = "\x1e"
# What differs from one time to another: numbers of runs, as they stand in answers, keys and names.
NUMBERS = re.compile(r'("(?:id|run|parent|backup)":|-corrected-|run-)\d+')
API = ["arrivals", "corrections", "datasets", "sending", "services", "views"]


def steps() -> list[tuple[str, str]]:
    """Return each command of the page with the answer that stands below it."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            command, answer = found[-1] if found else ("", "")
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif line.startswith("> "):
                found[-1] = (f"{command}\n{line[2:]}", answer)
            else:
                found[-1] = (command, f"{answer}{line}\n")
    return found


def as_pattern(shown: str) -> str:
    """Return the pattern of what the page shows; … stands for anything."""
    return ".*?".join(re.escape(NUMBERS.sub(r"\g<1>N", part)) for part in shown.strip().split("…"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_page_shows_what_comes_back(tables: None, tmp_path: Path) -> None:
    for name, target in ((".venv", sys.prefix), ("manage.py", ROOT / "manage.py")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "var").mkdir()
    (tmp_path / "var/lake").symlink_to(settings.LAKE_URL.removeprefix("file:"))
    (tmp_path / "send.py").write_text(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0])
    walk = steps()
    script = "".join(f"{command}\nprintf '{END}'\n" for command, _ in walk)
    with console(tmp_path / "var") as address, workers(1, tmp_path / "var"):
        done = subprocess.run(
            ["bash", "-c", script.replace(HERE, address)],
            cwd=tmp_path, env=environment(tmp_path / "var") | {"PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
        )  # fmt: skip
    answers = done.stdout.replace(address, HERE).replace("\r", "").split(END)
    assert len(answers) == len(walk) + 1, done.stdout
    for (command, shown), answer in zip(walk, answers):
        came = NUMBERS.sub(r"\g<1>N", answer.strip())
        assert re.fullmatch(as_pattern(shown), came, re.DOTALL), f"{command}\n\n{answer}"


def test_every_code_of_the_api_is_on_the_page() -> None:
    sources = "".join((ROOT / f"ingest/{name}.py").read_text() for name in API)
    sources += (ROOT / "backups/views.py").read_text()
    codes = set(re.findall(r'(?:refuse|conflict|unknown|Problem)\(\s*"([a-z-]+)"', sources))
    assert len(codes) > 15
    assert not {code for code in codes if f"`{code}`" not in PAGE}


def test_limits_and_groups_are_on_the_page() -> None:
    for rate in settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"].values():
        assert f" {rate} " in PAGE.replace("\n", " ")
    for group in GROUPS:
        assert f"`{group}`" in PAGE
