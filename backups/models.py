"""Tables on the console's list, backups, restores. State changes are methods; each is one conditional UPDATE."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from migration_console.lib.errors import Fenced

from .container import CODECS, DEFAULT_CODEC
from .work import Work, how_far

CODEC_CHOICES = [(name, name) for name in CODECS]
KINDS = ("last", "daily", "weekly", "monthly")
PLAN_FIELDS = ("schedule", "rehearsal_schedule", "codec", *(f"keep_{kind}" for kind in KINDS))


class ListedTable(models.Model):
    """A table and how it is backed up: those that an operator has added, and those of datasets with a plan."""

    name = models.CharField(max_length=130, unique=True)
    # False where only a plan is kept here and a dataset brings the table on the list.
    added = models.BooleanField(default=True)
    codec = models.CharField(max_length=12, choices=CODEC_CHOICES, default=DEFAULT_CODEC)
    schedule = models.CharField(max_length=100, blank=True, help_text="when to back up, as cron writes it: 0 3 * * *")
    rehearsal_schedule = models.CharField(
        max_length=100, blank=True, help_text="when to rehearse the newest backup, as cron writes it"
    )
    # Until when each schedule was served; what is due since then has yet to be asked for.
    backed_up_until = models.DateTimeField(null=True, blank=True, editable=False)
    rehearsed_until = models.DateTimeField(null=True, blank=True, editable=False)
    keep_last = models.PositiveIntegerField(default=0)
    keep_daily = models.PositiveIntegerField(default=0)
    keep_weekly = models.PositiveIntegerField(default=0)
    keep_monthly = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    class Meta:
        ordering = ["name"]
        verbose_name = "table"

    def __str__(self) -> str:
        return self.name

    @property
    def keeps(self) -> dict[str, int]:
        """Return how many backups are kept of each kind; none at all means that all are kept."""
        return {kind: getattr(self, f"keep_{kind}") for kind in KINDS}

    @property
    def plan(self) -> dict[str, Any]:
        """Return all that the plan says."""
        return {name: getattr(self, name) for name in PLAN_FIELDS}


class BackupStatus(models.TextChoices):
    """Where a backup stands."""

    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    DELETED = "deleted"


class Check(models.TextChoices):
    """What is to be proved of a backup."""

    NONE = ""
    VERIFY = "verify"
    REHEARSE = "rehearse"


class Backup(Work):
    """One backup of one table. It counts when it is done: then its manifest is in the lake."""

    table = models.CharField(max_length=130)
    status = models.CharField(max_length=12, choices=BackupStatus.choices, default=BackupStatus.REQUESTED)
    # The table while the backup is open, else null: a table has one backup under way.
    under_way = models.CharField(max_length=130, null=True, blank=True, unique=True)
    codec = models.CharField(max_length=12, choices=CODEC_CHOICES, default=DEFAULT_CODEC)
    # Where it is in the lake; a new one for each attempt.
    prefix = models.CharField(max_length=255, blank=True)
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=16, blank=True)
    parts = models.PositiveIntegerField(default=0)
    runs = models.PositiveIntegerField(default=0, help_text="how many runs the table contains")
    check_wanted = models.CharField(max_length=10, choices=Check.choices, blank=True, default=Check.NONE)
    check_problems = models.JSONField(default=list, blank=True)
    # How far the check is that is under way: a rehearsal goes over the rows three times.
    check_started_at = models.DateTimeField(null=True, blank=True)
    checked_rows = models.BigIntegerField(default=0)
    checked_bytes = models.BigIntegerField(default=0)
    verified_at = models.DateTimeField(null=True, blank=True)
    rehearsed_at = models.DateTimeField(null=True, blank=True)
    kept = models.BooleanField(default=False, help_text="never deleted by the plan")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["table", "status", "-id"], name="backup_of_table"),
            # The newest verified one of each table, from the index alone.
            models.Index(fields=["status", "table", "started_at", "verified_at"], name="backup_newest"),
            models.Index(fields=["status", "check_wanted"], name="backup_open"),
        ]
        # Deleting the only copy is a permission of its own, `delete_backup`; Django makes it.

    def __str__(self) -> str:
        return f"backup {self.pk} of {self.table}"

    OPEN = (BackupStatus.REQUESTED, BackupStatus.RUNNING)

    def end(self, status: BackupStatus, **fields: Any) -> bool:
        """Bring an open backup to an end; False where another worker has taken over, or did so already."""
        return self.conclude(self.OPEN, status=status, **fields)

    def check_progress(self) -> dict[str, Any] | None:
        """Return how far the check is; None where none is wanted."""
        if not self.check_wanted:
            return None
        begun = self.check_started_at
        counts = {"rows": self.checked_rows, "bytes": self.checked_bytes, "rows_expected": self.rows_to_check}
        seconds = round((timezone.now() - begun).total_seconds(), 3) if begun else None
        return how_far(counts, seconds, going_on=True)

    @property
    def rows_to_check(self) -> int:
        """Return how many rows a check goes over: a rehearsal reads, writes, and reads again."""
        return self.rows * (3 if self.check_wanted == Check.REHEARSE else 1)

    @property
    def age(self) -> float:
        """Return the seconds since the backup was taken."""
        return (timezone.now() - self.taken_at).total_seconds()

    @property
    def taken_at(self) -> datetime:
        """Return when the backup was taken."""
        return self.started_at or self.created_at

    def as_dict(self) -> dict[str, Any]:
        """Return what commands and REST show of a backup."""
        return {
            "id": self.pk,
            "table": self.table,
            "status": self.status,
            "codec": self.codec,
            "prefix": self.prefix,
            **self.progress(),
            "digest": self.digest,
            "parts": self.parts,
            "runs": self.runs,
            "created_at": self.created_at.isoformat(),
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
            "verified_at": self.verified_at.isoformat() if self.verified_at else None,
            "rehearsed_at": self.rehearsed_at.isoformat() if self.rehearsed_at else None,
            "check_wanted": self.check_wanted,
            "check_progress": self.check_progress(),
            "check_problems": self.check_problems,
            "waiting_for": self.waiting_for,
            "problems": self.problems,
        }


class DryRun(Work):
    """What a restore would change, found by a worker: a large table takes longer than a page may."""

    backup = models.ForeignKey(Backup, on_delete=models.CASCADE, related_name="dry_runs")
    table = models.CharField(max_length=130, help_text="where the rows would go")
    status = models.CharField(max_length=12, choices=BackupStatus.choices, default=BackupStatus.REQUESTED)
    # The question while it is open, else null: nobody has the same one answered twice at once.
    under_way = models.CharField(max_length=200, null=True, blank=True, unique=True)
    result = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-id"]
        # Whoever may restore may ask what that would change.
        default_permissions = ()
        indexes = [models.Index(fields=["status"], name="dry_run_open")]

    def __str__(self) -> str:
        return f"dry run {self.pk} of {self.table}"

    OPEN = (BackupStatus.REQUESTED, BackupStatus.RUNNING)

    def end(self, status: BackupStatus, **fields: Any) -> bool:
        """Bring an open dry run to an end; False where another worker has taken over, or did so already."""
        return self.conclude(self.OPEN, status=status, **fields)


class RestoreStatus(models.TextChoices):
    """Where a restore stands: each step is written down before it is taken."""

    REQUESTED = "requested"
    BACKING_UP = "backing up"
    LOADING = "loading"
    CHECKING = "checking"
    SWAPPING = "swapping"
    SWAPPED = "swapped"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class Restore(Work):
    """A backup brought back into its table, or into another one."""

    backup = models.ForeignKey(Backup, on_delete=models.PROTECT, related_name="restores")
    table = models.CharField(max_length=130, help_text="where the rows go")
    status = models.CharField(max_length=12, choices=RestoreStatus.choices, default=RestoreStatus.REQUESTED)
    # The target while the restore is open, else null: a plan runs once.
    under_way = models.CharField(max_length=130, null=True, blank=True, unique=True)
    back_up_first = models.BooleanField(default=True)
    take_schema = models.BooleanField(default=False, help_text="take the backup's definition where it differs")
    safety = models.ForeignKey(Backup, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    # The shadow table of the swap that was begun, and whether a table stood in its place.
    shadow = models.CharField(max_length=130, blank=True)
    replaces = models.BooleanField(default=False)
    rolled_back = models.JSONField(default=list, blank=True)
    loaded_again = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["status"], name="restore_open"),
            models.Index(fields=["table", "-id"], name="restore_newest"),
        ]

    def __str__(self) -> str:
        return f"restore {self.pk} of {self.table}"

    OPEN = (
        RestoreStatus.REQUESTED,
        RestoreStatus.BACKING_UP,
        RestoreStatus.LOADING,
        RestoreStatus.CHECKING,
        RestoreStatus.SWAPPING,
        RestoreStatus.SWAPPED,
    )

    @property
    def same_table(self) -> bool:
        """Tell whether the rows go back to where they came from."""
        return self.table == self.backup.table

    def step(self, status: RestoreStatus, **fields: Any) -> None:
        """Write down the next step, if the lease is still ours; Fenced where it is not."""
        if not Restore.objects.filter(self.held()).update(status=status, waiting_for="", **fields):
            raise Fenced(str(self))
        self.refresh_from_db()

    def end(self, status: RestoreStatus, **fields: Any) -> bool:
        """Bring an open restore to an end; False where another worker has taken over, or did so already.

        Once its table is swapped it only ends done: before the ledger knows, nothing else would be true.
        """
        done = status == RestoreStatus.DONE
        before = [name for name in self.OPEN if done or name != RestoreStatus.SWAPPED]
        return self.conclude(before, status=status, **fields)

    def as_dict(self) -> dict[str, Any]:
        """Return what commands and REST show of a restore."""
        return {
            "id": self.pk,
            "backup": self.backup_id,
            "table": self.table,
            "status": self.status,
            **self.progress(),
            "safety_backup": self.safety_id,
            "rolled_back": self.rolled_back,
            "loaded_again": self.loaded_again,
            "created_at": self.created_at.isoformat(),
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
            "waiting_for": self.waiting_for,
            "problems": self.problems,
        }
