"""What a sweep looks at, how often, and what it clears away."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.core.management import call_command

from ingest import tasks
from ingest.datasets import save_dataset
from ingest.models import Run
from ingest.sweeper import sweep
from migration_console.broker import transport_options
from migration_console.env import read_env
from migration_console.lib.bucket import Bucket
from migration_console.lib.folder import Folder

SMALL: dict[str, Any] = {"name": "small", "schema": {"fields": [{"name": "id", "type": "integer"}]}}


@contextmanager
def later(seconds: float) -> Iterator[None]:
    """Put the clock forward."""
    now = time.time
    with pytest.MonkeyPatch.context() as clock:
        clock.setattr("time.time", lambda: now() + seconds)
        yield


def listed(key: str) -> bool:
    return Run.objects.filter(key=key).exists()


def test_a_bucket_is_listed_once_in_a_while_only(tables: None, bucket: Bucket, settings: Any) -> None:
    settings.LAKE_LIST_SECONDS = 900
    save_dataset(SMALL)
    tasks.sweep()
    bucket.put("raw/small.csv", io.BytesIO(b"id\n1\n"))
    with later(840):
        tasks.sweep()
        assert not listed("raw/small.csv")
    with later(901):
        tasks.sweep()
        assert listed("raw/small.csv")


@pytest.mark.parametrize("look", [lambda: tasks.sweep(everything=True), lambda: call_command("sweep", "--ring")])
def test_a_worker_that_starts_and_a_person_who_asks_list_at_once(
    tables: None, bucket: Bucket, settings: Any, look: Any
) -> None:
    settings.LAKE_LIST_SECONDS = 900
    tasks.sweep()
    bucket.put("raw/small.csv", io.BytesIO(b"id\n1\n"))
    look()
    assert listed("raw/small.csv")


def test_a_list_that_the_lake_did_not_answer_is_asked_for_again(
    tables: None, bucket: Bucket, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LAKE_LIST_SECONDS = 900
    bucket.put("raw/small.csv", io.BytesIO(b"id\n1\n"))
    with monkeypatch.context() as away:
        away.setattr(Bucket, "list", lambda *_: (_ for _ in ()).throw(OSError("the lake is away")))
        with pytest.raises(OSError, match="away"):
            tasks.sweep()
    tasks.sweep()
    assert listed("raw/small.csv")


def test_a_folder_is_listed_in_each_sweep(tables: None, folder: Folder) -> None:
    tasks.sweep()
    folder.put("raw/small.csv", io.BytesIO(b"id\n1\n"))
    with later(10):
        tasks.sweep()
    assert listed("raw/small.csv")


@pytest.mark.parametrize(("lake", "seconds"), [("s3://lake", 1800), ("file:lake", 0)])
def test_how_often_unless_somebody_says_so(lake: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_URL", lake)
    assert read_env().lake_list_seconds == seconds
    monkeypatch.setenv("LAKE_LIST_SECONDS", "60")
    assert read_env().lake_list_seconds == 60


def test_messages_that_were_read_are_deleted_an_hour_later(tables: None, settings: Any, tmp_path: Path) -> None:
    settings.BROKER_FOLDER = tmp_path / "broker"
    app = Celery(set_as_current=False)
    app.conf.broker_transport_options = transport_options("filesystem://", settings.BROKER_FOLDER, 120)
    with app.connection_for_write("filesystem://") as broker:
        queue = broker.SimpleQueue("bells")
        for number in (1, 2):
            queue.put(number)
        queue.get().ack()
        queue.close()
    sweep()
    assert len(list(settings.BROKER_FOLDER.glob("processed/*"))) == 1
    with later(3700):
        sweep()
    assert list(settings.BROKER_FOLDER.glob("processed/*")) == []
    assert len(list(settings.BROKER_FOLDER.glob("messages/*"))) == 1, "the unread one stays"
