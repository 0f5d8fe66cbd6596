"""Pages whose commands are typed into a shell: what comes back is what the page shows."""

import re
import subprocess
import sys
from pathlib import Path

from migration_console.env import ROOT

END = "\x1e"


def steps(page: str) -> list[tuple[str, str]]:
    """Return each command of a page's console blocks with the answer that stands below it."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
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
    """Return the pattern of what a page shows; … stands for anything."""
    return ".*?".join(re.escape(part) for part in shown.strip().split("…"))


def link_console(folder: Path) -> None:
    """Make a folder look like the one in which commands are typed."""
    for name, target in ((".venv", sys.prefix), ("manage.py", ROOT / "manage.py")):
        (folder / name).symlink_to(target)
    (folder / "var").mkdir()


def typed(commands: list[str], folder: Path, environment: dict[str, str]) -> list[str]:
    """Type commands into one shell; return what each answers."""
    script = "".join(f"{command}\nprintf '{END}'\n" for command in commands)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280,
    )  # fmt: skip
    answers = done.stdout.replace("\r", "").split(END)
    assert len(answers) == len(commands) + 1, done.stdout
    return answers[:-1]
