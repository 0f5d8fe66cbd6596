"""Tokens of scripts: made, shown once, revoked. Each script has a service user of its own."""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

import orjson
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import transaction
from knox.models import AuthToken

from .groups import GROUPS
from .lib.audit import AuditEntry, record
from .lib.errors import Problem, Refused, conflict, refuse
from .people import groups_of, is_person, may_grant

MAX_DAYS = 3650


@transaction.atomic
def make_token(name: str, *, groups: Collection[str], days: int, by: Any = None) -> tuple[AuthToken, str]:
    """Return a new token of a service user, and its text, which nobody can read again.

    The service user is made where there is none, and has these groups and no others from now on. `by` is empty for
    commands, whose operator reaches the database anyhow.
    """
    if not 1 <= days <= MAX_DAYS:
        raise refuse("wrong-days", f"A token is good for 1 to {MAX_DAYS} days.", "days")
    if not groups or not set(groups) <= set(GROUPS):
        raise refuse("unknown-group", f"Choose among the groups {', '.join(GROUPS)}.", "groups")
    if by is not None and not may_grant(by, groups):
        raise refuse("not-yours-to-give", "A token may do no more than you may yourself.", "groups")
    user = _service_user(name)
    user.groups.set(Group.objects.filter(name__in=groups))
    made, token = AuthToken.objects.create(user, expiry=timedelta(days=days))
    record(
        "token.made", user, user=by,
        token=made.token_key, groups=sorted(set(groups)), expires=made.expiry.isoformat(),
    )  # fmt: skip
    return made, token


@transaction.atomic
def revoke_token(token: AuthToken, *, by: Any = None) -> None:
    """Take a token away: it is refused from now on, in other processes within two seconds."""
    deleted, _ = AuthToken.objects.filter(pk=token.pk).delete()
    if not deleted:
        raise conflict("revoked", "Somebody else has revoked this token already.")
    record("token.revoked", token.user, user=by, token=token.token_key, groups=groups_of(token.user))


def name_makers(tokens: Iterable[Any]) -> None:
    """Note on each token who made it, as the audit log has it."""
    tokens = list(tokens)
    lines = AuditEntry.objects.filter(
        subject_type="user", subject_id__in={str(token.user_id) for token in tokens}, action="token.made"
    )
    makers = {orjson.loads(line.details)["token"]: line.actor for line in lines}
    for token in tokens:
        token.made_by = makers.get(token.token_key, "")


def _service_user(name: str) -> User:
    """Return the service user of a name, made where there is none; people's accounts are left alone."""
    user = User.objects.filter(username=name).first()
    if user is None:
        user = User(username=name)
        user.set_unusable_password()
        try:
            user.full_clean()
        except ValidationError as error:
            raise Refused(Problem("wrong-name", message, "name") for message in error.messages) from None
        user.save()
    if is_person(user):
        raise refuse("a-person", f"{name} is a person; service users have names of their own.", "name")
    if not user.is_active:
        raise refuse("switched-off", f"{name} is switched off; its tokens would be refused.", "name")
    return user
