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
