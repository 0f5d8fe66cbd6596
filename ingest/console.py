"""How runs look on a terminal."""

from collections.abc import Iterator

from .models import OPEN, Run, Status


def run_lines(run: Run) -> Iterator[str]:
    """Yield what a person wants to know of a run."""
    yield f"run {run.pk}  {run.key}  {run.dataset or 'no dataset'}: {run.status}"
    if run.status in {Status.LOADED, Status.ARCHIVED} or run.read:
        counts = f"read {run.read} = loaded {run.loaded} + rejected {run.rejected} + skipped {run.skipped}"
        yield f"  {counts}  ({run.seconds} s)"
    for problem in run.problems:
        place = f"{problem['where']}: " if problem.get("where") else ""
        yield f"  {place}{problem['message']}"
    for warning in run.warnings:
        yield f"  note: {warning}"
    for group in run.errors[:10]:
        sample = f", such as “{group['sample']}”" if group["sample"] else ""
        yield f"  {group['count']} × {group['field'] or 'row'}: {group['code']}{sample}"
    if len(run.errors) > 10:
        yield f"  … and {len(run.errors) - 10} more kinds of errors"
    if run.report_key:
        yield f"  report: {run.report_key}"
    if run.duplicate_of_id:
        yield f"  the same bytes were loaded by run {run.duplicate_of_id}; --again REASON loads them once more"
    if run.status in OPEN:
        yield f"  waits for {run.waiting_for or 'a worker'}" if run.dataset else "  no dataset matches its name"


def ended_well(run: Run) -> bool:
    """Tell whether a run ended as it should, rejects included."""
    return run.status in {Status.LOADED, Status.ARCHIVED, Status.DUPLICATE, Status.SUPERSEDED}
