"""Fixtures: a lake of its own for each test, and tables that go with it."""

import io
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.management.commands import flush
from django.db import connection
from django.test import Client as TestClient
from knox.models import AuthToken

from ingest.admission import admit_upload
from ingest.datasets import save_dataset
from ingest.models import Run
from ingest.sweeper import work_off
from migration_console.lib.bucket import Bucket
from migration_console.lib.folder import Folder
from migration_console.lib.lake import lake

CONSOLE_TABLES = ("axes_", "django_", "auth_", "backups_", "ingest_", "migration_console_", "knox_", "sqlite_")


@pytest.fixture(autouse=True)
def _lake(settings: Any, tmp_path: Path) -> None:
    settings.LAKE_URL = f"file:{tmp_path}/lake"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Put back behind each test what migrating leaves; to work it out anew took longer than most tests."""
    models = [model for model in apps.get_models(include_auto_created=True) if not model._meta.proxy]
    with django_db_blocker.unblock():
        kept = [(model, rows) for model in models if (rows := list(model._base_manager.all()))]

    def put_back(*_: object) -> None:
        with connection.constraint_checks_disabled():
            for model, rows in kept:
                model._base_manager.bulk_create(rows)
        ContentType.objects.clear_cache()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "emit_post_migrate_signal", put_back)
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Run moto's S3 server, the edge of the product that tests may fake; return its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server.start()
    host, port = server.get_host_and_port()
    # For this process and those that tests start.
    os.environ |= {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ENDPOINT_URL_SQS": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, settings: Any) -> Bucket:
    """Return the test's lake in a versioned bucket of its own."""
    name = f"lake-{uuid.uuid4().hex[:12]}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    settings.LAKE_URL = f"s3://{name}/some/where"
    found = lake()
    assert isinstance(found, Bucket)
    return found


@pytest.fixture
def folder() -> Folder:
    """Return the test's lake."""
    found = lake()
    assert isinstance(found, Folder)
    return found


@pytest.fixture
def tables(transactional_db: None) -> Iterator[None]:
    """Drop the target tables behind the test, and forget what throttles have counted."""
    yield
    cache.clear()
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
        off, on = ("SET foreign_key_checks=0", "SET foreign_key_checks=1")
        if connection.vendor == "sqlite":
            off, on = ("PRAGMA foreign_keys=OFF", "PRAGMA foreign_keys=ON")
        cursor.execute(off)
        for name in names:
            if not name.startswith(CONSOLE_TABLES):
                cursor.execute(f"DROP TABLE `{name}`")
        cursor.execute(on)


@pytest.fixture
def load(tables: None) -> "Loads":
    """Return a function that loads a file the whole way."""
    return Loads()


class Client:
    """A script that speaks to the API with a token of its own."""

    def __init__(self, *groups: str) -> None:
        self.user = get_user_model().objects.create_user(f"script-{uuid.uuid4().hex[:8]}")
        self.user.groups.set(Group.objects.filter(name__in=groups))
        self.auth, self.token = AuthToken.objects.create(self.user)

    def __call__(self, method: str, path: str, data: Any = None, kind: str = "application/json", **headers: str) -> Any:
        """Send JSON, or bytes as they are."""
        body = data if isinstance(data, bytes) else b"" if data is None else orjson.dumps(data)
        given = {"authorization": f"Token {self.token}", **headers}
        return TestClient().generic(method, path, body, kind, headers=given)

    def csv(self, path: str, data: bytes) -> Any:
        """Post CSV."""
        return self("POST", path, data, "text/csv")


@pytest.fixture
def script(tables: None) -> Client:
    """Return a script that may do whatever loading needs."""
    return Client("steward")


class Loads:
    """Loads bytes as a file of a dataset, saving the dataset first."""

    def __call__(self, descriptor: dict[str, Any], data: bytes | str, name: str = "", reason: str = "") -> Run:
        version = save_dataset(descriptor)
        data = data.encode() if isinstance(data, str) else data
        key = f"raw/{name or descriptor['name'] + '.csv'}"
        run = admit_upload(key, io.BytesIO(data), trigger="test", dataset=version.dataset, reason=reason)
        (run,) = work_off([run])
        return run


def query(sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a SELECT."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def codes(run: Run) -> dict[int, list[str]]:
    """Return the error codes of each reject of a run."""
    return {reject.row: [error["code"] for error in reject.errors] for reject in run.rejects.order_by("row")}
