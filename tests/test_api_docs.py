"""docs/api.md, typed into a shell against a real server and a real worker: what comes back is what the page shows."""

import os
import re
import shutil
from pathlib import Path

import pytest
from django.conf import settings

from migration_console.env import ROOT
from migration_console.groups import GROUPS
from tests.console import console
from tests.typed import as_pattern, link_console, steps, typed
from tests.workers import environment, workers

PAGE = (ROOT / "docs/api.md").read_text()
HERE = "http://127.0.0.1:8000"
# What differs from one time to another: numbers of runs, as they stand in answers, keys and names.
NUMBERS = re.compile(r'("(?:id|run|parent|backup)":|-corrected-|run-)\d+')
API = ["arrivals", "corrections", "datasets", "sending", "services", "views"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_page_shows_what_comes_back(tables: None, tmp_path: Path) -> None:
    link_console(tmp_path)
    (tmp_path / "var/lake").symlink_to(settings.LAKE_URL.removeprefix("file:"))
    (tmp_path / "send.py").write_text(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0])
    walk = steps(PAGE)
    with console(tmp_path / "var") as address, workers(1, tmp_path / "var"):
        commands = [command.replace(HERE, address) for command, _ in walk]
        answers = typed(commands, tmp_path, environment(tmp_path / "var") | {"PATH": os.environ["PATH"]})
    for (command, shown), answer in zip(walk, answers):
        came = NUMBERS.sub(r"\g<1>N", answer.replace(address, HERE).strip())
        assert re.fullmatch(as_pattern(NUMBERS.sub(r"\g<1>N", shown)), came, re.DOTALL), f"{command}\n\n{answer}"


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
