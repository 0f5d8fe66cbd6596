"""Backups: what there is, how far one is, what was proved of it, and what can be done with it."""

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.decorators import display

from migration_console.lib.audit import history
from migration_console.lib.errors import Unavailable, reason_of
from migration_console.numbers import number
from migration_console.shown import badge, moment

from .. import services
from ..errors import Damaged
from ..models import Backup, BackupStatus
from ..verify import read_manifest
from .acting import Pages, allow, attempt, polled, typed
from .shown import asked_by, badge_of, far, rehearsed_mark, told, verified_mark

RUNS_SHOWN = 100


@admin.register(Backup)
class BackupAdmin(Pages):
    """Backups, newest first."""

    list_display = ["name", "standing", "counted", "size", "codec", "taken", "verified", "rehearsed", "asked"]
    list_display_links = ["name"]
    list_filter = ["status", "codec", "table"]
    list_prefetch = ["requested_by"]
    search_fields = ["table", "prefix"]
    nothing = "No backup yet"
    what_next = "Back a table up now, or give it a schedule: then it happens by itself, and each backup is verified."

    def routes(self) -> list[tuple[str, Any, str]]:
        """Return the page's part that lives, and what can be done."""
        return [
            ("<int:pk>/live/", self.live, "backups_backup_live"),
            ("<int:pk>/contents/", self.contents, "backups_backup_contents"),
            ("<int:pk>/verify/", require_POST(self.verify), "backups_backup_verify"),
            ("<int:pk>/cancel/", require_POST(self.cancel), "backups_backup_cancel"),
            ("<int:pk>/keep/", require_POST(self.keep), "backups_backup_keep"),
            ("<int:pk>/delete/", self.delete, "backups_backup_remove"),
        ]

    @display(description="status", ordering="status")
    def standing(self, backup: Backup) -> SafeString:
        """Return the status as a word with colour and icon."""
        return badge(badge_of(backup))

    @display(description="backup", ordering="table")
    def name(self, backup: Backup) -> SafeString:
        """Return the table and the number."""
        return format_html("<bdi>{}</bdi> <span class='soft'>#{}</span>", backup.table, backup.pk)

    @display(description="rows", ordering="rows")
    def counted(self, backup: Backup) -> str:
        """Return how many rows it has."""
        return f"{backup.rows:,}" if backup.status == BackupStatus.DONE else "–"

    @display(description="size", ordering="bytes")
    def size(self, backup: Backup) -> str:
        """Return the size in the lake."""
        return filesizeformat(backup.bytes) if backup.status == BackupStatus.DONE else "–"

    @display(description="taken", ordering="started_at")
    def taken(self, backup: Backup) -> SafeString | str:
        """Return when it was taken."""
        return moment(backup.taken_at)

    @display(description="verified", ordering="verified_at")
    def verified(self, backup: Backup) -> SafeString:
        """Return whether the files were proved."""
        return verified_mark(backup)

    @display(description="rehearsed", ordering="rehearsed_at")
    def rehearsed(self, backup: Backup) -> SafeString:
        """Return whether a restore was tried."""
        return rehearsed_mark(backup)

    @display(description="asked for by")
    def asked(self, backup: Backup) -> str:
        """Return who wanted it."""
        return asked_by(backup)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show a backup."""
        context = _context(request, object_id)
        backup = context["backup"]
        context["history"] = history(backup)[:20] if request.user.has_perm("migration_console.view_auditentry") else []
        return self.page(
            request, "backups/backup.html", original=backup, title=f"Backup {backup.pk} of {backup.table}", **context
        )

    def live(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return what changes while a backup is taken or proved."""
        context = _context(request, pk)
        return polled(request, "backups/_backup_live.html", context, going_on=context["going_on"])

    def contents(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return what the manifest says that the table contained; it is read from the lake, so the page asks later."""
        backup = _context(request, pk)["backup"]
        context: dict[str, Any] = {"backup": backup}
        try:
            manifest = read_manifest(backup.prefix, backup.manifest_sha256)
            context |= {"manifest": manifest, "runs": manifest.runs[-RUNS_SHOWN:], "all_runs": len(manifest.runs)}
        except (Damaged, Unavailable, OSError) as error:
            context["error"] = str(reason_of(error))
        return render(request, "backups/_contents.html", context)

    def verify(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Have a backup proved, or rehearsed."""
        allow(request, "backups.change_backup")
        rehearse = request.POST.get("rehearse") == "yes"
        attempt(request, lambda: services.request_check(_get(pk), rehearse=rehearse, user=request.user))
        return redirect("admin:backups_backup_change", pk)

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Stop a backup, or its proof."""
        allow(request, "backups.change_backup")
        attempt(request, lambda: services.cancel_backup(_get(pk), user=request.user))
        return redirect("admin:backups_backup_change", pk)

    def keep(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Keep a backup from its plan, or let it go again."""
        allow(request, "backups.change_backup")
        kept = request.POST.get("kept") == "yes"
        said = "The plan will never delete this backup." if kept else "The plan may delete this backup again."
        attempt(request, lambda: services.keep_backup(_get(pk), kept, user=request.user), said)
        return redirect("admin:backups_backup_change", pk)

    def delete(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Say what is lost with a backup, and delete it."""
        allow(request, "backups.delete_backup")
        backup = _get(pk)
        if request.method == "POST" and typed(request, backup.table):
            spare = request.POST.get("newest") != "yes"
            deleted = attempt(
                request,
                lambda: services.delete_backup(backup, user=request.user, spare_newest_verified=spare),
                f"Backup {pk} of {backup.table} is deleted.",
            )
            return redirect("admin:backups_backup_changelist") if deleted else redirect(request.path)
        context = {
            "backup": backup,
            "newest_verified": services.newest_verified(backup.table) == backup,
            "others": len(services.finished(backup.table)) - 1,
        }
        return self.page(
            request, "backups/delete.html", original=backup, title=f"Delete backup {pk} of {backup.table}", **context
        )


def _get(pk: int | str) -> Backup:
    return get_object_or_404(Backup.objects.select_related("requested_by"), pk=pk)


def _context(request: HttpRequest, pk: int | str) -> dict[str, Any]:
    """Return what the page of a backup shows."""
    allow(request, "backups.view_backup")
    if number(str(pk)) is None:
        raise Http404
    backup = _get(pk)
    going_on = backup.status in Backup.OPEN or bool(backup.check_wanted)
    return {
        "backup": backup,
        "badge": badge_of(backup),
        "taking": backup.status in Backup.OPEN,
        "done": backup.status == BackupStatus.DONE,
        "going_on": going_on,
        "far": far(backup),
        "verified": verified_mark(backup),
        "rehearsed": rehearsed_mark(backup),
        "asked_by": asked_by(backup),
        "problems": told([*backup.problems, *backup.check_problems]),
        "live": reverse("admin:backups_backup_live", args=[backup.pk]),
    }
