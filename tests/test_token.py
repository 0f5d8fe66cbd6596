"""manage.py token: a service user and its tokens."""

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.utils import timezone
from knox.models import AuthToken

from migration_console.env import ROOT
from tests.conftest import Client
from tests.workers import environment

Users = get_user_model().objects


def make(capsys: Any, *arguments: str) -> dict[str, Any]:
    """Return what `token … --json` prints."""
    call_command("token", *arguments, "--json")
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def ask(token: str, path: str) -> int:
    return int(Client()("GET", path, authorization=f"Token {token}").status_code)


def test_a_token_is_printed_once_alone_and_works(tables: None, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "token", "nightly", "--group", "read"],
        cwd=ROOT, env=environment(tmp_path) | {"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    token = done.stdout.removesuffix("\n")
    assert "nightly (read), good until 20" in done.stderr
    assert token not in done.stderr
    assert ask(token, "/runs") == 200
    # The database holds its hash.
    assert token not in str(list(AuthToken.objects.values()))


def test_json_says_everything(tables: None, capsys: Any) -> None:
    made = make(capsys, "nightly", "--group", "read", "--group", "ingest", "--days", "7")
    assert (made["user"], made["groups"]) == ("nightly", ["ingest", "read"])
    left = datetime.fromisoformat(made["expires"]) - timezone.now()
    assert timedelta(days=6) < left <= timedelta(days=7)
    assert ask(made["token"], "/metrics") == 200


def test_a_second_token_leaves_the_first_one_good(tables: None, capsys: Any) -> None:
    first, second = (make(capsys, "nightly", "--group", "read")["token"] for _ in range(2))
    assert first != second
    assert [ask(token, "/runs") for token in (first, second)] == [200, 200]
    assert Users.filter(username="nightly").count() == 1


def test_the_groups_are_those_of_the_last_call(tables: None, capsys: Any) -> None:
    token = make(capsys, "nightly", "--group", "read")["token"]
    make(capsys, "nightly", "--group", "ingest")
    assert [ask(token, path) for path in ("/runs", "/metrics")] == [200, 403]


def test_a_token_ends(tables: None, capsys: Any) -> None:
    token = make(capsys, "nightly", "--group", "read", "--days", "1")["token"]
    assert ask(token, "/runs") == 200
    ends = AuthToken.objects.get(user__username="nightly")
    ends.expiry = timezone.now() + timedelta(seconds=0.5)
    ends.save()
    assert ask(token, "/runs") == 200
    time.sleep(0.6)
    assert ask(token, "/runs") == 401


def test_a_service_user_cannot_log_in(tables: None, capsys: Any) -> None:
    make(capsys, "nightly", "--group", "operator")
    user = Users.get(username="nightly")
    assert (user.has_usable_password(), user.is_staff, user.is_superuser) == (False, False, False)


def test_people_and_users_that_are_switched_off_get_none(tables: None) -> None:
    Users.create_user("ann", password="correct horse battery")
    Users.create_user("sso", is_staff=True)
    Users.create_user("off", is_active=False)
    for name, words in (("ann", "is a person"), ("sso", "is a person"), ("off", "is switched off")):
        with pytest.raises(CommandError, match=words) as raised:
            call_command("token", name, "--group", "read")
        assert raised.value.returncode == 2
    assert not AuthToken.objects.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("nightly",),
        ("nightly", "--group", "nobody"),
        ("nightly", "--group", "read", "--days", "0"),
        ("nightly", "--group", "read", "--days", "99999999"),
        ("", "--group", "read"),
        ("my script", "--group", "read"),
        ("x" * 151, "--group", "read"),
    ],
)
def test_wrong_use_makes_nothing(tables: None, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("token", *arguments)
    assert not Users.exists()
