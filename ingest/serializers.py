"""The bodies and queries of the API, and what it answers. The envelope only: rows are the schema's business."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, RootModel, WithJsonSchema

from migration_console.api import Envelope, Query

from .descriptor import Descriptor
from .finish import totals_of
from .models import Run, Status
from .sending import MAX_ROWS

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Offset = Annotated[int, Field(ge=0, le=2**63 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


def short_name(name: str) -> str:
    """Refuse what file systems do."""
    if len(name.encode()) > 200:
        raise ValueError("a file's name has at most 200 bytes")
    return name


# Neither hidden nor a path.
FileName = Annotated[
    str, Field(pattern=r"^[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$", max_length=200), AfterValidator(short_name)
]


def scalar(value: Any) -> Any:
    """Refuse lists and objects; a number that no float is exactly goes on as its text."""
    if isinstance(value, list | dict):
        raise ValueError("give a text, a number, true, false or null")
    return str(value) if isinstance(value, Decimal) else value


Value = Annotated[Any, AfterValidator(scalar), WithJsonSchema({"type": ["string", "number", "boolean", "null"]})]


def objects_or_lists(rows: list[Any]) -> list[Any]:
    """Refuse rows that are neither; what is in them is the schema's business, and not looked at twice."""
    for number, row in enumerate(rows if not set(map(type, rows)) <= {dict, list} else []):
        if not isinstance(row, dict | list):
            raise ValueError(f"row {number} is neither an object nor a list")
    return rows


ROW_SCHEMA = {"type": "array", "minItems": 1, "maxItems": MAX_ROWS, "items": {"type": ["object", "array"]}}


class RowsIn(Envelope):
    """Rows to be judged: objects by column name, or lists in the order of the columns."""

    dataset: Name
    rows: Annotated[
        list[Any],
        Field(min_length=1, max_length=MAX_ROWS),
        AfterValidator(objects_or_lists),
        WithJsonSchema(ROW_SCHEMA),
    ]


class RowReason(BaseModel):
    """One reason why a row is rejected; `field` is '' where the whole row is meant."""

    field: str
    code: str
    message: str
    value: str | None


class RejectedOut(BaseModel):
    """A rejected row; `row` counts from 0 in the request."""

    row: int
    errors: list[RowReason]


class RowsOut(BaseModel):
    """What became of the rows; nothing was loaded."""

    dataset: str
    schema_version: int
    received: int
    valid: list[dict[str, Any]]
    rejected: list[RejectedOut]


class BatchQuery(Query):
    """Where a batch of rows belongs: run, the sender's epoch, byte range, row and line of the first record."""

    run: Id
    epoch: Offset
    start: Offset
    end: Offset
    row: Id
    line: Id
    last: bool = False


class BatchOut(BaseModel):
    """A batch as the ledger has it."""

    run: int
    start: int
    end: int
    read: int
    loaded: int
    rejected: int
    skipped: int


class RowsAnswer(RootModel[RowsOut | BatchOut]):
    """Rows in JSON judged, or a batch in CSV loaded."""


class FileIn(Envelope):
    """An object that has come; with `rows` the caller would send the rows itself."""

    bucket: Annotated[str, Field(max_length=255)] = ""
    key: Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=1024)]
    version: Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=128)] | None = None
    size: Offset | None = None
    sequencer: Annotated[str, Field(max_length=64)] | None = None
    rows: bool = False


class UploadQuery(Query):
    """What a CSV body is: the dataset, the file's name, and why it is loaded although the same bytes were."""

    dataset: Name
    name: FileName | None = None
    reason: Annotated[str, Field(max_length=255)] = ""


class FormatQuery(Query):
    """How rejects are wanted."""

    format: Literal["jsonl", "csv", "xlsx"] | None = None


class FileOut(BaseModel):
    """The run of a file. Where `send` is rows: which bytes to send, from which row and line on, under which epoch."""

    run: int | None
    status: Status | Literal["ignored"]
    send: Literal["rows", "nothing"]
    key: str | None = None
    version: str | None = None
    epoch: int | None = None
    start: int | None = None
    end: int | None = None
    row: int | None = None
    line: int | None = None
    records: int | None = None


class ProblemOut(BaseModel):
    """Why a run ended as it did."""

    code: str
    message: str
    where: str


class ErrorGroupOut(BaseModel):
    """All errors of one field and code."""

    field: str
    code: str
    count: int
    sample: str | None


class RunOut(BaseModel):
    """A run. read = loaded + rejected + skipped once it has ended; before, `read` is what the survey counted."""

    id: int
    dataset: str | None
    schema_version: int | None
    key: str
    status: Status
    trigger: str
    attempt: int
    parent: int | None
    duplicate_of: int | None
    reason: str
    user: str | None
    read: int
    loaded: int
    rejected: int
    skipped: int
    seconds: float | None
    errors: list[ErrorGroupOut]
    problems: list[ProblemOut]
    warnings: list[str]
    waiting_for: str
    size: int
    sha256: str | None
    received_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    archived: str
    report: str
    ended: bool


def run_out(run: Run) -> dict[str, Any]:
    """Return a run as the API shows it; the counts of one that is loading are those of its ledger."""
    data = run.as_dict()
    if run.status == Status.LOADING:
        data |= {name: value for name, value in totals_of(run).items() if name != "read"}
    return data | {
        "schema_version": run.schema_version.number if run.schema_version else None,
        "trigger": run.trigger,
        "attempt": run.attempt,
        "parent": run.parent_id,
        "duplicate_of": run.duplicate_of_id,
        "reason": run.reason,
        "user": run.user.get_username() if run.user else None,
        "size": run.size,
        "sha256": run.sha256,
        "received_at": run.received_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "archived": run.archived_key,
        "ended": run.closed_at is not None,
    }


class DatasetIn(Descriptor):
    """A dataset's descriptor; the address has its name already."""

    name: Annotated[str, Field(max_length=100)] = ""


class DatasetOut(BaseModel):
    """A dataset with its newest version."""

    name: str
    version: int
    table: str
    mode: str
    files: list[str]
    paused: bool
    descriptor: dict[str, Any]


class RetryIn(Envelope):
    """Why a duplicate shall be loaded after all; not needed for other runs."""

    reason: Annotated[str, Field(max_length=255)] = ""


class Correction(Envelope):
    """What changes in a rejected row, by column; nothing where it shall be tried again as it is."""

    row: Id
    values: dict[str, Value]


class CorrectionsIn(Envelope):
    """Rejected rows with better values."""

    rows: Annotated[list[Correction], Field(min_length=1, max_length=MAX_ROWS)]
