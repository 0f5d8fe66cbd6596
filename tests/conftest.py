"""Fixtures: a lake of its own for each test, and tables that go with it."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from ingest.admission import admit_upload
from ingest.datasets import save_dataset
from ingest.models import Run
from ingest.sweeper import work_off
from migration_console.lib.lake import Folder, lake

CONSOLE_TABLES = ("django_", "auth_", "backups_", "ingest_", "migration_console_", "knox_", "sqlite_")


@pytest.fixture(autouse=True)
def _lake(settings: Any, tmp_path: Path) -> None:
    settings.LAKE_URL = f"file:{tmp_path}/lake"


@pytest.fixture
def folder() -> Folder:
    """Return the test's lake."""
    return lake()


@pytest.fixture
def tables(transactional_db: None) -> Iterator[None]:
    """Drop the target tables behind the test."""
    yield
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
