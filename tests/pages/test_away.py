"""What pages say while the lake is away, or a hand-written model cannot be imported: a sentence, never a 500."""

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from ingest.amending import edit
from ingest.models import Reject, Run, SchemaVersion
from migration_console.lib.bucket import Bucket
from tests.conftest import Loads
from tests.pages.test_backups import ORDERS, rows, verified
from tests.pages.test_rejects import FILE, PEOPLE

LOST = "This did not come to its end: "


@pytest.fixture
def run(load: Loads) -> Run:
    """Return a run with one row that is ready to be sent."""
    run = load(PEOPLE, FILE)
    edit(run, 2, {"id": "2", "born": "1990-02-27"}, user=None)
    return run


@pytest.fixture
def away(run: Run, tmp_path: Path, settings: Any) -> str:
    """Take the lake away, as a disk that is not mounted; return what must not be shown of it."""
    (tmp_path / "plain").write_text("no folder")
    settings.LAKE_URL = f"file:{tmp_path}/plain/lake"
    return str(tmp_path)


def test_what_is_ready_stays_so_where_it_cannot_be_sent(run: Run, away: str, admin_client: Client) -> None:
    for deed in ("send", "replay"):
        page = admin_client.post(f"/admin/ingest/reject/run/{run.pk}/{deed}/", follow=True)
        told = page.content.decode()
        assert (page.status_code, LOST in told, away in told) == (200, True, False)
        assert Reject.objects.get(row=2).state == Reject.State.READY


def test_a_file_that_cannot_be_read_is_told_at_the_runs_page(run: Run, away: str, admin_client: Client) -> None:
    page = admin_client.get(f"/admin/ingest/run/{run.pk}/download/file/", follow=True)
    told = page.content.decode()
    assert (page.status_code, "cannot be read in the lake" in told, away in told) == (200, True, False)


def test_a_page_without_words_of_its_own_gets_some(
    run: Run, away: str, admin_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No room for what does not fit into memory: a file that is tried is kept beside.
    monkeypatch.setattr("tempfile.tempdir", f"{tmp_path}/plain")
    address = f"/admin/ingest/dataset/{run.dataset_id}/dry-run/"
    for headers, kind in (({}, "text/html"), ({"HX-Request": "true"}, "text/plain")):
        given = {"file": SimpleUploadedFile("people.csv", FILE.encode())}
        answer = admin_client.post(address, given, headers=headers)
        told = answer.content.decode()
        assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (503, kind)
        assert "is away: Not a directory. Try again in a while." in told
        assert away not in told


@pytest.mark.parametrize("model", ["tests.models:Gone", "no_such_rules:Row", "rules_that_break:Row"])
def test_without_its_model_a_run_is_shown_and_its_rejects_say_why(
    run: Run, admin_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    (tmp_path / "rules_that_break.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    for version in SchemaVersion.objects.all():
        version.descriptor = {**version.descriptor, "model": model}
        version.save()
    there = f"/admin/ingest/reject/run/{run.pk}/"
    for part in ("", "groups/", "standing/", "download/xlsx/", "download/csv/", "download/safe/", "fix/", "check/"):
        page = admin_client.get(f"{there}{part}", follow=True)
        assert page.status_code in {200, 286}, part
        if part not in {"groups/", "standing/"}:
            assert f"the model {model} cannot be imported" in page.content.decode(), part
    part_only = admin_client.get(f"{there}check/", headers={"HX-Request": "true"})
    assert part_only.headers["HX-Redirect"] == f"/admin/ingest/run/{run.pk}/change/"
    for deed, given in [
        ("send", {}), ("replay", {}), ("dismiss", {"reason": "x"}), ("reopen", {}), ("row/2", {"column": "id"}),
        ("fix/preview", {"how": "strip", "column": "name"}), ("fix/apply", {"how": "strip", "column": "name"}),
        ("upload", {"file": SimpleUploadedFile("x.csv", b"_row,id\n2,7\n")}),
    ]:  # fmt: skip
        assert admin_client.post(f"{there}{deed}/", given, follow=True).status_code == 200, deed
    for place in (
        f"run/{run.pk}/change/", "run/", "reject/", f"dataset/{run.dataset_id}/change/", "dataset/", "dataset/files/",
        f"run/{run.pk}/live/",
    ):  # fmt: skip
        assert admin_client.get(f"/admin/ingest/{place}").status_code in {200, 286}, place
    assert admin_client.get("/admin/").status_code == 200
    for deed in ("edit", "pause", "rename", "dry-run"):
        given = {"name": "folk", "file": SimpleUploadedFile("people.csv", FILE.encode())}
        page = admin_client.post(f"/admin/ingest/dataset/{run.dataset_id}/{deed}/", given, follow=True)
        assert page.status_code == 200, deed


def test_the_pages_of_backups_do_without_the_lake_and_say_what_was_not_done(
    bucket: Bucket, load: Loads, admin_client: Client, settings: Any
) -> None:
    load(ORDERS, rows(1, 2), "orders-1.csv")
    backup = verified()
    settings.LAKE_URL = "s3://a-bucket-that-is-gone/x"
    places = [f"backup/{backup.pk}/{part}" for part in ("change/", "contents/", "delete/", "live/")]
    places += ["backup/", "restore/", "listedtable/", "listedtable/plan/orders/", "listedtable/prune/orders/"]
    for place in [*places, "restore/choose/orders/"]:
        assert admin_client.get(f"/admin/backups/{place}").status_code in {200, 286}, place
    for place, given in [
        (f"backup/{backup.pk}/verify/", {}),
        ("restore/choose/orders/", {"backup": str(backup.pk), "where": "same"}),
        ("listedtable/back-up/orders/", {}),
    ]:
        assert admin_client.post(f"/admin/backups/{place}", given, follow=True).status_code == 200, place
    # The record says first that it is deleted, so that nobody restores what is half gone: then come the files.
    given = {"confirm": "orders", "newest": "yes"}
    page = admin_client.post(f"/admin/backups/backup/{backup.pk}/delete/", given, follow=True)
    assert (page.status_code, "this did not come to its end" in page.content.decode()) == (200, True)
