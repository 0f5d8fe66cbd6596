"""Fixtures: moto's server for S3 and Secrets Manager, a console, and the Lambda's environment."""

import json
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lambda_trigger import client, handler
from migration_console.env import ROOT

from .console import TOKEN, Console

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

BUCKET = "lake"
HEADER = b"id,name\n"


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """Return the address of moto's server."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def console() -> Iterator[Console]:
    """Return a console that wants no rows, until a test says so."""
    with Console() as console:
        yield console


@pytest.fixture
def environment(aws: str, console: Console, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set and return the Lambda's environment."""
    variables = {
        "CONSOLE_URL": console.url,
        "CONSOLE_TOKEN": TOKEN,
        "AWS_ENDPOINT_URL": aws,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    for name in ("CONSOLE_TOKEN_SECRET", "SEND_ROWS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    client._secret.cache_clear()
    handler.s3.cache_clear()
    return variables


@pytest.fixture
def s3(environment: dict[str, str]) -> "S3Client":
    """Return a client of S3, with a versioned bucket."""
    urllib.request.urlopen(f"{environment['AWS_ENDPOINT_URL']}/moto-api/reset", b"").close()
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return s3


def event(name: str) -> Any:
    """Return an event of tests/data/events."""
    return json.loads((ROOT / "tests/data/events" / f"{name}.json").read_text())


def run(event: Any, seconds: float = 60) -> Any:
    """Call the handler in this process."""
    return handler.handler(event, SimpleNamespace(get_remaining_time_in_millis=lambda: int(seconds * 1000)))


def lines(count: int) -> bytes:
    """Return a file of so many rows of growing length."""
    return HEADER + b"".join(b"%d,name %s\n" % (n, b"x" * (n % 50)) for n in range(count))


def put(s3: "S3Client", console: Console, data: bytes, key: str = "raw/users.csv") -> Any:
    """Put an object whose rows the console wants; return the event that tells of it."""
    version = s3.put_object(Bucket=BUCKET, Key=key, Body=data)["VersionId"]
    console.want(key, version, data)
    found = event("direct")
    found["Records"][0]["s3"]["object"] |= {"key": key, "versionId": version, "size": len(data)}
    return found
