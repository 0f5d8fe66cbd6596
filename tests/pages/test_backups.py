"""Backups and restores as operators use them, and as others may only look at them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page

from backups.dryrun import try_out
from backups.models import Backup, BackupStatus, DryRun, ListedTable, Restore, RestoreStatus
from backups.services import bring_back, check, prune, request_backup, request_check, set_plan, take
from ingest.models import Run, Status
from ingest.sweeper import unfinished, work_off
from migration_console.lib.audit import AuditEntry
from tests.conftest import Loads, query
from tests.pages.conftest import SignIn
from tests.pages.test_all_pages import AXE, violations

ORDERS: dict[str, Any] = {
    "name": "orders",
    "schema": {"fields": [{"name": "id", "type": "integer"}, {"name": "text"}], "primaryKey": "id"},
}


def rows(*numbers: int) -> str:
    return "id,text\n" + "".join(f"{n},row {n}\n" for n in numbers)


def contents() -> list[int]:
    return [number for (number,) in query("SELECT id FROM orders ORDER BY id")]


def verified() -> Backup:
    backup = take(request_backup("orders").pk)
    return check(request_check(backup).pk)


@pytest.fixture
def monday(load: Loads) -> Backup:
    """Return a verified backup with one of two files in it."""
    load(ORDERS, rows(1, 2), "orders-1.csv")
    backup = verified()
    load(ORDERS, rows(3), "orders-2.csv")
    return backup


def person(*groups: str) -> Client:
    user = get_user_model().objects.create_user(groups[0], is_staff=True)
    user.groups.set(Group.objects.filter(name__in=groups))
    client = Client()
    client.force_login(user)
    return client


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def barriers(page: Page) -> list[str]:
    """Return what axe-core finds, light and dark."""
    page.evaluate(AXE.axe_script)
    found = violations(page)
    page.evaluate("document.documentElement.classList.add('dark')")
    found += violations(page)
    page.evaluate("document.documentElement.classList.remove('dark')")
    return found


def audited() -> list[tuple[str, str]]:
    lines = AuditEntry.objects.exclude(actor="").exclude(action__startswith="person.")
    return list(lines.order_by("id").values_list("actor", "action"))


def test_an_operator_restores_after_a_dry_run_and_loads_again(sign_in: SignIn, monday: Backup) -> None:
    page = sign_in("operator", name="olga")
    page.goto("/admin/backups/listedtable/")
    page.click("text=Restore…")
    page.click("text=Show what would change")
    page.wait_for_selector("text=Waiting for a worker")
    try_out(DryRun.objects.get().pk)
    page.wait_for_selector("text=1 run would be rolled back")
    assert page.inner_text(".card.removed strong") == "−1"
    assert barriers(page) == []
    button = page.locator("button.danger")
    page.fill("#confirm", "order")
    assert button.is_disabled()
    page.fill("#confirm", "orders")
    button.click()
    page.wait_for_selector("ol.steps")
    assert barriers(page) == []
    restore = bring_back(Restore.objects.get().pk)
    assert (restore.status, contents()) == (RestoreStatus.DONE, [1, 2])
    page.click("text=Load it again")
    page.wait_for_selector("text=Its file is loaded again by run")
    assert [run.status for run in work_off(unfinished())] == [Status.ARCHIVED]
    assert contents() == [1, 2, 3]
    assert audited() == [("olga", "restore.requested"), ("olga", "restore.loaded_again")]


def test_the_page_of_a_backup_follows_it_and_stops_to_ask(sign_in: SignIn, load: Loads) -> None:
    load(ORDERS, rows(1, 2))
    page = sign_in("operator")
    page.goto("/admin/backups/listedtable/")
    page.click("text=Back up now")
    page.wait_for_selector("text=Waiting for a worker")
    backup = take(Backup.objects.get().pk)
    page.wait_for_selector("text=Facts")
    page.wait_for_selector("#contents >> text=raw/orders.csv")
    page.click("button:text-is('Rehearse')")
    page.wait_for_selector("text=Rehearsing")
    check(backup.pk)
    page.wait_for_selector(".card .badge >> text=rehearsed")
    page.wait_for_selector("#contents >> text=raw/orders.csv")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert asked == []
    page.click("button:text-is('Keep')")
    page.wait_for_selector("text=The plan will never delete this backup")
    assert Backup.objects.get().kept


def test_a_plan_shows_what_it_would_delete_before_it_is_saved(sign_in: SignIn, monday: Backup) -> None:
    old = [take(request_backup("orders").pk) for _ in range(2)]
    for days, backup in enumerate(old, start=2):
        Backup.objects.filter(pk=backup.pk).update(started_at=timezone.now() - timedelta(days=days))
    page = sign_in("operator", name="olga")
    page.goto("/admin/backups/listedtable/plan/orders/")
    page.wait_for_selector("text=All 3 backups stay.")
    page.select_option("#id_schedule-preset", label="each day at 03:00")
    page.fill("#id_keep_last", "1")
    page.wait_for_selector("text=2 of 3 backups would go")
    assert page.locator("#means dl time").count() == 3
    assert Backup.objects.filter(status=BackupStatus.DONE).count() == 3
    page.click("text=Save the plan")
    page.click("text=Delete them now…")
    page.fill("#confirm", "orders")
    page.click("button.danger")
    page.wait_for_selector("text=2 of the backups of orders are deleted")
    assert set(Backup.objects.filter(status=BackupStatus.DELETED)) == set(old)
    page.goto("/admin/backups/listedtable/")
    assert "each day at 03:00 (UTC)\nkeeps the last 1" in page.inner_text("table.tables")
    assert audited() == [("olga", "table.planned"), ("olga", "backup.deleted"), ("olga", "backup.deleted")]


def test_the_newest_verified_backup_is_deleted_only_on_purpose(sign_in: SignIn, monday: Backup) -> None:
    page = sign_in("operator")
    page.goto(f"/admin/backups/backup/{monday.pk}/change/")
    page.click("text=Delete…")
    assert "It is the only backup of this table." in page.inner_text(".console")
    page.fill("#confirm", "orders")
    page.evaluate("document.querySelector('[name=newest]').required = false")
    page.click("button.danger")
    page.wait_for_selector("text=is the newest one of orders that is known to be whole")
    page.check("[name=newest]")
    page.fill("#confirm", "orders")
    page.click("button.danger")
    page.wait_for_selector("text=is deleted")
    monday.refresh_from_db()
    assert monday.status == BackupStatus.DELETED


def test_a_wrong_name_is_refused_behind_the_button_too(monday: Backup) -> None:
    operator = person("operator")
    operator.post("/admin/backups/restore/choose/orders/", {"backup": monday.pk, "where": "same"})
    seen = try_out(DryRun.objects.get().pk)
    for address in (
        f"/admin/backups/restore/dry-run/{seen.pk}/",
        f"/admin/backups/backup/{monday.pk}/delete/",
        "/admin/backups/listedtable/prune/orders/",
        "/admin/backups/listedtable/take-off/orders/",
    ):
        answer = operator.post(address, {"confirm": "Orders", "newest": "yes"})
        assert "type orders to confirm" in answer.content.decode(), address
    monday.refresh_from_db()
    assert (monday.status, Restore.objects.count()) == (BackupStatus.DONE, 0)


def confirm(operator: Client, seen: DryRun) -> str:
    answer = operator.post(f"/admin/backups/restore/dry-run/{seen.pk}/", {"confirm": "orders"}, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


def dry_run(operator: Client, backup: Backup) -> DryRun:
    operator.post("/admin/backups/restore/choose/orders/", {"backup": backup.pk, "where": "same"})
    return try_out(DryRun.objects.latest("pk").pk)


def test_what_a_dry_run_has_shown_must_still_hold(monday: Backup, load: Loads) -> None:
    operator = person("operator")
    seen = dry_run(operator, monday)
    assert (seen.status, seen.result["removed"]) == (BackupStatus.DONE, 1)
    load(ORDERS, rows(4), "orders-3.csv")
    assert "orders has changed since the dry run" in confirm(operator, seen)
    again = dry_run(operator, monday)
    DryRun.objects.filter(pk=again.pk).update(finished_at=timezone.now() - timedelta(hours=2))
    assert "older than an hour" in confirm(operator, again)
    DryRun.objects.filter(pk=again.pk).update(finished_at=timezone.now())
    operator.post(f"/admin/backups/backup/{monday.pk}/delete/", {"confirm": "orders", "newest": "yes"})
    assert "there is no finished backup" in confirm(operator, again)
    assert (Restore.objects.count(), contents()) == (0, [1, 2, 3, 4])


def test_asked_twice_it_is_one_restore(monday: Backup) -> None:
    operator = person("operator")
    seen = dry_run(operator, monday)
    for _ in range(2):
        assert '<ol class="steps">' in confirm(operator, seen)
    assert Restore.objects.count() == 1


def test_a_plan_that_somebody_else_has_changed_is_not_overwritten(monday: Backup) -> None:
    operator = person("operator")
    page = operator.get("/admin/backups/listedtable/plan/orders/")
    form = {**page.context["form"].initial, "keep_last": 1}
    set_plan("orders", keep_daily=7)
    answer = operator.post("/admin/backups/listedtable/plan/orders/", form, follow=True)
    assert "somebody else has changed the plan" in answer.content.decode()
    assert ListedTable.objects.get().keeps == {"last": 0, "daily": 7, "weekly": 0, "monthly": 0}


def test_only_what_was_shown_is_pruned(monday: Backup) -> None:
    older = take(request_backup("orders").pk)
    Backup.objects.filter(pk=older.pk).update(started_at=timezone.now() - timedelta(days=2))
    set_plan("orders", keep_last=1)
    operator = person("operator")
    answer = operator.post(
        "/admin/backups/listedtable/prune/orders/", {"confirm": "orders", "backup": [monday.pk]}, follow=True
    )
    assert "would delete other backups of orders by now" in answer.content.decode()
    assert [line["id"] for line in prune("orders", dry_run=True) if not line["keep"]] == [older.pk]


def test_a_table_is_put_on_the_list_and_taken_off(sign_in: SignIn) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE parcels (id INTEGER PRIMARY KEY)")
    page = sign_in("operator", name="olga", viewport={"width": 390, "height": 844})
    page.goto("/admin/backups/listedtable/")
    page.click("text=Add a table >> nth=0")
    assert "auth_user" not in page.inner_text(".console")
    page.click("[aria-label='Add parcels']")
    page.wait_for_selector("text=parcels is on the list.")
    assert fits(page)
    page.click("text=Take off the list…")
    page.fill("#confirm", "parcels")
    page.click("button.danger")
    page.wait_for_selector("text=parcels is no longer on the list.")
    assert ListedTable.objects.count() == 0
    assert audited() == [("olga", "table.listed"), ("olga", "table.unlisted")]


Ask = Callable[[Client, Backup, Restore], int]
POSTS = {
    "back up": "/admin/backups/listedtable/back-up/orders/",
    "verify": "/admin/backups/backup/{backup}/verify/",
    "cancel": "/admin/backups/backup/{backup}/cancel/",
    "keep": "/admin/backups/backup/{backup}/keep/",
    "delete": "/admin/backups/backup/{backup}/delete/",
    "prune": "/admin/backups/listedtable/prune/orders/",
    "plan": "/admin/backups/listedtable/plan/orders/",
    "preview": "/admin/backups/listedtable/plan-preview/orders/",
    "add": "/admin/backups/listedtable/add-table/",
    "take off": "/admin/backups/listedtable/take-off/orders/",
    "choose": "/admin/backups/restore/choose/orders/",
    "dry run": "/admin/backups/restore/dry-run/{seen}/",
    "stop dry run": "/admin/backups/restore/dry-run/{seen}/cancel/",
    "stop restore": "/admin/backups/restore/{restore}/cancel/",
    "load again": "/admin/backups/restore/{restore}/load-again/",
}
PAGES = [
    "/admin/backups/listedtable/",
    "/admin/backups/listedtable/plan/orders/",
    "/admin/backups/backup/",
    "/admin/backups/backup/{backup}/change/",
    "/admin/backups/backup/{backup}/live/",
    "/admin/backups/backup/{backup}/contents/",
    "/admin/backups/restore/",
    "/admin/backups/restore/{restore}/change/",
    "/admin/backups/restore/{restore}/live/",
]


@pytest.fixture
def numbers(monday: Backup) -> dict[str, int]:
    """Return what there is to ask for."""
    operator = person("operator")
    seen = dry_run(operator, monday)
    confirm(operator, seen)
    restore = bring_back(Restore.objects.get().pk)
    return {"backup": monday.pk, "seen": seen.pk, "restore": restore.pk}


@pytest.mark.parametrize("group", ["steward", "auditor"])
def test_others_look_and_change_nothing(numbers: dict[str, int], group: str) -> None:
    other = person(group)
    for address in PAGES:
        answer = other.get(address.format(**numbers))
        assert answer.status_code in {200, 286}, address
        words = answer.content.decode().partition('id="content"')[2]
        assert "button" not in words.replace("buttons", "") or 'class="danger"' not in words, address
        assert "Back up now" not in words, address
        assert "Restore…" not in words, address
    for address in POSTS.values():
        assert other.post(address.format(**numbers), {"confirm": "orders", "table": "x"}).status_code == 403, address
    assert Backup.objects.get(pk=numbers["backup"]).status == BackupStatus.DONE
    assert not Run.objects.filter(trigger="again").exists()


@pytest.mark.parametrize("name", [name for name in POSTS if name not in {"choose", "plan", "add"}])
def test_whatever_acts_is_a_post_with_a_token(numbers: dict[str, int], name: str) -> None:
    user = get_user_model().objects.get(username="operator")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert strict.post(POSTS[name].format(**numbers), {"confirm": "orders"}).status_code == 403


def test_what_is_not_there_is_said_so(load: Loads) -> None:
    operator = person("operator")
    for address in ("plan/none/", "take-off/none/", "prune/none/"):
        answer = operator.get(f"/admin/backups/listedtable/{address}", follow=True)
        assert "none is not on the list of tables" in answer.content.decode()
    assert "not one of the console" in operator.get("/admin/backups/restore/choose/none/", follow=True).content.decode()
    for address in ("backup/999/change/", "backup/999/delete/", "restore/999/change/", "restore/dry-run/999/"):
        assert operator.get(f"/admin/backups/{address}").status_code == 404


def test_lists_ask_as_much_for_many_tables_as_for_one(
    monday: Backup, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    ListedTable.objects.bulk_create(ListedTable(name=f"t{n}", schedule="0 3 * * *") for n in range(30))
    copies = [
        Backup(table=f"t{n}", status=BackupStatus.DONE, started_at=timezone.now(), verified_at=timezone.now())
        for n in range(30)
        for _ in range(3)
    ]
    Backup.objects.bulk_create(copies)
    operator = person("operator")
    for address in ("listedtable/", "backup/", "restore/"):
        with django_assert_max_num_queries(15):
            assert operator.get(f"/admin/backups/{address}").status_code == 200
