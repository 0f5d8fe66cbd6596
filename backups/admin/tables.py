"""Tables on the console's list: how well each is protected, its plan, and what the plan would delete."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from migration_console.lib.errors import Refused
from migration_console.lib.tables import proper, resolve
from migration_console.numbers import number

from .. import services
from ..models import KINDS, Backup, BackupStatus, ListedTable, Restore
from ..schedule import in_words, next_times
from .acting import Pages, allow, attempt, typed
from .forms import PRESET_CHOICES, PlanForm
from .shown import STANDINGS, keeps_in_words, plan_in_words

MOST_SHOWN = 200
CHANGELIST = "admin:backups_listedtable_changelist"
PLAN = "admin:backups_listedtable_plan"


@admin.register(ListedTable)
class ListedTableAdmin(Pages):
    """The list of tables, and a page for each plan."""

    search_fields = ["name"]

    def routes(self) -> list[tuple[str, Any, str]]:
        """Return the pages; a table's name may hold anything but a slash at its end."""
        return [
            ("add-table/", self.add_table, "backups_listedtable_choose"),
            ("back-up/<path:table>/", require_POST(self.back_up), "backups_listedtable_back_up"),
            ("plan/<path:table>/", self.plan, "backups_listedtable_plan"),
            ("plan-preview/<path:table>/", require_POST(self.preview), "backups_listedtable_preview"),
            ("prune/<path:table>/", self.prune, "backups_listedtable_prune"),
            ("take-off/<path:table>/", self.take_off, "backups_listedtable_take_off"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show every listed table."""
        allow(request, "backups.view_listedtable")
        wanted = request.GET.get("q", "").strip().lower()
        tables = [_shown(table) for table in services.tables() if wanted in table["table"].lower()]
        under_way = set(Backup.objects.filter(under_way__isnull=False).values_list("table", flat=True))
        under_way |= set(Restore.objects.filter(under_way__isnull=False).values_list("table", flat=True))
        context = {"tables": tables, "q": wanted, "under_way": under_way}
        return self.page(request, "backups/tables.html", title="Tables", **context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponseBase:
        """Lead from search results to the plan."""
        allow(request, "backups.view_listedtable")
        table = ListedTable.objects.filter(pk=number(object_id) or 0).first()
        return redirect(PLAN, table.name) if table else redirect(CHANGELIST)

    def add_table(self, request: HttpRequest) -> HttpResponse:
        """Show the tables that are not listed; put one on the list."""
        allow(request, "backups.add_listedtable")
        if request.method == "POST":
            name = proper(request.POST.get("table", ""))
            if attempt(request, lambda: services.add_table(name, user=request.user), f"{name} is on the list."):
                return redirect(PLAN, name)
            return redirect("admin:backups_listedtable_choose")
        wanted = request.GET.get("q", "").strip()
        found = [name for name in services.candidates() if wanted.lower() in name.lower()]
        context = {"found": found[:MOST_SHOWN], "more": max(len(found) - MOST_SHOWN, 0), "q": wanted}
        context["schemas"] = connection.vendor == "mysql"
        return self.page(request, "backups/add_table.html", title="Add a table", **context)

    def back_up(self, request: HttpRequest, table: str) -> HttpResponseBase:
        """Ask for a backup, and show it."""
        allow(request, "backups.add_backup")
        taken: list[Backup] = []
        if not attempt(
            request, lambda: taken.append(services.request_backup(table, user=request.user, trigger="page"))
        ):
            return redirect(CHANGELIST)
        return redirect("admin:backups_backup_change", taken[0].pk)

    def plan(self, request: HttpRequest, table: str) -> HttpResponseBase:
        """Show a table's plan, and change it."""
        allow(request, "backups.view_listedtable")
        if (listed := _listed(request, table)) is None:
            return redirect(CHANGELIST)
        form = PlanForm.of(listed)
        if request.method == "POST":
            allow(request, "backups.change_listedtable")
            form = PlanForm(request.POST)
            if form.is_valid():
                seen = form.cleaned_data["seen"]
                attempt(
                    request,
                    lambda: services.set_plan(table, user=request.user, seen=seen, **form.plan),
                    f"The plan of {table} is saved.",
                )
                return redirect(PLAN, table)
        keeps = form.keeps if form.is_bound and form.is_valid() else listed.keeps
        context = {
            "table": table,
            "listed": listed,
            "form": form,
            "presets": PRESET_CHOICES,
            "keep_fields": [form[f"keep_{kind}"] for kind in KINDS],
            "means": _means(table, listed.schedule, listed.rehearsal_schedule, keeps),
            "going": _going(table, listed.keeps),
        }
        return self.page(request, "backups/plan.html", title=f"Plan of {table}", **context)

    def preview(self, request: HttpRequest, table: str) -> HttpResponse:
        """Show what a plan would mean, before it is saved."""
        allow(request, "backups.change_listedtable")
        if _listed(request, table) is None:
            return HttpResponse("The table is no longer on the list; open the page again.")
        form = PlanForm(request.POST)
        means = None
        if form.is_valid():
            means = _means(table, form.plan["schedule"], form.plan["rehearsal_schedule"], form.keeps)
        return render(request, "backups/_means.html", {"means": means, "form": form, "table": table})

    def prune(self, request: HttpRequest, table: str) -> HttpResponseBase:
        """Say what the plan no longer keeps, and delete it."""
        allow(request, "backups.delete_backup")
        if (listed := _listed(request, table)) is None:
            return redirect(CHANGELIST)
        if request.method == "POST" and typed(request, table):
            expected = {found for pk in request.POST.getlist("backup") if (found := number(pk)) is not None}
            said = f"{len(expected)} of the backups of {table} are deleted."
            attempt(request, lambda: services.prune(table, user=request.user, expected=expected), said)
            return redirect(PLAN, table)
        context = {"table": table, "going": _going(table, listed.keeps), "keeps": keeps_in_words(listed.keeps)}
        return self.page(request, "backups/prune.html", title=f"Prune the backups of {table}", **context)

    def take_off(self, request: HttpRequest, table: str) -> HttpResponseBase:
        """Take a table off the list, after saying what that means."""
        allow(request, "backups.delete_listedtable")
        if _listed(request, table) is None:
            return redirect(CHANGELIST)
        if request.method == "POST" and typed(request, table):
            gone = attempt(
                request, lambda: services.remove_table(table, user=request.user), f"{table} is no longer on the list."
            )
            return redirect(CHANGELIST) if gone else redirect(PLAN, table)
        context = {"table": table, "kept": len(services.finished(table))}
        return self.page(request, "backups/take_off.html", title=f"Take {table} off the list", **context)


def _listed(request: HttpRequest, table: str) -> ListedTable | None:
    """Return a table's plan without writing one; None, and a message, where it is not on the list."""
    try:
        resolve(table)
    except Refused:
        messages.error(request, f"{table} is not on the list of tables. Add it first.")
        return None
    return ListedTable.objects.filter(name=table).first() or ListedTable(name=table, added=False)


def _shown(table: dict[str, Any]) -> dict[str, Any]:
    age = table["newest_verified_age"]
    taken_at = None if age is None else timezone.now() - timedelta(seconds=age)
    return {**table, "badge": STANDINGS[table["standing"]], "plan": plan_in_words(table), "newest_at": taken_at}


def _means(table: str, schedule: str, rehearsal: str, keeps: dict[str, int]) -> dict[str, Any]:
    """Return what a plan means: when it acts, and what it would delete today."""
    return {
        "backups": _times(schedule),
        "backups_words": in_words(schedule),
        "rehearsals": _times(rehearsal),
        "rehearsals_words": in_words(rehearsal),
        "keeps": keeps_in_words(keeps),
        "lines": (lines := _preview(table, keeps)),
        "going": [line for line in lines if not line["keep"]],
    }


def _times(schedule: str) -> list[datetime]:
    return next_times(schedule, timezone.now(), 3) if schedule else []


def _preview(table: str, keeps: dict[str, int]) -> list[dict[str, Any]]:
    lines = services.prune(table, dry_run=True, keeps=keeps)
    return [{**line, "at": datetime.fromisoformat(line["taken_at"])} for line in lines]


def _going(table: str, keeps: dict[str, int]) -> list[Backup]:
    going = [line["id"] for line in services.prune(table, dry_run=True, keeps=keeps) if not line["keep"]]
    return list(Backup.objects.filter(pk__in=going, status=BackupStatus.DONE))
