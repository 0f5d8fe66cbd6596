"""What a steward does with rejects, in a real browser."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from python_calamine import CalamineWorkbook

from ingest.amending import edit, restore
from ingest.models import Reject, Run
from ingest.sweeper import unfinished, work_off
from tests.conftest import Loads, query

PEOPLE: dict[str, Any] = {
    "name": "people",
    "schema": {
        "fields": [
            {"name": "id", "type": "integer"},
            {"name": "name", "constraints": {"required": True, "maxLength": 20}},
            {"name": "born", "type": "date"},
            {"name": "country", "constraints": {"enum": ["DE", "AT"]}},
            {"name": "balance", "type": "number", "sqlType": "DECIMAL(8,2)"},
        ],
        "primaryKey": "id",
    },
}
HEAD = "id,name,born,country,balance\n"
FILE = (
    HEAD
    + "1,Ann,1990-01-31,DE,1.50\n"
    + "x,Bob,1990-02-30,DE,2\n"
    + "3,,1991-03-31,AT,3.25\n"
    + "4,Dan, D,1992-04-30,DE,1\n"
    + "".join(f"{n},Person {n},1980-05-0{n},{['Germany', 'Austria'][n % 2]},10\n" for n in range(5, 9))
)


def at(page: Page, run: Run, more: str = "") -> None:
    page.goto(f"/admin/ingest/reject/run/{run.pk}/{more}")


def cell(page: Page, column: str, row: int) -> Any:
    return page.get_by_label(f"{column}, row {row}", exact=True)


def slow_down(page: Page, address: str) -> None:
    """Let requests take long enough for people to type on meanwhile."""

    def slowly(route: Any) -> None:
        page.wait_for_timeout(400)
        route.continue_()

    page.route(address, slowly)


def sums(page: Page) -> str:
    return " ".join(page.inner_text("#standing .sum").split())


def picture(page: Page, name: str) -> None:
    """Keep a screenshot where somebody has asked for some."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{re.sub('[^a-z-]', '', name.split('?')[0])}.png", full_page=True)


def state(row: int) -> str:
    return Reject.objects.get(row=row).state


def test_one_cell_in_place_a_group_in_bulk_and_all_of_it_loaded(page: Page, load: Loads) -> None:
    run = load(PEOPLE, FILE)
    page.goto(f"/admin/ingest/reject/?run__id__exact={run.pk}")
    assert sums(page).startswith("8 read = 1 loaded here")
    assert cell(page, "id", 2).input_value() == "x"
    cell(page, "id", 2).fill("2")
    cell(page, "born", 2).fill("1990-02-28")
    cell(page, "born", 2).press("Enter")
    page.wait_for_selector("#row-2.ready")
    assert "was x" in page.inner_text("#row-2").replace("\n", " ")
    # Kept, though nothing is sent: the same after the browser was closed.
    page.reload()
    assert page.locator("#row-2.ready").count() == 1
    page.click("text=Fix all… >> nth=0")
    assert page.input_value("#how") == "map"
    page.get_by_label("Instead of Germany").fill("DE")
    page.get_by_label("Instead of Austria").fill("AT")
    page.click("text=Show what would change")
    page.wait_for_selector("text=4 of 4 rows would change")
    assert state(5) == "open"
    page.click("text=Correct 4 rows")
    page.click("text=Look at them and send")
    page.click("text=Send 5 corrected rows")
    page.wait_for_selector("text=on their way as run")
    work_off(unfinished())
    # The sums follow by themselves, and stop asking.
    page.wait_for_selector("text=5 of 5 loaded")
    assert sums(page) == "8 read = 1 loaded here + 5 loaded by its children + 0 dismissed + 2 open"
    assert query("SELECT COUNT(*) FROM people") == [(6,)]
    page.reload()
    assert "ann sent 5 rows" in " ".join(page.inner_text(".history").split())


def test_keys_are_enough(page: Page, load: Loads) -> None:
    run = load(PEOPLE, FILE)
    at(page, run)
    cell(page, "id", 2).focus()
    page.keyboard.type("99")
    page.keyboard.press("Escape")
    assert cell(page, "id", 2).input_value() == "x"
    # Right of the input is a cell that nothing is wrong with: Enter opens it.
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.type("Robert")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#row-2.edited")
    assert Reject.objects.get(row=2).corrected == {"name": "Robert"}
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "name, row 3"
    page.get_by_label("Restore the original: name, row 2").click()
    page.wait_for_selector("#row-2.open")


def test_what_is_typed_meanwhile_stays(page: Page, load: Loads) -> None:
    run = load(PEOPLE, FILE)
    at(page, run)
    slow_down(page, "**/row/2/")
    cell(page, "id", 2).fill("2")
    cell(page, "born", 2).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("1990-02-2")
    page.wait_for_selector("#row-2.edited")
    page.keyboard.type("8")
    page.keyboard.press("Tab")
    page.wait_for_selector("#row-2.ready")
    assert Reject.objects.get(row=2).corrected == {"id": "2", "born": "1990-02-28"}


def test_what_is_marked_in_a_cell_stays_marked(page: Page, load: Loads) -> None:
    at(page, load(PEOPLE, FILE))
    slow_down(page, "**/row/2/")
    cell(page, "id", 2).fill("2")
    cell(page, "born", 2).focus()
    page.keyboard.press("Control+A")
    page.wait_for_selector("#row-2.edited")
    page.keyboard.type("1990-02-28")
    assert cell(page, "born", 2).input_value() == "1990-02-28"
    page.keyboard.press("Tab")
    page.wait_for_selector("#row-2.ready")


def test_what_is_sent_is_what_was_typed_last(page: Page, load: Loads) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 2, {"id": "2", "born": "1990-02-27"}, user=None)
    at(page, run)
    slow_down(page, "**/row/2/")
    page.get_by_label("Row 2", exact=True).check()
    cell(page, "id", 2).fill("22")
    cell(page, "born", 2).fill("1990-02-28")
    page.click("text=Send ticked rows")
    page.wait_for_selector("text=on their way as run")
    work_off(unfinished())
    assert query("SELECT id, born FROM people WHERE name = 'Bob'") == [(22, "1990-02-28")]


@pytest.mark.parametrize("answer", ["abort", "broken"])
def test_nothing_is_sent_where_what_was_typed_is_not_kept(page: Page, load: Loads, answer: str) -> None:
    run = load(PEOPLE, FILE)
    edit(run, 2, {"id": "2", "born": "1990-02-27"}, user=None)
    page = page.context.new_page()  # whose errors in the console are meant
    at(page, run)
    page.route("**/row/2/", lambda route: route.abort() if answer == "abort" else route.fulfill(status=500))
    cell(page, "born", 2).fill("1990-02-28")
    page.click("text=Send 1 corrected row")
    page.wait_for_selector("#row-2 .error")
    page.wait_for_timeout(300)
    assert state(2) == "ready"
    page.unroute("**/row/2/")
    cell(page, "born", 2).fill("1990-02-26")
    page.click("text=Send 1 corrected row")
    page.wait_for_selector("text=on their way as run")
    assert Reject.objects.get(row=2).corrected == {"id": "2", "born": "1990-02-26"}


def typed_into_a_row_that_is_gone(page: Page, load: Loads) -> None:
    """Leave two rows ready to be sent, and type into one of them that somebody has dismissed meanwhile."""
    run = load(PEOPLE, FILE)
    edit(run, 2, {"id": "2", "born": "1990-02-27"}, user=None)
    edit(run, 3, {"name": "Cid"}, user=None)
    at(page, run)
    Reject.objects.filter(row=3).update(state="dismissed", note="test data")
    cell(page, "name", 3).fill("Cyd")


def test_nothing_is_sent_where_what_was_typed_is_refused(page: Page, load: Loads) -> None:
    typed_into_a_row_that_is_gone(page, load)
    page.click("text=Send 2 corrected rows")
    page.wait_for_selector("#row-3 .error")
    page.wait_for_timeout(300)
    assert state(2) == "ready"


def test_nothing_is_sent_by_a_press_that_left_a_cell_which_is_refused(page: Page, load: Loads) -> None:
    typed_into_a_row_that_is_gone(page, load)
    page.hover("text=Send 2 corrected rows")
    page.mouse.down()
    page.wait_for_selector("#row-3 .error")
    page.mouse.up()
    page.wait_for_timeout(300)
    assert state(2) == "ready"
    page.click("text=Send 1 corrected row")
    page.wait_for_selector("text=on their way as run")
    assert (state(2), state(3)) == ("resubmitted", "dismissed")


def test_a_row_that_cannot_be_cut_and_one_that_somebody_else_has_sent(page: Page, load: Loads) -> None:
    run = load(PEOPLE, FILE)
    at(page, run)
    assert "4,Dan, D,1992-04-30,DE,1" in page.inner_text("#row-4")
    for column, text in {"name": "Dan, D", "born": "1992-04-30", "country": "DE", "balance": "1"}.items():
        cell(page, column, 4).fill(text)
    cell(page, "balance", 4).press("Enter")
    page.wait_for_selector("#row-4.ready")
    Reject.objects.filter(row=3).update(state="dismissed", note="test data")
    cell(page, "name", 3).fill("Cid")
    cell(page, "name", 3).press("Enter")
    page.wait_for_selector("text=somebody has been here before")


def test_dismissed_with_a_reason_and_reopened(page: Page, load: Loads) -> None:
    run = load(PEOPLE, FILE)
    at(page, run)
    page.get_by_label("Row 3", exact=True).check()
    page.fill("#why", "test data")
    page.press("#why", "Enter")
    page.wait_for_selector("text=1 rows are dismissed")
    at(page, run, "?state=dismissed")
    assert "test data" in page.inner_text("#row-3")
    page.get_by_label("Row 3", exact=True).check()
    page.click("text=Reopen ticked rows")
    page.wait_for_selector("#row-3.open")


def test_out_as_excel_and_back(page: Page, load: Loads, tmp_path: Path) -> None:
    import xlsxwriter

    run = load(PEOPLE, FILE)
    at(page, run)
    page.click("text=Download")
    with page.expect_download() as waiting:
        page.click("text=Excel workbook")
    rows = CalamineWorkbook.from_path(waiting.value.path()).get_sheet_by_index(0).to_python()
    assert (rows[0][:3], rows[1][0], rows[1][2]) == (["_row", "_line", "id"], "2", "x")
    with xlsxwriter.Workbook(tmp_path / "better.xlsx") as book:
        sheet = book.add_worksheet("rejects")
        for number, line in enumerate(rows):
            better = [{"x": "2", "1990-02-30": "1990-02-28"}.get(str(value), value) for value in line]
            sheet.write_row(number, 0, better)
    page.click("text=Upload corrected file")
    page.set_input_files("input[name=file]", str(tmp_path / "better.xlsx"))
    page.click("text=Show what would change")
    page.wait_for_selector("text=2 cells in 1 row would change")
    assert state(2) == "open"
    edit(run, 2, {"id": "22"})
    page.click("text=Show what would change")
    page.wait_for_selector("text=somebody has corrected them after this file went out: row 2")
    restore(run, 2)
    page.click("text=Show what would change")
    page.click("text=Correct 1 row")
    page.wait_for_selector("text=1 row corrected")
    assert state(2) == "ready"
    page.set_input_files("input[name=file]", str(Path(__file__)))
    page.click("text=Show what would change")
    page.wait_for_selector("text=the first line must name the columns")


@pytest.mark.parametrize(("answer", "words"), [("abort", "did not answer"), ("broken", "could not do this")])
def test_an_upload_that_fails_says_so(page: Page, load: Loads, answer: str, words: str) -> None:
    run = load(PEOPLE, FILE)
    page = page.context.new_page()  # whose errors in the console are meant
    at(page, run)
    page.click("text=Upload corrected file")
    page.route("**/upload/", lambda route: route.abort() if answer == "abort" else route.fulfill(status=500))
    for _ in range(2):
        page.set_input_files("input[name=file]", str(Path(__file__)))
        page.click("text=Show what would change")
        page.wait_for_selector(f"#found .error:has-text('{words}')")
    assert page.locator("#found .error").count() == 1
    page.unroute("**/upload/")
    page.click("text=Show what would change")
    page.wait_for_selector("text=the first line must name the columns")


def test_tried_again_after_a_rule_was_corrected(page: Page, load: Loads) -> None:
    from ingest.datasets import save_dataset

    run = load(PEOPLE, HEAD + "1,Ann,,CH,1\n2,Bob,,CH,1\n")
    fields = [dict(field) for field in PEOPLE["schema"]["fields"]]
    fields[3]["constraints"] = {"enum": ["DE", "AT", "CH"]}
    save_dataset({**PEOPLE, "schema": {**PEOPLE["schema"], "fields": fields}})
    at(page, run)
    page.click("text=Count what would pass now")
    page.click("text=Try 2 rows again with version 2")
    page.wait_for_selector("text=tried again as run")
    work_off(unfinished())
    assert query("SELECT COUNT(*) FROM people") == [(2,)]


def test_an_auditor_sees_all_and_changes_nothing(sign_in: Any, load: Loads) -> None:
    run = load(PEOPLE, FILE)
    page = sign_in("auditor", name="oscar")
    for path in ("", "?state=all", "groups/", "standing/", "download/safe/", "download/raw/", "download/xlsx/"):
        assert page.request.get(f"/admin/ingest/reject/run/{run.pk}/{path}").ok, path
    at(page, run)
    assert page.locator("#rows input[name=row], #rows button, a:has-text('Fix all')").count() == 0
    token = page.locator("input[name=csrfmiddlewaretoken]").first.input_value()
    for path in ("row/2/", "send/", "replay/", "dismiss/", "reopen/", "fix/preview/", "fix/apply/", "upload/"):
        answer = page.request.post(
            f"/admin/ingest/reject/run/{run.pk}/{path}",
            form={"csrfmiddlewaretoken": token, "column": "id", "value": "2"},
        )
        assert answer.status == 403, path
    for path in ("fix/", "check/", "upload/"):
        assert page.request.get(f"/admin/ingest/reject/run/{run.pk}/{path}").status == 403, path
    assert set(Reject.objects.values_list("state", flat=True)) == {"open"}


def test_a_phone_is_wide_enough(sign_in: Any, load: Loads) -> None:
    run = load(PEOPLE, FILE)
    page = sign_in("steward", name="bob")
    page.set_viewport_size({"width": 390, "height": 844})
    for path in (f"run/{run.pk}/", f"run/{run.pk}/fix/?field=country&code=not-in-list", f"run/{run.pk}/upload/", ""):
        page.goto(f"/admin/ingest/reject/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        picture(page, f"phone-{path}")
    at(page, run)
    cell(page, "name", 3).fill("Cid")
    cell(page, "name", 3).press("Enter")
    page.wait_for_selector("#row-3.ready")


def test_hostile_cells_stay_text(page: Page, load: Loads) -> None:
    nasty = ["<script>document.title='hacked'</script>", "=cmd|' /C calc'!A0", "\u202etxt.exe", "<img src=x onerror=1>"]
    lines = "".join(f'x{n},"{text}",,DE,1\n' for n, text in enumerate(nasty))
    run = load(PEOPLE, HEAD + lines)
    for path in (f"run/{run.pk}/", f"run/{run.pk}/fix/?column=name&how=map", ""):
        page.goto(f"/admin/ingest/reject/{path}")
        assert nasty[0] in page.inner_text(".console")
        assert page.title() != "hacked"


def test_the_pages_are_axe_clean(page: Page, load: Loads) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    run = load(PEOPLE, FILE)
    edit(run, 2, {"id": "2", "born": "1990-02-28"})
    edit(run, 3, {"born": "1990-02-31"})
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for path in (
            f"run/{run.pk}/",
            f"run/{run.pk}/fix/?field=country&code=not-in-list",
            f"run/{run.pk}/upload/",
            "",
        ):
            page.goto(f"/admin/ingest/reject/{path}")
            page.evaluate("t => localStorage.setItem('adminTheme', JSON.stringify(t))", theme)
            page.reload()
            found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
            assert found.response["violations"] == [], (path, theme, found.generate_report())
            picture(page, f"{path}-{theme}")


def test_what_is_done_is_what_was_shown(page: Page, load: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.fixes.SLICE", 3)
    run = load(PEOPLE, HEAD + "".join(f'x{n},"Per, ""son""\n{n}",,DE,1\n' for n in range(10)))
    at(page, run, "fix/?field=id&code=not-an-integer")
    page.fill("#find", "x")
    page.fill("#to", "7")
    page.click("text=Show what would change")
    page.wait_for_selector("text=10 of 10 rows would change")
    slow_down(page, "**/fix/apply/")
    page.fill("#to", "9")
    page.select_option("#how", "upper")
    page.click("text=Correct 10 rows")
    # Four slices: what is typed between them is the next fix, not this one.
    page.wait_for_selector("text=rows corrected so far")
    assert page.locator("#fix button").is_disabled()
    page.select_option("#how", "set")
    page.fill("#to", "8")
    page.wait_for_selector("h2:has-text('10 rows corrected')")
    assert page.locator("#fix button").is_enabled()
    assert [reject.corrected for reject in run.rejects.order_by("row")] == [{"id": f"7{n}"} for n in range(10)]


def test_words_are_mapped_as_they_were_shown(page: Page, load: Loads) -> None:
    run = load(PEOPLE, HEAD + '1,Ann,,"a ""b""\nc",1\n')
    at(page, run, "fix/?field=country&code=not-in-list")
    page.locator("input[name=into]").fill("DE")
    page.click("text=Show what would change")
    page.wait_for_selector("text=1 of 1 row would change")
    page.locator("input[name=into]").fill("AT")
    page.click("text=Correct 1 row")
    page.wait_for_selector("h2:has-text('1 row corrected')")
    assert run.rejects.get().corrected == {"country": "DE"}


def test_a_group_leaves_what_is_mended_by_hand_alone(page: Page, load: Loads) -> None:
    run = load(PEOPLE, HEAD + "".join(f"{n},Per,,Germany,1\n" for n in range(1, 5)))
    edit(run, 1, {"country": "AT"})
    edit(run, 2, {"country": "AT", "born": "x"})
    at(page, run)
    assert page.inner_text(".groups td.number") == "3"
    at(page, run, "?field=country&code=not-in-list")
    assert page.locator("tbody.reject").count() == 3
    page.click("text=Fix all…")
    page.select_option("#how", "set")
    page.fill("#to", "DE")
    page.click("text=Show what would change")
    page.wait_for_selector("text=3 of 3 rows would change")
    page.click("text=Correct 3 rows")
    page.wait_for_selector("h2:has-text('3 rows corrected')")
    assert run.rejects.get(row=1).corrected == {"country": "AT"}
    # What passes is no part of the group any more, and can be taken back all the same.
    page.click("text=Take it back…")
    page.click("text=Show what would change")
    page.wait_for_selector("text=4 of 4 rows would change")
    at(page, run)
    page.get_by_label("Dismiss all: country not-in-list").click()
    page.fill(".groups input[name=reason]", "a test")
    page.click("text=Dismiss 1 row")
    page.wait_for_selector("text=1 rows are dismissed")
    assert [state(row) for row in range(1, 5)] == ["ready", "dismissed", "ready", "ready"]


def test_a_correction_whose_column_is_gone_is_told_and_taken_back(page: Page, load: Loads) -> None:
    from ingest.datasets import save_dataset

    run = load(PEOPLE, FILE)
    edit(run, 3, {"name": "Cid", "country": "DE"})
    fields = [field for field in PEOPLE["schema"]["fields"] if field["name"] != "country"]
    save_dataset({**PEOPLE, "unknownColumns": "ignore", "schema": {**PEOPLE["schema"], "fields": fields}})
    at(page, run)
    page.click("text=Send 1 corrected row")
    page.wait_for_selector("text=no corrected row passes the rules yet")
    assert "no column 'country' any more" in page.inner_text("#row-3")
    page.get_by_label("Restore the original: country, row 3").click()
    page.wait_for_selector("#row-3.ready")
