"""Corrected rows on their way: what a script sends, what whole files are refused for, and who is too slow."""

from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.utils import timezone

from ingest.amending import edit, holding
from ingest.corrections import read_csv, resubmit, send
from ingest.datasets import save_dataset
from ingest.export import as_csv
from ingest.models import Run, Status
from ingest.services import advance
from migration_console.lib.errors import Conflict, Refused, Unavailable
from migration_console.lib.folder import Folder
from migration_console.lib.lake import lake
from tests.conftest import Loads, query
from tests.ingest.test_corrections import FILE, PEOPLE, errors, finish, states

ODD: dict[str, Any] = {
    "name": "odd",
    "schema": {"fields": [{"name": "id", "type": "integer"}, {"name": "t"}, {"name": "u"}]},
}


@pytest.mark.database
def test_the_csv_that_went_out_changes_only_what_was_touched(load: Loads) -> None:
    run = load(ODD, 'id,t,u\nx,"",c\n5,b,c,d,e\n7,k"k,z\n')
    assert [errors(run, row) for row in (1, 2, 3)] == [["not-an-integer"], ["long-row"], ["quote"]]
    sent = b"".join(as_csv(run)).replace(b"1,2,x,", b"1,2,9,")
    with pytest.raises(Refused, match="row 2 cannot be cut") as refused:
        resubmit(run, read_csv(BytesIO(sent), 10), sheet=True)
    assert [problem.where for problem in refused.value.problems] == ["2", "3"]
    kept = b"\n".join(line for line in sent.splitlines() if not line.startswith((b"2,", b"3,"))) + b"\n"
    resubmit(run, read_csv(BytesIO(kept), 10), sheet=True)
    finish()
    assert query("SELECT id, t, u FROM odd") == [(9, "", "c")]
    assert states(run) == {1: "fixed", 2: "open", 3: "open"}


def test_what_a_script_sends_goes_on_top_of_what_a_person_has_corrected(load: Loads) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 2, {"born": "1990-02-28"})
    resubmit(run, {2: {"id": 2}})
    finish()
    assert run.rejects.get(row=2).corrected == {"id": 2, "born": "1990-02-28"}
    assert [str(day) for (day,) in query("SELECT born FROM people WHERE id = 2")] == ["1990-02-28"]


def test_a_child_that_is_refused_as_a_whole_tells_which_rows_it_was(load: Loads) -> None:
    run = load({**PEOPLE, "onError": {"percent": 90}}, FILE)
    edit(run, 2, {"id": "2", "born": "1990-02-28"})
    edit(run, 3, {"id": "1", "name": "Cid"})
    save_dataset({**PEOPLE, "onError": {"rows": 0}})
    send(run)
    (child,) = finish()
    assert child.status == Status.REFUSED
    assert (states(run)[2], states(run)[3], errors(run, 3)) == ("ready", "open", ["duplicate-key"])


def silent_until_taken_over(child: Run) -> None:
    """Be silent past the lease, until a worker finds the run without its file and gives it up."""
    Run.objects.filter(pk=child.pk).update(lease_until=timezone.now() - timedelta(minutes=1))
    assert advance(child.pk).status == Status.GONE


@pytest.mark.parametrize("where", ["before the rows are claimed", "before the file is there"])
def test_who_is_silent_while_sending_sends_nothing(load: Loads, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 3, {"name": "Cid"})
    publish = Folder.publish

    def claim_late(parent: Run) -> Any:
        silent_until_taken_over(Run.objects.latest("id"))
        return holding(parent)

    def publish_late(self: Folder, prepared: Any, key: str) -> bool:
        silent_until_taken_over(Run.objects.latest("id"))
        return publish(self, prepared, key)

    with monkeypatch.context() as patch:
        if where == "before the rows are claimed":
            patch.setattr("ingest.corrections.holding", claim_late)
        else:
            patch.setattr(Folder, "publish", publish_late)
        with pytest.raises((Conflict, Unavailable), match="took too long"):
            send(run)
    assert states(run)[3] == "ready"
    assert [version.key for version in lake().list("raw")] == []
    send(run)
    finish()
    assert states(run)[3] == "fixed"
