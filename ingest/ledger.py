"""The ledger as backups and restores see it: which runs a table contains, and what a restore takes back."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice

from django.db import transaction
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, Sum
from django.db.models.functions import Coalesce, Now

from migration_console.lib.errors import Problem
from migration_console.lib.ledger import Ask, ContainedRun

from .again import load_again
from .bell import ring_waiting
from .models import CORRECTION, IN_THE_TABLE, PARTLY, UNSENT, Batch, Part, Reject, Run, SchemaVersion, Status

# So many runs at a time: a table may have hundreds of thousands, and the server ends a session that is silent for long.
SLICE = 1000


def contents(ask: Ask, table: str) -> list[ContainedRun]:
    """Return the runs that a table contains, as the caller's session sees them."""
    runs = (
        Run.objects.filter(dataset__table=table)
        .filter(Q(status__in=IN_THE_TABLE) | Q(status__in=PARTLY, batches__isnull=False))
        .order_by("pk")
        .values_list("pk", "dataset__name", "key", "sha256", "status", "schema_version")
        .annotate(many=Count("batches"), rows=Coalesce(Sum("batches__loaded"), 0))
    )
    sql, parameters = runs.query.sql_with_params()
    found, is_whole = [], cache(_is_whole)
    for pk, dataset, key, sha256, status, version, many, rows in ask(sql, parameters):
        if status in PARTLY and is_whole(int(version)):
            continue
        found.append(
            ContainedRun(
                run=int(pk),
                dataset=dataset,
                key=key,
                sha256=sha256 or "",
                status=status,
                batches=int(many),
                loaded=int(rows),
                whole=status in IN_THE_TABLE,
                starts=[] if status in IN_THE_TABLE else _starts(ask, int(pk)),
            )
        )
    return found


def _starts(ask: Ask, run: int) -> list[int]:
    batches = Batch.objects.filter(run=run).order_by("start").values_list("start")
    return [int(start) for (start,) in ask(*batches.query.sql_with_params())]


def _is_whole(version: int | None) -> bool:
    return version is not None and SchemaVersion.objects.get(pk=version).parsed.whole


def loading(table: str) -> list[str]:
    """Return what is loading into a table now, in words."""
    # A run may have ended while a worker is still at one of its batches.
    held = Part.objects.filter(run=OuterRef("pk"), lease_until__gt=Now())
    at_work = Q(status=Status.LOADING) | (~Q(status__in=IN_THE_TABLE) & Exists(held))
    runs = Run.objects.filter(at_work, dataset__table=table).select_related("dataset").order_by("pk")
    return [f"run {run.pk} of dataset {run.dataset}{_held_up(run)}" for run in runs]


def _held_up(run: Run) -> str:
    paused = run.dataset is not None and run.dataset.paused
    return " (its dataset is paused: resume it, or cancel the run)" if paused else ""


def rewind(table: str, contained: Sequence[ContainedRun]) -> list[int]:
    """Make the ledger say that the table contains these runs and no others; return those rolled back.

    Otherwise files stay `loaded` that the table no longer contains, and sending them again does nothing.
    """
    unknown = {run["run"] for run in strangers(table, contained)}
    there = {run["run"]: run for run in contained if run["run"] not in unknown}
    with transaction.atomic():
        claimed = _claimed(table)
        _fence([pk for pk, status in claimed.items() if status in PARTLY])
        gone = [pk for pk in claimed if pk not in there]
        for some in _slices(gone):
            Run.objects.filter(pk__in=some).update(status=Status.ROLLED_BACK, rejects_open=False)
        _give_back_corrections(gone)
        _bring_back(table, [run for run in there.values() if run["whole"]])
        _bring_back_partly(table, [run for run in there.values() if not run["whole"]])
    return gone


def strangers(table: str, contained: Sequence[ContainedRun]) -> list[ContainedRun]:
    """Return those of the runs that the ledger knows nothing of: another console's, or those of a lost database."""
    mine: dict[int, str | None] = {}
    for some in _slices(run["run"] for run in contained):
        mine |= dict(Run.objects.filter(dataset__table=table, pk__in=some).values_list("pk", "sha256"))
    return [run for run in contained if run["run"] not in mine or (mine[run["run"]] or "") != run["sha256"]]


def _slices(pks: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(pks)
    while some := list(islice(rest, SLICE)):
        yield some


def _claimed(table: str) -> dict[int, str]:
    """Lock the runs of which the ledger says that the table contains rows, and return their status."""
    runs = Run.objects.filter(dataset__table=table).order_by().values_list("pk", flat=True)
    partly = runs.filter(Exists(Batch.objects.filter(run=OuterRef("pk"))), status__in=PARTLY)
    found, is_whole = dict[int, str](), cache(_is_whole)
    # By their keys alone, and in order: whoever begins a run locks its dataset first, and then the run.
    for some in _slices(sorted([*runs.filter(status__in=IN_THE_TABLE), *partly])):
        locked = Run.objects.select_for_update().filter(pk__in=some).order_by("pk")
        for pk, status, version in locked.values_list("pk", "status", "schema_version"):
            if status in IN_THE_TABLE or (status in PARTLY and not is_whole(version)):
                found[pk] = status
    return found


def _fence(runs: Sequence[int]) -> None:
    """Take their parts from whoever is still at them: he adds no line to what is counted from now on."""
    for some in _slices(runs):
        Part.objects.filter(run__in=some).update(epoch=F("epoch") + 1, owner="", lease_until=None)


def _bring_back_partly(table: str, contained: Sequence[ContainedRun]) -> None:
    """Make the ledger say which batches are in the table of runs of which it contains only some."""
    there = {run["run"]: run for run in contained}
    known = [Status.ROLLED_BACK, *IN_THE_TABLE, *PARTLY]
    for some in _slices(there):
        lines = dict[int, set[int]]()
        for run, start in Batch.objects.filter(run__in=some).values_list("run", "start"):
            lines.setdefault(run, set()).add(start)
        runs = Run.objects.filter(dataset__table=table, pk__in=some, status__in=known).order_by("pk")
        for pk, status in runs.values_list("pk", "status"):
            _compare(there[pk], lines.get(pk, set()), back=status == Status.ROLLED_BACK)


def _compare(there: ContainedRun, lines: set[int], *, back: bool) -> None:
    """Hold the ledger's lines of a run against those that a backup names; `back` where it had been rolled back."""
    starts = set(there["starts"])
    if lines == starts and not back:
        return
    run = Run.objects.get(pk=there["run"])
    if starts - lines:
        _note_unknown(run, len(starts - lines))
    elif lines - starts or there["status"] == Status.LOADING:
        _note_partly(run, there)
    else:
        # It had ended before the backup was taken, and can be taken up as it could then.
        Run.objects.filter(pk=run.pk).update(status=there["status"], attention=there["status"] == Status.FAILED)
        run.note_open_rejects()
    if run.trigger == CORRECTION:
        _tell_parent(run, whole=False)


def _note_partly(run: Run, there: ContainedRun) -> None:
    """Cut the ledger of a run back to the batches that are in the table: taken up again, it loads the rest.

    A line that stayed would say that its rows are in the table, and whoever takes the run up would skip them. What
    the lines said is kept in words; which bytes they were is in the file, whose lines they become again.
    """
    gone = run.batches.exclude(start__in=there["starts"])
    lines = gone.aggregate(many=Count("pk"), first=Min("start"), last=Max("end"), rows=Sum("loaded"))
    for part in run.parts.all():
        first = gone.filter(part=part).order_by("start").first()
        if first is not None:
            part.next_byte, part.next_row, part.next_line = first.start, first.first_row, first.first_line
            part.save(update_fields=["next_byte", "next_row", "next_line"])
    run.rejects.filter(batch_id__in=list(gone.values_list("pk", flat=True))).delete()
    gone.delete()
    message = f"since a restore only {there['loaded']} rows of it are in the table; taken up again, it loads the rest"
    if lines["many"]:
        message += (
            f": {lines['rows']} rows of {lines['many']} batches between bytes {lines['first']} and {lines['last']}"
        )
    totals = run.batches.aggregate(loaded=Sum("loaded"), rejected=Sum("rejected"), skipped=Sum("skipped"))
    _fail(run, "partly-restored", message, **{name: value or 0 for name, value in totals.items()})


def _note_unknown(run: Run, many: int) -> None:
    """End a run of which the table has rows again whose lines an earlier restore took away: nothing more is loaded."""
    run.parts.update(next_byte=F("end"))
    message = (
        f"a restore brought back rows of {many} batches of which the ledger has no lines any more, since an earlier one"
        f" took them away: nothing more is loaded. Delete its rows (_run = {run.pk}), then load the file again with a"
        " reason"
    )
    _fail(run, "unknown-batches", message)


def _fail(run: Run, code: str, message: str, **counts: int) -> None:
    problems = [Problem(code, message).as_dict()]
    Run.objects.filter(pk=run.pk).update(status=Status.FAILED, attention=True, problems=problems, **counts)
    run.note_open_rejects()


def _give_back_corrections(gone: Sequence[int]) -> None:
    """Make the rows ready again that a correction had loaded which a restore took away; their parent sends them."""
    lost = set(gone)
    for some in _slices(gone):
        for run in Run.objects.filter(pk__in=some, trigger=CORRECTION).select_related("parent"):
            fixed = Reject.objects.filter(child=run, state=Reject.State.FIXED)
            fixed.update(state=Reject.State.READY)
            if run.parent is not None and run.parent_id not in lost:
                run.parent.note_open_rejects()


def _tell_parent(run: Run, *, whole: bool) -> None:
    """Call those rows of a correction fixed that are in the table, and no others: nobody sends them twice."""
    # Loaded after all, but for what it refused: that is among its own rejects.
    refused = list(run.rejects.values_list("row", flat=True))
    sent = Reject.objects.filter(child=run, state__in=[Reject.State.READY, Reject.State.FIXED])
    if whole:
        sent.exclude(child_row__in=refused).update(state=Reject.State.FIXED)
    else:
        sent.update(state=Reject.State.READY)
        for first, rows in run.batches.values_list("first_row", "rows"):
            loaded = sent.filter(child_row__gte=first, child_row__lt=first + rows).exclude(child_row__in=refused)
            loaded.update(state=Reject.State.FIXED)
    if run.parent is not None:
        run.parent.note_open_rejects()


def _bring_back(table: str, contained: Sequence[ContainedRun]) -> None:
    """Mark the runs that an earlier restore took away, or cut, and of which the table contains all rows again."""
    there = {run["run"]: run for run in contained}
    for some in _slices(there):
        taken = Run.objects.filter(dataset__table=table, pk__in=some, status__in=[Status.ROLLED_BACK, *PARTLY])
        mine = Run.objects.filter(pk__in=list(taken.values_list("pk", flat=True)))
        for run in mine.filter(trigger=CORRECTION).select_related("parent"):
            _tell_parent(run, whole=True)
        unsent = Reject.objects.filter(run=OuterRef("pk"), state__in=UNSENT)
        mine.filter(rejected__gt=0).update(rejects_open=Exists(unsent))
        for run in mine.filter(status__in=PARTLY):
            _note_whole(run, there[run.pk])
        mine.filter(closed_at__isnull=True).update(status=Status.LOADED)
        mine.filter(closed_at__isnull=False).update(status=Status.ARCHIVED)


def _note_whole(run: Run, there: ContainedRun) -> None:
    """Let nobody go on with a run that was cut: the rows behind the cut are in the table again."""
    run.parts.update(next_byte=F("end"))
    warning = "A restore brought back all of it; an earlier one had taken away lines of its ledger, and their rejects"
    Run.objects.filter(pk=run.pk).update(
        loaded=there["loaded"], attention=False, problems=[], warnings=[*run.warnings, warning]
    )


__all__ = ["contents", "load_again", "loading", "rewind", "ring_waiting", "strangers"]
