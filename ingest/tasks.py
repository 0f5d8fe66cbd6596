"""What Celery runs. A message is a bell: acknowledged early, lost or doubled without harm."""

from celery import shared_task
from celery.signals import worker_ready

from . import services, sweeper

# At most once a message, any number of messages a run: leases decide who works, the ledger what is left.
BELL = {"acks_late": False, "ignore_result": True, "max_retries": 0}


@shared_task(name="ingest.advance", **BELL)
def advance(run: int) -> None:
    """Bring a run as far as it can go."""
    services.advance(run)


@shared_task(name="ingest.sweep", **BELL)
def sweep(*, everything: bool = False) -> None:
    """Admit files without a run, and ring for runs that nobody works on."""
    sweeper.sweep(everything=everything)


@worker_ready.connect
def sweep_at_start(**_: object) -> None:
    """Take up what a killed worker left behind, without waiting for the first minute."""
    sweep.delay(everything=True)
