"""What of an event is announced, and how the rest is answered."""

import logging

import pytest

from lambda_trigger.events import Malformed, Object, created, message_records, s3_records, sqs_messages
from tests.lambda_trigger.conftest import event, run
from tests.lambda_trigger.console import Console


def objects(name: str) -> list[Object | None]:
    return [created(record) for record in s3_records(event(name))]


def keys(console: Console) -> list[str]:
    return [file["key"] for file in console.files()]


def test_an_object_is_announced_with_all_that_s3_says(environment: object, console: Console) -> None:
    assert run(event("direct")) is None
    assert console.files() == [
        {
            "bucket": "lake",
            "key": "raw/users.csv",
            "version": "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
            "size": 1024,
            "sequencer": "0055AED6DCD90281E5",
            "rows": True,
        }
    ]


@pytest.mark.parametrize(
    ("name", "key"),
    [("odd-key", "raw/users/año 2026+1.csv"), ("percent-key", "raw/100%25 a%2Bb.csv")],
)
def test_a_key_is_decoded_exactly_once(environment: object, console: Console, name: str, key: str) -> None:
    run(event(name))
    assert keys(console) == [key]


@pytest.mark.parametrize("name", ["test-event", "folder-marker", "removed"])
def test_what_creates_no_object_is_ignored(environment: object, console: Console, name: str) -> None:
    assert run(event(name)) is None
    assert console.requests == []


def test_what_s3_leaves_out_is_null() -> None:
    assert objects("unversioned") == [Object("lake", "raw/bare.csv", None, None, None)]


def test_one_bad_record_keeps_no_other_from_being_announced(environment: object, console: Console) -> None:
    with pytest.raises(Malformed, match=r"s3\.object\.key is missing"):
        run(event("malformed"))
    assert keys(console) == ["raw/a.csv", "raw/b.csv"]


def test_messages_fail_one_by_one(environment: object, console: Console) -> None:
    failures = run(event("sqs"))["batchItemFailures"]
    assert [failure["itemIdentifier"][-1] for failure in failures] == ["2", "5"]
    assert keys(console) == ["raw/a.csv", "raw/b.csv", "raw/c.csv"]


def test_a_message_whose_object_the_console_refuses_fails(environment: object, console: Console) -> None:
    console.trouble[1] = 400
    failures = run(event("sqs"))["batchItemFailures"]
    assert [failure["itemIdentifier"][-1] for failure in failures] == ["2", "4", "5"]
    assert keys(console) == ["raw/a.csv", "raw/b.csv", "raw/c.csv"]


def test_a_notification_may_come_by_sns() -> None:
    (message,) = sqs_messages(event("sns-in-sqs")) or []
    (record,) = message_records(message)
    assert str(created(record)) == "lake 'raw/by-sns.csv' version 3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"


@pytest.mark.parametrize(
    ("name", "message"),
    [("not-utf-8", "'raw/%FF.csv' is not UTF-8"), ("not-s3", "Records is missing")],
)
def test_what_is_wrong_is_named(name: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        objects(name)


def test_a_key_forges_no_line_of_the_log(
    environment: object, console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    forged = event("direct")
    forged["Records"][0]["s3"]["object"]["key"] = "raw/a%0AERROR+forged.csv"
    with caplog.at_level(logging.INFO):
        run(forged)
    assert keys(console) == ["raw/a\nERROR forged.csv"]
    assert "raw/a" in caplog.text and "\nERROR forged" not in caplog.text


@pytest.mark.parametrize("odd", [None, [], "x", {"Records": 1}, {"Records": [1]}, {"Records": [{"eventName": 1}]}])
def test_an_event_of_another_form_is_malformed(environment: object, console: Console, odd: object) -> None:
    with pytest.raises(Malformed, match=r"is missing|expected"):
        run(odd)
