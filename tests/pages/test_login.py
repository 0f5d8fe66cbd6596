"""The way in."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser


@pytest.mark.parametrize(("password", "seen"), [("correct horse battery", "Dashboard"), ("wrong", "correct username")])
def test_a_person_signs_in(chromium: Browser, tables: None, live_server: Any, password: str, seen: str) -> None:
    get_user_model().objects.create_superuser("ann", password="correct horse battery")
    page = chromium.new_page(base_url=live_server.url)
    page.goto("/admin/")
    page.fill("input[name=username]", "ann")
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.wait_for_selector(f"text={seen}")
    page.close()
