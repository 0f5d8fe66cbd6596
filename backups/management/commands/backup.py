"""manage.py backup TABLE: write a table to Avro files in the lake, in this process; or adopt what lies there."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from backups.console import backup_lines, finish
from backups.container import CODECS
from backups.models import BackupStatus
from backups.services import adopt, finished, prune, request_backup, set_plan
from migration_console.lib.command import BADLY, MISUSED, WELL, ConsoleCommand
from migration_console.lib.progress import progress_bar
from migration_console.lib.tables import resolve

PLAN = ("schedule", "rehearsal_schedule", "keep_last", "keep_daily", "keep_weekly", "keep_monthly")


class Command(ConsoleCommand):
    """Back a table up."""

    help = (
        "Back a listed table up; --list and --prune look after what is there, --schedule and --keep-* make a plan,"
        " --adopt finds the backups of a database that is lost."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the table and what to do."""
        super().add_arguments(parser)
        parser.add_argument("table", metavar="TABLE", nargs="?")
        parser.add_argument("--codec", choices=list(CODECS), default="", help="how blocks are compressed")
        parser.add_argument("--list", action="store_true", dest="listing", help="list the table's backups instead")
        parser.add_argument("--prune", action="store_true", help="delete what the plan no longer keeps instead")
        parser.add_argument("--adopt", action="store_true", help="take over the backups in the lake that nobody lists")
        parser.add_argument("--dry-run", action="store_true", help="with --prune: only say what would be deleted")
        parser.add_argument("--schedule", metavar="CRON", help="plan: when, such as '0 3 * * *'; '' for never")
        parser.add_argument("--rehearsal-schedule", metavar="CRON", help="plan: when to rehearse the newest backup")
        for kind in ("last", "daily", "weekly", "monthly"):
            parser.add_argument(f"--keep-{kind}", type=int, metavar="N", help=f"plan: keep N {kind} backups")

    def run(self, *, table: str | None, codec: str, listing: bool, prune: bool, **options: Any) -> Any:
        """Adopt, plan, list, prune, or back up."""
        if options["adopt"]:
            backups, problems = adopt()
            found = [backup.as_dict() for backup in backups]
            return {"backups": found, "problems": problems}, BADLY if problems else WELL
        if not table:
            raise CommandError("Which table? backup TABLE", returncode=MISUSED)
        changes = {name: options[name] for name in PLAN if options[name] is not None}
        if changes:
            plan = set_plan(table, **changes)
            return {"table": plan.name, "keep": plan.keeps, **{name: getattr(plan, name) for name in PLAN[:2]}}, WELL
        if listing:
            return {"backups": [backup.as_dict() for backup in finished(resolve(table))]}, WELL
        if prune:
            found = _prune(table, options["dry_run"])
            return {"table": table, "dry_run": options["dry_run"], "backups": found}, WELL
        backup = request_backup(table, codec=codec, bell=False)
        with progress_bar(quiet=options["json"]) as progress:
            done = finish(backup, progress)
        return done.as_dict(), WELL if done.status == BackupStatus.DONE else BADLY

    def show(self, result: dict[str, Any]) -> None:
        """Print what was done."""
        if "status" in result:
            self.stdout.write("\n".join(backup_lines(result)))
        elif "dry_run" in result:
            for found in result["backups"]:
                word = "kept" if found["keep"] else "would be deleted" if result["dry_run"] else "deleted"
                self.stdout.write(f"backup {found['id']} of {found['taken_at']}: {word}  {', '.join(found['reasons'])}")
        elif "backups" in result:
            for found in result["backups"]:
                self.stdout.write("\n".join(backup_lines(found)))
            if not result["backups"]:
                self.stdout.write("there is none")
            for problem in result.get("problems", []):
                self.stdout.write(problem["message"])
        else:
            super().show(result)


def _prune(table: str, dry_run: bool) -> list[dict[str, Any]]:
    return prune(resolve(table), dry_run=dry_run)
