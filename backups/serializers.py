"""The bodies of the API of backups, and what it answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from migration_console.api import Envelope

from .container import CODECS

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class BackupIn(Envelope):
    """How a table is backed up; an empty body goes by the table's plan."""

    codec: Annotated[str, Field(json_schema_extra={"enum": ["", *CODECS]})] = ""


class CheckIn(Envelope):
    """Whether the backup is rehearsed too: restored into a scratch table, compared, dropped."""

    rehearse: bool = False


class RestoreIn(Envelope):
    """Which backup, into which table; `dry_run` says what would change, and changes nothing."""

    backup: Id | Literal["latest"] = "latest"
    into: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    dry_run: bool = False
    # Off only on purpose.
    back_up_first: bool = True
    take_schema: bool = False


class Progress(BaseModel):
    """How far long work is."""

    rows: int
    bytes: int
    rows_expected: int
    rows_per_second: int
    seconds: float | None
    seconds_left: float | None


class BackupOut(Progress):
    """A backup. It counts when it is done; `verified_at` and `rehearsed_at` say what has been proved of it."""

    id: int
    table: str
    status: str
    codec: str
    prefix: str
    digest: str
    parts: int
    runs: int
    created_at: Moment
    finished_at: Moment | None
    verified_at: Moment | None
    rehearsed_at: Moment | None
    check_wanted: str
    check_progress: Progress | None
    check_problems: list[Any]
    waiting_for: str
    problems: list[Any]


class RestoreOut(Progress):
    """A restore. `rolled_back` are the runs that the table does not contain any more."""

    id: int
    backup: int
    table: str
    status: str
    safety_backup: int | None
    rolled_back: list[int]
    loaded_again: list[int]
    created_at: Moment
    finished_at: Moment | None
    waiting_for: str
    problems: list[Any]


class DryRunOut(BaseModel):
    """What a restore would change: rows, and where the table's definition differs."""

    backup: int
    table: str
    how: str
    problems: list[str]
    rows_now: int
    rows_then: int
    added: int
    removed: int
    changed: int
    only_then: list[Any]
    only_now: list[Any]
    roll_back: list[Any]
    waits_for: list[Any]
