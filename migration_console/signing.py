"""Signing in and out, written into the audit log; and from where people come."""

from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import MinimumLengthValidator
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from .lib.audit import record


def address_of(request: HttpRequest) -> str | None:
    """Return the client's address: the last one that none of our own proxies has said of another."""
    address = request.META.get("REMOTE_ADDR", "")
    if settings.PROXIES:
        # What stands further left in the header came from the client, who may write there what he likes.
        told = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
        address = told[-min(settings.PROXIES, len(told))] if told else address
    try:
        return str(ip_address(address))
    except ValueError:
        return None


class RecordedPassword(MinimumLengthValidator):
    """At least so many characters; Django tells a validator of every password that is set, by whatever way."""

    def password_changed(self, _password: str, user: Any) -> None:
        """Record that there is a new one: on pages each sets his own."""
        record("person.password_set", user, user=user)


def watch() -> None:
    """Record sign-ins from now on."""
    from axes.signals import user_locked_out

    user_logged_in.connect(_signed_in, dispatch_uid="audit")
    user_logged_out.connect(_signed_out, dispatch_uid="audit")
    user_login_failed.connect(_failed, dispatch_uid="audit")
    user_locked_out.connect(_locked_out, dispatch_uid="audit")


def _signed_in(request: HttpRequest, user: Any, **_: Any) -> None:
    record("person.signed_in", user, user=user, address=address_of(request))


def _signed_out(request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        record("person.signed_out", user, user=user, address=address_of(request))


def _failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    # Once shut out, each further try would be a line more.
    if request is not None and not getattr(request, "axes_locked_out", False):
        record("person.sign_in_failed", _named(credentials.get("username")), address=address_of(request))


def _locked_out(request: HttpRequest, username: str, **_: Any) -> None:
    # Said by axes at the wrong password that is one too many, and then at every try: the first one is news.
    if getattr(request, "axes_failures_since_start", None):
        record("person.locked_out", _named(username), address=address_of(request))


def _named(username: object) -> Any:
    """Return the person of a name. A name that nobody has is not kept: it may well be a password."""
    users = get_user_model()
    return users.objects.filter(username=str(username)).first() or users(username="a name that nobody has")
