"""Who did what: one log that only grows. Each line holds the digest of the one before, so that an edit shows."""

import hashlib
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import orjson
from django.db import models, transaction
from django.db.models import F
from django.utils import timezone as clock

from .acting import command
from .errors import Broken

FIRST = "0" * 64
SLICE = 2000


class AuditEntry(models.Model):
    """A line of the log. No foreign keys: it outlives whom and what it names."""

    at = models.DateTimeField()
    # Who: a user's name, `command: NAME` with the name of the operating system, or nothing for the console itself.
    actor = models.CharField(max_length=150, blank=True)
    action = models.CharField(max_length=60, help_text="what was done: run.cancelled, dataset.saved")
    subject_type = models.CharField(max_length=40)
    subject_id = models.CharField(max_length=64)
    subject = models.CharField(max_length=255)
    # Canonical JSON, as text: the digest is over these very bytes.
    details = models.TextField(default="{}")
    previous = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)

    class Meta:
        app_label = "migration_console"
        ordering = ["-id"]
        default_permissions = ("view",)
        verbose_name = "audit line"
        indexes = [
            models.Index(fields=["subject_type", "subject_id", "-id"], name="audit_of_subject"),
            models.Index(fields=["actor", "-id"], name="audit_of_actor"),
            models.Index(fields=["action", "-id"], name="audit_of_action"),
            models.Index(fields=["subject_type", "-id"], name="audit_of_kind"),
            models.Index(fields=["at"], name="audit_at"),
            models.Index(fields=["subject"], name="audit_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"

    def save(self, *args: Any, **more: Any) -> None:
        """Append; a line that is there stays as it is."""
        if self.pk is not None:
            raise TypeError("the audit log is append-only")
        super().save(*args, **more)

    def delete(self, *_: Any, **__: Any) -> tuple[int, dict[str, int]]:
        """Refuse."""
        raise TypeError("the audit log is append-only")

    def computed(self) -> str:
        """Return the digest that the line must have: SHA-256 over the one before and all that it says."""
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        said = [self.previous, at, self.actor, self.action, self.subject_type, self.subject_id, self.subject]
        return hashlib.sha256(orjson.dumps([*said, self.details])).hexdigest()


class AuditHead(models.Model):
    """The end of the chain: whoever appends holds this row until the transaction is over."""

    length = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, default=FIRST)

    class Meta:
        app_label = "migration_console"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.length} lines"


def record(action: str, subject: models.Model, *, user: Any = None, **details: Any) -> None:
    """Append a line, in the transaction of the deed where there is one: both are there, or neither.

    Call it last in a transaction: the end of the chain is locked until then. `details` must fit into JSON.
    """
    kept = orjson.dumps(details, option=orjson.OPT_SORT_KEYS, default=str).decode()
    with transaction.atomic():
        # Takes the lock; of two writers the second reads the first one's digest.
        if not AuditHead.objects.filter(pk=1).update(length=F("length") + 1):
            raise Broken("the audit log has lost its end: run manage.py migrate, which restores it")
        head = AuditHead.objects.select_for_update().get(pk=1)
        entry = AuditEntry(
            at=clock.now(),
            actor=command.get() or (user.get_username() if user is not None and user.pk else ""),
            action=action,
            subject_type=subject._meta.model_name or "",
            subject_id="" if subject.pk is None else str(subject.pk),
            subject=str(subject)[:255],
            details=kept,
            previous=head.digest,
        )
        entry.digest = entry.computed()
        entry.save()
        AuditHead.objects.filter(pk=1).update(digest=entry.digest)


def save_head(**_: Any) -> None:
    """Make the end of the chain where there is none: called after each migrate, so that no two writers make it."""
    last = AuditEntry.objects.order_by("-id").first()
    AuditHead.objects.get_or_create(
        pk=1, defaults={"length": AuditEntry.objects.count(), "digest": last.digest if last else FIRST}
    )


def broken_lines() -> Iterator[tuple[int | None, str]]:
    """Yield what is wrong with the chain: the line's number, and a sentence."""
    # Read first: what is appended while we look is not missing.
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    digest, length, end = FIRST, 0, FIRST
    for entry in _lines():
        if entry.previous != digest:
            yield entry.pk, f"line {entry.pk} does not follow the one before it: a line was taken out or put in"
        if entry.computed() != entry.digest:
            yield entry.pk, f"line {entry.pk} was changed after it was written"
        digest, length = entry.digest, length + 1
        if length == head.length:
            end = digest
    if length < head.length or head.digest != end:
        yield None, f"the log should have {head.length} lines and has {length}: its end was cut off or changed"


def _lines() -> Iterator[AuditEntry]:
    """Yield all lines in slices: a MySQL client would fetch all of them at once."""
    after = 0
    while some := list(AuditEntry.objects.filter(pk__gt=after).order_by("pk")[:SLICE]):
        yield from some
        after = some[-1].pk


def history(subject: models.Model) -> models.QuerySet[AuditEntry]:
    """Return the lines about an object, newest first."""
    return AuditEntry.objects.filter(subject_type=subject._meta.model_name, subject_id=str(subject.pk))
