"""What all pages of backups do alike: ask for the permission, act, say what came of it."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import path

from migration_console.lib.errors import Refused, Unavailable, reason_of
from migration_console.readonly import ReadOnlyAdmin

# htmx stops to poll when it sees this status.
STOP_POLLING = 286


class Pages(ReadOnlyAdmin):
    """An admin with pages of its own."""

    show_full_result_count = False
    # What a list says, and what to do, while there is nothing on it.
    nothing = what_next = ""

    class Media:
        css = {"all": ["backups/backups.css"]}

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponseBase:
        """Show the list; an empty one names the next step."""
        if self.has_view_permission(request) and not self.model._default_manager.exists():
            title = str(self.model._meta.verbose_name_plural).capitalize()
            return self.page(request, "backups/empty.html", title=title, nothing=self.nothing, next=self.what_next)
        found: HttpResponseBase = super().changelist_view(request, extra_context)
        return found

    def routes(self) -> list[tuple[str, Callable[..., Any], str]]:
        """Return addresses below the model's, their views, and the views' names."""
        return []

    def get_urls(self) -> list[Any]:
        """Put the own pages before Django's."""
        own = [path(route, self.admin_site.admin_view(view), name=name) for route, view, name in self.routes()]
        return [*own, *super().get_urls()]

    def page(self, request: HttpRequest, template: str, *, title: str, **context: Any) -> HttpResponse:
        """Return a page in the console's frame."""
        frame = {**self.admin_site.each_context(request), "opts": self.model._meta, "title": title}
        return render(request, template, {**frame, **context})


def allow(request: HttpRequest, permission: str) -> None:
    """Answer 403 to whoever may not."""
    if not request.user.has_perm(permission):
        raise PermissionDenied


def attempt(request: HttpRequest, deed: Callable[[], object], said: str = "") -> bool:
    """Do it and say so; where it is refused, say why, and answer False."""
    try:
        deed()
    except Refused as refused:
        for problem in refused.problems:
            messages.error(request, sentence(str(problem)))
        return False
    except (Unavailable, OSError) as away:
        told = f"The database or the lake is away, so this did not come to its end: {reason_of(away)}."
        messages.error(request, f"{told} Try again later.")
        return False
    if said:
        messages.success(request, said)
    return True


def typed(request: HttpRequest, name: str) -> bool:
    """Tell whether somebody has typed the name of what he is about to lose; say so where he has not."""
    if request.POST.get("confirm") == name:
        return True
    messages.error(request, f"Nothing was done: type {name} to confirm.")
    return False


def sentence(words: str) -> str:
    """Return words as a sentence."""
    return words if not words or words.endswith((".", "?", "!")) else f"{words}."


def polled(request: HttpRequest, template: str, context: dict[str, Any], *, going_on: bool) -> HttpResponse:
    """Return the part of a page that changes; at the end of the work the page is told not to ask again."""
    return render(request, template, {**context, "polled": True}, status=200 if going_on else STOP_POLLING)
