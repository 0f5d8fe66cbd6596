"""The order of the imports is the order of the flow, and what is Django-free stays so."""

import ast
from pathlib import Path

import pytest

from migration_console.env import ROOT

# A module imports only from levels behind its own, or from its own level.
FLOW = [
    ["urls"],
    ["views"],
    ["dataset_views"],
    ["admin", "management", "apps", "checks", "templatetags"],
    ["tasks", "serializers", "filters", "gauges", "figures", "body"],
    ["console", "dryrun"],
    ["sweeper", "arrivals"],
    ["sending"],
    ["services", "ledger", "editing"],
    ["begin", "again"],
    ["finish", "archive", "report", "admission", "bell", "corrections", "settling", "export", "fixes", "sheets"],
    ["touched"],
    ["amending", "reckoning", "attention", "newer"],
    ["loader", "datasets", "draft", "altering"],
    ["batches", "isolation", "target"],
    ["incoming"],
    ["destination", "parents"],
    ["preview", "cells"],
    ["rejects", "survey"],
    ["models"],
    ["validation", "header", "checking"],
    ["accept", "retyped", "rows", "stream"],
    ["reader", "schema"],
    ["column", "handwritten"],
    ["text"],
    ["descriptor"],
    ["patterns", "errors", "changes"],
]
BACKUPS_FLOW = [
    ["urls"],
    ["views"],
    ["admin", "management", "apps"],
    ["tasks", "console", "gauges", "figures", "serializers", "filters"],
    ["sweeper"],
    ["services"],
    ["dryrun"],
    ["plans", "restoring", "adopting"],
    ["taking", "restore"],
    ["proof"],
    ["working", "difference", "bell"],
    ["shadow"],
    ["dump", "verify"],
    ["source"],
    ["sessions", "manifest", "models"],
    ["digest", "decoding"],
    ["encoding"],
    ["meter", "retention", "container", "schedule", "work"],
    ["avro_schema"],
    ["errors"],
]
AVRO_WITHOUT_DJANGO = ["avro_schema", "container", "decoding", "digest", "encoding", "errors", "meter", "retention"]
FLOWS = {"ingest": FLOW, "backups": BACKUPS_FLOW}
WITHOUT_DJANGO = [
    "reader",
    "stream",
    "rows",
    "validation",
    "accept",
    "schema",
    "column",
    "handwritten",
    "text",
    "descriptor",
]
WITHOUT_DJANGO += ["patterns", "retyped", "errors", "header", "survey", "handwritten", "checking", "preview", "changes"]


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, relative ones with a dot in front."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found |= {f".{alias.name}" for alias in node.names} if module == "." else {module}
    return found


def level(package: str, name: str) -> int:
    return next(number for number, names in enumerate(FLOWS[package]) if name in names)


@pytest.mark.parametrize("package", FLOWS)
def test_every_module_has_its_place(package: str) -> None:
    modules = {path.stem for path in (ROOT / package).glob("*.py")} | {
        path.parent.name for path in (ROOT / package).glob("*/__init__.py")
    }
    assert modules - {"__init__", "migrations"} == {name for names in FLOWS[package] for name in names}


@pytest.mark.parametrize("package", FLOWS)
def test_imports_follow_the_flow(package: str) -> None:
    backwards = [
        (path.stem, name)
        for path in (ROOT / package).glob("*.py")
        for name in imports(path)
        if name.startswith(".") and name.strip(".") and level(package, name.strip(".")) < level(package, path.stem)
    ]
    assert backwards == []


@pytest.mark.parametrize("package", FLOWS)
def test_services_never_import_tasks(package: str) -> None:
    assert ".tasks" not in imports(ROOT / package / "services.py")


@pytest.mark.parametrize("name", WITHOUT_DJANGO)
def test_rules_and_reading_do_without_django(name: str) -> None:
    assert not [module for module in imports(ROOT / "ingest" / f"{name}.py") if module.startswith("django")]


@pytest.mark.parametrize("name", AVRO_WITHOUT_DJANGO)
def test_the_avro_files_do_without_django(name: str) -> None:
    found = imports(ROOT / "backups" / f"{name}.py")
    assert not [module for module in found if module.startswith(("django", "migration_console"))]


def test_the_library_knows_neither_ingest_nor_backups() -> None:
    for path in (ROOT / "migration_console" / "lib").glob("*.py"):
        assert not [module for module in imports(path) if module.split(".")[0] in {"ingest", "backups"}], path


def test_ingest_and_backups_know_nothing_of_each_other() -> None:
    for mine, other in (("ingest", "backups"), ("backups", "ingest")):
        for path in (ROOT / mine).rglob("*.py"):
            assert not [module for module in imports(path) if module.split(".")[0] == other], path
