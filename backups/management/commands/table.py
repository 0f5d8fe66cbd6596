"""manage.py table add|list [NAME]: the tables that can be backed up, beside the datasets' own."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from backups.services import add_table, tables
from migration_console.lib.command import MISUSED, WELL, ConsoleCommand


class Command(ConsoleCommand):
    """Add and list tables."""

    help = "Put a table on the console's list, or show the list with plans and the age of the newest verified backups."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what to do and the table."""
        super().add_arguments(parser)
        parser.add_argument("action", choices=["add", "list"])
        parser.add_argument("name", nargs="?", metavar="NAME")

    def run(self, *, action: str, name: str | None, **_options: Any) -> Any:
        """Add or list."""
        if action == "list":
            return {"tables": [table for table in tables() if name in (None, table["table"])]}, WELL
        if not name:
            raise CommandError("Which table? table add NAME", returncode=MISUSED)
        return {"table": add_table(name).name}, WELL

    def show(self, result: dict[str, Any]) -> None:
        """Print the list."""
        if "table" in result:
            self.stdout.write(f"{result['table']} is on the list")
        for table in result.get("tables", []):
            age = table["newest_verified_age"]
            verified = "never verified" if age is None else f"newest verified backup {age / 3600:.1f} hours old"
            self.stdout.write(f"{table['table']}  {table['backups']} backups, {verified}  {table['schedule']}")
