"""manage.py audit: whether the log is whole. And who is named in it where no page was used."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command

from migration_console.env import ROOT
from migration_console.lib.audit import AuditEntry, record
from tests.workers import environment

pytestmark = pytest.mark.django_db(transaction=True)


def log(lines: int) -> None:
    ann = get_user_model().objects.create_user("ann")
    for number in range(lines):
        record("person.changed", ann, user=ann, number=number)


def test_a_whole_log_is_said_to_be_whole(tables: None, capsys: Any) -> None:
    log(3)
    call_command("audit")
    assert capsys.readouterr().out.startswith("The audit log is whole: 3 lines, ending in ")


@pytest.mark.database
def test_a_changed_line_is_named_and_the_exit_code_is_one(tables: None, capsys: Any) -> None:
    log(3)
    second = AuditEntry.objects.order_by("id")[1]
    AuditEntry.objects.filter(pk=second.pk).update(actor="bob")
    with pytest.raises(SystemExit) as ended:
        call_command("audit", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (ended.value.code, told["whole"], told["lines"]) == (1, False, 3)
    assert [problem["line"] for problem in told["problems"]] == [second.pk]


def test_what_is_done_on_the_command_line_stands_under_the_account_that_did_it(tables: None, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "token", "nightly", "--group", "read"],
        cwd=ROOT, env=environment(tmp_path) | {"USER": "somebody", "LOGNAME": "somebody"}, check=True,
        capture_output=True,
    )  # fmt: skip
    (line,) = AuditEntry.objects.all()
    assert (line.action, line.subject, line.actor) == (
        "token.made",
        "nightly",
        f"command: {pwd.getpwuid(os.getuid()).pw_name}",
    )
