"""The REST API of loading, as a script uses it."""

import gzip
import io
import socket
from decimal import Decimal
from typing import Any

import orjson
import pytest
from python_calamine import CalamineWorkbook

from ingest.models import Reject, Run, Status
from ingest.sweeper import unfinished, work_off
from tests.conftest import Client, codes, query

PEOPLE: dict[str, Any] = {
    "name": "people",
    "schema": {
        "fields": [
            {"name": "id", "type": "integer"},
            {"name": "name", "constraints": {"required": True, "maxLength": 20}},
            {"name": "born", "type": "date"},
            {"name": "balance", "type": "number", "sqlType": "DECIMAL(8,2)"},
        ],
        "primaryKey": "id",
    },
}
GOOD = {"id": 1, "name": "Ann", "born": "1990-01-31", "balance": 1.5}
FILE = b"id,name,born,balance\n1,Ann,1990-01-31,1.50\nx,Bob,1990-02-30,1\n3,,1991-03-31,2.345\n"


@pytest.fixture
def people(script: Client) -> Client:
    """Return a script that has defined a dataset."""
    assert script("PUT", "/datasets/people", PEOPLE).status_code == 201
    return script


def judge(script: Client, *rows: Any) -> Any:
    answer = script("POST", "/validate-transform", {"dataset": "people", "rows": rows})
    assert answer.status_code == 200, answer.content
    return answer.json()


def upload(script: Client, data: bytes = FILE, more: str = "") -> Run:
    answer = script.csv(f"/files?dataset=people{more}", data)
    assert answer.status_code == 201, answer.content
    work_off(unfinished())
    return Run.objects.get(pk=answer.json()["run"])


def errors(answer: Any) -> list[tuple[str, str | None]]:
    assert set(answer.json()) == {"type", "errors"}
    return [(error["code"], error["attr"]) for error in answer.json()["errors"]]


def test_rows_come_back_as_the_table_would_hold_them(people: Client) -> None:
    found = judge(people, GOOD, [2, "Bob", None, "7"])
    assert (found["dataset"], found["schema_version"], found["received"], found["rejected"]) == ("people", 1, 2, [])
    assert found["valid"] == [
        {"id": 1, "name": "Ann", "born": "1990-01-31", "balance": "1.50"},
        {"id": 2, "name": "Bob", "born": None, "balance": "7.00"},
    ]
    assert query("SELECT COUNT(*) FROM ingest_run") == [(0,)]


def test_every_reason_of_a_row_comes_back_with_its_number_from_0(people: Client) -> None:
    bad = {"id": "x", "name": None, "born": "1990-02-30", "balance": 1.234}
    found = judge(people, GOOD, bad, [1, 2], {**GOOD, "colour": "red"}, GOOD)
    assert len(found["valid"]) == 2
    assert [(r["row"], [(e["field"], e["code"]) for e in r["errors"]]) for r in found["rejected"]] == [
        (1, [("id", "not-an-integer"), ("name", "required"), ("born", "not-a-date"), ("balance", "too-many-decimals")]),
        (2, [("", "short-row")]),
        (3, [("colour", "unknown-column")]),
    ]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"0.1", "0.10"),
        (b"12345.67", "12345.67"),
        (b"1e2", "100.00"),
        (b'"5"', "5.00"),
        (b"0.1000000000000000055", None),
        (b"true", None),
        (b"[]", None),
    ],
)
def test_numbers_in_json_are_exact_or_refused(people: Client, value: bytes, kept: str | None) -> None:
    body = b'{"dataset": "people", "rows": [{"id": 1, "name": "Ann", "born": null, "balance": %s}]}' % value
    found = people("POST", "/validate-transform", body).json()
    assert [row["balance"] for row in found["valid"]] == ([kept] if kept else [])


@pytest.mark.parametrize(
    ("body", "code", "attr"),
    [
        (b"{", "parse-error", None),
        (b'{"dataset": "people", "rows": [], "rows": []}', "parse-error", None),
        (b'{"dataset": "people", "rows": [NaN]}', "parse-error", None),
        (b"[]", "model-type", None),
        (b'{"dataset": "people", "rows": []}', "too-short", "rows"),
        (b'{"dataset": "people", "rows": [{}], "row": 1}', "extra-forbidden", "row"),
        (b'{"dataset": 5, "rows": [{}]}', "string-type", "dataset"),
    ],
)
def test_envelopes_are_strict(people: Client, body: bytes, code: str, attr: str | None) -> None:
    answer = people("POST", "/validate-transform", body)
    assert answer.status_code == 400
    assert errors(answer) == [(code, attr)]


def test_a_thousand_rows_go_and_one_more_does_not(people: Client) -> None:
    rows = [{**GOOD, "id": number} for number in range(1000)]
    assert len(judge(people, *rows)["valid"]) == 1000
    answer = people("POST", "/validate-transform", {"dataset": "people", "rows": [*rows, GOOD]})
    assert errors(answer) == [("too-long", "rows")]


def test_errors_have_one_shape_everywhere(people: Client) -> None:
    assert people("POST", "/validate-transform", {"dataset": "x", "rows": [GOOD]}).status_code == 404
    for method, path, status in [
        ("GET", "/nowhere", 404), ("GET", "/runs/1", 404), ("GET", "/runs/99999999999999999999", 404),
        ("DELETE", "/runs", 405), ("GET", "/runs?stauts=failed", 400), ("GET", "/runs?cursor=x", 400),
    ]:  # fmt: skip
        answer = people(method, path)
        assert (answer.status_code, len(errors(answer))) == (status, 1), path
    assert people("POST", "/files", b"<x/>", "application/xml").status_code == 415
    assert Client()("GET", "/runs").status_code == 403
    assert people("GET", "/runs", authorization="Token wrong").status_code == 401
    assert people("GET", "/runs", authorization="Token \xff").status_code == 401


def test_bodies_have_limits(people: Client) -> None:
    answer = people("POST", "/validate-transform", b'{"dataset": "people", "rows": ["' + b"x" * (8 << 20) + b'"]}')
    assert (answer.status_code, errors(answer)) == (413, [("too-large", None)])


def test_addresses_go_with_and_without_a_slash(people: Client) -> None:
    for path in ("/runs", "/datasets", "/datasets/people", "/health", "/metrics", "/schema", "/docs"):
        assert [people("GET", path + end).status_code for end in ("", "/")] == [200, 200], path


def test_a_script_needs_no_page(people: Client) -> None:
    run = upload(people)
    shown = people("GET", f"/runs/{run.pk}").json()
    assert (shown["status"], shown["read"], shown["loaded"], shown["rejected"]) == ("archived", 3, 1, 2)
    assert (shown["ended"], shown["user"], shown["trigger"]) == (True, people.user.username, "upload")
    lines = [orjson.loads(line) for line in people("GET", f"/runs/{run.pk}/rejects").getvalue().splitlines()]
    assert [line["row"] for line in lines] == [2, 3]
    assert lines[0]["values"] == {"id": "x", "name": "Bob", "born": "1990-02-30", "balance": "1"}
    assert lines[1]["raw"] == "3,,1991-03-31,2.345"
    fixes = [{"row": 2, "values": {"id": 2, "born": "1990-02-28"}}, {"row": 3, "values": {"name": "Cid"}}]
    answer = people("POST", f"/runs/{run.pk}/rejects", {"rows": fixes})
    assert answer.status_code == 201, answer.content
    work_off(unfinished())
    child = people("GET", f"/runs/{answer.json()['id']}").json()
    assert (child["parent"], child["read"], child["loaded"], child["rejected"]) == (run.pk, 2, 1, 1)
    assert query("SELECT id, name FROM people ORDER BY id") == [(1, "Ann"), (2, "Bob")]
    # The one that its child refused is open again, with the child's reason.
    again = Reject.objects.get(run=run, row=3)
    assert (again.state, [e["code"] for e in again.errors]) == ("open", ["too-many-decimals"])
    assert Reject.objects.get(run=run, row=2).state == "fixed"


def test_a_reject_is_claimed_once(people: Client) -> None:
    run = upload(people)
    body = {"rows": [{"row": 2, "values": {"id": 2, "born": None}}]}
    assert people("POST", f"/runs/{run.pk}/rejects", body).status_code == 201
    answer = people("POST", f"/runs/{run.pk}/rejects", body)
    assert (answer.status_code, errors(answer)) == (409, [("not-open", "rows")])
    assert people("POST", f"/runs/{run.pk}/rejects", {"rows": [{"row": 1, "values": {}}]}).status_code == 400
    assert Run.objects.count() == 2
    work_off(unfinished())
    assert people("POST", f"/runs/{run.pk}/rejects", body).status_code == 409


def test_a_correction_is_sent_from_its_rejects_and_not_tried_again(people: Client) -> None:
    run = upload(people)
    child = people("POST", f"/runs/{run.pk}/rejects", {"rows": [{"row": 2, "values": {"id": 2}}]}).json()["id"]
    people("POST", f"/runs/{child}/cancel")
    assert [found.status for found in work_off([Run.objects.get(pk=child)])] == [Status.CANCELLED]
    answer = people("POST", f"/runs/{child}/retry")
    assert (answer.status_code, errors(answer)) == (409, [("correction", "run")])
    assert set(run.rejects.exclude(row=2).values_list("state", flat=True)) == {"open"}
    assert run.rejects.get(row=2).state == "ready", "corrected, and to be sent once more"


def test_rejects_go_out_and_come_back_as_csv(people: Client) -> None:
    run = upload(people)
    table = people("GET", f"/runs/{run.pk}/rejects?format=csv").getvalue().decode()
    head, first, _, end = table.split("\r\n")
    assert (head, end) == ("_row,_line,id,name,born,balance,_errors,_seen", "")
    assert first.startswith("2,3,x,Bob,1990-02-30,1,id: “x” is not a whole number.")
    better = table.replace(",x,", ",2,").replace("1990-02-30,1", "1990-02-28,1").replace("2.345", "2.34")
    better = better.replace("3,4,3,,", '3,4,3,"C, D",')
    answer = people.csv(f"/runs/{run.pk}/rejects", better.encode())
    assert answer.status_code == 201, answer.content
    work_off(unfinished())
    found = [(name, Decimal(balance)) for name, balance in query("SELECT name, balance FROM people ORDER BY id")]
    assert found[1:] == [("Bob", Decimal(1)), ("C, D", Decimal("2.34"))]


def test_excel_gets_text_and_nothing_that_runs(people: Client) -> None:
    run = upload(people, b"id,name,born,balance\n007x,=1+1,1990-02-30,1234567890123456\n")
    answer = people("GET", f"/runs/{run.pk}/rejects?format=xlsx")
    rows = CalamineWorkbook.from_filelike(io.BytesIO(answer.getvalue())).get_sheet_by_index(0).to_python()
    assert rows[0][:4] == ["_row", "_line", "id", "name"]
    assert rows[1][2:6] == ["007x", "=1+1", "1990-02-30", "1234567890123456"]


def test_a_file_may_come_gzipped_and_under_a_name(people: Client) -> None:
    answer = people("POST", "/files?dataset=people&name=mine.csv.gz", gzip.compress(FILE), "application/gzip")
    (run,) = work_off([Run.objects.get(pk=answer.json()["run"])])
    assert (run.key, run.loaded) == ("raw/mine.csv.gz", 1)


def test_an_upload_that_breaks_off_is_no_file(people: Client, tmp_path: Any, live_server: Any) -> None:
    with socket.create_connection((live_server.thread.host, live_server.thread.port)) as line:
        head = f"POST /files?dataset=people HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {people.token}\r\n"
        line.sendall(head.encode() + b"Content-Type: text/csv\r\nContent-Length: %d\r\n\r\n" % (len(FILE) + 1) + FILE)
        line.shutdown(socket.SHUT_WR)
        answer = line.makefile().read()
    assert answer.startswith("HTTP/1.1 400")
    assert '"broken-off"' in answer
    assert Run.objects.count() == 0
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".csv", ".part"}]


@pytest.mark.parametrize("name", ["../x.csv", "a/b.csv", "", "x\n.csv"])
def test_a_name_is_a_name(people: Client, name: str) -> None:
    from urllib.parse import quote

    assert people.csv(f"/files?dataset=people&name={quote(name)}", FILE).status_code == 400


def test_a_duplicate_is_loaded_again_with_a_reason_only(people: Client) -> None:
    upload(people, FILE[:43])
    run = upload(people, FILE[:43])
    assert run.status == Status.DUPLICATE
    assert errors(people("POST", f"/runs/{run.pk}/retry")) == [("reason", "reason")]
    assert people("POST", f"/runs/{run.pk}/retry", {"reason": "the table was emptied"}).status_code == 202
    (run,) = work_off([Run.objects.get(pk=run.pk)])
    assert (run.status, run.attempt, codes(run)) == (Status.ARCHIVED, 2, {1: ["duplicate-key"]})


def test_a_refused_file_is_tried_again_when_the_dataset_is_mended(people: Client, tmp_path: Any) -> None:
    run = upload(people, FILE.replace(b"born", b"birthday"))
    assert run.status == Status.REFUSED
    assert (tmp_path / "lake" / run.archived_key).exists()
    fields = [
        {**field, "aliases": ["birthday"]} if field["name"] == "born" else field for field in PEOPLE["schema"]["fields"]
    ]
    mended = {**PEOPLE, "schema": {**PEOPLE["schema"], "fields": fields}}
    assert people("PUT", "/datasets/people", mended).json()["version"] == 2
    assert people("POST", f"/runs/{run.pk}/retry").status_code == 202
    old = run.archived_key
    (run,) = work_off([Run.objects.get(pk=run.pk)])
    assert (run.status, run.loaded, run.archived_key) == (Status.ARCHIVED, 1, old.replace("errors/", "processed/"))
    assert not (tmp_path / "lake" / old).exists()
    assert people("POST", f"/runs/{run.pk}/retry").status_code == 409


def test_a_cancelled_run_goes_on_behind_its_ledger(people: Client, settings: Any) -> None:
    from ingest import services

    settings.BATCH_BYTES = 2048
    data = b"id,name,born,balance\n" + b"".join(b"%d,Ann,1990-01-31,1.00\n" % n for n in range(1, 1001))
    run = Run.objects.get(pk=people.csv("/files?dataset=people", data).json()["run"])
    # Somebody cancels as the third batch is through.
    services.advance(run.pk, lambda done, _: people("POST", f"/runs/{run.pk}/cancel") if done > 200 else None)
    run.refresh_from_db()
    some = run.loaded
    assert (run.status, 0 < some < 1000) == (Status.CANCELLED, True)
    assert people("POST", f"/runs/{run.pk}/retry").json()["status"] == "loading"
    (run,) = work_off([Run.objects.get(pk=run.pk)])
    assert (run.status, run.read, run.loaded, run.rejected) == (Status.ARCHIVED, 1000, 1000, 0)
    assert query("SELECT COUNT(*), MIN(id), MAX(id) FROM people") == [(1000, 1, 1000)]


def test_lists_are_filtered_and_go_on_by_cursor(people: Client) -> None:
    for number in range(5):
        upload(people, b"id,name,born,balance\n%d,Ann,,\n" % number)
    seen, path = [], "/runs?page_size=2&status=archived&dataset=people&ended=true&rejects=false"
    while path:
        page = people("GET", path).json()
        seen += [run["id"] for run in page["results"]]
        path = (page["next"] or "").removeprefix("http://testserver")
    assert (len(seen), seen) == (5, sorted(seen, reverse=True))
    assert people("GET", "/runs?status=failed").json()["results"] == []
    assert errors(people("GET", "/runs?status=lost")) == [("invalid-choice", "status")]


def test_datasets_are_defined_listed_and_retired(people: Client) -> None:
    assert people("PUT", "/datasets/people", PEOPLE).status_code == 200
    assert [found["name"] for found in people("GET", "/datasets").json()["results"]] == ["people"]
    wrong = people("PUT", "/datasets/people", {"schema": {"fields": [{"name": "a", "type": "colour"}]}, "mode": "x"})
    assert {attr for _, attr in errors(wrong)} == {"/schema/fields/0/type", "/mode"}
    upload(people)
    assert people("DELETE", "/datasets/people").status_code == 204
    assert people("GET", "/datasets/people").status_code == 404
    assert people.csv("/files?dataset=people", FILE).status_code == 404
    assert query("SELECT COUNT(*) FROM people") == [(1,)]
    assert people("PUT", "/datasets/people", PEOPLE).status_code == 201
    assert people("GET", "/datasets/people").json()["version"] == 1


def test_numbers_for_prometheus_add_up(people: Client) -> None:
    upload(people)
    text = people("GET", "/metrics").content.decode()
    assert 'console_runs{status="archived"} 1.0' in text
    assert 'console_rows_total{dataset="people",outcome="rejected"} 2.0' in text
    assert 'console_rejects{state="open"} 2.0' in text


def test_throttles_are_shared_and_say_when_to_come_back(people: Client, settings: Any) -> None:
    from rest_framework.throttling import ScopedRateThrottle

    rates = ScopedRateThrottle.THROTTLE_RATES
    rates["read"], before = "2/min", rates["read"]
    try:
        statuses = [people("GET", path).status_code for path in ("/runs", "/datasets/people", "/runs")]
        answer = people("GET", "/runs")
    finally:
        rates["read"] = before
    assert statuses == [200, 200, 429]
    assert int(answer.headers["Retry-After"]) > 0
    # On the disk, where every process of the machine finds them: of writing the dataset, and of reading.
    assert len(list((settings.VAR / "cache").glob("*.djcache"))) == 2
