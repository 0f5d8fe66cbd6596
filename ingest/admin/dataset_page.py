"""The page of one dataset, and what can be done there; the files that no dataset matches."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.text import get_valid_filename
from django.views.decorators.http import require_POST

from migration_console.lib.audit import history
from migration_console.lib.errors import Problem, Refused, Unavailable, reason_of
from migration_console.numbers import number

from .. import editing
from ..changes import changes
from ..datasets import pause, referring, remove_dataset, rename_dataset, save_dataset
from ..errors import HINTS
from ..models import Dataset, Run, SchemaVersion
from .inputs import DELIMITERS
from .shown import badge_of, state_of
from .uploads import UploadForm, take_in, why

LAST_RUNS, LAST_VERSIONS, LAST_DEEDS, WAITING = 10, 20, 20, 100
BAD_ROWS = 20

View = Callable[..., HttpResponseBase]


def need(request: HttpRequest, *permissions: str) -> None:
    """Refuse whoever lacks a permission."""
    if not request.user.has_perms([f"ingest.{permission}" for permission in permissions]):
        raise PermissionDenied


def told(request: HttpRequest, do: Callable[[], object], well: str) -> bool:
    """Do something, and say how it went; False where it was refused."""
    try:
        do()
    except Refused as refused:
        for problem in refused.problems:
            messages.error(request, f"Nothing was changed: {problem.message}.")
        return False
    except (Unavailable, OSError) as error:
        messages.error(request, why(error))
        return False
    messages.success(request, well)
    return True


def dataset_view(request: HttpRequest, pk: int, **more: Any) -> HttpResponseBase:
    """Show a dataset: its facts, its last runs, its columns, its versions, and who did what."""
    need(request, "view_dataset")
    dataset = get_object_or_404(Dataset, pk=pk)
    versions = list(dataset.versions.select_related("created_by").order_by("-number")[: LAST_VERSIONS + 1])
    current = versions[0]
    runs = list(dataset.runs.order_by("-id")[:LAST_RUNS])
    user = request.user
    delimiter = current.parsed.dialect.delimiter
    context = {
        **admin.site.each_context(request), "title": f"Dataset {dataset}", "dataset": dataset, "current": current,
        "state": state_of(dataset), "delimiter": DELIMITERS.get(delimiter, delimiter),
        "descriptor": current.parsed, "columns": _columns(current), "runs": [(run, badge_of(run)) for run in runs],
        "versions": _versions(versions), "history": history(dataset)[:LAST_DEEDS], "hints": HINTS,
        "referring": [other.name for other in referring(dataset.name)],
        "drafts": dataset.drafts.select_related("user")[:5], **_permissions(user), **more,
    }  # fmt: skip
    return render(request, "ingest/dataset.html", context)


def _permissions(user: Any) -> dict[str, bool]:
    return {
        "may_load": user.has_perm("ingest.add_run"),
        "may_change": user.has_perm("ingest.change_dataset"),
        "may_add": user.has_perm("ingest.add_dataset"),
        "may_retire": user.has_perm("ingest.delete_dataset"),
        "may_see_history": user.has_perm("migration_console.view_auditentry") or user.has_perm("ingest.change_dataset"),
    }


def _columns(version: SchemaVersion) -> list[dict[str, Any]]:
    """Return the schema as a person reads it; nothing where a model cannot be imported any more."""
    try:
        schema = version.schema
    except Refused:
        return []
    keys = schema.descriptor.schema_.primary_key or []
    return [
        {
            "name": column.name, "type": column.field.type, "format": column.field.format, "sql": column.sql.sql,
            "required": column.required, "key": column.name in keys, "rules": _rules(column.field),
            "title": column.field.title,
        }
        for column in schema.columns
    ]  # fmt: skip


def _rules(field: Any) -> list[str]:
    """Return the rules of a field in words."""
    rules = field.constraints
    found = [
        ("unique", rules.unique or None), ("at least {}", rules.minimum), ("at most {}", rules.maximum),
        ("{} or more characters", rules.min_length), ("{} characters at most", rules.max_length),
        ("pattern {}", rules.pattern), ("one of {}", rules.enum and ", ".join(map(str, rules.enum[:20]))),
        ("empty means {}", field.default), ("{} case", None if field.case == "keep" else field.case),
        ("spaces stripped", field.strip or None), ("{} replacements", len(field.map) or None),
        ("also called {}", ", ".join(field.aliases) or None),
    ]  # fmt: skip
    return [text.format(value) for text, value in found if value is not None]


def _versions(versions: list[SchemaVersion]) -> list[dict[str, Any]]:
    """Return each version with what it changed compared with the one before."""
    shown: list[dict[str, Any]] = []
    for version, before in zip(versions, [*versions[1:], None]):
        if len(shown) == LAST_VERSIONS:
            break
        what = changes(before.descriptor, version.descriptor) if before else ["the first version"]
        if before and version.model_hash != before.model_hash:
            what.append("the Pydantic model changed")
        shown.append({"version": version, "changes": what or ["nothing"]})
    return shown


@require_POST
def load_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Put a file into raw/, and show its run."""
    need(request, "add_run")
    dataset = get_object_or_404(Dataset, pk=pk, retired=False)
    form = UploadForm({"dataset": dataset.pk, "reason": request.POST.get("reason", "")}, request.FILES)
    run = take_in(form, request.user) if form.is_valid() else None
    if run is None:
        for reasons in form.errors.values():
            messages.error(request, " ".join(map(str, reasons)))
        return redirect("admin:ingest_dataset_change", pk)
    return redirect("admin:ingest_run_change", run.pk)


@require_POST
def dry_run_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Try a file without loading it."""
    need(request, "add_run")
    dataset = get_object_or_404(Dataset, pk=pk, retired=False)
    file: Any = request.FILES.get("file")
    if file is None:
        messages.error(request, "Choose a file first.")
        return redirect("admin:ingest_dataset_change", pk)
    return dataset_view(request, pk, tried=_dry_run(file, dataset))


def _dry_run(file: Any, dataset: Dataset) -> dict[str, Any]:
    from ..dryrun import dry_run  # Polars, only where somebody asks

    name = get_valid_filename(file.name or "file.csv")
    with tempfile.NamedTemporaryFile(prefix="console-") as kept:
        for chunk in file.chunks():
            kept.write(chunk)
        kept.flush()
        return dry_run(Path(kept.name), dataset, name=name, bad_rows=BAD_ROWS)


@require_POST
def pause_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Keep a dataset's files waiting, or let them go on."""
    need(request, "change_dataset")
    dataset = get_object_or_404(Dataset, pk=pk)
    if "resume" in request.POST:
        told(request, lambda: editing.resume(dataset, user=request.user), f"{dataset} loads again.")
    else:
        told(request, lambda: pause(dataset, paused=True, user=request.user), f"{dataset} is paused: its files wait.")
    return redirect("admin:ingest_dataset_change", pk)


class RenameForm(forms.Form):
    """A dataset's new name."""

    name = forms.CharField(max_length=100)
    keep_files = forms.BooleanField(required=False)


@require_POST
def rename_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Give a dataset another name."""
    need(request, "change_dataset")
    dataset = get_object_or_404(Dataset, pk=pk)
    form = RenameForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was changed: give a name.")
    else:
        name, keep = form.cleaned_data["name"], form.cleaned_data["keep_files"]
        old = dataset.name
        told(
            request,
            lambda: rename_dataset(dataset, name, keep_files=keep, user=request.user),
            f"{old} is called {name} now.",
        )
    return redirect("admin:ingest_dataset_change", pk)


@require_POST
def retire_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Retire a dataset, as confirmed by its name."""
    need(request, "delete_dataset")
    dataset = get_object_or_404(Dataset, pk=pk)
    if request.POST.get("confirm") != dataset.name:
        messages.error(request, f"Nothing was changed: type {dataset.name} to retire it.")
    else:
        told(
            request, lambda: remove_dataset(dataset, user=request.user), f"{dataset.name} is retired; its table stays."
        )
    if not Dataset.objects.filter(pk=pk).exists():
        return redirect("admin:ingest_dataset_changelist")
    return redirect("admin:ingest_dataset_change", pk)


@require_POST
def bring_back_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Let a retired dataset take files again, as it was."""
    need(request, "change_dataset")
    dataset = get_object_or_404(Dataset, pk=pk, retired=True)
    told(request, lambda: save_dataset(dataset.current.descriptor, user=request.user), f"{dataset} takes files again.")
    return redirect("admin:ingest_dataset_change", pk)


@require_POST
def edit_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Begin a draft of the next version."""
    need(request, "change_dataset")
    dataset = get_object_or_404(Dataset, pk=pk)
    try:
        draft = editing.draft_of_dataset(dataset, user=request.user)
    except (Refused, Unavailable, OSError) as error:
        messages.error(request, f"No draft: {reason_of(error)}. Try again in a while.")
        return redirect("admin:ingest_dataset_change", pk)
    return redirect("admin:ingest_dataset_draft", draft.pk)


def new_view(request: HttpRequest) -> HttpResponseBase:
    """Begin a draft from a sample or from a table."""
    need(request, "add_dataset")
    problems: list[Any] = []
    if request.method == "POST":
        try:
            return redirect("admin:ingest_dataset_draft", _begin(request).pk)
        except Refused as refused:
            problems = refused.problems
        except (Unavailable, OSError) as error:
            problems = [Problem("away", why(error))]
    context = {
        **admin.site.each_context(request), "title": "New dataset", "tables": editing.tables_to_offer(),
        "problems": problems, "chosen": request.POST.get("table", ""),
    }  # fmt: skip
    return render(request, "ingest/dataset_new.html", context)


def _begin(request: HttpRequest) -> Any:
    file: Any = request.FILES.get("file")
    if file is not None:
        return editing.draft_of_file(file, file.name or "", user=request.user)
    return editing.draft_of_table(request.POST.get("table", ""), user=request.user)


def files_view(request: HttpRequest) -> HttpResponseBase:
    """Show the files that no dataset matches."""
    need(request, "view_run")
    runs = list(editing.waiting_files()[: WAITING + 1])
    context = {
        **admin.site.each_context(request), "title": "Files without a dataset", "runs": runs[:WAITING],
        "more": len(runs) > WAITING, "datasets": Dataset.objects.filter(retired=False),
        "may_add": request.user.has_perm("ingest.add_dataset"),
        "may_change": request.user.has_perm("ingest.change_run"),
    }  # fmt: skip
    return render(request, "ingest/dataset_files.html", context)


@require_POST
def assign_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Load a file that waits into the dataset that somebody chooses."""
    need(request, "change_run")
    run = get_object_or_404(Run, pk=pk)
    dataset = get_object_or_404(Dataset, pk=number(request.POST.get("dataset", "")))
    well = f"{run.key} loads into {dataset}."
    if told(request, lambda: editing.assign(run, dataset, user=request.user), well):
        return redirect("admin:ingest_run_change", pk)
    return redirect("admin:ingest_dataset_files")


@require_POST
def adopt_view(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Begin a draft from a file that waits."""
    need(request, "add_dataset", "view_run")
    run = get_object_or_404(Run, pk=pk)
    try:
        draft = editing.draft_of_run(run, user=request.user)
    except Refused as refused:
        messages.error(request, f"No draft: {'; '.join(problem.message for problem in refused.problems)}.")
        return redirect("admin:ingest_dataset_files")
    except (Unavailable, OSError) as error:
        messages.error(request, f"No draft: {reason_of(error)}. Try again in a while.")
        return redirect("admin:ingest_dataset_files")
    return redirect("admin:ingest_dataset_draft", draft.pk)
