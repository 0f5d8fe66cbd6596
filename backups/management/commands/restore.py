"""manage.py restore TABLE: bring a backup back, in this process."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from backups.console import dry_run_lines, finish, restore_lines
from backups.models import Restore, RestoreStatus
from backups.services import GONE, load_again, request_restore
from backups.services import dry_run as try_restore
from migration_console.lib.command import BADLY, MISUSED, WELL, ConsoleCommand
from migration_console.lib.progress import progress_bar


class Command(ConsoleCommand):
    """Restore a table."""

    help = "Restore a table from a backup: the present table is backed up first, and swapped in one step."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the table and how."""
        super().add_arguments(parser)
        parser.add_argument("table", metavar="TABLE")
        parser.add_argument("--backup", metavar="ID", default="latest", help="which backup; the default is the latest")
        parser.add_argument("--into", metavar="NAME", help="restore into a table of another name")
        parser.add_argument("--dry-run", action="store_true", help="say what would change; change nothing")
        parser.add_argument("--no-backup", action="store_true", help="do not back the present table up first")
        parser.add_argument("--take-schema", action="store_true", help="take the backup's definition where it differs")
        parser.add_argument(
            "--load-again", metavar="RESTORE", type=int, help="load the files again that this restore rolled back"
        )

    def run(self, *, table: str, backup: str, into: str | None, dry_run: bool, **options: Any) -> Any:
        """Try, restore, or load again."""
        if options["load_again"] is not None:
            return self._load_again(table, options["load_again"])
        if dry_run:
            found = try_restore(table, backup=backup, into=into)
            return {**found, "dry_run": True}, BADLY if found["problems"] else WELL
        restore = request_restore(
            table,
            backup=backup,
            into=into,
            back_up_first=not options["no_backup"],
            take_schema=options["take_schema"],
            bell=False,
        )
        with progress_bar(quiet=options["json"]) as progress:
            done = finish(restore, progress)
        return done.as_dict(), WELL if done.status == RestoreStatus.DONE else BADLY

    def _load_again(self, table: str, pk: int) -> Any:
        restore = Restore.objects.filter(pk=pk, table=table).first()
        if restore is None:
            raise CommandError(f"There is no restore {pk} of {table}.", returncode=MISUSED)
        runs = load_again(restore)
        problems = [problem["message"] for problem in restore.problems if problem["code"] == GONE]
        return {"restore": pk, "runs": runs, "problems": problems}, BADLY if problems else WELL

    def show(self, result: dict[str, Any]) -> None:
        """Print what was done, or would be."""
        if "dry_run" in result:
            self.stdout.write("\n".join(dry_run_lines(result)))
        elif "runs" in result and "restore" in result:
            runs = ", ".join(map(str, result["runs"])) or "none"
            self.stdout.write(f"runs {runs} load the files again; sweep, or a worker, goes on with them")
            for problem in result["problems"]:
                self.stderr.write(problem)
        else:
            self.stdout.write("\n".join(restore_lines(result)))
