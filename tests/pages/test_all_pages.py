"""What holds on every page, those that come later too: they are found by walking the admin (walk.py)."""

import json
import re
from collections import deque
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.apps import apps
from django.contrib.auth import get_user_model
from django.test import Client
from playwright.sync_api import Page

from tests import believable
from tests.conftest import Client as Script
from tests.pages.conftest import SignIn
from tests.pages.walk import HARMLESS, Address, Offered, addresses

AXE = Axe()
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
AREAS = ["", "ingest/run", "ingest", "backups"]
CSP = "Content-Security-Policy"


@pytest.fixture
def filled(tables: None) -> dict[str, Any]:
    return believable.fill()


class Reader(Client):
    """A client that reads files to their end, as browsers do."""

    def request(self, **request: Any) -> Any:
        """Return the answer, whole."""
        answer = super().request(**request)
        if answer.streaming:
            b"".join(answer)
            answer.close()
        return answer


def client_of(user: Any) -> Client:
    client = Reader()
    client.force_login(user)
    return client


def is_page(answer: Any) -> bool:
    """Tell whole pages from fragments, downloads and redirects."""
    html = answer.status_code == 200 and answer["Content-Type"].startswith("text/html") and not answer.streaming
    return html and b"<html" in answer.content


def pages_for(user: Any) -> list[Address]:
    client = client_of(user)
    return [address for address in addresses() if address.name != "admin:logout" and is_page(client.get(address.path))]


def violations(page: Page) -> list[str]:
    """Return what axe-core finds; each finding with its first places."""
    found = page.evaluate("(options) => axe.run(options)", WCAG)["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node['any'][0]['message'][:160] if node['any'] else ''}"
        for each in found
        for node in each["nodes"][:3]
    ]


def area_of(path: str) -> str:
    """Return the part of the pages that an address belongs to: each is a test, for there is much to look at."""
    return next((area for area in AREAS[1:] if path.startswith(f"/admin/{area}")), AREAS[0])


def look_at(page: Page, path: str) -> dict[str, Any]:
    """Return what is wrong with a page, wide and narrow, light and dark."""
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(path)
    page.wait_for_function("!document.querySelector('[x-cloak]')")  # unfold's scripts have begun
    page.evaluate(AXE.axe_script)
    found: dict[str, Any] = {"light": violations(page)}
    page.evaluate("document.documentElement.classList.add('dark')")
    found["dark"] = violations(page)
    page.evaluate("document.documentElement.classList.remove('dark')")
    page.set_viewport_size({"width": 390, "height": 844})
    wide = page.evaluate("document.documentElement.scrollWidth")
    found["wider than 390 px"] = wide if wide > 390 else None
    return {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.parametrize("area", AREAS)
def test_no_page_has_a_barrier_or_scrolls_sideways(filled: dict[str, Any], sign_in: SignIn, area: str) -> None:
    page = sign_in(name="root", reduced_motion="reduce")
    every = [address.path for address in pages_for(filled["ann"]) if address.name != "admin:login"]
    paths = [path for path in every if area_of(path) == area]
    assert len(paths) > 5
    wrong = {path: found for path in paths if (found := look_at(page, path))}
    assert wrong == {}, json.dumps(wrong, indent=1)


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/welcome/MQ/no-such-link/"])
def test_nor_have_the_pages_of_strangers(sign_in: SignIn, path: str) -> None:
    page = sign_in(reduced_motion="reduce")
    page.context.clear_cookies()
    assert look_at(page, path) == {}


OWN = {"/admin/logout/", "/admin/password_change/"}


def crawl(client: Client, start: str) -> tuple[set[Any], list[Any], dict[str, list[str]]]:
    """Follow every link, one of each kind: return the kinds, what was closed, and what the pages would send."""
    seen: set[Any] = set()
    left, closed, sends = deque([start]), [], {}
    while left:
        path = left.popleft()
        answer = client.get(path)
        if answer.status_code not in {200, 302}:
            closed.append((path, answer.status_code))
        if not is_page(answer):
            continue
        offered = Offered(answer.content.decode())
        if kept := [action for action in offered.sends if urlsplit(urljoin(path, action)).path not in OWN]:
            sends[path] = kept
        for link in offered.links:
            parts = urlsplit(urljoin(path, link))
            kind = (re.sub(r"\d+|[0-9a-f]{64,}", "N", parts.path), re.sub(r"=[^&]*", "", parts.query))
            if parts.path.startswith("/admin/") and not parts.netloc and kind not in seen:
                seen.add(kind)
                left.append(urljoin(path, link))
    return seen, closed, sends


def everything() -> dict[str, list[Any]]:
    """Return all that the console knows."""
    models = [model for label in ("auth", "knox", "ingest", "backups", "migration_console") for model in _models(label)]
    return {model.__name__: list(model._default_manager.order_by("pk").values_list()) for model in models}


def _models(label: str) -> list[Any]:
    return list(apps.get_app_config(label).get_models())


def posted(client: Client) -> dict[Address, Any]:
    """Send something to every address; return what was neither refused nor a page that only shows, whatever it gets."""
    wrong: dict[Address, Any] = {}
    before = everything()
    for address in addresses():
        if address.name in HARMLESS:
            continue
        answer = client.post(address.path, {"name": "customers", "confirm": "customers", "table": "customers"})
        if answer.status_code in {403, 405}:
            continue
        offers = Offered(answer.content.decode()).sends if is_page(answer) else []
        offers = [action for action in offers if urlsplit(action).path not in OWN]
        if offers or answer.status_code != client.get(address.path).status_code:
            wrong[address] = answer.status_code, offers
    assert everything() == before
    return wrong


def test_an_auditor_opens_everything_and_changes_nothing(filled: dict[str, Any]) -> None:
    client = client_of(filled["dan"])
    kinds, closed, sends = crawl(client, "/admin/")
    # No link leads him to a closed door, and no page has a button that would send anything.
    assert (closed, sends) == ([], {})
    assert len(kinds) > 20
    # What shows things to an administrator, and does nothing with them, is open to him.
    shown = {address.name for address in pages_for(filled["ann"])}
    assert {name for name in shown if name.endswith(("_change", "_changelist"))} <= {
        address.name for address in pages_for(filled["dan"])
    }
    assert posted(client) == {}


def test_who_has_no_group_opens_and_changes_nothing(filled: dict[str, Any]) -> None:
    client = client_of(get_user_model().objects.create_user("nobody", is_staff=True))
    opened = {
        address: code
        for address in addresses()
        if address.name not in HARMLESS and (code := client.get(address.path).status_code) not in {302, 403, 404, 405}
    }
    assert opened == {}
    assert posted(client) == {}


def test_what_every_answer_has(filled: dict[str, Any]) -> None:
    client, found = client_of(filled["ann"]), addresses()
    for path in [*(address.path for address in found), "/docs", "/health", "/no/such/page"]:
        answer = client.get(path)
        # What its page may run and fetch.
        assert "default-src 'self'" in answer[CSP]
        assert "script-src 'self' 'unsafe-eval';" in answer[CSP] + ";"
        if is_page(answer):
            page = answer.content.decode()
            assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", page), path
            assert not re.search(r"""<[^>]*\son[a-z]+=["']""", page), path
    assert CSP in Script("read")("GET", "/runs")
    for address in found:
        if address.name not in {"admin:login", "admin:logout", "welcome", "admin:jsi18n"}:
            answer = Client().get(address.path)
            assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/admin/login/"), address
