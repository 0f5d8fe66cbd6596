"""Corrected rows that are under way while their table is restored: each comes into the table once, or is theirs to
send again who corrected it.
"""

from typing import Any

import pytest

from backups.services import load_again
from ingest.amending import edit
from ingest.corrections import resubmit, send
from ingest.models import Dataset, Run, Status
from ingest.services import advance, retry
from ingest.settling import settle
from ingest.sweeper import work_off
from tests.backups.conftest import backed_up, restored
from tests.backups.test_ledger import APPEND, BAD, contents, half_loaded, rows
from tests.conftest import Loads

pytestmark = pytest.mark.database


def pause(paused: bool) -> None:
    Dataset.objects.update(paused=paused)


def test_corrected_rows_that_waited_during_a_restore_are_sent_again_with_their_file(load: Loads) -> None:
    load(APPEND, "id,v\n9,before\n", "t-0.csv")
    backup = backed_up("t")
    run = load(APPEND, BAD, "t-1.csv")
    pause(True)
    child = resubmit(run, {2: {"id": 2}})
    restore = restored("t", backup=backup.pk)
    pause(False)
    child = advance(child.pk)
    assert (child.status, [problem["code"] for problem in child.problems]) == (Status.CANCELLED, ["rolled-back"])
    assert contents() == [(9, "before")]
    (again,) = work_off(list(Run.objects.filter(pk__in=load_again(restore))))
    assert [(found.state, found.corrected) for found in again.rejects.all()] == [("ready", {"id": 2})]
    work_off([send(again)])
    assert contents() == [(1, "fine"), (2, "mended"), (9, "before")]


def test_corrected_rows_of_a_part_that_a_restore_took_away_are_not_loaded(load: Loads, settings: Any) -> None:
    load(APPEND, rows(0, 5, "monday"), "t-1.csv")
    run = half_loaded(settings, bad="x")
    backup = backed_up("t")
    run = advance(run.pk)
    assert (run.status, run.rejected) == (Status.ARCHIVED, 1)
    pause(True)
    child = resubmit(run, {run.rejects.get().row: {"id": 7000}})
    restored("t", backup=backup.pk)
    run.refresh_from_db()
    assert (run.status, run.rejects.count()) == (Status.FAILED, 0)
    pause(False)
    assert advance(child.pk).status == Status.CANCELLED
    retry(run)
    run = advance(run.pk)
    work_off([resubmit(run, {run.rejects.get().row: {"id": 7000}})])
    assert [found for found in contents() if found[0] >= 2100] == [(7000, "x")]


def test_a_restore_between_the_end_of_a_child_and_its_word_to_the_rejects(load: Loads) -> None:
    run = load(APPEND, BAD, "t-1.csv")
    backup = backed_up("t")
    child = resubmit(run, {2: {"id": 2}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingest.services.settle", lambda _run: False)  # its worker dies right there
        child = advance(child.pk)
    assert child.status == Status.LOADED
    assert restored("t", backup=backup.pk).rolled_back == [child.pk]
    settle(child)
    assert (run.rejects.get().state, contents()) == ("ready", [(1, "fine")])
    advance(child.pk)
    assert run.rejects.get().state == "ready"
    work_off([send(run)])
    assert (run.rejects.get().state, contents()) == ("fixed", [(1, "fine"), (2, "mended")])


def test_work_that_is_not_done_yet_goes_on_in_the_file_that_is_loaded_again(load: Loads) -> None:
    load(APPEND, "id,v\n9,before\n", "t-0.csv")
    backup = backed_up("t")
    run = load(APPEND, "id,v\nx,one\ny,two\nz,three\n", "t-1.csv")
    edit(run, 1, {"id": "still wrong"})
    edit(run, 2, {"id": "9"})
    work_off([send(run)])  # refused by the database: its key is taken
    before = list(run.rejects.order_by("row").values_list("row", "state", "corrected"))
    assert [state for _, state, _ in before] == ["edited", "open", "open"]
    restore = restored("t", backup=backup.pk)
    (again,) = work_off(list(Run.objects.filter(pk__in=load_again(restore))))
    assert list(again.rejects.order_by("row").values_list("row", "state", "corrected")) == before
    assert [error["code"] for error in again.rejects.get(row=2).errors] == ["duplicate-key"]
