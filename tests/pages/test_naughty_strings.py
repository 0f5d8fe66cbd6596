"""Strings that have broken other programs (tests/data/naughty.json), wherever people and files can put them."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.test import Client
from knox.models import AuthToken
from playwright.sync_api import Dialog, Page

from ingest.admission import admit_upload
from ingest.datasets import save_dataset
from ingest.models import Reject, Run, Status, key_hash
from ingest.sweeper import work_off
from migration_console.env import ROOT
from migration_console.lib.audit import AuditEntry, record
from tests.pages.conftest import SignIn

STRINGS: list[str] = json.loads((ROOT / "tests/data/naughty.json").read_text())
# What a page can show letter by letter; of the others it must only not break.
SHOWN = [string for string in STRINGS if string.isprintable() and string == string.strip() and len(string) <= 60]
DATASET: dict[str, Any] = {
    "name": "naughty",
    "title": STRINGS[0],
    "schema": {"fields": [{"name": "day", "type": "date"}, {"name": "text", "constraints": {"maxLength": 300}}]},
}


class Text(HTMLParser):
    """The text of a page, as people see it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what stands in a cell that can be edited."""
        if tag == "input":
            self.parts.append(dict(attrs).get("value") or "")

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.parts.append(data)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", "".join(Text(page).parts))


@pytest.fixture
def run(tables: None) -> Run:
    """Load a file with a string in each row; none of them is a day. The file's name is one of them, too."""
    file = io.StringIO()
    csv.writer(file).writerows([["day", "text"], *([string, string] for string in STRINGS)])
    version = save_dataset(DATASET)
    admitted = admit_upload(
        "raw/<img src=x onerror=alert(1)>\u202e.csv", io.BytesIO(file.getvalue().encode()), trigger="test",
        dataset=version.dataset, reason="<script>document.title='hacked'</script>",
    )  # fmt: skip
    (found,) = work_off([admitted])
    assert (found.status, found.rejected) == (Status.ARCHIVED, len(STRINGS)), found.problems
    return found


@pytest.fixture
def everywhere(run: Run) -> Run:
    """Put strings where people write: names, reasons, notes; and into what is said of files and backups."""
    from backups.models import Backup

    ann = get_user_model().objects.create_superuser("ann")
    for number, string in enumerate(STRINGS[:40]):
        person = User.objects.create(username=string[:150], is_staff=True, password="!")
        record("person.added", person, user=person, note=string, **{string: string})
        if number % 4 == 0:
            script = User.objects.create(username=f"{string[:140]} script")
            AuthToken.objects.create(script)
    for number, string in enumerate(STRINGS[:20]):
        problem = {"code": "naughty", "message": string, "where": string}
        key = f"raw/{string}"
        Run.objects.create(
            dataset=run.dataset, key=key, key_hash=key_hash(key), version=str(number), status=Status.FAILED,
            problems=[problem], warnings=[string], reason=string[:255], waiting_for=string[:255], user=ann,
        )  # fmt: skip
        Backup.objects.create(table="naughty", status="failed", problems=[problem], waiting_for=string[:255])
    return run


def test_each_is_shown_as_the_text_that_it_is(everywhere: Run) -> None:
    client = Client()
    client.force_login(get_user_model().objects.get(username="ann"))
    shown = ""
    for reject in Reject.objects.filter(run=everywhere, row__in=range(1, len(STRINGS) + 1, 20)):
        answer = client.get(f"/admin/ingest/reject/{reject.pk}/change/", follow=True)
        assert answer.status_code == 200
        shown += text_of(answer.content.decode())
    assert [string for string in SHOWN if re.sub(r"\s+", " ", string) not in shown] == []
    for model, objects in {
        "ingest/run": Run.objects.all(),
        "auth/user": User.objects.filter(is_staff=True),
        "migration_console/auditentry": AuditEntry.objects.all(),
        "backups/backup": [],
        "knox/authtoken": AuthToken.objects.all(),
    }.items():
        assert client.get(f"/admin/{model}/").status_code == 200
        for each in objects:
            assert client.get(f"/admin/{model}/{each.pk}/change/").status_code == 200, each


@pytest.mark.parametrize("string", [STRINGS[0], "nul\u0000here", "W" * 5000, "\u202e", "%s%n", "' OR '1'='1", "\ud800"])
def test_searching_for_them_breaks_nothing(page: Page, string: str) -> None:
    client = Client()
    client.force_login(get_user_model().objects.get(username="ann"))
    for model in ("ingest/run", "ingest/reject", "auth/user", "knox/authtoken", "migration_console/auditentry"):
        asked = {"q": string.encode("utf-8", "surrogatepass").decode("utf-8", "replace")}
        assert client.get(f"/admin/{model}/", asked).status_code in {200, 302}


def test_nothing_of_it_runs_in_a_browser(everywhere: Run, sign_in: SignIn) -> None:
    page = sign_in(name="root")
    said: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", on_dialog)
    markup = Reject.objects.filter(run=everywhere).order_by("row")[:3]
    paths = ["/admin/", "/admin/ingest/dataset/", "/admin/ingest/run/", f"/admin/ingest/run/{everywhere.pk}/change/"]
    paths += [f"/admin/ingest/run/{run.pk}/change/" for run in Run.objects.filter(status=Status.FAILED)[:3]]
    paths += [f"/admin/ingest/reject/?before={reject.pk}" for reject in Reject.objects.all()[:80:20]]
    paths += [f"/admin/ingest/reject/{reject.pk}/change/" for reject in markup]
    paths += ["/admin/auth/user/", "/admin/knox/authtoken/", "/admin/migration_console/auditentry/"]
    paths += [
        f"/admin/auth/user/{person.pk}/change/"
        for person in User.objects.filter(username__contains="<", is_staff=True)[:3]
    ]
    paths += [f"/admin/migration_console/auditentry/{line.pk}/change/" for line in AuditEntry.objects.all()[:3]]
    for path in paths:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        assert page.title().strip().endswith("| Migration console"), path
        assert page.locator("iframe, base, plaintext, #content link[rel=stylesheet]").count() == 0, path
    assert said == []
