"""Where the console wants rows, it gets the file byte for byte, in order, until somebody says stop."""

import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from lambda_trigger.client import Answered, Unavailable
from lambda_trigger.handler import MARGIN
from tests.lambda_trigger.conftest import BUCKET, HEADER, lines, put, run
from tests.lambda_trigger.console import Console

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def places(console: Console) -> list[tuple[int, int, bool]]:
    """Return the first row, the lines and whether it said `last`, of each slice."""
    return [(int(one.query["row"]), one.body.count(b"\n"), one.query.get("last") == "true") for one in console.slices()]


def test_rows_arrive_in_order_and_byte_for_byte(s3: "S3Client", console: Console) -> None:
    data = lines(2500)
    run(put(s3, console, data))
    assert console.received == data[len(HEADER) :]
    assert places(console) == [(1, 1000, False), (1001, 1000, False), (2001, 500, True)]
    first, second, _ = console.slices()
    assert first.query == {
        "run": "7", "epoch": "3", "start": "8", "end": str(8 + len(first.body)), "row": "1", "line": "2",
    }  # fmt: skip
    assert (second.query["line"], second.content_type) == ("1002", "text/csv")


def test_one_connection_carries_all(s3: "S3Client", console: Console) -> None:
    run(put(s3, console, lines(5000)))
    assert (len(console.requests), console.connections) == (6, 1)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_last_line_may_end_as_it_likes(s3: "S3Client", console: Console, end: bytes) -> None:
    data = HEADER + b"1,a\r\n" * 1000 + b"2,b" + end
    run(put(s3, console, data))
    assert console.received == data[len(HEADER) :]
    assert [last for *_, last in places(console)] == [False, True]


def test_a_file_of_exactly_one_slice_has_one_last_slice(s3: "S3Client", console: Console) -> None:
    run(put(s3, console, lines(1000)))
    assert places(console) == [(1, 1000, True)]


def test_sending_begins_where_the_console_says(s3: "S3Client", console: Console) -> None:
    data = lines(1500)
    event = put(s3, console, data)
    console.want("raw/users.csv", console.answer["version"], data, skip=len(b"0,name \n"))
    run(event)
    assert console.received == data[len(HEADER + b"0,name \n") :]
    assert places(console) == [(2, 1000, False), (1002, 499, True)]


def test_sending_ends_where_the_console_says(s3: "S3Client", console: Console) -> None:
    data = lines(10)
    event = put(s3, console, data + b"Total: 10 rows\n")
    console.answer["end"] = len(data)
    run(event)
    assert console.received == data[len(HEADER) :]
    assert places(console) == [(1, 10, True)]


def test_nothing_is_sent_where_nothing_is_left(s3: "S3Client", console: Console) -> None:
    run(put(s3, console, HEADER))
    assert (console.answer["start"], console.answer["end"]) == (len(HEADER), len(HEADER))
    assert len(console.requests) == 1


def test_the_version_that_the_console_names_is_read(s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(10))
    s3.put_object(Bucket=BUCKET, Key="raw/users.csv", Body=b"overwritten\n")
    del event["Records"][0]["s3"]["object"]["versionId"]
    run(event)
    assert console.files()[0]["version"] is None
    assert console.received == lines(10)[len(HEADER) :]


def test_an_odd_key_is_read_by_its_true_name(s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(3), "raw/users/año 2026+1.csv")
    event["Records"][0]["s3"]["object"]["key"] = "raw/users/a%C3%B1o+2026%2B1.csv"
    run(event)
    assert console.received == lines(3)[len(HEADER) :]


def test_without_an_offer_no_rows_are_sent(s3: "S3Client", console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEND_ROWS", "false")
    event = put(s3, console, lines(10))
    console.answer = {"run": 7, "status": "received", "send": "nothing"}
    run(event)
    assert (console.files()[0]["rows"], len(console.requests)) == (False, 1)


def test_no_rows_are_offered_when_time_is_short(s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(10))
    console.answer = {"run": 7, "status": "received", "send": "nothing"}
    run(event, seconds=MARGIN)
    assert console.files()[0]["rows"] is False


def test_when_time_runs_short_the_slice_in_hand_is_the_last(s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(50_000))
    console.delay = 0.1
    run(event, seconds=MARGIN + 1.5)
    *before, stopped = [last for *_, last in places(console)]
    assert (any(before), stopped) == (False, True)
    assert lines(50_000)[len(HEADER) :].startswith(console.received)


def test_a_worker_that_has_taken_over_ends_it_in_peace(s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(5000))
    console.trouble[3], console.code = 409, "taken-over"
    assert run(event) is None
    assert len(console.slices()) == 3


def test_any_other_conflict_raises(s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(5000))
    console.trouble[3] = 409
    with pytest.raises(Answered, match="POST /validate-transform: 409 trouble: what trouble means"):
        run(event)


@pytest.mark.parametrize("trouble", [429, 500, 503, "drop", "forget", "hang"])
def test_a_slice_is_sent_again_until_it_is_answered(
    s3: "S3Client", console: Console, monkeypatch: pytest.MonkeyPatch, trouble: Any
) -> None:
    monkeypatch.setattr("lambda_trigger.client.REQUEST", 0.5)
    event = put(s3, console, lines(3000))
    console.trouble[2] = console.trouble[3] = trouble
    run(event)
    assert console.received == lines(3000)[len(HEADER) :]
    assert len(console.slices()) == 5


@pytest.mark.parametrize("gone", ["version", "object", "bucket"])
def test_an_object_that_is_gone_ends_it_in_peace(
    s3: "S3Client", console: Console, caplog: pytest.LogCaptureFixture, gone: str
) -> None:
    event = put(s3, console, lines(10))
    version = console.answer["version"]
    if gone == "version":
        s3.put_object(Bucket=BUCKET, Key="raw/users.csv", Body=b"newer\n")
    s3.delete_object(Bucket=BUCKET, Key="raw/users.csv", VersionId=version)
    if gone == "bucket":
        s3.delete_bucket(Bucket=BUCKET)
    assert run(event) is None
    assert console.slices() == []
    assert "is gone" in caplog.text


def test_an_object_that_ends_too_early_raises(s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(10))
    console.answer["end"] += 1
    with pytest.raises(EOFError, match="the object ends at byte"):
        run(event)


def test_any_other_error_of_s3_raises(s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(10))
    console.answer |= {"start": 5000, "end": 6000}
    with pytest.raises(ClientError, match="InvalidRange"):
        run(event)


def test_a_console_that_hangs_costs_no_more_than_the_time_there_is(s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(10))
    console.trouble = dict.fromkeys(range(20), "hang")
    before = time.monotonic()
    with pytest.raises(Unavailable, match="POST /files: TimeoutError"):
        run(event, seconds=2)
    assert time.monotonic() - before < 2
    assert len(console.requests) > 2


def test_a_console_that_stays_away_costs_no_more_than_the_time_there_is(s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(10))
    console.shutdown()
    console.server_close()
    before = time.monotonic()
    with pytest.raises(Unavailable, match="POST /files: ConnectionRefusedError"):
        run(event, seconds=2)
    assert time.monotonic() - before < 2
