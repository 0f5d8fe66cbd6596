"""A steward's day: from a sample to a dataset, a file, its bar, its errors, all of them mended and loaded."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from ingest.models import Reject, Run
from ingest.sweeper import unfinished, work_off
from tests.conftest import query
from tests.pages.conftest import SignIn
from tests.pages.test_datasets import begin, sample
from tests.pages.test_rejects import cell
from tests.pages.test_runs import load_half, sums

ROWS = 600
# One row with a number that is none, four with a day as people write it.
FILE = "id,name,joined\n" + "".join(
    f"{'x' if n == 7 else n},member {n},{'01.02.2024' if n in (50, 51, 52, 400) else '2024-01-31'}\n"
    for n in range(1, ROWS + 1)
)
COUNT_CLICKS = """document.addEventListener("click", (event) => {
  if (event.detail) sessionStorage.clicks = Number(sessionStorage.clicks ?? 0) + 1;
}, true)"""


def clicks(page: Page) -> int:
    """Return how often the mouse was clicked."""
    return int(page.evaluate("Number(sessionStorage.clicks ?? 0)"))


def test_from_a_sample_to_every_row_loaded(sign_in: SignIn, tmp_path: Path, settings: Any) -> None:
    settings.BATCH_BYTES = 500
    page = sign_in("steward", name="bob")
    page.context.add_init_script(COUNT_CLICKS)
    begin(page, sample(tmp_path, FILE, "members.csv"))
    page.select_option("#f0-type", "integer")
    page.select_option("#f2-type", "date")
    page.wait_for_selector("#found >> text=595 of 600 rows of the sample would pass")
    page.click(".publish button")
    page.wait_for_selector("text=Version 1 of members is published.")
    page.set_input_files("input[name=file]", sample(tmp_path, FILE, "members.csv"))
    page.click("text=Load it >> nth=-1")
    page.wait_for_url("**/ingest/run/*/change/")
    run = Run.objects.get()
    load_half(run)
    bar = page.get_by_role("progressbar", name="Rows of the file that are through")
    page.wait_for_function("(bar) => Number(bar.getAttribute('aria-valuenow')) >= 50", arg=bar.element_handle())
    Run.objects.filter(pk=run.pk).update(lease_until=None)
    run.parts.update(lease_until=None)
    work_off([run])
    page.wait_for_selector("text=Every row is accounted for")
    assert sums(page) == "600 read = 595 loaded here + 0 loaded by its children + 0 dismissed + 5 open"

    page.goto("/admin/")
    page.evaluate("sessionStorage.clicks = 0")
    page.click(".need >> text=members.csv")
    # One cell in place, by the keyboard; a group in bulk.
    cell(page, "id", 7).fill("7")
    cell(page, "id", 7).press("Tab")
    page.wait_for_selector("#row-7.ready")
    page.click("tr:has-text('not-a-date') >> text=Fix all…")
    page.select_option("#how", "map")
    page.get_by_label("Instead of 01.02.2024").fill("2024-02-01")
    page.click("text=Show what would change")
    page.click("text=Correct 4 rows")
    page.click("text=Look at them and send")
    page.click("text=Send 5 corrected rows")
    work_off(unfinished())
    page.wait_for_selector("text=5 of 5 loaded")
    assert sums(page) == "600 read = 595 loaded here + 5 loaded by its children + 0 dismissed + 0 open"
    assert clicks(page) <= 6
    assert query("SELECT COUNT(*), COUNT(DISTINCT id) FROM members") == [(ROWS, ROWS)]
    assert set(Reject.objects.values_list("state", "corrected_by__username")) == {("fixed", "bob")}
    page.goto("/admin/")
    page.wait_for_selector("text=Nothing: no run ended badly")
