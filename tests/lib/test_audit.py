"""The log of who did what only grows, and shows when somebody has changed it behind the console's back."""

import threading
from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from ingest.models import Dataset
from migration_console.lib import audit
from migration_console.lib.audit import AuditEntry, AuditHead, broken_lines, history, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def dataset() -> Dataset:
    return Dataset.objects.create(name="users", table="users")


def test_a_line_says_who_did_what_to_what(dataset: Dataset) -> None:
    ann = get_user_model().objects.create_user("ann")
    record("dataset.paused", dataset, user=ann, why="ünicode ☃")
    (line,) = history(dataset)
    assert (line.actor, line.action, line.subject, line.details) == (
        "ann", "dataset.paused", "users", '{"why":"ünicode ☃"}',
    )  # fmt: skip
    assert list(broken_lines()) == []


def test_lines_are_neither_changed_nor_deleted(dataset: Dataset) -> None:
    record("dataset.paused", dataset)
    line = AuditEntry.objects.get()
    line.actor = "bob"
    with pytest.raises(TypeError):
        line.save()
    with pytest.raises(TypeError):
        line.delete()


@pytest.mark.parametrize("field", ["actor", "action", "details", "subject", "at"])
def test_a_line_changed_in_the_database_is_found(dataset: Dataset, field: str) -> None:
    for _ in range(3):
        record("dataset.paused", dataset)
    second = AuditEntry.objects.order_by("id")[1]
    other = second.at.replace(year=2000) if field == "at" else "another"
    AuditEntry.objects.filter(pk=second.pk).update(**{field: other})
    assert [number for number, _ in broken_lines()] == [second.pk]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_line_taken_out_is_found(dataset: Dataset, position: int) -> None:
    for _ in range(3):
        record("dataset.paused", dataset)
    AuditEntry.objects.filter(pk=AuditEntry.objects.order_by("id")[position].pk).delete()
    assert list(broken_lines())


def test_what_is_rolled_back_was_not_done(dataset: Dataset) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record("dataset.paused", dataset)
        raise ZeroDivisionError
    assert not AuditEntry.objects.exists()
    assert list(broken_lines()) == []


def test_many_at_once_make_one_chain(dataset: Dataset) -> None:
    def write() -> None:
        for _ in range(10):
            record("dataset.paused", dataset)
        connection.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert AuditEntry.objects.count() == AuditHead.objects.get().length == 40
    assert list(broken_lines()) == []


def test_what_is_written_meanwhile_is_not_missing(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    record("dataset.paused", dataset)
    lines = audit._lines

    def later() -> Iterator[AuditEntry]:
        record("dataset.resumed", dataset)
        yield from lines()

    monkeypatch.setattr(audit, "_lines", later)
    assert list(broken_lines()) == []
