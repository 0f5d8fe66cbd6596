"""The lists: what is shown, and that ledgers are only read."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from ingest.sweeper import unfinished, work_off
from tests.conftest import Loads

SMALL: dict[str, Any] = {
    "name": "small",
    "schema": {
        "fields": [{"name": "id", "type": "integer"}, {"name": "text", "constraints": {"maxLength": 200}}],
        "primaryKey": "id",
    },
}
LISTS = ["dataset", "schemaversion", "run", "reject"]


def test_from_the_run_to_its_rejects(page: Page, load: Loads) -> None:
    load(SMALL, "id,text\n1,fine\nx,bad\n")
    page.goto("/admin/ingest/run/")
    assert "2 = 1 + 1 + 0" in page.inner_text("#result_list")
    page.click("text=1 reject")
    assert "“x” is not a whole number." in page.inner_text("#result_list")
    page.click("#result_list tbody a >> nth=0")
    page.wait_for_selector("#row-2")


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


def test_an_empty_console_opens_every_list(page: Page) -> None:
    for name in LISTS:
        answer = page.goto(f"/admin/ingest/{name}/")
        assert answer is not None
        assert answer.ok


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


def test_a_request_that_is_broken_off_is_no_error(page: Page) -> None:
    held: list[Any] = []
    page.route("**/never", lambda route: held.append(route))
    with page.expect_request("**/never"):
        page.evaluate(
            "() => { htmx.ajax('GET', '/admin/never', { source: '#content', target: '#content' }).catch(() => {}); }"
        )
    page.evaluate("htmx.trigger('#content', 'htmx:abort')")
    page.wait_for_timeout(100)
    held[0].abort()
