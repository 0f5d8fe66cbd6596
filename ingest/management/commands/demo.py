"""manage.py demo: the embedded default with sample data, a first administrator, and all processes."""

import os
import secrets
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand

from ingest.admission import admit_upload
from ingest.console import run_lines
from ingest.datasets import save_dataset
from ingest.models import Run
from ingest.sweeper import work_off

DEMO = settings.BASE_DIR / "deploy" / "demo"


class Command(BaseCommand):
    """Prepare, print, start."""

    help = "Start console, worker and watcher with sample data and a first administrator."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the port."""
        parser.add_argument("--port", default=os.environ.get("PORT", "8000"))
        parser.add_argument("--prepare-only", action="store_true", help="start no process")

    def handle(self, *_args: Any, port: str, prepare_only: bool, **_options: Any) -> None:
        """Bring the database up to date, then become the process manager."""
        call_command("migrate", verbosity=0)
        call_command("check", databases=["default"])
        password = self._administrator()
        self._sample()
        self.stdout.write(f"\n  console   http://127.0.0.1:{port}/admin/   login: admin / {password}")
        self.stdout.write(f"  lake      {settings.LAKE_URL.removeprefix('file:')}: drop CSV files into raw/\n")
        self.stdout.flush()
        if not prepare_only:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            honcho = [
                sys.executable,
                "-m",
                "honcho",
                "start",
                "-f",
                str(DEMO / "Procfile"),
                "-d",
                str(settings.BASE_DIR),
            ]
            environment = os.environ | {"PORT": port, "PATH": path, "PYTHONUNBUFFERED": "1"}
            os.execve(sys.executable, honcho, environment)  # noqa: S606  # our own interpreter, our own arguments

    def _administrator(self) -> str:
        """Return the first administrator's password, kept where only the owner of the folder reads it."""
        file: Path = settings.VAR / "admin-password"
        users = get_user_model().objects
        if users.filter(username="admin").exists():
            return file.read_text() if file.exists() else "(as you have set it)"
        password = secrets.token_urlsafe(12)
        file.touch(mode=0o600)
        file.write_text(password)
        users.create_superuser("admin", password=password)
        return password

    def _sample(self) -> None:
        """Load the sample file on first use."""
        if Run.objects.exists():
            return
        version = save_dataset(orjson.loads((DEMO / "customers.json").read_bytes()))
        with (DEMO / "customers.csv").open("rb") as source:
            admitted = admit_upload("raw/customers.csv", source, trigger="demo", dataset=version.dataset)
        for run in work_off([admitted]):
            self.stdout.write("\n".join(run_lines(run)))
