"""What arrives: S3 notifications, direct or in SQS messages (there also by way of SNS), become objects."""

import json
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_plus

T = TypeVar("T")


class Malformed(Exception):
    """The event is not what S3 sends, and will not be so the next time either."""


@dataclass(frozen=True)
class Object:
    """An object that was created, as POST /files takes it."""

    bucket: str
    key: str
    version: str | None
    size: int | None
    # Orders the events of one key.
    sequencer: str | None

    def __str__(self) -> str:
        # Quoted, since a key may hold line ends, which would forge lines of the log.
        return f"{self.bucket} {self.key!r} version {self.version}"


def sqs_messages(event: Any) -> list[dict[str, Any]] | None:
    """Return the messages of an SQS event; None where S3 called directly."""
    records = s3_records(event)
    return records if any(_field(record, "eventSource", str, None) == "aws:sqs" for record in records[:1]) else None


def message_records(message: dict[str, Any]) -> list[Any]:
    """Return the S3 records in an SQS message."""
    body = _json(_field(message, "body", str), "body")
    if isinstance(body, dict) and body.get("Type") == "Notification":
        body = _json(_field(body, "Message", str), "Message")
    return s3_records(body)


def s3_records(notification: Any) -> list[Any]:
    """Return the records of a notification of S3; the one by which it tries the connection has none."""
    if isinstance(notification, dict) and notification.get("Event") == "s3:TestEvent":
        return []
    return _field(notification, "Records", list)


def created(record: Any) -> Object | None:
    """Return the object of a record; None for folder markers and for what creates nothing."""
    if not _field(record, "eventName", str).removeprefix("s3:").startswith("ObjectCreated:"):
        return None
    raw = _field(record, "s3.object.key", str)
    try:
        # The one place where the key is decoded: twice, and a%2Bb would become "a b".
        key = unquote_plus(raw, errors="strict")
    except UnicodeDecodeError:
        raise Malformed(f"s3.object.key {raw!r} is not UTF-8") from None
    if key.endswith("/"):
        return None
    return Object(
        bucket=_field(record, "s3.bucket.name", str),
        key=key,
        version=_field(record, "s3.object.versionId", str, None),
        size=_field(record, "s3.object.size", int, None),
        sequencer=_field(record, "s3.object.sequencer", str, None),
    )


def _field(value: Any, path: str, kind: type[T], *default: None) -> T | Any:
    """Return what lies at a dotted path; missing or of another type is an error that names it."""
    for name in path.split("."):
        if not isinstance(value, dict):
            raise Malformed(f"{path} is missing: the event is not a notification of S3")
        value = value.get(name)
    if value is None and default:
        return None
    if not isinstance(value, kind) or value == "":
        raise Malformed(f"{path} is {'missing' if value is None else repr(value)[:100]}, expected {kind.__name__}")
    return value


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Malformed(f"the message's {where} is not JSON: {error}") from None
