"""Tokens of scripts: who has which, for how long; made and revoked."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.safestring import SafeString
from knox.models import AuthToken
from unfold.decorators import display

from .. import people, tokens
from ..lib.errors import Refused
from ..readonly import ReadOnlyAdmin
from ..shown import Badge, badge, moment
from .forms import TokenForm, add_problems
from .people import badges_of

SOON = timedelta(days=14)
admin.site.unregister(AuthToken)
AuthToken._meta.app_config.verbose_name = "People"
AuthToken._meta.verbose_name, AuthToken._meta.verbose_name_plural = "token", "tokens"


def state_of(token: AuthToken) -> Badge:
    """Return whether a token is good."""
    if not token.user.is_active:
        return Badge("Switched off", "quiet", "block")
    if token.expiry is None:
        return Badge("Good for ever", "warn", "all_inclusive")
    left = token.expiry - timezone.now()
    if left <= timedelta(0):
        return Badge("Expired", "bad", "event_busy")
    return Badge("Ends soon", "warn", "schedule") if left < SOON else Badge("Good", "good", "check_circle")


@admin.register(AuthToken)
class TokenAdmin(ReadOnlyAdmin):
    """Tokens, newest first."""

    list_display = ["service_user", "starts_with", "groups", "state", "made", "made_by", "ends"]
    list_filter = ["user__groups"]
    list_select_related = ["user"]
    search_fields = ["user__username"]
    ordering = ["-created"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuthToken]:
        """Return tokens with their users' groups."""
        found: QuerySet[AuthToken] = super().get_queryset(request)
        return found.prefetch_related("user__groups")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the page of the list, each token with its maker."""
        found = super().get_changelist_instance(request)
        tokens.name_makers(found.result_list)
        return found

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Operators make tokens."""
        return bool(request.user.has_perm("knox.add_authtoken"))

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Operators revoke tokens."""
        return bool(request.user.has_perm("knox.delete_authtoken"))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Tokens are revoked one by one, each with its service user's name typed."""
        return {}

    @display(description="service user", ordering="user__username")
    def service_user(self, token: AuthToken) -> str:
        """Return the name."""
        return str(token.user.get_username())

    @display(description="token")
    def starts_with(self, token: AuthToken) -> str:
        """Return how the token begins: enough to find it in a script's configuration."""
        return f"{token.token_key[:8]}…"

    @display(description="groups")
    def groups(self, token: AuthToken) -> SafeString | str:
        """Return what it may do."""
        return badges_of(token.user)

    @display(description="state", ordering="expiry")
    def state(self, token: AuthToken) -> SafeString:
        """Return whether it is good."""
        return badge(state_of(token))

    @display(description="made", ordering="created")
    def made(self, token: AuthToken) -> SafeString | str:
        """Return when."""
        return moment(token.created)

    @display(description="by")
    def made_by(self, token: Any) -> str:
        """Return who, as the audit log has it."""
        return str(token.made_by) or "–"

    @display(description="ends", ordering="expiry")
    def ends(self, token: AuthToken) -> SafeString | str:
        """Return when it ends."""
        return moment(token.expiry)

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponseBase:
        """Ask what the token is for, make it, and show it this once."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = TokenForm(request.POST or None, groups=people.groups_to_grant(request.user))
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            try:
                made, token = tokens.make_token(
                    given["name"], groups=given["groups"], days=given["days"], by=request.user
                )
            except Refused as refused:
                add_problems(form, refused)
            else:
                return self._show(request, made, token)
        known = User.objects.filter(is_staff=False, auth_token_set__isnull=False).distinct()
        names = known.order_by("username").values_list("username", flat=True)[:100]
        return self._render(request, "token_add", title="Make a token", form=form, names=names)

    def _show(self, request: HttpRequest, made: AuthToken, token: str) -> HttpResponse:
        # In the answer to the POST, not behind a redirect: the token is kept nowhere.
        address = request.build_absolute_uri("/").rstrip("/")
        path = "/runs" if made.user.has_perm("ingest.view_run") else "/backups"
        answer = self._render(
            request, "token_made", title=f"A token for {made.user}", made=made, token=token,
            curl=f'curl --header "Authorization: Token {token}" {address}{path}', rights=badges_of(made.user),
        )  # fmt: skip
        answer["Cache-Control"] = "no-store"
        return answer

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponseBase:
        """Show a token, and how to revoke it."""
        if request.method == "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        token = self._token(request, object_id)
        tokens.name_makers([token])
        return self._render(
            request, "token", title=f"A token of {token.user}", token=token, state=state_of(token),
            rights=badges_of(token.user), may_revoke=self.has_delete_permission(request),
        )  # fmt: skip

    def delete_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponseBase:
        """Revoke a token; the service user's name is typed."""
        if request.method != "POST" or not self.has_delete_permission(request):
            raise PermissionDenied
        token = self._token(request, object_id)
        name = token.user.get_username()
        if request.POST.get("name") != name:
            messages.error(request, f"The token of {name} is still good: the name that you typed is another one.")
            return redirect("admin:knox_authtoken_change", token.pk)
        try:
            tokens.revoke_token(token, by=request.user)
            messages.success(request, f"The token of {name} is revoked.")
        except Refused as refused:
            messages.error(request, str(refused))
        return redirect("admin:knox_authtoken_changelist")

    def _token(self, request: HttpRequest, object_id: str) -> AuthToken:
        return get_object_or_404(self.get_queryset(request).select_related("user"), pk=object_id)

    def _render(self, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return render(request, f"console/{template}.html", context)
