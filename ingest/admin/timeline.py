"""The steps of a run as a row of dots: received, surveyed, loading, finished, archived."""

from datetime import datetime
from typing import Literal, NamedTuple

from django.template.defaultfilters import filesizeformat

from ..figures import Live
from ..models import BADLY, OPEN, Run, Status
from .shown import TRIGGERS, badge_of

ICONS = {
    "done": "check_circle",
    "now": "progress_activity",
    "todo": "radio_button_unchecked",
    "bad": "error",
    "skip": "remove",
}
SAID = {"done": "done", "now": "under way", "todo": "to come", "bad": "went wrong", "skip": "did not happen"}


class Step(NamedTuple):
    """A step; `note` says what is known of it, or what it waits for."""

    title: str
    state: Literal["done", "now", "todo", "bad", "skip"]
    at: datetime | None
    note: str

    @property
    def icon(self) -> str:
        """Return the symbol of the state."""
        return ICONS[self.state]

    @property
    def said(self) -> str:
        """Return the state as a word."""
        return SAID[self.state]


def steps(run: Run, found: Live) -> list[Step]:
    """Return the steps of a run."""
    who = f" by {run.user.get_username()}" if run.user else ""
    received = Step("Received", "done", run.received_at, f"{TRIGGERS.get(run.trigger, run.trigger)}{who}")
    return [received, _surveyed(run), _loading(run, found), _finished(run), _archived(run)]


def _surveyed(run: Run) -> Step:
    if run.sha256:
        note = f"{run.survey.get('records', 0):,} rows, {filesizeformat(run.size)}, {run.survey.get('encoding', '')}"
        return Step("Surveyed", "done", run.started_at, note)
    if run.status not in OPEN:
        return Step("Surveyed", "bad" if run.started_at else "skip", run.started_at, "the file was not fit")
    if run.dataset is None:
        return Step("Surveyed", "now", None, "waiting for a dataset that takes this file")
    if run.dataset.paused:
        return Step("Surveyed", "now", None, f"waiting: {run.dataset} is paused")
    return Step("Surveyed", "now", run.started_at, _waits(run) or ("" if run.started_at else "waiting for a worker"))


def _waits(run: Run) -> str:
    return f"waiting for {run.waiting_for}" if run.waiting_for else ""


def _loading(run: Run, found: Live) -> Step:
    if run.status == Status.LOADING:
        return Step("Loading", "now", found["began"], _waits(run))
    if run.status in OPEN:
        return Step("Loading", "todo", None, _waits(run) if run.sha256 else "")
    if found["began"] is None:
        return Step("Loading", "done" if run.read == 0 and run.status not in BADLY else "skip", None, "did not begin")
    return Step("Loading", "done", found["began"], f"{run.loaded:,} rows")


def _finished(run: Run) -> Step:
    if run.status in OPEN:
        return Step("Finished", "todo", None, "stops at its next batch" if run.cancel_requested else "")
    return Step("Finished", "bad" if run.status in BADLY else "done", run.finished_at, badge_of(run).word)


def _archived(run: Run) -> Step:
    if run.closed_at:
        note = f"in {run.archived_key.partition('/')[0]}/" if run.archived_key else "there is no file"
        return Step("Archived", "done" if run.archived_key else "skip", run.closed_at, note)
    return Step("Archived", "todo" if run.status in OPEN else "now", None, "")
