"""Rings for a worker. The database is the queue: a lost message costs time until the sweep, nothing else."""

import logging
import time

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from .models import OPEN, Run

log = logging.getLogger(__name__)
# After a failure nobody waits for the broker again so soon: one sweep rings for thousands of runs.
PAUSE_SECONDS = 10
_silent_until = 0.0


def ring(run: Run, times: int = 1) -> None:
    """Ring for a run once the present transaction is committed; the sweep rings again where that fails."""

    def send() -> None:
        if all(_send(run.pk) for _ in range(times)):
            Run.objects.filter(pk=run.pk).update(rung_at=timezone.now())

    transaction.on_commit(send)


def ring_waiting() -> None:
    """Ring for the runs that wait for another one: one of them may go on now."""
    for run in Run.objects.filter(status__in=OPEN, closed_at=None).exclude(waiting_for="")[:200]:
        ring(run)


def _send(pk: int) -> bool:
    """Send one message; False, and no exception, where the broker is away: its clients have a dozen for it."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return False
    try:
        # By name: whoever rings need not load what the workers run.
        current_app.send_task("ingest.advance", [pk], expires=settings.BELL_SECONDS)
    except Exception as error:
        _silent_until = time.monotonic() + PAUSE_SECONDS
        log.warning("the broker is away; the sweep will ring for run %s again: %s", pk, error)
        return False
    return True
