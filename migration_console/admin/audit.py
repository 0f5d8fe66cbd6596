"""Who did what: the audit log, to be looked at and to be verified."""

import time
from itertools import islice
from typing import Any

import orjson
from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.decorators import action, display

from ..lib.audit import AuditEntry, AuditHead, broken_lines
from ..numbers import number
from ..readonly import ReadOnlyAdmin
from ..shown import duration, moment

# How many broken lines are shown; `manage.py audit` names all.
MOST = 100
# Who cannot sign in is nobody yet.
STRANGERS = {"person.sign_in_failed", "person.locked_out"}

# Schedules of the console are in its settings, those of tables on the pages of tables. What somebody changed here
# the next start would overwrite.
for model in apps.get_app_config("django_celery_beat").get_models():
    if admin.site.is_registered(model):
        admin.site.unregister(model)


def address_of(entry: AuditEntry) -> str:
    """Return the address of the page about what a line is about; none where there is no such page."""
    if not entry.subject_id:
        return ""
    for model in admin.site._registry:
        if model._meta.model_name == entry.subject_type:
            return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[entry.subject_id])
    return ""


def who(entry: AuditEntry) -> str:
    """Return the person, the service user or the command."""
    return entry.actor or ("somebody" if entry.action in STRANGERS else "the console")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The log, newest first."""

    list_display = ["when", "shown_actor", "action", "kind", "what"]
    list_display_links = ["when"]
    list_filter = ["action", "subject_type", ("at", RangeDateFilter)]
    list_filter_submit = True
    search_fields = ["=actor", "^subject"]
    search_help_text = "A user's whole name, or how the name of a thing begins"
    actions_list = ["chain"]
    ordering = ["-id"]
    sortable_by: tuple[str, ...] = ()
    show_full_result_count = False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow links to the lines of a thing and of a person."""
        return lookup in {"subject_id", "actor"} or bool(super().lookup_allowed(lookup, value, request))

    @display(description="when")
    def when(self, entry: AuditEntry) -> SafeString | str:
        """Return the time."""
        return moment(entry.at)

    @display(description="who")
    def shown_actor(self, entry: AuditEntry) -> SafeString:
        """Return who it was, with a link to all that he did."""
        if not entry.actor:
            return format_html("{}", who(entry))
        return format_html('<a href="?{}"><bdi>{}</bdi></a>', urlencode({"actor": entry.actor}), entry.actor)

    @display(description="kind")
    def kind(self, entry: AuditEntry) -> str:
        """Return the kind of thing."""
        return kind_of(entry)

    @display(description="what")
    def what(self, entry: AuditEntry) -> SafeString:
        """Return the thing, with a link to its page."""
        if address := address_of(entry):
            return format_html('<a href="{}"><bdi>{}</bdi></a>', address, entry.subject)
        return format_html("<bdi>{}</bdi>", entry.subject)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponseBase:
        """Show a line with its details."""
        if request.method == "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        entry = get_object_or_404(AuditEntry, pk=number(object_id))
        details = orjson.loads(entry.details)
        about = AuditEntry.objects.filter(subject_type=entry.subject_type, subject_id=entry.subject_id)
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": f"Line {entry.pk}: {entry.action}",
            "entry": entry, "original": entry, "who": who(entry), "kind": kind_of(entry), "address": address_of(entry),
            "details": [(name.replace("_", " "), readable(value)) for name, value in details.items()],
            "whole": entry.computed() == entry.digest, "others": about.exclude(pk=entry.pk)[:10],
        }  # fmt: skip
        return render(request, "console/audit_line.html", context)

    @action(description="Verify", url_path="chain", icon="verified")
    def chain(self, request: HttpRequest) -> HttpResponseBase:
        """Verify the chain, now."""
        if request.method != "GET" or not self.has_view_permission(request):
            raise PermissionDenied
        began = time.perf_counter()
        wrong = list(islice(broken_lines(), MOST))
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Is the audit log whole?",
            "wrong": wrong, "more": len(wrong) == MOST, "took": duration(time.perf_counter() - began),
            "head": AuditHead.objects.filter(pk=1).first(),
        }  # fmt: skip
        return render(request, "console/chain.html", context)


def kind_of(entry: AuditEntry) -> str:
    """Return the kind of thing in words."""
    return {"user": "person", "listedtable": "table", "authtoken": "token"}.get(entry.subject_type, entry.subject_type)


def readable(value: Any) -> str:
    """Return a value of the details as people read it."""
    if isinstance(value, str):
        return value or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ([], {}):
        return "–"
    if isinstance(value, list) and all(isinstance(each, str | int) for each in value):
        return ", ".join(map(str, value))
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
