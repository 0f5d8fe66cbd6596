"""The dashboard: what needs a person now, and how the last days went. It gathers; the figures are the applications'."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from backups.figures import Age, ages
from backups.schedule import in_words
from ingest import figures
from ingest.admin.shown import badge_of
from ingest.models import Run

from .charts import Chart, Series
from .shown import ratio

SHOWN, COUNTED = 5, 50


class Need(NamedTuple):
    """One thing that waits for a person, and where it is mended; `what` may be a file's name."""

    what: str
    number: str
    why: str
    link: str


class Group(NamedTuple):
    """Needs of one kind; `all` is the list that has the others too."""

    title: str
    icon: str
    tone: str
    needs: list[Need]
    many: str
    all: str


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add what the page shows, as far as this person may see it."""
    sees_runs, sees_backups = (request.user.has_perm(f"{name}") for name in ("ingest.view_run", "backups.view_backup"))
    found = ages() if sees_backups else []
    groups = [*(_runs_in_need() if sees_runs else ()), *_backups_in_need(found)]
    shown: dict[str, Any] = {"title": "Dashboard", "groups": groups, "ages": found, "sees_runs": sees_runs}
    if sees_runs:
        shown |= _last_days()
    return {**context, **shown, "sees_backups": sees_backups}


def _group(title: str, icon: str, tone: str, needs: list[Need], every: str) -> Iterable[Group]:
    if needs:
        count = f"{COUNTED}+" if len(needs) > COUNTED else str(len(needs))
        yield Group(title, icon, tone, needs[:SHOWN], count, every if len(needs) > SHOWN else "")


def _runs_in_need() -> Iterable[Group]:
    names = ["ingest_run_changelist", "ingest_reject_changelist", "ingest_dataset_files"]
    runs, rejects, files = (reverse(f"admin:{name}") for name in names)

    def page(run: Run) -> str:
        return reverse("admin:ingest_run_change", args=[run.pk])

    badly = [Need(*_named(run), _reason(run), page(run)) for run in figures.ended_badly(COUNTED)]
    yield from _group("Runs that ended badly", "error", "bad", badly, f"{runs}?needs=mending")
    waiting = [
        Need(
            *_named(run),
            f"{run.rejected:,} of {run.read:,} row{pluralize(run.read)} rejected, not all of them dealt with",
            f"{rejects}?{urlencode({'run__id__exact': run.pk})}",
        )
        for run in figures.with_open_rejects(COUNTED)
    ]
    yield from _group("Rejected rows to look at", "rule", "warn", waiting, f"{runs}?needs=rejects")
    unmatched = [
        Need(*_named(run), f"came {_ago(run.received_at)}; no dataset takes it", files)
        for run in figures.unmatched(COUNTED)
    ]
    yield from _group("Files that no dataset takes", "help", "warn", unmatched, files)


def _named(run: Run) -> tuple[str, str]:
    return run.key.removeprefix("raw/"), f"run {run.pk}"


def _ago(at: datetime) -> str:
    return f"{timesince(at)} ago" if timezone.now() - at > timedelta(minutes=1) else "just now"


def _reason(run: Run) -> str:
    word = badge_of(run).word
    return f"{word}: {run.problems[0]['message']}" if run.problems else word


def _backups_in_need(found: list[Age]) -> Iterable[Group]:
    address = reverse("admin:backups_listedtable_changelist")
    needs = []
    for age in found:
        if age["state"] == "missing":
            why = f"to be backed up {in_words(age['schedule'])} (UTC), and no verified backup yet"
        elif age["state"] == "stale" and age["taken_at"]:
            why = (
                f"the newest verified backup is {timesince(age['taken_at'])} old; due {in_words(age['schedule'])} (UTC)"
            )
        else:
            continue
        needs.append(Need(age["table"], "", why, f"{address}?{urlencode({'q': age['table']})}"))
    yield from _group("Backups that are due", "inventory_2", "bad", needs, address)


class Line(NamedTuple):
    """A dataset on the dashboard."""

    dataset: Any
    strip: SafeString
    loaded: int
    rejected: int
    rate: str
    speed: float | None


def _last_days() -> dict[str, Any]:
    days, strips = figures.days(), figures.strips()
    today = timezone.now().date()
    dates = [today - timedelta(days=back) for back in range(figures.DAYS - 1, -1, -1)]
    sums = {name: _per_day(days, name, dates) for name in ("files", "badly", "loaded", "rejected")}
    labels = [f"{day:%b} {day.day}" for day in dates]
    good = [files - badly for files, badly in zip(sums["files"], sums["badly"])]
    loaded, rejected, files = (sum(sums[name]) for name in ("loaded", "rejected", "files"))
    speeds = _speeds(strips)
    charts = [
        Chart("Rows per day", labels, [Series("Loaded", "--color-green-600", sums["loaded"]),
              Series("Rejected", "--color-orange-500", sums["rejected"])], "rows"),
        Chart("Files per day", labels, [Series("Ended well", "--color-green-600", good),
              Series("Refused or failed", "--color-red-600", sums["badly"])], "files"),
        Chart("Throughput of the last runs", [f"run {run.pk}" for run, _ in speeds],
              [Series("Rows a second", "--color-primary-600", [round(speed) for _, speed in speeds])], "rows a second"),
    ]  # fmt: skip
    seconds = sum(run.seconds or 0 for run, _ in speeds)
    rows = sum(run.loaded + run.rejected + run.skipped for run, _ in speeds)
    return {
        "charts": [chart for chart in charts if chart.labels] if files else [],
        "lines": [_line(strip, days) for strip in strips],
        "files": files,
        "badly": sum(sums["badly"]),
        "loaded": loaded,
        "rejected": rejected,
        "reject_rate": ratio(rejected, loaded + rejected),
        "speed": round(rows / seconds) if seconds else None,
        "measured": len(speeds),
        "days": figures.DAYS,
    }


def _per_day(days: list[figures.Day], name: str, dates: list[Any]) -> list[int]:
    found: dict[Any, int] = {}
    for day in days:
        values: Any = day
        found[day["day"]] = found.get(day["day"], 0) + int(values[name] or 0)
    return [found.get(day, 0) for day in dates]


def _speeds(strips: list[figures.Strip]) -> list[tuple[Run, float]]:
    """Return the newest runs that loaded anything, oldest first, with their rows a second."""
    runs = sorted((run for strip in strips for run in strip["runs"]), key=lambda run: -run.pk)
    return [(run, speed) for run in runs if (speed := figures.rows_per_second(run))][figures.STRIP - 1 :: -1]


def _squares(runs: list[Run]) -> SafeString:
    """Return a link a run; made here, since a template takes longer for hundreds of them than for all the rest."""
    runs_page = reverse("admin:ingest_run_changelist")
    shown = [(run, badge_of(run)) for run in runs]
    return format_html_join(
        "",
        '<a class="{}" href="{}{}/change/" title="Run {}: {}, {} loaded, {} rejected" aria-label="Run {}: {}">'
        '<span class="material-symbols-outlined" aria-hidden="true">{}</span></a>',
        (
            (state.tone, runs_page, run.pk, run.pk, state.word, f"{run.loaded:,}", f"{run.rejected:,}", run.pk,
             state.word, state.icon)
            for run, state in shown
        ),
    )  # fmt: skip


def _line(strip: figures.Strip, days: list[figures.Day]) -> Line:
    mine = [day for day in days if day["dataset_id"] == strip["dataset"].pk]
    loaded, rejected = (sum(int(day["loaded"]) for day in mine), sum(int(day["rejected"]) for day in mine))
    speed = next((found for run in strip["runs"] if (found := figures.rows_per_second(run))), None)
    return Line(strip["dataset"], _squares(strip["runs"]), loaded, rejected, ratio(rejected, loaded + rejected), speed)
