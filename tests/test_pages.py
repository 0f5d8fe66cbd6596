"""The pages in a real browser: Debian's Chromium."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from ingest.sweeper import unfinished, work_off
from tests.conftest import Loads

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SMALL: dict[str, Any] = {
    "name": "small",
    "schema": {
        "fields": [{"name": "id", "type": "integer"}, {"name": "text", "constraints": {"maxLength": 200}}],
        "primaryKey": "id",
    },
}
LISTS = ["dataset", "schemaversion", "run", "reject"]
BACKUP_LISTS = ["listedtable", "backup", "restore"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Playwright's loop runs in this thread, which makes Django think that it is asynchronous.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, "--no-first-run"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, load: Loads, live_server: Any) -> Iterator[Page]:
    """Return a page, logged in; console errors and requests to other hosts fail the test."""
    get_user_model().objects.create_superuser("ann", password="correct horse battery")
    context = chromium.new_context(base_url=live_server.url)
    page = context.new_page()
    wrong: list[str] = []

    def note_message(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(message.text)

    def note_request(request: Request) -> None:
        if not request.url.startswith((live_server.url, "data:", "blob:")):
            wrong.append(request.url)

    page.on("console", note_message)
    page.on("request", note_request)
    page.goto("/admin/")
    page.fill("input[name=username]", "ann")
    page.fill("input[name=password]", "correct horse battery")
    page.press("input[name=password]", "Enter")
    page.wait_for_selector("text=Rejects")
    yield page
    assert wrong == []
    context.close()


def test_from_the_run_to_its_rejects(page: Page, load: Loads) -> None:
    load(SMALL, "id,text\n1,fine\nx,bad\n")
    page.goto("/admin/ingest/run/")
    assert "2 = 1 + 1 + 0" in page.inner_text("#result_list")
    page.click("text=1 reject")
    assert "“x” is not a whole number." in page.inner_text("#result_list")
    page.click("#result_list tbody a >> nth=0")
    page.wait_for_selector("text=x,bad")


def test_text_from_files_is_shown_as_text(page: Page, load: Loads) -> None:
    load(SMALL, "id,text\n<img src=x onerror=alert(1)>,<script>document.title='hacked'</script>\n")
    page.goto("/admin/ingest/reject/")
    assert "<script>document.title='hacked'</script>" in page.inner_text("#result_list")
    assert page.title() != "hacked"


@pytest.mark.parametrize("name", LISTS)
def test_ledgers_are_read_only(page: Page, load: Loads, name: str) -> None:
    load(SMALL, "id,text\n1,fine\nx,bad\n")
    page.goto(f"/admin/ingest/{name}/")
    page.click("#result_list tbody a >> nth=0")
    assert page.locator("input[name=_save]").count() == 0
    assert page.request.get(f"/admin/ingest/{name}/add/").status == 403


def test_requests_can_be_tried_without_internet(page: Page) -> None:
    page.goto("/docs")
    page.click("text=/health >> nth=0")
    page.click("button:has-text('Try it out')")
    page.click("button:has-text('Execute')")
    page.wait_for_selector(".live-responses-table >> text='200'")
    assert page.locator(".opblock").count() == 16
    assert page.locator(".errors-wrapper").count() == 0


def test_an_empty_console_opens_every_list(page: Page) -> None:
    for name in LISTS:
        answer = page.goto(f"/admin/ingest/{name}/")
        assert answer is not None
        assert answer.ok


def test_the_lists_of_backups(page: Page, load: Loads) -> None:
    from backups.services import bring_back, request_backup, request_restore, set_plan, take

    load(SMALL, "id,text\n1,fine\n")
    set_plan("small", keep_last=3)
    backup = take(request_backup("small").pk)
    bring_back(request_restore("small").pk)
    for name in BACKUP_LISTS:
        page.goto(f"/admin/backups/{name}/")
        assert "small" in page.inner_text("#result_list")
        page.click("#result_list tbody a >> nth=0")
        assert page.locator("input[name=_save]").count() == 0
        assert page.request.get(f"/admin/backups/{name}/add/").status == 403
    page.goto("/admin/backups/backup/")
    assert "deflate" in page.inner_text("#result_list")
    assert backup.rows == 1


def test_a_file_is_loaded_from_the_list_of_runs(page: Page, load: Loads, tmp_path: Path) -> None:
    load(SMALL, "id,text\n1,fine\n")
    (tmp_path / "small-2.csv").write_text("id,text\n2,more\n")
    page.goto("/admin/ingest/run/")
    page.click("text=Load a file")
    page.select_option("select[name=dataset]", label="small")
    page.set_input_files("input[name=file]", str(tmp_path / "small-2.csv"))
    page.click("text=Load this file")
    page.wait_for_selector("text=raw/small-2.csv")
    assert [run.loaded for run in work_off(unfinished())] == [1]
