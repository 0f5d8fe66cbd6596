"""manage.py token NAME --group GROUP: a service user, and a token for it that is printed once."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import CommandError
from django.db import transaction
from knox.models import AuthToken

from migration_console.groups import GROUPS
from migration_console.lib.command import MISUSED, WELL, ConsoleCommand


class Command(ConsoleCommand):
    """Make a token."""

    help = "Make a service user where there is none, and print a new token for it: this once, then never again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the name, the groups and the days."""
        super().add_arguments(parser)
        parser.add_argument("name", metavar="NAME")
        parser.add_argument(
            "--group", action="append", required=True, choices=GROUPS, help="may be given several times"
        )
        parser.add_argument("--days", type=int, default=365, help="how long the token is good for")

    def run(self, *, name: str, group: list[str], days: int, **_options: Any) -> Any:
        """Make user and token."""
        if days < 1:
            raise CommandError("A token is good for at least one day.", returncode=MISUSED)
        with transaction.atomic():
            user, new = get_user_model().objects.get_or_create(username=name)
            if not new and user.has_usable_password():
                raise CommandError(f"{name} is a person; service users have names of their own.", returncode=MISUSED)
            if new:
                user.set_unusable_password()
                user.save(update_fields=["password"])
            user.groups.set(Group.objects.filter(name__in=group))
            made, token = AuthToken.objects.create(user, expiry=timedelta(days=days))
        return {"user": name, "groups": sorted(group), "token": token, "expires": made.expiry.isoformat()}, WELL

    def show(self, result: dict[str, Any]) -> None:
        """Print the token alone, so that it can be piped; the rest is for people."""
        self.stdout.write(result["token"])
        self.stderr.write(f"{result['user']} ({', '.join(result['groups'])}), good until {result['expires'][:10]}")
