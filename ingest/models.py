"""Datasets, runs, and the ledger. State changes are methods; each is one conditional UPDATE."""

import hashlib
from typing import Any

import orjson
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from migration_console.lib.lease import Leased

from .descriptor import Descriptor, parse_descriptor
from .schema import Schema, compile_json

MAX_REJECT_BYTES = 64 << 10
MAX_REJECTS = 100_000


class Dataset(models.Model):
    """A feed of files of one shape going into one table."""

    name = models.CharField(max_length=100, unique=True)
    table = models.CharField(max_length=130)
    paused = models.BooleanField(default=False)
    # Takes no more files; kept because its runs are.
    retired = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        permissions = [("alter_table", "Can change a dataset's table")]

    def __str__(self) -> str:
        return self.name

    @property
    def current(self) -> "SchemaVersion":
        """Return the newest schema version."""
        return self.versions.latest("number")


class SchemaVersion(models.Model):
    """A descriptor as it was at one time; never changed once a run has used it."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    descriptor = models.JSONField()
    model_hash = models.CharField(max_length=64, blank=True, help_text="SHA-256 of a hand-written model's source")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "number"], name="schema_version_number")]
        ordering = ["dataset", "-number"]

    def __str__(self) -> str:
        return f"{self.dataset} v{self.number}"

    @property
    def parsed(self) -> Descriptor:
        """Return the descriptor."""
        return parse_descriptor(self.descriptor)

    @property
    def schema(self) -> Schema:
        """Return the compiled schema."""
        return compile_json(orjson.dumps(self.descriptor, option=orjson.OPT_SORT_KEYS))


class Draft(models.Model):
    """A descriptor that somebody is writing, and the sample it is tried on; the sweep removes what is left lying."""

    # None for a dataset that is yet to be.
    dataset = models.ForeignKey(Dataset, null=True, on_delete=models.CASCADE, related_name="drafts")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    descriptor = models.JSONField()
    # The dataset's descriptor when the draft was begun: somebody else may publish meanwhile.
    base = models.JSONField(null=True)
    # In the database, since several web servers may serve one draft: 1 MiB at most, unpacked.
    sample = models.BinaryField(null=True)
    sample_name = models.CharField(max_length=255, blank=True)
    sample_cut = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(auto_now=True, db_index=True)

    class Meta:
        default_permissions = ()
        ordering = ["-touched_at"]

    def __str__(self) -> str:
        return f"draft of {self.dataset or self.descriptor.get('name') or 'a dataset'}"


class Status(models.TextChoices):
    """Where a run stands."""

    RECEIVED = "received"
    LOADING = "loading"
    LOADED = "loaded"
    ARCHIVED = "archived"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    GONE = "gone"
    ROLLED_BACK = "rolled back"


# The trigger of a run that corrects another one's rejects, and the version of one whose file is still on its way.
CORRECTION, UPLOADING, RESTORED = "correction", "uploading", "restore"
OPEN = [Status.RECEIVED, Status.LOADING]
IN_THE_TABLE = [Status.LOADED, Status.ARCHIVED]
# Their batches stay in the table too, unless the file was to be published whole.
PARTLY = [Status.LOADING, Status.FAILED, Status.CANCELLED]
BADLY = {Status.REFUSED, Status.FAILED}
TO_ERRORS = [Status.REFUSED, Status.FAILED, Status.CANCELLED]


def key_hash(key: str) -> str:
    """Return the SHA-256 of an object key; keys run to 1,024 bytes, too long for an index."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class Run(Leased):
    """One arrival of one file for one dataset, and one attempt at it."""

    dataset = models.ForeignKey(Dataset, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    schema_version = models.ForeignKey(SchemaVersion, null=True, blank=True, on_delete=models.PROTECT)
    bucket = models.CharField(max_length=255, blank=True)
    key = models.TextField()
    key_hash = models.CharField(max_length=64)
    version = models.CharField(max_length=128)
    # Orders the versions of one key: the event's sequencer on S3, the time of change in a folder.
    sequence = models.CharField(max_length=64, blank=True)
    attempt = models.PositiveIntegerField(default=1)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.RECEIVED)
    reason = models.CharField(max_length=255, blank=True, help_text="why a duplicate is loaded again")
    # Who sent the file, or asked for the present attempt.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    trigger = models.CharField(max_length=20, default="sweep")
    waiting_for = models.CharField(max_length=255, blank=True)
    cancel_requested = models.BooleanField(default=False)
    # It ended badly, and neither a later run nor a person has mended it.
    attention = models.BooleanField(default=False, editable=False)
    # Some of its rejects are open: kept here, since to look among millions of rejects takes long.
    rejects_open = models.BooleanField(default=False, editable=False)
    duplicate_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    size = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, null=True, blank=True)
    # What the survey found: encoding, line ends, columns, records, bounds.
    survey = models.JSONField(default=dict, blank=True)
    problems = models.JSONField(default=list, blank=True)
    warnings = models.JSONField(default=list, blank=True)
    # Errors grouped by field and code.
    errors = models.JSONField(default=list, blank=True)
    read = models.BigIntegerField(default=0)
    loaded = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    skipped = models.BigIntegerField(default=0)

    received_at = models.DateTimeField(auto_now_add=True)
    rung_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Set when the file's bytes are verified under processed/ or errors/.
    archived_key = models.TextField(blank=True)
    archived_version = models.CharField(max_length=128, blank=True)
    report_key = models.TextField(blank=True)
    # Set when the file has left raw/: nothing is left to do.
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "key_hash", "version", "attempt"], name="run_object_version")
        ]
        indexes = [
            models.Index(fields=["closed_at", "status"], name="run_open"),
            models.Index(fields=["dataset", "sha256"], name="run_same_bytes"),
            # The list of runs, newest first, and its filters.
            models.Index(fields=["dataset", "-id"], name="run_of_dataset"),
            models.Index(fields=["status", "-id"], name="run_of_status"),
            models.Index(fields=["trigger", "-id"], name="run_of_trigger"),
            models.Index(fields=["received_at"], name="run_received"),
            # The dashboard: what waits for a person, and the sums of the last days, from the index alone.
            models.Index(fields=["attention", "-id"], name="run_attention"),
            models.Index(fields=["rejects_open", "-id"], name="run_rejects_open"),
            models.Index(fields=["finished_at", "dataset", "status", "loaded", "rejected"], name="run_finished"),
        ]
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"run {self.pk} of {self.key}"

    @property
    def version_schema(self) -> Schema:
        """Return the compiled schema that the run is pinned to."""
        assert self.schema_version is not None
        return self.schema_version.schema

    @property
    def seconds(self) -> float | None:
        """Return how long the run took, or has taken so far."""
        if self.started_at is None:
            return None
        return round(((self.finished_at or timezone.now()) - self.started_at).total_seconds(), 3)

    def end(self, status: Status, *, problems: list[dict[str, Any]] | None = None, **fields: Any) -> bool:
        """Bring an open run to an end; False where it has come to one already."""
        changed = Run.objects.filter(pk=self.pk, status__in=OPEN).update(
            status=status, problems=problems or [], finished_at=timezone.now(), waiting_for="",
            attention=status in BADLY, rejects_open=bool(fields.get("rejected")) and status != Status.REFUSED,
            **fields,
        )  # fmt: skip
        if changed and status == Status.LOADED:
            # A better file of the same name has come.
            before = Run.objects.filter(bucket=self.bucket, key_hash=self.key_hash, pk__lt=self.pk, attention=True)
            before.update(attention=False)
        self.refresh_from_db()
        return bool(changed)

    def note_open_rejects(self) -> None:
        """Note whether any reject is still to be sent; for whoever has opened, sent or dismissed some."""
        mine = Reject.objects.filter(run=models.OuterRef("pk"), state__in=UNSENT)
        Run.objects.filter(pk=self.pk).update(rejects_open=models.Exists(mine))

    def wait(self, what: str) -> None:
        """Note what an open run waits for."""
        Run.objects.filter(pk=self.pk).update(waiting_for=what[:255])
        self.waiting_for = what[:255]

    def as_dict(self) -> dict[str, Any]:
        """Return what commands print of a run."""
        return {
            "id": self.pk,
            "dataset": self.dataset.name if self.dataset else None,
            "key": self.key,
            "status": self.status,
            "read": self.read,
            "loaded": self.loaded,
            "rejected": self.rejected,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "errors": self.errors,
            "problems": self.problems,
            "warnings": self.warnings,
            "waiting_for": self.waiting_for,
            "report": self.report_key,
        }


class Part(Leased):
    """A byte range of a file, on record boundaries, that one worker loads."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    start = models.BigIntegerField()
    end = models.BigIntegerField()
    first_row = models.BigIntegerField()
    first_line = models.BigIntegerField()
    next_byte = models.BigIntegerField()
    next_row = models.BigIntegerField()
    next_line = models.BigIntegerField()
    # A client sends the rows, as it reads them from the lake; what it sent is held against the file at the end.
    sent = models.BooleanField(default=False)
    # How often a worker found that another one had taken over.
    fenced = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="part_number")]
        ordering = ["run", "number"]

    def __str__(self) -> str:
        return f"part {self.number} of run {self.run_id}"

    @staticmethod
    def unfinished() -> Q:
        """Return the condition of parts with bytes left."""
        return Q(next_byte__lt=F("end"))

    def advance(self, *, start: int, byte: int, row: int, line: int) -> bool:
        """Move on behind a batch, if the lease is ours and nobody was there before."""
        moved = Part.objects.filter(self.held(), next_byte=start).update(
            next_byte=byte, next_row=row, next_line=line, takeovers=0
        )
        self.next_byte, self.next_row, self.next_line = byte, row, line
        return bool(moved)


class Batch(models.Model):
    """A slice of a part, loaded in one transaction: a line of the ledger.

    Never deleted, but where a restore has taken its rows out of the table: docs/loading.md says why.
    """

    # No constraints in the database: checking them would lock the rows of run and part from the start
    # of each batch, and deadlock with the heartbeat, which writes there too.
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="batches", db_constraint=False)
    part = models.ForeignKey(Part, on_delete=models.CASCADE, related_name="batches", db_constraint=False)
    start = models.BigIntegerField()
    end = models.BigIntegerField()
    first_row = models.BigIntegerField()
    first_line = models.BigIntegerField()
    rows = models.PositiveIntegerField()
    loaded = models.PositiveIntegerField()
    rejected = models.PositiveIntegerField()
    skipped = models.PositiveIntegerField()
    errors = models.JSONField(default=list)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the batch's bytes")
    # Rejects past the limit of the reject table, as zlib-compressed JSON lines, until the report is written.
    overflow = models.BinaryField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "start"], name="batch_start")]
        ordering = ["run", "start"]
        verbose_name_plural = "batches"

    def __str__(self) -> str:
        return f"batch at {self.start} of run {self.run_id}"


class Reject(models.Model):
    """A row set aside, with every reason."""

    class State(models.TextChoices):
        """What became of it. The first three are still to be sent: see UNSENT."""

        OPEN = "open", "open"
        # Corrected and not sent yet: it breaks a rule still, or passes all that is not left to the database.
        EDITED = "edited", "corrected, still wrong"
        READY = "ready", "ready to be sent"
        RESUBMITTED = "resubmitted", "sent, under way"
        FIXED = "fixed", "fixed and loaded"
        DISMISSED = "dismissed", "dismissed"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="rejects", db_constraint=False, db_index=False)
    # The run's own, once more: the list of all rejects filters by it without a join.
    dataset = models.ForeignKey(
        Dataset, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    # No index: a file may have as many rejects as rows, and nobody asks for the rejects of a batch.
    batch = models.ForeignKey(
        Batch, on_delete=models.DO_NOTHING, related_name="rejects", db_constraint=False, db_index=False
    )
    row = models.BigIntegerField()
    line = models.BigIntegerField()
    start = models.BigIntegerField()
    end = models.BigIntegerField()
    raw = models.BinaryField(help_text="the row's bytes, 64 KiB of them at most")
    errors = models.JSONField()
    state = models.CharField(max_length=12, choices=State.choices, default=State.OPEN)
    # The values that somebody sent instead, and the run and row in which they are tried.
    corrected = models.JSONField(null=True)
    corrected_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    child = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="corrects", db_constraint=False)
    child_row = models.BigIntegerField(null=True)
    note = models.CharField(max_length=255, blank=True, db_default="", help_text="why it was dismissed")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "row"], name="reject_row")]
        indexes = [
            # The counts of a run, and its rows of one state in the order of the file.
            models.Index(fields=["run", "state", "row"], name="reject_of_run"),
            # The list of all rejects, newest first.
            models.Index(fields=["state", "-id"], name="reject_of_state"),
            models.Index(fields=["dataset", "state", "-id"], name="reject_of_dataset"),
        ]
        ordering = ["run", "row"]

    def __str__(self) -> str:
        return f"row {self.row} of run {self.run_id}"

    @property
    def is_whole(self) -> bool:
        """Tell whether all of the row's bytes are here."""
        return self.end - self.start <= MAX_REJECT_BYTES

    @property
    def is_orphan(self) -> bool:
        """Tell whether nothing but a missing parent kept the row out, and all of its bytes are here."""
        return (
            self.is_whole
            and self.state == self.State.OPEN
            and self.corrected is None
            and {e["code"] for e in self.errors} == {"foreign-key"}
        )

    @property
    def text(self) -> str:
        """Return the row as text; bytes that are no UTF-8 show as �."""
        return bytes(self.raw).decode("utf-8", "replace")


# Rejects that somebody can still work on.
UNSENT = [Reject.State.OPEN, Reject.State.EDITED, Reject.State.READY]
# Those of them that break a rule still: a row that is ready keeps the errors that it came with.
WRONG = [Reject.State.OPEN, Reject.State.EDITED]
