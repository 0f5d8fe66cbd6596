"""Long work that people ask for and workers do: how far it is, what it waits for, how it ends."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from migration_console.lib.lease import Leased


def how_far(counts: dict[str, int], seconds: float | None, *, going_on: bool) -> dict[str, Any]:
    """Return counts of rows and bytes with their rate, and where the work goes on, how long it will."""
    rate = counts["rows"] / seconds if seconds else 0
    left = max(counts["rows_expected"] - counts["rows"], 0) / rate if rate and going_on else None
    return {
        **counts,
        "rows_per_second": round(rate),
        "seconds": seconds,
        "seconds_left": None if left is None else round(left, 1),
    }


class Work(Leased):
    """Long work that a person asked for and a worker does."""

    cancel_requested = models.BooleanField(default=False)
    problems = models.JSONField(default=list, blank=True)
    waiting_for = models.CharField(max_length=255, blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    trigger = models.CharField(max_length=20, default="command")
    created_at = models.DateTimeField(auto_now_add=True)
    rung_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    rows = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    rows_expected = models.BigIntegerField(default=0)

    class Meta:
        abstract = True

    @property
    def seconds(self) -> float | None:
        """Return how long the work took, or has taken so far."""
        if self.started_at is None:
            return None
        return round(((self.finished_at or timezone.now()) - self.started_at).total_seconds(), 3)

    def progress(self) -> dict[str, Any]:
        """Return how far the work is: rows, bytes, rows a second, seconds left."""
        counts = {"rows": self.rows, "bytes": self.bytes, "rows_expected": self.rows_expected}
        return how_far(counts, self.seconds, going_on=self.finished_at is None)

    def wait(self, what: str) -> None:
        """Note what the work waits for, if the lease is still ours."""
        type(self)._default_manager.filter(self.held()).update(waiting_for=what[:255])
        self.waiting_for = what[:255]

    def conclude(self, open_ones: Iterable[str], **fields: Any) -> bool:
        """Bring open work to its end, if the lease is still ours; False where it is not."""
        ended = {"under_way": None, "finished_at": timezone.now(), "waiting_for": ""}
        still_ours = self.held() & models.Q(status__in=open_ones)
        if not type(self)._default_manager.filter(still_ours).update(**ended, **fields):
            # Not read again: the lease that stands there now is another worker's, and must not be taken for ours.
            return False
        self.refresh_from_db()
        return True
