"""The API against its own description: schemathesis sends what it likes, and every answer must be as described."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from openapi_spec_validator import OpenAPIV31SpecValidator
from rest_framework.throttling import ScopedRateThrottle

from ingest.models import Run
from migration_console.description import document
from tests.conftest import Client, Loads

# What DESIGN.md promises, as far as it is built.
ADDRESSES = {
    "/validate-transform": {"post"},
    "/files": {"post"},
    "/runs": {"get"},
    "/runs/{id}": {"get"},
    "/runs/{id}/rejects": {"get", "post"},
    "/runs/{id}/retry": {"post"},
    "/runs/{id}/cancel": {"post"},
    "/datasets": {"get"},
    "/datasets/{name}": {"get", "put", "delete"},
    "/backup/{table}": {"post"},
    "/restore/{table}": {"post"},
    "/backups": {"get"},
    "/backups/{id}": {"get", "delete"},
    "/backups/{id}/verify": {"post"},
    "/backups/{id}/cancel": {"post"},
    "/restores/{id}": {"get"},
    "/restores/{id}/cancel": {"post"},
    "/health": {"get"},
    "/metrics": {"get"},
    "/schema": {"get"},
    "/docs": {"get"},
}
PEOPLE: dict[str, Any] = {
    "name": "people",
    "schema": {
        "fields": [
            {"name": "id", "type": "integer"},
            {"name": "name", "constraints": {"maxLength": 20}},
            {"name": "born", "type": "date"},
        ],
        "primaryKey": "id",
    },
}
# What the test has made, by the parameter that names it.
THERE = {"id": [1, 2], "run": [1, 2], "parent": [1], "name": ["people"], "dataset": ["people"], "table": ["people"]}
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "use_after_free",
]


def test_the_description_is_valid_openapi() -> None:
    described = json.loads(document())
    assert described["openapi"] == "3.1.1"
    OpenAPIV31SpecValidator(described).validate()
    call_command("spectacular", validate=True, fail_on_warn=True, file="/dev/null")


def test_every_promised_address_is_described_once() -> None:
    paths = json.loads(document())["paths"]
    assert {path: set(methods) for path, methods in paths.items()} == ADDRESSES


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let schemathesis ask as fast as it can: a 429 says nothing about the address."""
    monkeypatch.setattr(ScopedRateThrottle, "THROTTLE_RATES", dict.fromkeys(ScopedRateThrottle.THROTTLE_RATES))


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """Return the description without its catch-all answers, so that each status must be named."""
    found = json.loads(document())
    for methods in found["paths"].values():
        for operation in methods.values():
            del operation["responses"]["default"]
            for parameter in operation.get("parameters", []):
                if there := THERE.get(parameter["name"]):
                    parameter["schema"] = {"anyOf": [{"enum": there}, parameter["schema"]]}
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize(
    ("examples", "seed"), [(10, 1), *(pytest.param(200, seed, marks=pytest.mark.torture) for seed in range(3))]
)
def test_no_answer_is_undescribed(
    script: Client,
    load: Loads,
    quick: None,
    described: Path,
    live_server: Any,
    tmp_path: Path,
    examples: int,
    seed: int,
) -> None:
    script("PUT", "/datasets/people", PEOPLE)
    load(PEOPLE, "id,name,born\n1,Ann,1990-01-31\nx,Bob,1990-02-30\n3,Cid,\n")
    load(PEOPLE, "id,nom\n1,Ann\n", name="people-2.csv")
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", str(described), "--url", live_server.url,
            "--header", f"Authorization: Token {script.token}", "--header", "Connection: close",
            "--checks", ",".join(CHECKS),
            "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(examples), "--seed", str(seed),
            "--continue-on-failure", "--generation-database", "none", "--warnings", "off", "--no-color",
        ],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Run.objects.exists()
