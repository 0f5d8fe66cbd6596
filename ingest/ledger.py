"""The ledger as backups and restores see it: which runs a table contains, and what a restore takes back."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, Sum
from django.db.models.functions import Coalesce, Now

from migration_console.lib.errors import Problem, conflict
from migration_console.lib.lake import lake
from migration_console.lib.ledger import Ask, ContainedRun

from .admission import admit_upload
from .archive import version_of
from .bell import ring, ring_waiting
from .models import CORRECTION, IN_THE_TABLE, RESTORED, Batch, Part, Reject, Run, SchemaVersion, Status

# Their batches stay in the table too, unless the file was to be published whole.
PARTLY = [Status.LOADING, Status.FAILED, Status.CANCELLED]


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
    found = []
    for pk, dataset, key, sha256, status, version, many, rows in ask(sql, parameters):
        if status in PARTLY and _is_whole(int(version)):
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
    return [f"run {run.pk} of dataset {run.dataset}" for run in runs]


def rewind(table: str, contained: Sequence[ContainedRun]) -> list[int]:
    """Make the ledger say that the table contains these runs and no others; return those rolled back.

    Otherwise files stay `loaded` that the table no longer contains, and sending them again does nothing.
    """
    unknown = {run["run"] for run in strangers(table, contained)}
    there = {run["run"]: run for run in contained if run["run"] not in unknown}
    with transaction.atomic():
        claimed = _claimed(table)
        _fence([run.pk for run in claimed if run.status in PARTLY])
        gone = [run.pk for run in claimed if run.pk not in there]
        Run.objects.filter(pk__in=gone).update(status=Status.ROLLED_BACK, rejects_open=False)
        _give_back_corrections(gone)
        _bring_back(table, [run for run in there.values() if run["whole"]])
        _bring_back_partly(table, [run for run in there.values() if not run["whole"]])
    return gone


def strangers(table: str, contained: Sequence[ContainedRun]) -> list[ContainedRun]:
    """Return those of the runs that the ledger knows nothing of: another console's, or those of a lost database."""
    mine = dict(Run.objects.filter(dataset__table=table).values_list("pk", "sha256"))
    return [run for run in contained if run["run"] not in mine or (mine[run["run"]] or "") != run["sha256"]]


def _claimed(table: str) -> list[Run]:
    """Lock and return the runs of which the ledger says that the table contains rows."""
    runs = Run.objects.filter(dataset__table=table).order_by("pk")
    partly = runs.filter(Exists(Batch.objects.filter(run=OuterRef("pk"))), status__in=PARTLY)
    pks = [*runs.filter(status__in=IN_THE_TABLE).values_list("pk", flat=True), *partly.values_list("pk", flat=True)]
    # By their keys alone, and in order: whoever begins a run locks its dataset first, and then the run.
    found = Run.objects.select_for_update().filter(pk__in=pks).order_by("pk")
    return [
        run
        for run in found
        if run.status in IN_THE_TABLE or (run.status in PARTLY and not _is_whole(run.schema_version_id))
    ]


def _fence(runs: Sequence[int]) -> None:
    """Take their parts from whoever is still at them: he adds no line to what is counted from now on."""
    Part.objects.filter(run__in=runs).update(epoch=F("epoch") + 1, owner="", lease_until=None)


def _bring_back_partly(table: str, contained: Sequence[ContainedRun]) -> None:
    """Make the ledger say which batches are in the table of runs of which it contains only some."""
    there = {run["run"]: run for run in contained}
    runs = Run.objects.filter(
        dataset__table=table, pk__in=there, status__in=[Status.ROLLED_BACK, *IN_THE_TABLE, *PARTLY]
    )
    for run in runs.order_by("pk"):
        found = there[run.pk]
        lines, starts = set(run.batches.values_list("start", flat=True)), set(found["starts"])
        back = run.status == Status.ROLLED_BACK
        if starts - lines:
            _note_unknown(run, len(starts - lines))
        elif lines - starts or (back and found["status"] == Status.LOADING):
            _note_partly(run, found)
        elif back:
            # It had ended before the backup was taken, and can be taken up as it could then.
            Run.objects.filter(pk=run.pk).update(status=found["status"], attention=found["status"] == Status.FAILED)
            run.note_open_rejects()


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
    for run in Run.objects.filter(pk__in=gone, trigger=CORRECTION).select_related("parent"):
        fixed = Reject.objects.filter(child=run, state=Reject.State.FIXED)
        fixed.update(state=Reject.State.READY)
        if run.parent is not None and run.parent_id not in gone:
            run.parent.note_open_rejects()


def _bring_back(table: str, contained: Sequence[ContainedRun]) -> None:
    """Mark the runs that an earlier restore took away, or cut, and of which the table contains all rows again."""
    there = {run["run"]: run for run in contained}
    mine = Run.objects.filter(dataset__table=table, pk__in=there, status__in=[Status.ROLLED_BACK, *PARTLY])
    for run in mine.filter(trigger=CORRECTION).select_related("parent"):
        # Loaded after all: what it refused is among its own rejects.
        refused = list(run.rejects.values_list("row", flat=True))
        back = Reject.objects.filter(child=run, state=Reject.State.READY).exclude(child_row__in=refused)
        back.update(state=Reject.State.FIXED)
        if run.parent is not None:
            run.parent.note_open_rejects()
    for run in mine.filter(rejected__gt=0):
        run.note_open_rejects()
    for run in mine.filter(status__in=PARTLY):
        _note_whole(run, there[run.pk])
    mine.filter(closed_at__isnull=False).update(status=Status.ARCHIVED)
    mine.update(status=Status.LOADED)


def _note_whole(run: Run, there: ContainedRun) -> None:
    """Let nobody go on with a run that was cut: the rows behind the cut are in the table again."""
    run.parts.update(next_byte=F("end"))
    warning = "A restore brought back all of it; an earlier one had taken away lines of its ledger, and their rejects"
    Run.objects.filter(pk=run.pk).update(
        loaded=there["loaded"], attention=False, problems=[], warnings=[*run.warnings, warning]
    )


def load_again(runs: Sequence[int]) -> list[int]:
    """Load the files of runs that were rolled back once more, in their order; return the new runs.

    A run that has been loaded again already is left out. So are corrections: their rows are ready to be sent once
    more, in their parent, or in the run that loads the parent's file again.
    """
    made = []
    rolled_back = Run.objects.filter(pk__in=runs, status=Status.ROLLED_BACK).exclude(trigger=CORRECTION)
    for run in rolled_back.select_related("dataset").order_by("pk"):
        if not run.archived_key or run.children.filter(trigger=RESTORED).exclude(status=Status.GONE).exists():
            continue

        def only_once(_again: Run, run: Run = run) -> None:
            # The run's row is the lock: of two who ask at once, the second finds the first one's child.
            with transaction.atomic():
                Run.objects.select_for_update().get(pk=run.pk)
                if run.children.filter(trigger=RESTORED).exclude(status=Status.GONE).count() > 1:
                    raise conflict("under-way", f"{run} is being loaded again already")

        with lake().open(version_of(run)) as source:
            again = admit_upload(
                f"raw/again/{run.key.removeprefix('raw/')}",
                source,
                trigger=RESTORED,
                dataset=run.dataset,
                reason=f"run {run.pk} was rolled back by a restore",
                parent=run,
                then=only_once,
            )
        ring(again)
        made.append(again.pk)
    return made


__all__ = ["contents", "load_again", "loading", "rewind", "ring_waiting", "strangers"]
