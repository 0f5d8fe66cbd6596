"""How runs and their counts are shown on every page."""

from migration_console.shown import Badge

from ..models import Dataset, Run, Status

# The closed set of words that stewards see.
BADGES: dict[str, Badge] = {
    Status.RECEIVED: Badge("Queued", "busy", "schedule"),
    Status.LOADING: Badge("Running", "busy", "progress_activity"),
    Status.LOADED: Badge("Loaded", "good", "check_circle"),
    Status.ARCHIVED: Badge("Loaded", "good", "check_circle"),
    Status.REFUSED: Badge("Refused", "bad", "block"),
    Status.FAILED: Badge("Failed", "bad", "error"),
    Status.CANCELLED: Badge("Cancelled", "quiet", "cancel"),
    Status.DUPLICATE: Badge("Duplicate", "quiet", "content_copy"),
    Status.SUPERSEDED: Badge("Superseded", "quiet", "fast_forward"),
    Status.GONE: Badge("Gone", "quiet", "visibility_off"),
    Status.ROLLED_BACK: Badge("Rolled back", "quiet", "undo"),
}
WITH_REJECTS = Badge("Loaded with rejects", "warn", "rule")
CANCELLING = Badge("Cancelling", "busy", "hourglass_bottom")


def badge_of(run: Run) -> Badge:
    """Return how a run stands, in the words of the pages."""
    if run.cancel_requested and run.status in {Status.RECEIVED, Status.LOADING}:
        return CANCELLING
    if run.rejected and run.status in {Status.LOADED, Status.ARCHIVED}:
        return WITH_REJECTS
    return BADGES[run.status]


ACTIVE = Badge("Active", "good", "check_circle")
PAUSED = Badge("Paused", "warn", "pause_circle")
RETIRED = Badge("Retired", "quiet", "archive")


def state_of(dataset: Dataset) -> Badge:
    """Return whether a dataset takes files."""
    return RETIRED if dataset.retired else PAUSED if dataset.paused else ACTIVE


# What announced a file, as people say it.
TRIGGERS: dict[str, str] = {
    "upload": "Uploaded",
    "event": "S3 event",
    "api": "REST",
    "sweep": "Found by the sweep",
    "watch": "Found in the folder",
    "command": "Command",
    "correction": "Corrected rows",
    "restore": "After a restore",
}

CORRECT_AND_SEND = "Correct the file and load it again under any name; nothing of this one is in the table."
# By the problem's code: what a steward does next.
ADVICE: dict[str, str] = {
    "missing-column": "Add the column to the file, or name it as an alias in the dataset, then retry.",
    "unknown-column": "Take the column out of the file, or let the dataset have or ignore it, then retry.",
    "duplicate-header": "Give every column of the first line a name of its own, then load the file again.",
    "empty-header": "Give every column of the first line a name, then load the file again.",
    "delimiter": "Save the file with the dataset's delimiter, or change the delimiter in the dataset, then retry.",
    "header": "Check the first lines: the dataset says whether there is a header and what stands above it.",
    "preamble": "Check how many lines stand above the header, and say so in the dataset, then retry.",
    "encoding": "Save the file in the dataset's encoding, or declare the file's in the dataset, then retry.",
    "empty-file": "The sender may have written it too early: ask for the file again.",
    "not-csv": "Save it as CSV (in a spreadsheet: Save as, CSV UTF-8), then load it again.",
    "gzip-damaged": "The file was damaged on its way: ask for it again.",
    "gzip-truncated": "The file was cut off on its way: ask for it again.",
    "too-large": "Split the file, or ask an operator to raise the limit.",
    "too-many-errors": "Look at the errors below: mend the file, or raise the limit in the dataset, then retry.",
    "nothing-to-load": "Look at the errors below: every row has one. Mend the file or the rule, then retry.",
    "model-changed": "Save the dataset again, so that it has a version with the new rules, then retry.",
    "table": "Ask an operator: the table and the dataset do not fit. Change one of them, then retry.",
    "missing-key": "Ask an operator: the table lacks the key that the dataset names. Add it, then retry.",
    "takeovers": "Ask an operator for the workers' logs, then retry.",
    "failure": "Ask an operator for the workers' logs with this run's number, then retry.",
    "ledger": "Do not retry: show this run to an operator. What is loaded stays as it is.",
    "partly-loaded": "Retry the run that is named here: it loads the rest, and nothing twice.",
    "partly-restored": "Retry: the run goes on behind the rows that are in the table.",
    "changed-while-loading": "Retry only once an operator has seen which rows are in the table.",
    "superseded": "Nothing has to be done, unless rows are missing: then send the newer file again.",
    "conflict": "Retry when nobody else writes to the table.",
}
BY_STATUS: dict[str, str] = {
    Status.REFUSED: CORRECT_AND_SEND,
    Status.FAILED: "Retry: it goes on behind what is loaded, and loads nothing twice; or ask an operator.",
    Status.CANCELLED: "Retry: it goes on behind what is loaded, and loads nothing twice.",
    Status.DUPLICATE: "Nothing has to be done. If the rows shall be in the table twice, retry and say why.",
    Status.SUPERSEDED: "Nothing has to be done: a newer file of this name is loaded.",
    Status.GONE: "Send the file again: it was taken away before it was loaded.",
    Status.ROLLED_BACK: "A restore brought the table back to before this run. Load its file again if it is wanted.",
}


def advice(code: str, run: Run) -> str:
    """Return what to do next about a problem, or about how the run ended."""
    return ADVICE.get(code) or BY_STATUS.get(run.status, "")
