"""What Celery runs. A message is a bell: acknowledged early, lost or doubled without harm."""

from typing import Any

from celery import shared_task
from celery.signals import worker_ready
from django.conf import settings

from . import services, sweeper

# At most once a message, any number of messages a run: leases decide who works, the ledger what is left.
BELL: dict[str, Any] = {
    # Acknowledged before the work begins: a broker that delivers a bell again in the middle of it helps nobody.
    "acks_late": False,
    # No retries: what did not succeed is still in the database, and the sweep rings for it.
    "max_retries": 0,
    # Older than that, the sweep has rung again: in a backlog old bells would only make the queue longer.
    "expires": settings.BELL_SECONDS,
    # None: a file takes as long as it takes. A dead worker's lease runs out, and a person may cancel.
    "time_limit": None,
    "soft_time_limit": None,
    # The run says what became of it.
    "ignore_result": True,
}


@shared_task(name="ingest.advance", **BELL)
def advance(run: int) -> None:
    """Bring a run as far as it can go."""
    services.advance(run)


@shared_task(name="ingest.sweep", **BELL)
def sweep(*, everything: bool = False) -> None:
    """Ring for runs that nobody works on, and admit files without a run where it is time to list them."""
    sweeper.sweep(everything=everything, listing=everything or sweeper.listing_is_due())


@worker_ready.connect
def sweep_at_start(**_: object) -> None:
    """Take up what a killed worker left behind, without waiting for the first minute."""
    sweep.delay(everything=True)
