"""The entry: tells the console of new objects, and sends it their rows where it asks for them."""

import io
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import boto3
from botocore.exceptions import ClientError

from .client import Answered, Console, Misconfigured
from .events import Object, created, message_records, s3_records, sqs_messages

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

logging.getLogger(__package__).setLevel(logging.INFO)
log = logging.getLogger(__name__)

# With fewer seconds left the slice in hand is the last one, and a worker goes on behind it.
MARGIN = 5.0


def handler(event: Any, context: Any) -> dict[str, Any] | None:
    """Answer an event: messages of SQS one by one, S3's own by raising, so that AWS delivers it again."""
    with Console(context.get_remaining_time_in_millis() / 1000) as console:
        messages = sqs_messages(event)
        if messages is not None:
            failed = [message["messageId"] for message in messages if not _taken(message, console)]
            return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
        errors = list(take(s3_records(event), console))
    if errors:
        raise errors[0]
    return None


def _taken(message: dict[str, Any], console: Console) -> bool:
    try:
        return not list(take(message_records(message), console))
    except Exception:
        log.exception("message %s", message["messageId"])
        return False


def take(records: Iterable[Any], console: Console) -> Iterator[Exception]:
    """Announce every record's object, whatever becomes of the others; yield what went wrong."""
    for record in records:
        try:
            if found := created(record):
                announce(found, console)
        except Exception as error:
            log.exception("one record failed, the others go on")
            yield error


def announce(found: Object, console: Console) -> None:
    """Tell the console of an object, and send its rows if that is what it wants."""
    rows = send_rows() and console.left() > MARGIN
    body = json.dumps(asdict(found) | {"rows": rows}).encode()
    answer = console.post("/files", body, "application/json")
    log.info("%s: run %s is %s, send %s", found, answer["run"], answer["status"], answer["send"])
    if answer["send"] != "rows":
        return
    try:
        send(found.bucket, answer, console)
    except Answered as error:
        if error.code != "taken-over":
            raise
        log.info("run %s: a worker has taken over", answer["run"])
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        log.warning("%s is gone; the console will notice by itself", found)


def send(bucket: str, answer: dict[str, Any], console: Console) -> None:
    """Stream the lines that the console asked for, so many a request, until the end or until time runs short."""
    start, stop, row, line, records = (answer[name] for name in ("start", "end", "row", "line", "records"))
    if start >= stop:
        return
    pinned = {"Bucket": bucket, "Key": answer["key"], "VersionId": answer["version"]}
    with closing(s3().get_object(**pinned, Range=f"bytes={start}-{stop - 1}")["Body"]) as body:
        lines = io.BufferedReader(cast(io.RawIOBase, body), 1 << 18)
        while start < stop:
            # The server has made sure that each line is one record. Meanwhile the socket reads ahead.
            data = b"".join(islice(lines, records))
            if not data:
                raise EOFError(f"the object ends at byte {start}, before {stop}")
            end = start + len(data)
            last = end == stop or console.left() < MARGIN
            place = {"run": answer["run"], "epoch": answer["epoch"], "start": start, "end": end}
            query = urlencode(place | {"row": row, "line": line} | ({"last": "true"} if last else {}))
            console.post(f"/validate-transform?{query}", data, "text/csv")
            if last:
                log.info("run %s: sent up to byte %s of %s", answer["run"], end, stop)
                return
            start, row, line = end, row + records, line + records


def send_rows() -> bool:
    """Return whether this Lambda offers to send rows."""
    value = os.environ.get("SEND_ROWS", "true").strip().lower()
    if value not in ("true", "false"):
        raise Misconfigured(f"SEND_ROWS must be true or false, not {value!r}")
    return value == "true"


@cache
def s3() -> "S3Client":
    """Return the client of S3; kept between invocations."""
    return boto3.client("s3")
