"""Leases: who may write what, until when, by the database's clock.

A claim raises the epoch. Whoever writes under a lease does so only where epoch and owner are still its
own, so that a worker which went silent and woke up again is fenced, not believed.
"""

import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection, models
from django.db.models import F, Q
from django.db.models.functions import Now

from .errors import Fenced

log = logging.getLogger(__name__)


def new_owner() -> str:
    """Return a name for one claimant: host, process, and chance, since one process may claim twice."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class Leased(models.Model):
    """A row that one worker at a time may work on."""

    epoch = models.PositiveIntegerField(default=0, editable=False)
    owner = models.CharField(max_length=80, blank=True, default="", editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    # Claims of a lease that had run out, and failures that nobody foresaw, since the last progress.
    takeovers = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        abstract = True

    @classmethod
    def free(cls) -> Q:
        """Return the condition of a row that nobody holds."""
        return Q(lease_until=None) | Q(lease_until__lt=Now())

    def claim(self, *conditions: Q) -> bool:
        """Take the lease if it is free; False where another worker got there first."""
        owner = new_owner()
        lapsed = models.Case(models.When(lease_until=None, then=0), default=1, output_field=models.IntegerField())
        # One conditional UPDATE: of two workers, the second matches nothing.
        claimed = (
            type(self)
            ._default_manager.filter(self.free(), *conditions, pk=self.pk)
            .update(
                takeovers=F("takeovers") + lapsed,
                epoch=F("epoch") + 1,
                owner=owner,
                lease_until=lease_end(),
            )
        )
        if claimed:
            self.refresh_from_db()
        return bool(claimed) and self.owner == owner

    def held(self) -> Q:
        """Return the condition of this very lease."""
        return Q(pk=self.pk, epoch=self.epoch, owner=self.owner)

    def renew(self) -> bool:
        """Prolong the lease; False where it is no longer ours."""
        return bool(type(self)._default_manager.filter(self.held()).update(lease_until=lease_end()))

    def fence(self) -> None:
        """Keep the lease until the caller's transaction ends; Fenced where it is no longer ours."""
        if not type(self)._default_manager.filter(self.held()).update(epoch=F("epoch")):
            raise Fenced(str(self))

    def release(self, *, failed: bool = False) -> None:
        """Give the lease back, if it is still ours; a failure leaves the count of takeovers as it is."""
        count = {} if failed else {"takeovers": 0}
        type(self)._default_manager.filter(self.held()).update(owner="", lease_until=None, **count)

    def holding(self) -> "Heartbeat":
        """Return a context in which the lease is renewed; it is released at the end."""
        return Heartbeat(self)


def lease_end() -> Any:
    """Return the end of a lease that starts now, by the database's clock."""
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


class Heartbeat:
    """Renews a lease from a thread and a connection of its own until the work is over."""

    def __init__(self, leased: Leased) -> None:
        self.leased = leased
        self.lost = threading.Event()
        # Set by who catches an error inside: it is not seen at the end, and the count of takeovers stays.
        self.failed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._stop.set()
        self._thread.join()
        try:
            self.leased.release(failed=self.failed or error is not None)
        except DatabaseError:
            log.warning("the database is away; the lease of %s runs out by itself", self.leased)

    def _beat(self) -> None:
        while not self._stop.wait(settings.LEASE_SECONDS / 4):
            try:
                close_old_connections()
                if not self.leased.renew():
                    self.lost.set()
                    return
            except DatabaseError as error:
                log.warning("heartbeat of %s: %s", self.leased, error)
        connection.close()


class TableLease(Leased):
    """One writing lease a table, for replace, upsert and restore."""

    table = models.CharField(max_length=130, unique=True)
    # Who wants the table for itself: runs that have not begun wait, those that have go on to their end.
    reserved_by = models.CharField(max_length=80, blank=True, default="")

    class Meta:
        app_label = "migration_console"
        permissions = [("view_metrics", "Can view metrics")]

    def __str__(self) -> str:
        return f"writing lease of {self.table}"


@contextmanager
def writing(table: str) -> Iterator[TableLease | None]:
    """Hold the writing lease of a table; yields None where another worker holds it."""
    lease, _ = TableLease.objects.get_or_create(table=table)
    if not lease.claim():
        yield None
        return
    with lease.holding():
        yield lease


def reserve(table: str, by: str) -> bool:
    """Keep runs from beginning to load into a table; False where somebody else does so already."""
    TableLease.objects.get_or_create(table=table)
    return bool(TableLease.objects.filter(table=table, reserved_by__in=["", by]).update(reserved_by=by))


def unreserve(table: str, by: str) -> None:
    """Let runs begin again."""
    TableLease.objects.filter(table=table, reserved_by=by).update(reserved_by="")


def reserved(table: str) -> str:
    """Return who has reserved a table, and lock that answer until the caller's transaction ends."""
    TableLease.objects.get_or_create(table=table)
    return TableLease.objects.select_for_update().get(table=table).reserved_by
