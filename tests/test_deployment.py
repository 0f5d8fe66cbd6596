"""What Django itself asks of a console that is reached from outside."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from django.test import Client

from migration_console.env import ROOT
from tests.workers import environment


def test_behind_https_the_deployment_check_has_nothing_to_say(tables: None, tmp_path: Path) -> None:
    key = "0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    # The tests' browser needs that one.
    given = environment(tmp_path, HTTPS="true", SECRET_KEY=key)
    given.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT, env=given, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_what_comes_by_http_is_sent_to_https_except_questions_after_health(tables: None, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert Client().get("/admin/")["Location"] == "https://testserver/admin/"
    assert Client().get("/health").status_code == 200
