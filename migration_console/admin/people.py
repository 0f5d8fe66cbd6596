"""People and groups. Administrators manage people; auditors and operators look."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from .. import people
from ..groups import GROUPS, WORDS
from ..lib.audit import AuditEntry, history
from ..lib.errors import Refused
from ..numbers import number
from ..readonly import ReadOnlyAdmin
from ..shown import Badge, badge, moment
from .forms import PersonForm, RightsForm, add_problems

LATEST = 20
ADMIN = Badge("admin", "busy", "shield_person")
for model in (User, Group):
    admin.site.unregister(model)
# What pages call them; in the models' own words a migration of Django's would be due.
User._meta.app_config.verbose_name = "People"
User._meta.verbose_name, User._meta.verbose_name_plural = "person", "people"


def badges_of(user: User) -> SafeString | str:
    """Return what a user may do, as badges."""
    found = [ADMIN] if user.is_superuser else []
    found += [Badge(name, "quiet", "group") for name in people.groups_of(user)]
    return format_html_join(" ", "{}", ((badge(each),) for each in found)) or "nothing"


def state_of(user: User) -> Badge:
    """Return whether a user is let in."""
    if not user.is_active:
        return Badge("Deactivated", "quiet", "block")
    if not user.has_usable_password():
        return Badge("Invited", "warn", "mail")
    return Badge("Active", "good", "check_circle")


@admin.register(User)
class PersonAdmin(ReadOnlyAdmin):
    """Everybody who may sign in; service users are under Tokens."""

    list_display = ["username", "rights", "state", "signed_in", "added"]
    list_filter = ["groups", "is_active", "is_superuser"]
    search_fields = ["username"]
    ordering = ["username"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Return people with their groups."""
        found: QuerySet[User] = super().get_queryset(request)
        return found.filter(is_staff=True).prefetch_related("groups")

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Administrators add people."""
        return bool(request.user.is_active and request.user.is_superuser)

    @display(description="may")
    def rights(self, person: User) -> SafeString | str:
        """Return the groups."""
        return badges_of(person)

    @display(description="state")
    def state(self, person: User) -> SafeString:
        """Return whether the person is let in."""
        return badge(state_of(person))

    @display(description="last signed in", ordering="last_login")
    def signed_in(self, person: User) -> SafeString | str:
        """Return when."""
        return moment(person.last_login)

    @display(description="added", ordering="date_joined")
    def added(self, person: User) -> SafeString | str:
        """Return when."""
        return moment(person.date_joined)

    def get_urls(self) -> list[Any]:
        """Add what is done to a person."""
        view = self.admin_site.admin_view
        own = [
            path("<int:pk>/link/", view(self.make_link), name="auth_user_link"),
            path("<int:pk>/deactivate/", view(self.deactivate), name="auth_user_deactivate"),
            path("<int:pk>/reactivate/", view(self.reactivate), name="auth_user_reactivate"),
        ]
        return [*own, *super().get_urls()]

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponseBase:
        """Ask for a person, make him, and show the link for his password this once."""
        self._administrators_only(request)
        form = PersonForm(request.POST or None, initial={"groups": ["steward"]})
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            try:
                person = people.add_person(given["name"], groups=given["groups"], admin=given["admin"], by=request.user)
            except Refused as refused:
                add_problems(form, refused)
            else:
                return self._show_link(request, person)
        return self._render(request, "person_add", title="Add a person", form=form)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponseBase:
        """Show a person; administrators change the rights."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        person = self._person(request, object_id)
        form = RightsForm(
            request.POST or None, initial={"groups": people.groups_of(person), "admin": person.is_superuser}
        )
        if request.method == "POST":
            self._administrators_only(request)
            if form.is_valid():
                given = form.cleaned_data
                try:
                    people.change_rights(person, groups=given["groups"], admin=given["admin"], by=request.user)
                except Refused as refused:
                    add_problems(form, refused)
                else:
                    messages.success(request, f"{person} has new rights, from the next click on.")
                    return redirect("admin:auth_user_change", person.pk)
        may_audit = request.user.has_perm("migration_console.view_auditentry")
        return self._render(
            request, "person", title=person.get_username(), person=person, original=person, form=form,
            rights=badges_of(person), state=state_of(person), manages=request.user.is_superuser,
            groups=[(name, WORDS[name]) for name in people.groups_of(person) if name in WORDS],
            did=AuditEntry.objects.filter(actor=person.get_username())[:LATEST] if may_audit else None,
            was_done=history(person)[:LATEST] if may_audit else None,
        )  # fmt: skip

    def make_link(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Make a link for a new password, and show it this once."""
        self._administrators_only(request, method="POST")
        person = self._person(request, pk)
        try:
            return self._show_link(request, person)
        except Refused as refused:
            messages.error(request, str(refused))
        return redirect("admin:auth_user_change", person.pk)

    def deactivate(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Let a person in no more; the name is typed."""
        self._administrators_only(request, method="POST")
        person = self._person(request, pk)
        if request.POST.get("name") != person.get_username():
            messages.error(request, f"{person} is still let in: the name that you typed is another one.")
        else:
            try:
                people.deactivate(person, by=request.user)
                messages.success(request, f"{person} is let in no more.")
            except Refused as refused:
                messages.error(request, str(refused))
        return redirect("admin:auth_user_change", person.pk)

    def reactivate(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Let a person in again."""
        self._administrators_only(request, method="POST")
        person = self._person(request, pk)
        people.reactivate(person, by=request.user)
        messages.success(request, f"{person} is let in again.")
        return redirect("admin:auth_user_change", person.pk)

    def _administrators_only(self, request: HttpRequest, method: str = "") -> None:
        if not self.has_add_permission(request) or (method and request.method != method):
            raise PermissionDenied

    def _person(self, request: HttpRequest, pk: Any) -> User:
        return get_object_or_404(self.get_queryset(request), pk=number(str(pk)))

    def _show_link(self, request: HttpRequest, person: User) -> HttpResponse:
        # In the answer to the POST, not behind a redirect: the link is kept nowhere.
        link = request.build_absolute_uri(people.link_for(person, by=request.user))
        answer = self._render(
            request, "person_link", title=f"A link for {person}", person=person, original=person, link=link
        )
        answer["Cache-Control"] = "no-store"
        return answer

    def _render(self, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return render(request, f"console/{template}.html", context)


@admin.register(Group)
class GroupAdmin(ReadOnlyAdmin):
    """Groups, as the code has them: migrate keeps them equal to migration_console/groups.py."""

    list_display = ["name", "what_for", "members"]
    ordering = ["name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        """Return groups with the number of those in them."""
        found: QuerySet[Group] = super().get_queryset(request)
        return found.annotate(size=Count("user", filter=Q(user__is_active=True)))

    @display(description="for")
    def what_for(self, group: Group) -> str:
        """Return what the group is for."""
        return WORDS.get(group.name, "not one of the console's")

    @display(description="members", ordering="size")
    def members(self, group: Any) -> int:
        """Return how many active people and service users are in it."""
        return int(group.size)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponseBase:
        """Show what a group may do, and who is in it."""
        if request.method == "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        group = get_object_or_404(Group, pk=number(object_id))
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": group.name, "original": group,
            "words": self.what_for(group), "permissions": sorted(GROUPS.get(group.name, ())),
            "members": group.user_set.order_by("-is_staff", "username"),
        }  # fmt: skip
        return render(request, "console/group.html", context)
