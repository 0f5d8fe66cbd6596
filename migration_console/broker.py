"""The brokers that CELERY_BROKER_URL may name: a folder, RabbitMQ, SQS. What they carry may be lost or doubled."""

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

QUEUE = "migration-console"
# How long a client waits for a connection: whoever rings has somebody waiting behind it.
CONNECT_SECONDS = 2
# How long the folder broker's read messages are kept.
KEEP_SECONDS = 3600


def transport_options(url: str, folder: Path, expires: float) -> dict[str, Any]:
    """Return Celery's transport options for a broker's URL; a message is worthless after `expires` seconds."""
    match urlsplit(url).scheme:
        case "filesystem":
            return _folder(folder)
        case "sqs":
            return _sqs(math.ceil(expires))
    return {}


def has_remote_control(url: str) -> bool:
    """Tell whether workers can be asked and commanded: on SQS, each would need a queue of its own for it."""
    return urlsplit(url).scheme != "sqs"


def tls(url: str) -> dict[str, Any] | bool:
    """Return how Celery encrypts: with a certificate checked against the URL's host, which is not its default."""
    return {"server_hostname": None} if urlsplit(url).scheme == "amqps" else False


def _folder(folder: Path) -> dict[str, Any]:
    for name in ("messages", "processed", "control"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
        # Moved on the same disk: through the system's temporary folder a move is a copy and a delete.
        "store_processed": True,
        "processed_folder": str(folder / "processed"),
        "polling_interval": 0.1,
    }


def prune(folder: Path) -> int:
    """Delete the messages that the folder broker has handed out, an hour later; return how many."""
    # By the time of the move, which is the change of the inode: a message may have lain unread for long, and the
    # worker that has just taken it has yet to open it.
    past = time.time() - KEEP_SECONDS
    count = 0
    for path in folder.glob("processed/*.msg"):
        with suppress(FileNotFoundError):  # another process sweeps too
            if path.stat().st_ctime < past:
                path.unlink()
                count += 1
    return count


def _sqs(expires: int) -> dict[str, Any]:
    """Return the options of SQS; region, address and credentials are boto3's own business."""
    return {
        # One request in 20 seconds while nothing happens, and the next one at once.
        "wait_time_seconds": 20,
        "polling_interval": 0,
        # What a dead worker had fetched shows again only when the sweep has rung for it anyhow.
        "visibility_timeout": expires,
        # Used where the worker makes the queue; SQS keeps no message for less than a minute.
        "sqs-creation-attributes": {"MessageRetentionPeriod": str(max(60, expires))},
        # For sending and deleting; receiving has time-outs of its own.
        "client-config": {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": CONNECT_SECONDS,
            "retries": {"total_max_attempts": 2},
        },
    }
