"""manage.py audit: whether the log of who did what is whole."""

from typing import Any

from migration_console.lib.audit import AuditHead, broken_lines
from migration_console.lib.command import BADLY, WELL, ConsoleCommand


class Command(ConsoleCommand):
    """Verify the chain."""

    help = "Verify the audit log: exit 0 where it is whole, 1 where a line was changed, taken out or put in."

    def run(self, **_options: Any) -> Any:
        """Follow the chain from its first line to its end."""
        wrong = [{"line": number, "message": message} for number, message in broken_lines()]
        head = AuditHead.objects.filter(pk=1).first() or AuditHead()
        result = {"whole": not wrong, "lines": head.length, "end": head.digest, "problems": wrong}
        return result, BADLY if wrong else WELL

    def show(self, result: dict[str, Any]) -> None:
        """Print what is wrong, or that nothing is."""
        for problem in result["problems"]:
            self.stdout.write(problem["message"])
        if result["whole"]:
            self.stdout.write(f"The audit log is whole: {result['lines']:,} lines, ending in {result['end'][:16]}.")
