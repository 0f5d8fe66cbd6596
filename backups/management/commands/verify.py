"""manage.py verify BACKUP: prove a backup's files, and on request rehearse its restore."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from backups.console import backup_lines
from backups.models import Backup
from backups.services import check, request_check
from migration_console.lib.command import BADLY, MISUSED, WELL, ConsoleCommand
from migration_console.lib.progress import progress_bar


class Command(ConsoleCommand):
    """Verify a backup."""

    help = "Check a backup: manifest, hashes, every record, digest; --rehearse restores it into a scratch table too."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the backup."""
        super().add_arguments(parser)
        parser.add_argument("backup", metavar="BACKUP", type=int)
        parser.add_argument("--rehearse", action="store_true", help="restore into a scratch table, compare, drop")

    def run(self, *, backup: int, rehearse: bool, **options: Any) -> Any:
        """Check."""
        found = Backup.objects.filter(pk=backup).first()
        if found is None:
            raise CommandError(f"There is no backup {backup}.", returncode=MISUSED)
        request_check(found, rehearse=rehearse, bell=False)
        with progress_bar(quiet=options["json"]) as progress:
            found = check(found.pk, progress)
        well = found.verified_at is not None and not found.check_problems and not found.check_wanted
        return found.as_dict(), WELL if well else BADLY

    def show(self, result: dict[str, Any]) -> None:
        """Print the backup with its marks."""
        self.stdout.write("\n".join(backup_lines(result)))
