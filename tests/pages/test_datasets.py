"""Datasets in the browser: from a sample with bad rows to a loaded file, a changed table, files without a dataset."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from playwright.sync_api import Page, expect

from ingest.admission import admit_upload
from ingest.datasets import save_dataset
from ingest.models import Dataset, Draft, Run
from ingest.sweeper import unfinished, work_off
from migration_console.lib.audit import AuditEntry
from migration_console.lib.bucket import Bucket
from tests.conftest import Loads, query
from tests.pages.conftest import SignIn

SMALL: dict[str, Any] = {
    "name": "small",
    "schema": {
        "fields": [{"name": "id", "type": "integer"}, {"name": "text", "constraints": {"maxLength": 200}}],
        "primaryKey": "id",
    },
}
SAMPLE = "id,name,joined\n" + "".join(f"{n},ann {n},2024-01-0{n}\n" for n in range(1, 8)) + "8,bob,soon\n9,eve,\n"
HOSTILE = "<script>document.title='hacked'</script>"


def sample(tmp_path: Path, text: str = SAMPLE, name: str = "members-2024.csv") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def begin(page: Page, file: str) -> None:
    """Draft a dataset from a file."""
    page.goto("/admin/ingest/dataset/")
    page.click("text=New dataset")
    page.set_input_files("input[name=file]", file)
    page.click("text=Draft from this file")
    page.wait_for_selector("#editor")


def test_a_steward_makes_a_dataset_from_a_sample_with_bad_rows_and_loads_a_file(
    sign_in: SignIn, tmp_path: Path
) -> None:
    page = sign_in("steward")
    begin(page, sample(tmp_path))
    expect(page.locator("#found")).to_contain_text("All 9 rows of the sample would pass")
    # Two editors of one column, and the preview follows.
    page.select_option("#f2-type", "date")
    expect(page.locator("#found")).to_contain_text("8 of 9 rows of the sample would pass")
    expect(page.locator("#rows td.wrong")).to_contain_text("soon")
    expect(page.locator("#found table")).to_contain_text("not-a-date")
    page.fill("#f0-minimum", "x")
    expect(page.locator("[data-slot='/schema/fields/0/constraints/minimum']")).to_contain_text("not a whole number")
    assert page.get_attribute("#f0-minimum", "aria-invalid") == "true"
    page.fill("#f0-minimum", "3")
    expect(page.locator("#found")).to_contain_text("6 of 9 rows of the sample would pass")
    page.check("text=Only rows that would not pass")
    expect(page.locator("#rows tr")).to_have_count(3)
    page.fill("#d-name", "members")
    page.fill("#d-table", "members")
    page.click(".publish button")
    page.wait_for_selector("text=Version 1 of members is published.")
    page.set_input_files("input[name=file]", sample(tmp_path))
    page.click("text=Load it >> nth=-1")
    page.wait_for_url("**/ingest/run/*/change/")
    (run,) = work_off(unfinished())
    assert (run.loaded, run.rejected) == (6, 3)
    saved = AuditEntry.objects.get(action="dataset.saved")
    assert (saved.actor, saved.subject) == ("ann", "members")
    assert not Draft.objects.exists()


def test_nothing_is_lost_on_a_mistake(page: Page, tmp_path: Path) -> None:
    save_dataset({"name": "taken", "schema": {"fields": [{"name": "a"}]}})
    begin(page, sample(tmp_path))
    page.fill("#d-name", "taken")
    page.fill("#f1-pattern", "(")
    page.click(".publish button")
    page.wait_for_selector("text=Not published yet")
    assert page.input_value("#d-name") == "taken"
    assert page.input_value("#f1-pattern") == "("
    expect(page.locator("[data-slot='/schema/fields/1/constraints/pattern']")).to_contain_text("no regular expression")
    page.fill("#f1-pattern", "ann.*")
    expect(page.locator("[data-slot='/schema/fields/1/constraints/pattern']")).to_be_empty()
    expect(page.locator("[data-slot='/name']")).to_contain_text("there is a dataset 'taken' already")
    page.reload()
    assert page.input_value("#f1-pattern") == "ann.*"
    page.click("text=As JSON")
    page.wait_for_selector("#json")
    page.fill("#json", page.input_value("#json").replace('"taken"', '"mine"') + "{")
    expect(page.locator("[data-slot='/json']")).to_contain_text("line")
    page.fill("#json", page.input_value("#json")[:-1])
    expect(page.locator("#found")).not_to_contain_text("mistake")
    page.click("text=In a grid")
    page.wait_for_selector("#d-name")
    assert page.input_value("#d-name") == "mine"


def test_columns_are_renamed_moved_and_taken_out(page: Page, tmp_path: Path) -> None:
    begin(page, sample(tmp_path))
    page.fill("#f1-name", "full_name")
    expect(page.locator("#found")).to_contain_text("All 9 rows of the sample would pass")
    page.click("[aria-label='Move full_name to the left'], [aria-label='Move name to the left']")
    expect(page.locator("#f0-name")).to_have_value("full_name")
    page.click("[aria-label='Take joined out']")
    expect(page.locator("#found")).to_contain_text("the column 'joined' is not in the dataset")
    page.click("[aria-label='More rules of full_name']")
    assert page.input_value("#f0-aliases") == "name"
    page.fill("#f0-map", "bob = robert")
    page.keyboard.press("Escape")
    page.select_option("#d-unknown", "ignore")
    expect(page.locator("#found")).not_to_contain_text("refused as a whole")
    expect(page.locator("#found")).to_contain_text("All 9 rows of the sample would pass")
    fields = Draft.objects.get().descriptor["schema"]["fields"]
    assert [(field["name"], field.get("map")) for field in fields] == [("full_name", {"bob": "robert"}), ("id", None)]


def test_the_grid_goes_by_keyboard(page: Page, tmp_path: Path) -> None:
    begin(page, sample(tmp_path))
    page.focus("#f0-format")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.id") == "f0-minimum"
    page.keyboard.type("5")
    page.keyboard.press("Escape")
    assert page.input_value("#f0-minimum") == ""


def test_a_change_of_columns_shows_its_sql_and_an_operator_runs_it(sign_in: SignIn, load: Loads) -> None:
    load(SMALL, "id,text\n1,fine\n")
    page = sign_in("steward")
    page.goto("/admin/ingest/dataset/")
    page.click("#result_list a:text-is('small')")
    page.click("text=Edit columns and rules")
    page.wait_for_selector("#editor")
    page.click("text=Add a column")
    page.fill("#f2-name", "note")
    page.fill("#f2-max_length", "50")
    expect(page.locator("#found")).to_contain_text("ADD COLUMN `note`")
    page.click(".publish button")
    page.wait_for_selector("text=The table small must change first")
    assert page.locator("text=Change the table and publish").count() == 0
    address = page.url
    operator = sign_in("operator", name="olga")
    operator.goto(address)
    operator.click(".publish button")
    button = operator.locator("text=Change the table and publish")
    assert button.is_disabled()
    operator.fill("#confirm", "small")
    button.click()
    operator.wait_for_selector("text=Version 2 of small is published.")
    assert [len(row) for row in query("SELECT * FROM small")] == [4]
    altered = AuditEntry.objects.get(action="table.altered")
    assert altered.actor == "olga"
    assert "ADD COLUMN" in altered.details
    operator.wait_for_selector("text=note is new (string)")


def test_a_file_without_a_dataset_gets_one_and_loads(page: Page, tmp_path: Path) -> None:
    for name in ("shop/7/sales 2024-05.csv", "other.csv"):
        with Path(sample(tmp_path)).open("rb") as file:
            admit_upload(f"raw/{name}", file, trigger="test", dataset=None)
    page.goto("/admin/ingest/dataset/")
    page.click("text=See them, and say where they belong")
    page.click("tr:has-text('sales') >> text=Make a dataset from it")
    page.wait_for_selector("#editor")
    assert page.input_value("#d-files") == "shop/*/sales *.csv"
    page.click(".publish button")
    page.wait_for_selector("text=Version 1 of sales is published.")
    assert [run.loaded for run in work_off(unfinished())] == [9]
    page.goto("/admin/ingest/dataset/files/")
    page.select_option("select[name=dataset]", label="sales")
    page.click("text=Load >> nth=-1")
    page.wait_for_url("**/ingest/run/*/change/")
    assert Run.objects.get(key="raw/other.csv").dataset == Dataset.objects.get()
    page.goto("/admin/ingest/dataset/files/")
    page.wait_for_selector("text=Every file has found its dataset.")


def test_a_file_is_tried_without_loading(page: Page, load: Loads, tmp_path: Path) -> None:
    load(SMALL, "id,text\n1,fine\n")
    page.goto(f"/admin/ingest/dataset/{Dataset.objects.get().pk}/change/")
    page.set_input_files("input[name=file]", sample(tmp_path, f"id,text\n2,more\nx,{HOSTILE}\n", "small-2.csv"))
    page.click("text=Try it without loading")
    tried = page.inner_text("#tried")
    assert "2 rows = 1 would load + 1 would be rejected." in tried
    assert "“x” is not a whole number." in tried
    assert HOSTILE in tried
    assert query("SELECT COUNT(*) FROM small") == [(1,)]
    assert Run.objects.count() == 1


def test_a_dataset_is_paused_renamed_and_retired(page: Page, load: Loads) -> None:
    load(SMALL, "id,text\n1,fine\n")
    dataset = Dataset.objects.get()
    page.goto(f"/admin/ingest/dataset/{dataset.pk}/change/")
    page.click("button:has-text('Pause')")
    page.wait_for_selector("text=small is paused: its files wait.")
    page.click("button:has-text('Resume')")
    page.wait_for_selector("text=small loads again.")
    page.click("summary:text-is('Rename')")
    page.fill("#name", "tiny")
    page.click("button:text-is('Rename')")
    page.wait_for_selector("text=small is called tiny now.")
    dataset.refresh_from_db()
    assert (dataset.name, dataset.table) == ("tiny", "small")
    assert "small-*.csv" in dataset.current.parsed.file_patterns
    page.click("summary:text-is('Retire')")
    assert page.locator("button:text-is('Retire')").is_disabled()
    page.fill("#confirm", "tiny")
    page.click("button:text-is('Retire')")
    page.wait_for_selector("text=tiny is retired; its table stays.")
    page.click("text=Bring it back")
    page.wait_for_selector("text=tiny takes files again.")
    deeds = AuditEntry.objects.filter(subject_type="dataset").order_by("id").values_list("action", flat=True)
    assert [deed.removeprefix("dataset.") for deed in deeds] == [
        "saved", "paused", "resumed", "renamed", "retired", "saved",
    ]  # fmt: skip


def test_an_auditor_opens_everything_and_changes_nothing(sign_in: SignIn, load: Loads, client: Client) -> None:
    load(SMALL, "id,text\n1,fine\n")
    dataset = Dataset.objects.get()
    draft = Draft.objects.create(dataset=dataset, descriptor=SMALL, base=SMALL)
    page = sign_in("auditor")
    pages = [f"{dataset.pk}/change/", f"draft/{draft.pk}/", "files/", ""]
    for place in pages:
        answer = page.goto(f"/admin/ingest/dataset/{place}")
        assert answer is not None
        assert answer.ok
        assert page.locator(".console button:enabled[type=submit]").count() == 0
    cookies = {"sessionid": page.context.cookies()[0]["value"]}
    client.cookies.load(cookies)
    run = Run.objects.get().pk
    one = [f"{dataset.pk}/{deed}/" for deed in ("edit", "load", "dry-run", "pause", "rename", "retire", "bring-back")]
    for place in [
        *one,
        f"draft/{draft.pk}/",
        f"draft/{draft.pk}/sample/",
        f"files/{run}/assign/",
        f"files/{run}/draft/",
    ]:
        assert client.post(f"/admin/ingest/dataset/{place}").status_code == 403, place
    assert client.get("/admin/ingest/dataset/new/").status_code == 403


@pytest.mark.parametrize("name", ["=cmd()|'x'!A0", f"{HOSTILE}", "‮evil‬", "a\"b'c`d", "日本 ☃ 🦔", "{{7*7}}"])
def test_hostile_names_show_as_text(page: Page, tmp_path: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    begin(page, sample(tmp_path, f"id,{quoted}\n1,{quoted}\n", "x.csv"))
    assert page.input_value("#f1-name") == name
    expect(page.locator("#rows")).to_contain_text(name)
    page.click(".publish button")
    page.wait_for_selector("text=Version 1 of x is published.")
    assert name in page.inner_text(".console")
    assert page.title() != "hacked"


def test_the_list_asks_the_same_few_questions_however_long_it_is(load: Loads, admin_client: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert admin_client.get("/admin/ingest/dataset/").status_code == 200
        return len(asked)

    load(SMALL, "id,text\n1,fine\n")
    few = queries()
    for number in range(30):
        load({**SMALL, "name": f"small{number}", "files": [f"f{number}"]}, "id,text\n1,fine\n")
    assert queries() == few <= 15


def test_a_draft_that_is_gone_leads_back_to_the_datasets(tables: None, admin_client: Client) -> None:
    assert admin_client.post("/admin/ingest/dataset/draft/7/?preview").status_code == 204
    answer = admin_client.get("/admin/ingest/dataset/draft/7/", follow=True)
    assert "This draft is published already" in answer.content.decode()


@pytest.mark.parametrize(("name", "said"), [("漢" * 90 + ".csv", "more than 200 bytes"), ("", "")])
def test_a_file_that_cannot_be_kept_is_said_so(load: Loads, client: Client, name: str, said: str) -> None:
    run = load(SMALL, "id,text\n1,fine\n")
    client.force_login(get_user_model().objects.create_superuser("root"))
    given = {"file": SimpleUploadedFile(name, b"id,text\n2,more\n")} if name else {}
    answer = client.post(f"/admin/ingest/dataset/{run.dataset_id}/load/", given, follow=True)
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert Run.objects.count() == 1


def test_json_deeper_than_any_descriptor_is_a_mistake_and_not_kept(tables: None, client: Client) -> None:
    client.force_login(get_user_model().objects.create_superuser("root"))
    draft = Draft.objects.create(descriptor={"name": "deep", "schema": {"fields": [{"name": "a"}]}})
    deep = '{"a":' * 500 + "1" + "}" * 500
    answer = client.post(f"/admin/ingest/dataset/draft/{draft.pk}/", {"source": "json", "json": deep})
    assert (answer.status_code, "more than 30 deep" in answer.content.decode()) == (200, True)
    draft.refresh_from_db()
    assert draft.descriptor["name"] == "deep"


def test_without_the_lake_no_file_is_taken_and_no_draft_begun(
    bucket: Bucket, load: Loads, admin_client: Client, settings: Any
) -> None:
    run = load(SMALL, "id,text\n1,fine\n")
    waiting = admit_upload("raw/other.csv", io.BytesIO(b"a,b\n1,2\n"), trigger="upload", dataset=None)
    settings.LAKE_URL = "s3://a-bucket-that-is-gone/x"
    for path, told in {
        f"{run.dataset_id}/edit/": "No draft: ",
        f"files/{waiting.pk}/draft/": "No draft: ",
        f"{run.dataset_id}/load/": "The file was not taken: ",
    }.items():
        given = {"file": SimpleUploadedFile("small.csv", b"id,text\n2,more\n")}
        answer = admin_client.post(f"/admin/ingest/dataset/{path}", given, follow=True)
        assert told in answer.content.decode()
    assert not Draft.objects.exists()
