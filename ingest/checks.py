"""System checks: what a wrong environment would break, named by id."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connection


@register(Tags.database)
def check_server(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Look at the server's variables that loading depends on."""
    if not databases or connection.vendor != "mysql":
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@local_infile, @@max_allowed_packet, @@default_storage_engine")
        local_infile, packet, engine = cursor.fetchone()
    found: list[CheckMessage] = []
    if not local_infile:
        hint = "Set local_infile=1 (on RDS: in the parameter group); loading goes on by INSERT, several times slower."
        found.append(Warning("The server forbids LOAD DATA LOCAL.", hint=hint, id="ingest.W001"))
    if packet < 4 << 20:
        found.append(Warning("max_allowed_packet is below 4 MiB.", hint="Set it to 16 MiB or more.", id="ingest.W002"))
    if engine != "InnoDB":
        hint = "Rows and ledger commit together only in InnoDB."
        found.append(Error(f"The default storage engine is {engine}.", hint=hint, id="ingest.E001"))
    return found


@register()
def check_region(**_: Any) -> list[CheckMessage]:
    """Refuse SQS without a region: the broker's client would go to one of its own choice."""
    if not settings.CELERY_BROKER_URL.startswith("sqs:"):
        return []
    from boto3.session import Session

    if Session().region_name:
        return []
    hint = "Set AWS_DEFAULT_REGION in the environment of the process."
    return [Error("CELERY_BROKER_URL names SQS, and no region is set.", hint=hint, id="ingest.E002")]
