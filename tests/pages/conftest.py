"""The pages in a real browser: Debian's Chromium."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SignIn = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a browser where there is none."""
    if CHROMIUM is None:
        for item in items:
            if "chromium" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="there is no Chromium: apt-get install chromium"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Playwright's loop runs in this thread, which makes Django think that it is asynchronous.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, "--no-first-run"])
        yield browser
        browser.close()


@pytest.fixture
def sign_in(chromium: Browser, tables: None, live_server: Any) -> Iterator[SignIn]:
    """Return a function that opens the console as a member of groups (none: a superuser), and returns the page.

    Console errors and requests to other hosts fail the test at its end.
    """
    wrong: list[str] = []
    contexts = []

    def note_message(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(message.text)

    def note_request(request: Request) -> None:
        if not request.url.startswith((live_server.url, "data:", "blob:")):
            wrong.append(request.url)

    def sign_in(*groups: str, name: str = "ann", **context: Any) -> Page:
        user = get_user_model().objects.create_user(name, is_staff=True, is_superuser=not groups)
        user.groups.set(Group.objects.filter(name__in=groups))
        contexts.append(chromium.new_context(base_url=live_server.url, **context))
        page = contexts[-1].new_page()
        page.on("console", note_message)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", note_request)
        # By a session of its own: the login page, slow on purpose, has a test of its own.
        client = Client()
        client.force_login(user)
        cookie = client.cookies["sessionid"].value
        contexts[-1].add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        page.goto("/admin/")
        page.wait_for_selector("#content")
        return page

    yield sign_in
    for context in contexts:
        for page in context.pages:
            # A slowed request that is still on its way would fail the next test.
            page.unroute_all(behavior="wait")
        context.close()
    assert wrong == []


@pytest.fixture
def page(sign_in: SignIn) -> Page:
    """Return a superuser's page."""
    return sign_in()
