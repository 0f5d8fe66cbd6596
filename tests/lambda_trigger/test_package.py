"""The zip that is deployed."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from migration_console.env import ROOT
from tests.lambda_trigger.conftest import event
from tests.lambda_trigger.console import Console
from tests.runtime import Function

SOURCES = sorted((ROOT / "lambda_trigger").glob("*.py"))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of what `make lambda` needs, with other times and modes."""
    for path in [ROOT / "Makefile", ROOT / "deploy/lambda_zip.py", *SOURCES]:
        target = tmp_path / "clone" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o600)
        os.utime(target, (1e9, 1e9))
    return tmp_path / "clone"


def build(folder: Path) -> Path:
    subprocess.run(["make", "lambda", f"PYTHON={sys.executable}"], cwd=folder, check=True, capture_output=True)
    return folder / "build/lambda_trigger.zip"


def test_the_same_sources_give_the_same_bytes(clone: Path) -> None:
    first = build(clone).read_bytes()
    for path in clone.rglob("*.py"):
        path.touch(0o644)
    assert build(clone).read_bytes() == first


def test_the_handler_runs_from_the_zip(
    clone: Path, tmp_path: Path, environment: dict[str, str], console: Console
) -> None:
    with zipfile.ZipFile(build(clone)) as archive:
        assert archive.namelist() == [f"lambda_trigger/{path.name}" for path in SOURCES]
        archive.extractall(tmp_path / "task")
    with Function(environment, code=tmp_path / "task") as function:
        assert function.invoke(event("odd-key")) is None
    assert [file["key"] for file in console.files()] == ["raw/users/año 2026+1.csv"]


def imported(path: Path) -> set[str]:
    """Return what a file imports when it runs; for types alone is nothing at run time."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if not isinstance(node, ast.If)]
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_the_standard_library_and_boto3_are_imported(path: Path) -> None:
    packages = {name.split(".")[0] for name in imported(path)}
    assert packages - sys.stdlib_module_names <= {"boto3", "botocore"}
