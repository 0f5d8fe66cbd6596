"""manage.py token NAME --group GROUP: a service user, and a token for it that is printed once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from migration_console.groups import GROUPS
from migration_console.lib.command import MISUSED, WELL, ConsoleCommand
from migration_console.lib.errors import Refused
from migration_console.tokens import make_token


class Command(ConsoleCommand):
    """Make a token."""

    help = "Make a service user where there is none, and print a new token for it: this once, then never again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the name, the groups and the days."""
        super().add_arguments(parser)
        parser.add_argument("name", metavar="NAME")
        parser.add_argument(
            "--group",
            action="append",
            required=True,
            choices=GROUPS,
            help="may be given several times; the user has these and no others from now on",
        )
        parser.add_argument("--days", type=int, default=365, help="how long the token is good for")

    def run(self, *, name: str, group: list[str], days: int, **_options: Any) -> Any:
        """Make user and token."""
        try:
            made, token = make_token(name, groups=group, days=days)
        except Refused as refused:
            raise CommandError(" ".join(p.message for p in refused.problems), returncode=MISUSED) from None
        return {"user": name, "groups": sorted(set(group)), "token": token, "expires": made.expiry.isoformat()}, WELL

    def show(self, result: dict[str, Any]) -> None:
        """Print the token alone, so that it can be piped; the rest is for people."""
        self.stdout.write(result["token"])
        self.stderr.write(f"{result['user']} ({', '.join(result['groups'])}), good until {result['expires'][:10]}")
