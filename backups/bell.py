"""Rings for a worker. The database is the queue: a lost message costs time until the sweep, nothing else."""

import logging

from celery import current_app
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from .models import Backup, DryRun, Restore

log = logging.getLogger(__name__)
TASKS: dict[type, str] = {Backup: "backups.backup", Restore: "backups.restore", DryRun: "backups.dry_run"}


def ring(work: Backup | Restore | DryRun) -> None:
    """Ring for work once the present transaction is committed."""
    type(work)._default_manager.filter(pk=work.pk).update(rung_at=timezone.now())
    name = TASKS[type(work)]
    transaction.on_commit(lambda: _send(name, work.pk))


def _send(name: str, pk: int) -> None:
    try:
        current_app.send_task(name, [pk])
    except (OperationalError, OSError) as error:
        log.warning("the broker is away; the sweep will ring for %s %s again: %s", name, pk, error)
