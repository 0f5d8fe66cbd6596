"""The list of runs and a run's own page: the bar moves and stops, buttons work for whom they are shown."""

import io
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from ingest.admission import admit_upload
from ingest.corrections import resubmit
from ingest.datasets import save_dataset
from ingest.models import Run, Status
from ingest.services import advance
from ingest.sweeper import unfinished, work_off
from migration_console.lib.audit import history
from tests.conftest import Loads
from tests.pages.conftest import SignIn
from tests.pages.test_lists import SMALL

ROWS = 900


class Interrupted(BaseException):
    """The worker is killed."""


def page_of(run: Run) -> str:
    return f"/admin/ingest/run/{run.pk}/change/"


def sums(page: Page) -> str:
    return " ".join(page.inner_text("[data-sums]").split())


def admit(rows: int = ROWS) -> Run:
    data = "id,text\n" + "".join(f"{number},row\n" for number in range(rows - 1)) + "x,bad\n"
    dataset = save_dataset(SMALL).dataset
    return admit_upload("raw/small.csv", io.BytesIO(data.encode()), trigger="upload", dataset=dataset)


def load_half(run: Run) -> None:
    """Load until half of the rows are through, and stop as a worker stops that is killed."""

    def stop(done: int, total: int) -> None:
        if done * 2 > total:
            raise Interrupted

    with pytest.raises(Interrupted):
        advance(run.pk, stop)


def test_the_bar_moves_and_polling_stops_by_itself(page: Page, tables: None, settings: Any) -> None:
    settings.BATCH_BYTES = 500
    run = admit()
    polls: list[int] = []
    page.on("response", lambda answer: polls.append(answer.status) if answer.url.endswith("/live/") else None)
    page.goto(page_of(run))
    page.wait_for_selector("text=Waits for a worker")
    load_half(run)
    page.wait_for_selector("#run-badge >> text=Running")
    bar = page.get_by_role("progressbar", name="Rows of the file that are through")
    half = int(bar.get_attribute("aria-valuenow") or 0)
    assert 50 <= half < 70
    Run.objects.filter(pk=run.pk).update(lease_until=None)
    run.parts.update(lease_until=None)
    work_off([run])
    # The rest of the page comes by itself, once.
    page.wait_for_selector("text=Every row is accounted for")
    assert sums(page) == "900 read = 899 loaded here + 0 loaded by its children + 0 dismissed + 1 open"
    assert page.get_by_role("progressbar").get_attribute("aria-valuenow") == "100"
    assert "Loaded with rejects" in page.inner_text("#run-badge")
    seen = len(polls)
    page.wait_for_timeout(2500)
    assert (polls[-1], len(polls)) == (286, seen)


def test_the_errors_lead_to_their_rows(page: Page, load: Loads) -> None:
    run = load(SMALL, "id,text\n1,fine\nx,bad\ny,bad\n1,again\n")
    page.goto(page_of(run))
    links = page.locator("section:has(#errors) tbody a").evaluate_all("links => links.map(a => a.getAttribute('href'))")
    assert links == [
        f"/admin/ingest/reject/?run__id__exact={run.pk}&field=id&code={code}"
        for code in ("not-an-integer", "duplicate-key")
    ]
    errors = page.inner_text("section:has(#errors)")
    assert "Write digits only" in errors
    assert "Received" in page.inner_text(".timeline")
    with page.expect_download() as download:
        page.click("text=The file as it came")
    assert Path(download.value.path()).read_text().startswith("id,text")


def test_rows_that_a_child_loads_are_in_the_parents_line(page: Page, load: Loads) -> None:
    run = load(SMALL, "id,text\n1,fine\nx,bad\ny,bad\n")
    child = resubmit(run, {2: {"id": "2"}})
    work_off([child])
    page.goto(page_of(run))
    line = "3 read = 1 loaded here + 1 loaded by its children + 0 dismissed + 1 open"
    assert sums(page) == line
    page.click(f"text=Run {child.pk}")
    page.click(f"dl a:has-text('run {run.pk}')")
    assert page.url.endswith(page_of(run))


def test_a_run_is_cancelled_and_taken_up_again(sign_in: SignIn, load: Loads, settings: Any) -> None:
    settings.BATCH_BYTES = 500
    page, run = sign_in("steward"), admit()
    load_half(run)
    page.goto(page_of(run))
    page.click("button:has-text('Cancel')")
    page.click("text=Cancel this run")
    page.wait_for_selector("#run-badge >> text=Cancelling")
    Run.objects.filter(pk=run.pk).update(lease_until=None)
    run.parts.update(lease_until=None)
    work_off([run])
    page.wait_for_selector("#run-badge >> text=Cancelled")
    page.click("button:has-text('Retry')")
    page.click("text=Take it up")
    page.wait_for_selector("text=is taken up again")
    work_off(unfinished())
    page.wait_for_selector("#run-badge >> text=Loaded with rejects")
    run.refresh_from_db()
    assert (run.loaded, run.attempt) == (ROWS - 1, 2)
    assert [(line.actor, line.action) for line in history(run)] == [("ann", "run.retried"), ("ann", "run.cancelled")]


def test_a_duplicate_is_loaded_again_only_with_a_reason(page: Page, load: Loads) -> None:
    plain = {**SMALL, "schema": {"fields": SMALL["schema"]["fields"]}}
    load(plain, "id,text\n1,fine\n", name="small-1.csv")
    run = load(plain, "id,text\n1,fine\n", name="small-2.csv")
    page.goto(page_of(run))
    page.click("button:has-text('Retry')")
    page.click("text=Load these rows again")
    assert page.locator("input:invalid").count() == 1
    page.fill("#retry-reason", "the table was emptied")
    page.click("text=Load these rows again")
    page.wait_for_selector("text=is taken up again")
    assert [done.loaded for done in work_off(unfinished())] == [1]
    page.wait_for_selector("text=the table was emptied")


def test_what_ended_badly_is_dealt_with(page: Page, load: Loads) -> None:
    run = load(SMALL, "id,texx\n1,fine\n")
    page.goto(page_of(run))
    assert "What to do: Add the column to the file" in page.inner_text("section:has(#wrong)")
    page.click("button:has-text('Mark as dealt with')")
    page.fill("#deal-note", "sent anew")
    page.click("#deal button:has-text('Mark as dealt with')")
    page.wait_for_selector("text=is noted as dealt with")
    assert "sent anew" in page.inner_text("section:has(#history)")
    assert not Run.objects.get().attention


def test_an_auditor_opens_everything_and_changes_nothing(sign_in: SignIn, load: Loads) -> None:
    run = load(SMALL, "id,texx\n1,fine\n")
    page = sign_in("auditor")
    page.goto(page_of(run))
    page.wait_for_selector("text=What is wrong")
    assert page.locator("#run-page button").count() == 0
    token = page.locator("input[name=csrfmiddlewaretoken]").first.input_value()
    headers = {"X-CSRFToken": token, "Referer": page.url}
    for what in ("cancel", "retry", "deal"):
        answer = page.request.post(f"/admin/ingest/run/{run.pk}/act/{what}/", form={"note": "x"}, headers=headers)
        assert answer.status == 403
    assert page.request.get("/admin/ingest/run/upload").status == 403
    page.goto("/admin/ingest/run/")
    assert page.locator("text=Load a file").count() == 0
    assert Run.objects.get().status == Status.REFUSED


def test_addresses_of_runs_that_are_not_there(page: Page, load: Loads) -> None:
    run = load(SMALL, "id,text\n1,fine\n")
    for address in ("0/change/", "abc/change/", f"{2**70}/change/", "0/live/", f"{run.pk}/download/report/"):
        assert page.request.get(f"/admin/ingest/run/{address}").status == 404, address
    assert page.request.get(f"/admin/ingest/run/{run.pk}/act/retry/").status == 405


def test_the_list_is_filtered_by_its_address_and_searched(page: Page, load: Loads) -> None:
    good = load(SMALL, "id,text\n1,fine\n", name="small-good.csv")
    bad = load(SMALL, "id,texx\n1,fine\n", name="small-bad.csv")
    found = {
        "": {good.pk, bad.pk},
        "?status=refused": {bad.pk},
        "?needs=mending": {bad.pk},
        "?needs=rejects": set(),
        "?trigger=upload": set(),
        "?days=7": {good.pk, bad.pk},
        f"?dataset__id__exact={good.dataset_id}&status=loaded": {good.pk},
        "?q=bad": {bad.pk},
        f"?q={good.pk}": {good.pk},
        "?q=raw/small-good.csv": {good.pk},
        "?days=nonsense": {good.pk, bad.pk},
    }
    for query, wanted in found.items():
        page.goto(f"/admin/ingest/run/{query}")
        numbers = page.locator("#result_list tbody .field-number").all_inner_texts()
        assert {int(number) for number in numbers} == wanted, query
    page.goto("/admin/ingest/run/?status=failed")
    page.click("text=Show all runs")
    page.wait_for_selector("text=small-good.csv")


def test_a_file_that_cannot_be_taken_is_told_at_its_field(
    page: Page, load: Loads, settings: Any, tmp_path: Path
) -> None:
    load(SMALL, "id,text\n1,fine\n")
    settings.MAX_FILE_BYTES = 10
    (tmp_path / "small-2.csv").write_text("id,text\n2,more\n")
    page.goto("/admin/ingest/run/upload?dataset=small")
    assert page.locator("select[name=dataset] option:checked").inner_text() == "small"
    page.set_input_files("input[name=file]", str(tmp_path / "small-2.csv"))
    page.wait_for_selector("text=small-2.csv, 15 bytes")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        page.click("text=Load this file")
    assert answer.value.ok
    assert "10\xa0bytes is the limit" in page.inner_text("#file-errors")
    assert Run.objects.count() == 1


def test_whoever_loads_a_file_is_in_the_log(sign_in: SignIn, load: Loads, tmp_path: Path) -> None:
    load(SMALL, "id,text\n1,fine\n")
    page = sign_in("steward", name="bob")
    (tmp_path / "small-2.csv").write_text("id,text\n2,more\n")
    page.goto("/admin/ingest/run/upload?dataset=small")
    page.set_input_files("input[name=file]", str(tmp_path / "small-2.csv"))
    page.click("text=Load this file")
    page.wait_for_selector("#run-page")
    assert "bob: uploaded" in page.inner_text("section:has(#history)")
    assert [line.action for line in history(Run.objects.latest("id"))] == ["run.uploaded"]
