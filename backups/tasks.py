"""What Celery runs. A message is a bell: acknowledged early, lost or doubled without harm."""

from celery import shared_task
from celery.signals import worker_ready

from . import services, sweeper

# At most once a message, any number of messages a backup: leases decide who works, the database what is left.
BELL = {"acks_late": False, "ignore_result": True, "max_retries": 0}


@shared_task(name="backups.backup", **BELL)
def backup(pk: int) -> None:
    """Take a backup, or prove one."""
    services.take(pk)


@shared_task(name="backups.restore", **BELL)
def restore(pk: int) -> None:
    """Bring a restore as far as it can go."""
    services.bring_back(pk)


@shared_task(name="backups.dry_run", **BELL)
def dry_run(pk: int) -> None:
    """Find out what a restore would change."""
    services.try_out(pk)


@shared_task(name="backups.scheduled_backup", **BELL)
def scheduled_backup(table: str) -> None:
    """Back a table up as its plan says; the sweep does so too where this message was lost."""
    services.scheduled_backup(table, rung=True)


@shared_task(name="backups.scheduled_rehearsal", **BELL)
def scheduled_rehearsal(table: str) -> None:
    """Rehearse a table's newest backup as its plan says."""
    services.scheduled_rehearsal(table, rung=True)


@shared_task(name="backups.sweep", **BELL)
def sweep(*, everything: bool = False) -> None:
    """Ring for what nobody works on."""
    sweeper.sweep(everything=everything)


@worker_ready.connect
def sweep_at_start(**_: object) -> None:
    """Take up what a killed worker left behind, without waiting for the first minute."""
    sweep.delay(everything=True)
