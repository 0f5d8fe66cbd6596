"""Runs that ended badly wait for a person, until one has seen to them."""

from typing import Any

from django.db import transaction

from migration_console.lib.audit import record
from migration_console.lib.errors import conflict, refuse

from .models import Run


def deal_with(run: Run, *, user: Any = None, note: str) -> None:
    """Note that a person has seen to a run that ended badly: it waits for nobody any more."""
    if not note.strip():
        raise refuse("note", "say what was done about it, for whoever asks later", "note")
    with transaction.atomic():
        if not Run.objects.filter(pk=run.pk, attention=True).update(attention=False):
            raise conflict("not-waiting", f"{run} waits for nobody: it was mended, or somebody has just dealt with it")
        record("run.dealt_with", run, user=user, note=note)
