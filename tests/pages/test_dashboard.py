"""The dashboard: what needs a person, each with a link to where it is mended, and the figures of the last days."""

import io
from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import Page

from backups.models import Backup
from backups.services import request_backup, set_plan, take
from ingest.admission import admit_upload
from ingest.attention import deal_with
from ingest.models import Run
from tests.conftest import Loads
from tests.pages.conftest import SignIn
from tests.pages.test_lists import SMALL


def test_an_empty_console_says_what_to_do_first(page: Page) -> None:
    steps = page.locator("ol.steps")
    assert "Make a dataset" in steps.inner_text()
    steps.locator("text=Load a file").click()
    page.wait_for_selector("text=There is no dataset yet")


def test_what_needs_a_person_leads_to_where_it_is_mended(page: Page, load: Loads) -> None:
    refused = load(SMALL, "id,texx\n1,fine\n", name="small-1.csv")
    rejected = load(SMALL, "id,text\n1,fine\nx,bad\n", name="small-2.csv")
    admit_upload("raw/unknown.csv", io.BytesIO(b"a\n1\n"), trigger="test", dataset=None)
    set_plan("small", schedule="0 3 * * *")
    page.goto("/admin/")
    links = page.locator(".need li a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert links == [
        f"/admin/ingest/run/{refused.pk}/change/",
        f"/admin/ingest/reject/?run__id__exact={rejected.pk}",
        "/admin/ingest/dataset/files/",
        "/admin/backups/listedtable/?q=small",
    ]
    assert "the column 'text' is missing" in page.inner_text(".needs")
    for link in links:
        answer = page.goto(link)
        assert answer is not None
        assert answer.ok


def test_what_is_mended_leaves_the_dashboard(page: Page, load: Loads) -> None:
    load(SMALL, "id,texx\n1,fine\n", name="small-1.csv")
    other = load(SMALL, "id,texx\n2,fine\n", name="small-2.csv")
    load(SMALL, "id,text\n1,fine\n", name="small-1.csv")  # a better file of the same name
    page.goto("/admin/")
    assert page.locator(".need li").count() == 1
    deal_with(other, note="the sender was told")
    page.reload()
    page.wait_for_selector("text=Nothing: no run ended badly")


def test_a_backup_older_than_its_plan_is_due(page: Page, load: Loads) -> None:
    load(SMALL, "id,text\n1,fine\n")
    set_plan("small", schedule="0 3 * * *")
    backup = take(request_backup("small").pk)
    Backup.objects.filter(pk=backup.pk).update(verified_at=timezone.now())
    page.goto("/admin/")
    assert "Fresh" in page.inner_text("main, .console")
    assert page.locator(".need").count() == 0
    Backup.objects.filter(pk=backup.pk).update(started_at=timezone.now() - timedelta(days=3))
    page.reload()
    assert "the newest verified backup is 3\xa0days old" in page.inner_text(".needs")
    assert "Stale" in page.inner_text(".console")


def test_the_days_are_told_by_charts_and_by_tables(page: Page, load: Loads) -> None:
    load(SMALL, "id,text\n1,fine\n2,fine\nx,bad\n", name="small-1.csv")
    load(SMALL, "id,texx\n1,fine\n", name="small-2.csv")
    page.goto("/admin/")
    assert page.locator("canvas.chart").count() == 3
    assert page.evaluate(
        "[...document.querySelectorAll('canvas.chart')].every(c => Chart.getChart(c).options.scales.y.title.text)"
    )
    page.click("summary >> nth=0")
    today = page.locator("details >> nth=0").locator("tbody tr >> nth=0").inner_text().split("\t")
    assert today[1:] == ["2", "1"]
    page.click("summary >> nth=1")
    assert page.locator("details >> nth=1").locator("tbody tr >> nth=0").inner_text().split("\t")[1:] == ["1", "1"]
    assert "33.3 %" in page.inner_text("table.datasets")


def test_the_strip_has_a_link_a_shape_and_a_name_for_each_run(page: Page, load: Loads) -> None:
    runs = [load(SMALL, f"id,text\n{n},fine\n{'x' if n == 2 else n + 10},row\n", name=f"small-{n}.csv") for n in (1, 2)]
    page.goto("/admin/")
    named = page.locator(".strip a").evaluate_all("links => links.map(link => link.getAttribute('aria-label'))")
    assert named == [f"Run {runs[1].pk}: Loaded with rejects", f"Run {runs[0].pk}: Loaded"]
    page.click(".strip a >> nth=0")
    page.wait_for_selector("#run-page")
    assert page.url.endswith(f"/admin/ingest/run/{runs[1].pk}/change/")


def test_names_of_files_are_shown_as_text(page: Page, load: Loads) -> None:
    name = "small-<script>document.title='hacked'</script>\u202egpj.csv"
    run = load(SMALL, "id,texx\n1,fine\n", name=name)
    for address in ("/admin/", "/admin/ingest/run/", f"/admin/ingest/run/{run.pk}/change/"):
        page.goto(address)
        assert "document.title='hacked'" in page.inner_text("#content")
        assert page.title() != "hacked"


def test_it_fits_a_telephone(sign_in: SignIn, load: Loads) -> None:
    run = load(SMALL, f"id,text\n1,fine\n2,{'z' * 300}\n", name=f"small-{'n' * 90}.csv")
    page = sign_in("steward", viewport={"width": 390, "height": 844})
    for address in ("/admin/", "/admin/ingest/run/", f"/admin/ingest/run/{run.pk}/change/", "/admin/ingest/run/upload"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, address


def test_whoever_may_see_nothing_is_told_whom_to_ask(sign_in: SignIn, load: Loads) -> None:
    load(SMALL, "id,texx\n1,fine\n")
    page = sign_in("nobody's group")
    assert "Ask an administrator" in page.inner_text(".console")
    assert "small" not in page.inner_text(".console")
    assert Run.objects.count() == 1
