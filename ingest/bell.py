"""Rings for a worker. The database is the queue: a lost message costs time until the sweep, nothing else."""

import logging

from celery import current_app
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from .models import OPEN, Run

log = logging.getLogger(__name__)


def ring(run: Run, times: int = 1) -> None:
    """Ring for a run once the present transaction is committed."""
    Run.objects.filter(pk=run.pk).update(rung_at=timezone.now())

    def send() -> None:
        for _ in range(times):
            _send(run.pk)

    transaction.on_commit(send)


def ring_waiting() -> None:
    """Ring for the runs that wait for another one: one of them may go on now."""
    for run in Run.objects.filter(status__in=OPEN, closed_at=None).exclude(waiting_for="")[:200]:
        ring(run)


def _send(pk: int) -> None:
    try:
        current_app.send_task("ingest.advance", [pk])
    except (OperationalError, OSError) as error:
        log.warning("the broker is away; the sweep will ring for run %s again: %s", pk, error)
