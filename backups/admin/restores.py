"""Restores: chosen, tried dry, confirmed by the table's name, watched, and followed up."""

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.decorators import display

from migration_console.lib.audit import history
from migration_console.lib.errors import Refused
from migration_console.lib.tables import resolve
from migration_console.numbers import number
from migration_console.shown import badge, duration, moment

from .. import services
from ..models import BackupStatus, DryRun, Restore, RestoreStatus
from .acting import Pages, allow, attempt, polled, sentence, typed
from .forms import TargetForm
from .shown import asked_by, badge_of, far, steps_of, told

MOST_CHOICES = 500
LINES_SHOWN = 50
PAGE = "admin:backups_restore_change"
DRY_RUN = "admin:backups_restore_dry_run"


@admin.register(Restore)
class RestoreAdmin(Pages):
    """Restores, newest first."""

    list_display = ["name", "standing", "source", "counted", "took", "asked_at", "asked", "again"]
    list_display_links = ["name"]
    list_filter = ["status", "table"]
    list_prefetch = ["backup", "requested_by"]
    search_fields = ["table"]
    nothing = "Nothing has been restored yet"
    what_next = "Choose a table that has a backup: you see what a restore would change before anything happens."

    def routes(self) -> list[tuple[str, Any, str]]:
        """Return the way to a restore, the part of its page that lives, and what can be done."""
        return [
            ("choose/<path:table>/", self.choose, "backups_restore_choose"),
            ("dry-run/<int:pk>/", self.dry_run, "backups_restore_dry_run"),
            ("dry-run/<int:pk>/live/", self.dry_run_live, "backups_restore_dry_run_live"),
            ("dry-run/<int:pk>/cancel/", require_POST(self.cancel_dry_run), "backups_restore_dry_run_cancel"),
            ("<int:pk>/live/", self.live, "backups_restore_live"),
            ("<int:pk>/cancel/", require_POST(self.cancel), "backups_restore_cancel"),
            ("<int:pk>/load-again/", require_POST(self.load_again), "backups_restore_load_again"),
        ]

    @display(description="status", ordering="status")
    def standing(self, restore: Restore) -> SafeString:
        """Return the status as a word with colour and icon."""
        return badge(badge_of(restore))

    @display(description="restore", ordering="table")
    def name(self, restore: Restore) -> SafeString:
        """Return the table and the number."""
        return format_html("<bdi>{}</bdi> <span class='soft'>#{}</span>", restore.table, restore.pk)

    @display(description="from")
    def source(self, restore: Restore) -> SafeString:
        """Return the backup, and when it was taken."""
        return format_html("backup {} of {}", restore.backup_id, moment(restore.backup.taken_at))

    @display(description="rows", ordering="rows")
    def counted(self, restore: Restore) -> str:
        """Return how many rows came back."""
        return f"{restore.rows:,}"

    @display(description="took")
    def took(self, restore: Restore) -> str:
        """Return how long it took."""
        return duration(restore.seconds)

    @display(description="asked for", ordering="created_at")
    def asked_at(self, restore: Restore) -> SafeString | str:
        """Return when it was asked for."""
        return moment(restore.created_at)

    @display(description="by")
    def asked(self, restore: Restore) -> str:
        """Return who wanted it."""
        return asked_by(restore)

    @display(description="rolled back")
    def again(self, restore: Restore) -> str:
        """Return how many runs were rolled back, and whether they were loaded again."""
        if not restore.rolled_back:
            return "none"
        count = len(restore.rolled_back)
        return f"{count} runs" + (", loaded again" if restore.loaded_again else "")

    def choose(self, request: HttpRequest, table: str) -> HttpResponseBase:
        """Choose a backup and a target; what that would change is found out before anything else."""
        allow(request, "backups.add_restore")
        try:
            backups = services.finished(resolve(table))[:MOST_CHOICES]
        except Refused as refused:
            messages.error(request, sentence(str(refused)))
            return redirect("admin:backups_listedtable_changelist")
        form = TargetForm(backups, request.POST or None, initial=_first_choice(request, table))
        if request.method == "POST" and form.is_valid():
            given, asked = form.cleaned_data, list[DryRun]()
            into = given["into"] if given["where"] == "other" else None
            if attempt(
                request,
                lambda: asked.append(
                    services.request_dry_run(table, backup=given["backup"], into=into, user=request.user)
                ),
            ):
                return redirect(DRY_RUN, asked[0].pk)
        context = {"table": table, "backups": backups, "form": form}
        return self.page(request, "backups/choose.html", title=f"Restore {table}", **context)

    def dry_run(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Show what a restore would change; whoever types the table's name asks for it."""
        allow(request, "backups.add_restore")
        context = _dry_run(pk)
        seen: DryRun = context["seen"]
        if request.method == "POST" and typed(request, seen.table):
            asked: list[Restore] = []
            how = {"back_up_first": request.POST.get("skip_backup") != "yes"}
            how["take_schema"] = request.POST.get("take_schema") == "yes"
            if attempt(request, lambda: asked.append(services.restore_as_seen(seen, user=request.user, **how))):
                return redirect(PAGE, asked[0].pk)
            return redirect(DRY_RUN, pk)
        return self.page(request, "backups/dry_run.html", title=f"Restore {seen.table}", **context)

    def dry_run_live(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return what changes while a worker compares."""
        allow(request, "backups.add_restore")
        context = _dry_run(pk)
        return polled(request, "backups/_dry_run_live.html", context, going_on=context["going_on"])

    def cancel_dry_run(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Stop comparing."""
        allow(request, "backups.add_restore")
        seen = services.cancel_dry_run(get_object_or_404(DryRun, pk=pk))
        return redirect("admin:backups_restore_choose", seen.backup.table)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show a restore."""
        context = _context(request, object_id)
        restore = context["restore"]
        context["history"] = history(restore)[:20] if request.user.has_perm("migration_console.view_auditentry") else []
        return self.page(
            request,
            "backups/restore.html",
            original=restore,
            title=f"Restore {restore.pk} of {restore.table}",
            **context,
        )

    def live(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return what changes while a restore goes on."""
        context = _context(request, pk)
        return polled(request, "backups/_restore_live.html", context, going_on=context["going_on"])

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Stop a restore."""
        allow(request, "backups.change_restore")
        restore = get_object_or_404(Restore, pk=pk)
        attempt(request, lambda: services.cancel_restore(restore, user=request.user))
        if not restore.cancel_requested and restore.status in Restore.OPEN:
            messages.warning(request, "It has begun to swap the tables, and goes on to its end.")
        return redirect(PAGE, pk)

    def load_again(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Load the files again that a restore rolled back."""
        allow(request, "backups.change_restore")
        runs: list[int] = []
        restore = get_object_or_404(Restore, pk=pk)
        if attempt(request, lambda: runs.extend(services.load_again(restore, user=request.user))):
            if runs:
                messages.success(request, f"{len(runs)} new runs load these files again, in their order.")
            elif any(problem["code"] == services.GONE for problem in restore.problems):
                messages.warning(request, "Nothing was loaded: the files are not there. See below what to do.")
            else:
                messages.info(request, "All of these files are loaded again already, or on their way.")
        return redirect(PAGE, pk)


def _first_choice(request: HttpRequest, table: str) -> dict[str, Any]:
    """Return the backup that the person came from, or the latest one."""
    given = request.GET.get("backup", "")
    try:
        chosen = services.find_backup(table, given or "latest").pk
    except Refused:
        chosen = None
    return {"backup": chosen, "where": "same"}


def _dry_run(pk: int) -> dict[str, Any]:
    seen = get_object_or_404(DryRun.objects.select_related("backup", "requested_by"), pk=pk)
    found = seen.result
    return {
        "seen": seen,
        "badge": badge_of(seen),
        "going_on": seen.status in DryRun.OPEN,
        "done": seen.status == BackupStatus.DONE,
        "far": far(seen),
        "found": found,
        "differs": bool(found.get("only_then") or found.get("only_now")),
        "rolled": found.get("roll_back", [])[:LINES_SHOWN],
        "more_rolled": max(len(found.get("roll_back", [])) - LINES_SHOWN, 0),
        "same_table": seen.table == seen.backup.table,
        "problems": told(seen.problems),
        "live": reverse("admin:backups_restore_dry_run_live", args=[seen.pk]),
    }


def _context(request: HttpRequest, pk: int | str) -> dict[str, Any]:
    """Return what the page of a restore shows."""
    allow(request, "backups.view_restore")
    if number(str(pk)) is None:
        raise Http404
    restore = get_object_or_404(Restore.objects.select_related("backup", "safety", "requested_by"), pk=pk)
    return {
        "restore": restore,
        "badge": badge_of(restore),
        "going_on": restore.status in Restore.OPEN,
        "done": restore.status == RestoreStatus.DONE,
        "stoppable": restore.status in Restore.OPEN and restore.status not in services.TOO_LATE,
        "far": far(restore),
        "steps": steps_of(restore),
        "asked_by": asked_by(restore),
        "problems": told(restore.problems),
        "rolled": restore.rolled_back[:LINES_SHOWN],
        "more_rolled": max(len(restore.rolled_back) - LINES_SHOWN, 0),
        "again": restore.loaded_again[:LINES_SHOWN],
        "left": len(restore.loaded_again) < len(restore.rolled_back),
        "live": reverse("admin:backups_restore_live", args=[restore.pk]),
    }
