"""People: who is let in, with which rights. An administrator is a superuser; everybody else has groups."""

from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from .groups import GROUPS, PEOPLE
from .lib.audit import record
from .lib.errors import Problem, Refused, conflict, refuse


def is_person(user: User) -> bool:
    """Tell people from service users, which have no password and see no page."""
    return user.is_staff or user.has_usable_password()


def may_grant(user: Any, groups: Collection[str]) -> bool:
    """Tell whether a user has all the rights of some groups himself: nobody hands out what he has not."""
    return bool(user.has_perms({permission for group in groups for permission in GROUPS[group]}))


def groups_to_grant(user: Any) -> list[str]:
    """Return the groups whose rights a user has."""
    return [group for group in GROUPS if may_grant(user, [group])]


@transaction.atomic
def add_person(name: str, *, groups: Collection[str], admin: bool, by: Any) -> User:
    """Make a person without a password; a link lets him set it (see `link_for`)."""
    _check_rights(groups, admin=admin, by=by)
    person = User(username=name, is_staff=True, is_superuser=admin)
    person.set_unusable_password()
    try:
        person.full_clean(exclude=["password"])
        with transaction.atomic():
            person.save()
    except ValidationError as error:
        raise Refused(Problem("wrong-name", message, "name") for message in error.messages) from None
    except IntegrityError:  # of two who add the same name the second comes here
        raise refuse("wrong-name", f"There is somebody called {name} already.", "name") from None
    person.groups.set(Group.objects.filter(name__in=groups))
    record("person.added", person, user=by, groups=sorted(groups), admin=admin)
    return person


@transaction.atomic
def change_rights(person: User, *, groups: Collection[str], admin: bool, by: Any) -> None:
    """Give a person these groups and no others."""
    _check_rights(groups, admin=admin, by=by)
    if not admin:
        _keep_an_administrator(person)
    before, was_admin = groups_of(person), person.is_superuser
    if (before, was_admin) == (sorted(groups), admin):
        return
    person.is_superuser = admin
    person.save(update_fields=["is_superuser"])
    person.groups.set(Group.objects.filter(name__in=groups))
    record(
        "person.changed", person, user=by,
        groups=sorted(groups), admin=admin, groups_before=before, admin_before=was_admin,
    )  # fmt: skip


@transaction.atomic
def deactivate(person: User, *, by: Any) -> None:
    """Let a person in no more; what he did stays under his name, and he is signed out at once."""
    _check_administrator(by)
    if person.pk == by.pk:
        raise conflict("yourself", "You cannot deactivate yourself: ask another administrator.")
    _keep_an_administrator(person)
    if User.objects.filter(pk=person.pk, is_active=True).update(is_active=False):
        record("person.deactivated", person, user=by)


@transaction.atomic
def reactivate(person: User, *, by: Any) -> None:
    """Let a person in again."""
    _check_administrator(by)
    if User.objects.filter(pk=person.pk, is_active=False).update(is_active=True):
        record("person.reactivated", person, user=by)


@transaction.atomic
def link_for(person: User, *, by: Any) -> str:
    """Return the path of a page on which a person sets his password, once, within three days."""
    _check_administrator(by)
    if not is_person(person) or not person.is_active:
        raise conflict("not-let-in", f"{person} is not let in; a password would not help.")
    record("person.link_made", person, user=by)
    uid = urlsafe_base64_encode(force_bytes(person.pk))
    return reverse("welcome", args=[uid, default_token_generator.make_token(person)])


def groups_of(user: User) -> list[str]:
    """Return the names of a user's groups; quick where they are fetched already."""
    return sorted(group.name for group in user.groups.all())


def _check_rights(groups: Collection[str], *, admin: bool, by: Any) -> None:
    _check_administrator(by)
    if unknown := set(groups) - set(PEOPLE):
        raise refuse("unknown-group", f"No group of people: {', '.join(sorted(unknown))}.", "groups")
    if not groups and not admin:
        raise refuse("no-group", "Choose a group: without one a person sees nothing.", "groups")


def _check_administrator(by: Any) -> None:
    if not (by.is_active and by.is_superuser):
        raise refuse("not-an-administrator", "Only an administrator manages people.")


def _keep_an_administrator(person: User) -> None:
    """Refuse to take the last administrator's rights; two at once, each taking the other's, queue for the lock."""
    administrators = set(
        get_user_model()
        .objects.select_for_update()
        .filter(is_superuser=True, is_active=True)
        .values_list("pk", flat=True)
    )
    if administrators == {person.pk}:
        raise conflict("last-administrator", f"{person} is the only administrator: make another one first.")
