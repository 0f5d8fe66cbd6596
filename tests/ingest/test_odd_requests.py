"""Requests that no well-meant script sends: each gets a reason, none gets a 500, and none is taken for another one."""

import gzip
import io
import socket
from typing import Any
from urllib.parse import quote

import pytest
from django.db import OperationalError, connection

from ingest.models import Run
from migration_console.lib.folder import Folder
from tests.conftest import Client
from tests.ingest.test_api import FILE, GOOD, PEOPLE, errors, upload

pytestmark = pytest.mark.database
FIELDS = PEOPLE["schema"]["fields"]


@pytest.fixture
def people(script: Client) -> Client:
    """Return a script that has defined a dataset."""
    assert script("PUT", "/datasets/people", PEOPLE).status_code == 201
    return script


@pytest.mark.parametrize(
    ("query", "code", "attr"),
    [
        ("dataset=%00", "null-characters-not-allowed", "dataset"),
        ("dataset=", "invalid", "dataset"),
        ("dataset=a&dataset=b", "invalid", "dataset"),
        ("stauts=failed", "invalid", "stauts"),
        ("status=lost", "invalid-choice", "status"),
        ("page_size=0", "invalid", "page_size"),
        ("page_size=1001", "invalid", "page_size"),
        ("page_size=%D9%A1", "invalid", "page_size"),
        ("cursor=x", "invalid", "cursor"),
        ("cursor=cD1hYmM=", "invalid", "cursor"),
        ("cursor=cD05OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "invalid", "cursor"),
        ("parent=1.5", "invalid", "parent"),
        ("parent=99999999999999999999", "max-value", "parent"),
        ("ended=maybe", "invalid", "ended"),
        ("since=yesterday", "invalid", "since"),
        ("since=0001-01-01T00:00:00%2B23:59", "invalid", "since"),
        ("before=9999-12-31T23:59:59-23:59", "invalid", "before"),
        ("&".join(f"a{number}=1" for number in range(10_100)), "refused", None),
    ],
)
def test_a_wrong_query_never_shows_everything(script: Client, query: str, code: str, attr: str | None) -> None:
    answer = script("GET", f"/runs?{query}")
    assert (answer.status_code, errors(answer)) == (400, [(code, attr)])


def test_pages_of_datasets_go_on_by_cursor(script: Client) -> None:
    for name in ("a.1", "b-2", "c_3"):
        script("PUT", f"/datasets/{name}", {"schema": {"fields": FIELDS}})
    page = script("GET", "/datasets?page_size=2").json()
    rest = script("GET", page["next"].removeprefix("http://testserver")).json()
    back = script("GET", rest["previous"].removeprefix("http://testserver")).json()
    assert [[found["name"] for found in part["results"]] for part in (page, rest, back)] == [
        ["a.1", "b-2"], ["c_3"], ["a.1", "b-2"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/runs/1"), ("POST", "/runs/1/retry"), ("POST", "/runs/1/rejects"), ("PUT", "/datasets/people")],
)
def test_a_query_where_none_is_read_is_a_mistake(people: Client, method: str, path: str) -> None:
    answer = people(method, f"{path}?reason=x")
    assert (answer.status_code, errors(answer)) == (400, [("unknown-parameter", "reason")])


def test_what_is_not_there_is_named(people: Client) -> None:
    for path, words in [
        ("/runs/7", "There is no run 7."), ("/runs/99999999999999999999", "There is no run 99999999999999999999."),
        ("/datasets/a%20b", "There is no dataset 'a b'."), ("/datasets/%00", "There is no dataset '\\x00'."),
        ("/datasets/a%2Fb", "There is nothing at /datasets/a/b; GET /schema lists what is."),
    ]:  # fmt: skip
        answer = people("GET", path)
        assert (answer.status_code, answer.json()["errors"][0]["detail"]) == (404, words)


@pytest.mark.parametrize("name", ["my data", "straße", "A", "a/b", "-", "a" * 101, "\x00"])
def test_a_dataset_has_a_plain_name(script: Client, name: str) -> None:
    answer = script("PUT", f"/datasets/{quote(name, safe='')}", {"schema": {"fields": FIELDS}})
    assert answer.status_code == (404 if "/" in name else 400)


@pytest.mark.parametrize(
    ("descriptor", "attr"),
    [
        ({"encoding": "base64"}, "/encoding"),
        ({"encoding": "\x00"}, "/encoding"),
        ({"schema": {"fields": [{"name": "a", "type": "date", "format": "%d.%d.%Y"}]}}, "/schema/fields/0/format"),
        (
            {"schema": {"fields": [{"name": "a", "type": "time", "formats": ["%H:%H"], "default": "12:12"}]}},
            "/schema/fields/0/format",
        ),
        ({"encoding": "punycode"}, "/encoding"),
        ({"encoding": "IDNA"}, "/encoding"),
        ({"encoding": "unicode_escape"}, "/encoding"),
        (
            {"schema": {"fields": [{"name": "a", "type": "datetime", "timezone": "Europe"}]}},
            "/schema/fields/0/timezone",
        ),
        ({"name": "other"}, "/name"),
    ],
)
def test_descriptors_that_cannot_work(script: Client, descriptor: dict[str, Any], attr: str) -> None:
    answer = script("PUT", "/datasets/people", {"schema": {"fields": FIELDS}, **descriptor})
    assert (answer.status_code, errors(answer)) == (400, [("descriptor", attr)])


@pytest.mark.parametrize(
    "body",
    [
        b'{"dataset": "\\ud800", "rows": [{}]}',
        b'{"dataset": "people", "rows": [{"name": "\\uD83D"}]}',
        b'{"dataset": "people", "rows": [{"id": %s}]}' % (b"9" * 5000),
        b'{"dataset": "people", "rows": %s}' % (b"[" * 100_000),
        b'{"dataset": "people", "rows": [], "sources": %s%s}' % (b"[" * 900, b"]" * 900),
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"",
    ],
)
def test_odd_json_is_refused(people: Client, body: bytes) -> None:
    assert people("POST", "/validate-transform", body).status_code == 400
    assert people("PUT", "/datasets/deep", body).status_code == 400


def test_a_descriptor_is_kept_as_it_came_or_not_at_all(script: Client) -> None:
    field = b'{"schema": {"fields": [{"name": "a", "type": "number", "example": %s}]}}'
    for example, status in ((b"9" * 30, 400), (b"[" * 900 + b"]" * 900, 400), (b"0.1000000000000000055", 201)):
        assert script("PUT", "/datasets/one", field % example).status_code == status
    kept = script("GET", "/datasets/one").json()["descriptor"]["schema"]["fields"][0]["example"]
    assert kept == "0.1000000000000000055"


def test_a_value_that_is_nested_deeply_is_refused(people: Client) -> None:
    deep = b"[" * 900 + b"]" * 900
    body = b'{"dataset": "people", "rows": [{"id": 1, "name": %s, "born": null, "balance": null}]}' % deep
    assert people("POST", "/validate-transform", body).json()["valid"] == []


def test_every_value_of_a_row_is_judged(people: Client) -> None:
    row = b'{"id": 1, "name": "\\u00e9\\ud83d\\ude00", "born": null, "balance": %s}'
    for number, valid in ((b"1e-400", False), (b"1e400", False), (b"9" * 400, False), (b"1.50", True)):
        answer = people("POST", "/validate-transform", b'{"dataset": "people", "rows": [%s]}' % (row % number))
        assert (answer.status_code, len(answer.json()["valid"])) == (200, valid), number
    answer = people("POST", "/validate-transform", {"dataset": "people", "rows": [GOOD, None]})
    assert answer.json()["errors"] == [
        {"code": "value-error", "detail": "row 1 is neither an object nor a list", "attr": "rows"}
    ]


@pytest.mark.parametrize(
    ("key", "status"),
    [("raw/\x00", 400), ("raw/../../etc/passwd", 404), ("raw/.", 404), ("raw", 200), ("raw/" + "x" * 400, 404)],
)
def test_only_files_of_the_lake_are_announced(script: Client, key: str, status: int) -> None:
    assert script("POST", "/files", {"key": key}).status_code == status
    assert not Run.objects.exists()


@pytest.mark.parametrize("name", ["..", ".x", "x" * 201, "😀" * 60])
def test_a_name_that_no_folder_takes_is_refused(people: Client, name: str) -> None:
    answer = people.csv(f"/files?dataset=people&name={quote(name)}", FILE)
    assert (answer.status_code, [attr for _, attr in errors(answer)]) == (400, ["name"])


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        (b"_row\n", "no-rows", None),
        (b"_row\n99999999999999999999999999\n", "row", "line 2"),
        (b"_row\n\xd9\xa1\n", "row", "line 2"),
        (b"_row,_row\n2,3\n", "missing-column", None),
        (b"id\n2\n", "missing-column", None),
        (b"_row,id\n2\n", "row", None),
        (b"\xff", "not-csv", None),
    ],
)
def test_corrections_name_each_row_once(people: Client, data: bytes, code: str, place: str | None) -> None:
    run = upload(people)
    answer = people.csv(f"/runs/{run.pk}/rejects", data)
    assert (answer.status_code, errors(answer)) == (400, [(code, place)])
    assert Run.objects.count() == 1


def test_a_corrected_value_is_a_scalar(people: Client) -> None:
    run = upload(people)
    answer = people("POST", f"/runs/{run.pk}/rejects", {"rows": [{"row": 2, "values": {"id": [1]}}]})
    assert errors(answer) == [("value-error", "rows.0.values.id")]
    body = b'{"rows": [{"row": 2, "values": {"id": 2, "born": null, "balance": 0.1000000000000000055}}]}'
    assert people("POST", f"/runs/{run.pk}/rejects", body).status_code == 201


def test_a_body_is_what_it_says(people: Client) -> None:
    run = upload(people)
    for path, kind in [("/files?dataset=people", "text/plain"), (f"/runs/{run.pk}/rejects", "application/gzip")]:
        assert people("POST", path, gzip.compress(FILE), kind).status_code == 415
    answer = people("POST", "/files?dataset=people", FILE, "text/csv", content_encoding="gzip")
    assert answer.status_code == 415
    answer = people("POST", "/files?dataset=people", gzip.compress(FILE), "Application/GZIP")
    assert answer.json()["key"] == "raw/people.csv.gz"


@pytest.mark.parametrize("path", ["/validate-transform", "/files?dataset=people"])
def test_a_body_of_unknown_length_is_no_empty_body(people: Client, live_server: Any, path: str) -> None:
    kind = "text/csv" if "?" in path else "application/json"
    with socket.create_connection((live_server.thread.host, live_server.thread.port)) as line:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {people.token}\r\nConnection: close\r\n"
        )
        line.sendall(f"{head}Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n".encode())
        answer = line.makefile().read()
    assert answer.startswith("HTTP/1.1 411")
    assert '"length-required"' in answer


@pytest.mark.parametrize("method", ["OPTIONS", "PATCH", "TRACE", "POST", "FOO"])
def test_a_method_that_is_not_there_is_answered_with_those_that_are(script: Client, method: str) -> None:
    for path in ("/runs", "/health", "/schema", "/docs"):
        answer = script(method, path)
        assert (answer.status_code, answer.headers["Allow"], errors(answer)) == (
            405, "GET, HEAD", [("method-not-allowed", None)],
        )  # fmt: skip


def test_another_host_is_refused_in_the_one_shape(script: Client) -> None:
    answer = script("GET", "/runs", host="evil.example")
    assert (answer.status_code, errors(answer)) == (400, [("refused", None)])


@pytest.mark.parametrize("key", ["raw/../processed/people.csv", "raw/./people.csv", "raw//people.csv"])
def test_another_spelling_of_a_key_is_no_file(people: Client, folder: Folder, key: str) -> None:
    for name in ("raw/people.csv", "processed/people.csv"):
        folder.put(name, io.BytesIO(FILE))
    assert people("POST", "/files", {"key": key}).status_code == 404
    assert not Run.objects.exists()
    assert people("POST", "/files", {"key": "raw/people.csv"}).json()["status"] == "received"


@pytest.mark.parametrize("path", ["/runs", "/backups", "/datasets", "/restores/1"])
def test_a_database_that_is_away_is_no_fault_of_ours(script: Client, path: str) -> None:
    """Authentication asks it first."""

    def away(*_: Any) -> Any:
        raise OperationalError(2013, "database is locked")

    with connection.execute_wrapper(away):
        answer = script("GET", path)
    assert (answer.status_code, errors(answer), answer["Retry-After"]) == (503, [("unavailable", None)], "5")
    assert script("GET", "/runs").status_code == 200


@pytest.mark.skipif(connection.vendor != "mysql", reason="a file is always there")
def test_a_server_that_takes_no_connections_is_no_fault_of_ours(
    script: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(connection.settings_dict, "PORT", "1")
        answer = script("POST", "/files", {"key": "raw/x.csv"})
    assert (answer.status_code, errors(answer), answer["Retry-After"]) == (503, [("unavailable", None)], "5")


def test_a_statement_that_will_never_do_is_ours(script: Client) -> None:
    def broken(*_: Any) -> Any:
        raise OperationalError(1054, "no such column: x")

    with connection.execute_wrapper(broken), pytest.raises(OperationalError):
        script("GET", "/runs")
