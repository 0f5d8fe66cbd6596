"""What all commands share: one JSON object on stdout with --json, clear errors, and exit codes."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from .errors import Refused

# Exit codes: every run ended well, one was refused or failed, wrong use.
WELL, BADLY, MISUSED = 0, 1, 2


class ConsoleCommand(BaseCommand):
    """A command with --json; `run` returns what is printed and the exit code."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --json."""
        parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run, print, exit."""
        try:
            result, code = self.run(**options)
        except Refused as refused:
            result, code = {"problems": [problem.as_dict() for problem in refused.problems]}, BADLY
            if not options["json"]:
                raise CommandError(str(refused), returncode=code) from None
        except DatabaseError as error:
            raise CommandError(
                f"The database does not answer: {error}. Nothing was changed.", returncode=BADLY
            ) from None
        if options["json"]:
            self.stdout.write(json.dumps(result, default=str, ensure_ascii=False))
        else:
            self.show(result)
        if code:
            sys.exit(code)

    # Does the work: takes the options by name, returns what is printed and the exit code.
    run: Callable[..., tuple[dict[str, Any], int]]

    def show(self, result: dict[str, Any]) -> None:
        """Print the result for people."""
        self.stdout.write(json.dumps(result, indent=2, default=str, ensure_ascii=False))
