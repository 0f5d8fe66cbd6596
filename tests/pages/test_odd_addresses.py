"""Addresses and forms that name no number: each is answered, none with a 500."""

from typing import Any

import pytest
from django.test import Client

from ingest.models import Reject
from migration_console.numbers import number
from tests.conftest import Loads
from tests.pages.test_rejects import FILE, PEOPLE

# Superscripts are digits to str.isdigit(), other scripts' digits are numbers to int(), and no column has the last one.
ODD = ["²", "٣", "", "-1", "1.5", "9" * 19, "9" * 5000]


@pytest.mark.parametrize("text", ODD)
def test_what_is_no_number(text: str) -> None:
    assert number(text) is None


def test_what_is_one() -> None:
    assert (number("0"), number("007"), number("9" * 18)) == (0, 7, 10**18 - 1)


@pytest.mark.parametrize("odd", ["²", "٣", "9" * 19])
def test_no_page_breaks_on_a_number_that_is_none(load: Loads, admin_client: Client, odd: str) -> None:
    run = load(PEOPLE, FILE)
    rejects = f"/admin/ingest/reject/run/{run.pk}/"
    for path in [
        f"{rejects}?after={odd}", f"{rejects}?at={odd}", f"{rejects}?which=rows&row={odd}",
        f"/admin/ingest/reject/?run={odd}", f"/admin/ingest/reject/?before={odd}",
        f"/admin/ingest/reject/{odd}/change/", f"/admin/ingest/run/{odd}/change/", f"/admin/ingest/run/?q={odd}",
        f"/admin/ingest/dataset/{odd}/change/", f"/admin/auth/user/{odd}/change/", f"/admin/auth/group/{odd}/change/",
        f"/admin/migration_console/auditentry/{odd}/change/", f"/admin/backups/backup/{odd}/change/",
        f"/admin/backups/restore/{odd}/change/", f"/admin/backups/listedtable/{odd}/change/",
    ]:  # fmt: skip
        assert admin_client.get(path).status_code in {200, 302, 404}, path
    posts: list[tuple[str, dict[str, Any]]] = [
        ("dismiss/", {"which": "rows", "row": [odd], "reason": "none"}),
        ("fix/apply/", {"after": odd, "rows": odd, "how": "set", "field": "country", "value": "DE"}),
    ]
    for path, form in posts:
        assert admin_client.post(rejects + path, form).status_code in {200, 302}, path
    assert not Reject.objects.exclude(state="open").exists()
