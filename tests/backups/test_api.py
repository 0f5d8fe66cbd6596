"""Backups and restores over REST, as a script asks for them."""

from typing import Any

import pytest

from backups.models import Backup, Restore
from backups.services import bring_back, take
from ingest.sweeper import unfinished, work_off
from tests.conftest import Client, query

pytestmark = pytest.mark.database
PEOPLE: dict[str, Any] = {
    "name": "people",
    "schema": {"fields": [{"name": "id", "type": "integer"}, {"name": "name"}], "primaryKey": "id"},
}


@pytest.fixture
def operator(tables: None) -> Client:
    """Return an operator with a loaded table."""
    operator = Client("operator")
    assert operator("PUT", "/datasets/people", PEOPLE).status_code == 201
    load(operator, b"1,Ann\n2,Bob\n")
    return operator


def load(operator: Client, rows: bytes) -> None:
    assert operator.csv("/files?dataset=people", b"id,name\n" + rows).status_code == 201
    work_off(unfinished())


def backed_up(operator: Client) -> int:
    answer = operator("POST", "/backup/people")
    assert (answer.status_code, answer.json()["status"]) == (202, "requested"), answer.content
    return take(answer.json()["id"]).pk


def codes(answer: Any) -> list[str]:
    return [error["code"] for error in answer.json()["errors"]]


def test_a_table_is_backed_up_changed_and_brought_back(operator: Client) -> None:
    number = backed_up(operator)
    assert operator("GET", f"/backups/{number}").json()["status"] == "done"
    load(operator, b"3,Cid\n")
    tried = operator("POST", "/restore/people", {"backup": number, "dry_run": True}).json()
    assert (tried["rows_now"], tried["rows_then"], tried["removed"], tried["problems"]) == (3, 2, 1, [])
    answer = operator("POST", "/restore/people", {"backup": "latest"})
    assert answer.status_code == 202, answer.content
    bring_back(answer.json()["id"])
    done = operator("GET", f"/restores/{answer.json()['id']}").json()
    assert (done["status"], done["problems"], len(done["rolled_back"])) == ("done", [], 1)
    assert query("SELECT id, name FROM people ORDER BY id") == [(1, "Ann"), (2, "Bob")]
    assert [run["status"] for run in operator("GET", "/runs").json()["results"]] == ["rolled back", "archived"]


def test_asked_twice_it_is_one_backup_and_can_be_cancelled(operator: Client) -> None:
    first, second = (operator("POST", "/backup/people").json()["id"] for _ in range(2))
    assert first == second
    assert codes(operator("DELETE", f"/backups/{first}")) == ["under-way"]
    assert operator("POST", f"/backups/{first}/cancel").status_code == 202
    assert take(first).status == "cancelled"
    assert codes(operator("POST", "/restore/people")) == ["unknown-backup"]


def test_a_backup_is_proved_listed_and_deleted(operator: Client) -> None:
    number = backed_up(operator)
    assert operator("POST", f"/backups/{number}/verify", {"rehearse": True}).status_code == 202
    take(number)
    shown = operator("GET", "/backups?table=people&status=done").json()["results"]
    assert [(found["id"], bool(found["verified_at"]), bool(found["rehearsed_at"])) for found in shown] == [
        (number, True, True)
    ]
    assert operator("DELETE", f"/backups/{number}").status_code == 204
    assert Backup.objects.get(pk=number).status == "deleted"


def test_a_restore_is_cancelled_before_it_begins(operator: Client) -> None:
    backed_up(operator)
    number = operator("POST", "/restore/people", {"into": "people_then"}).json()["id"]
    assert operator("POST", f"/restores/{number}/cancel").status_code == 202
    assert bring_back(number).status == "cancelled"
    assert Restore.objects.count() == 1


@pytest.mark.parametrize(("table", "code"), [("nothing", "unknown-table"), ("auth_user", "unknown-table")])
def test_only_listed_tables_are_touched(operator: Client, table: str, code: str) -> None:
    for path in ("/backup/", "/restore/"):
        answer = operator("POST", path + table)
        assert (answer.status_code, codes(answer)) == (404, [code])


def test_envelopes_are_strict(operator: Client) -> None:
    assert operator("POST", "/backup/people", {"codec": "rar"}).status_code == 400
    assert codes(operator("POST", "/restore/people", {"backup": "newest"})) == ["int-type", "literal-error"]
    assert codes(operator("POST", "/restore/people", {"tabel": "x"})) == ["extra-forbidden"]
