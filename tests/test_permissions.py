"""Who may do what: every address and method against every kind of caller, as this table declares it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.urls import URLPattern, URLResolver, get_resolver
from knox.models import AuthToken

from migration_console.env import ROOT
from migration_console.groups import PEOPLE
from tests.conftest import Client

STEWARD, OPERATOR, AUDITOR, INGEST, READ = "steward", "operator", "auditor", "ingest", "read"
GROUPS = [STEWARD, OPERATOR, AUDITOR, INGEST, READ, "backup", "restore"]
# Callers without a token that is good: all of these are told so, whatever they ask for.
STRANGERS = ["anonymous", "wrong token", "expired token", "inactive user"]

EVERYBODY = {*GROUPS, "no group", *STRANGERS}
SEE_RUNS = {STEWARD, OPERATOR, AUDITOR, INGEST, READ}
SEND_FILES = {STEWARD, OPERATOR, INGEST}
DEFINE_DATASETS = {STEWARD, OPERATOR}
TAKE_BACKUPS, BRING_BACK = {OPERATOR, "backup"}, {OPERATOR, "restore"}
SEE_BACKUPS = {STEWARD, OPERATOR, AUDITOR, READ, "backup", "restore"}
SEE_NUMBERS = {STEWARD, OPERATOR, AUDITOR, READ}

# method and route: a request that changes nothing, what it is answered where it is allowed, and to whom.
TABLE: dict[tuple[str, str], tuple[str, int, set[str]]] = {
    ("POST", "validate-transform"): ("/validate-transform", 400, SEND_FILES),
    ("POST", "files"): ("/files", 400, SEND_FILES),
    ("GET", "runs"): ("/runs", 200, SEE_RUNS),
    ("GET", "runs/<int:pk>"): ("/runs/0", 404, SEE_RUNS),
    ("POST", "runs/<int:pk>/retry"): ("/runs/0/retry", 400, SEND_FILES),
    ("POST", "runs/<int:pk>/cancel"): ("/runs/0/cancel", 404, SEND_FILES),
    ("GET", "runs/<int:pk>/rejects"): ("/runs/0/rejects", 404, SEE_RUNS),
    ("POST", "runs/<int:pk>/rejects"): ("/runs/0/rejects", 404, SEND_FILES),
    ("GET", "datasets"): ("/datasets", 200, SEE_RUNS),
    ("GET", "datasets/<str:name>"): ("/datasets/none", 404, SEE_RUNS),
    ("PUT", "datasets/<str:name>"): ("/datasets/none", 400, DEFINE_DATASETS),
    ("DELETE", "datasets/<str:name>"): ("/datasets/none", 404, DEFINE_DATASETS),
    ("POST", "backup/<str:table>"): ("/backup/none", 404, TAKE_BACKUPS),
    ("POST", "restore/<str:table>"): ("/restore/none", 404, BRING_BACK),
    ("GET", "backups"): ("/backups", 200, SEE_BACKUPS),
    ("GET", "backups/<int:pk>"): ("/backups/0", 404, SEE_BACKUPS),
    ("DELETE", "backups/<int:pk>"): ("/backups/0", 404, {OPERATOR}),
    ("POST", "backups/<int:pk>/verify"): ("/backups/0/verify", 404, TAKE_BACKUPS),
    ("POST", "backups/<int:pk>/cancel"): ("/backups/0/cancel", 404, TAKE_BACKUPS),
    ("GET", "restores/<int:pk>"): ("/restores/0", 404, SEE_BACKUPS),
    ("POST", "restores/<int:pk>/cancel"): ("/restores/0/cancel", 404, BRING_BACK),
    ("GET", "metrics"): ("/metrics", 200, SEE_NUMBERS),
    ("GET", "health"): ("/health", 200, EVERYBODY),
    ("GET", "schema"): ("/schema", 200, EVERYBODY),
    ("GET", "docs"): ("/docs", 200, EVERYBODY),
}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def routes(patterns: list[Any] | None = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every route outside the admin, and its view."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver) and route != "admin/":
            yield from routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and not route.startswith("admin/"):
            yield route, pattern.callback


VIEWS: dict[str, Any] = {route: getattr(view, "cls", None) for route, view in routes()}


@pytest.fixture
def callers(tables: None) -> dict[str, Client]:
    """Return a client of each kind."""
    found = {name: Client(name) for name in GROUPS}
    found |= {name: Client() for name in ("no group", "anonymous", "wrong token")}
    found |= {name: Client(*GROUPS) for name in ("expired token", "inactive user")}
    found["wrong token"].token = "0" * 64
    AuthToken.objects.filter(pk=found["expired token"].auth.pk).update(
        expiry=found["expired token"].auth.expiry - timedelta(days=366)
    )
    inactive = found["inactive user"].user
    inactive.is_active = False
    inactive.save(update_fields=["is_active"])
    return found


def ask(caller: Client, name: str, method: str, path: str) -> int:
    headers = {"authorization": ""} if name == "anonymous" else {}
    body = b"[]" if method in {"POST", "PUT"} else None
    return int(caller(method, path, body, **headers).status_code)


def declared(name: str, allowed: set[str], answer: int) -> int:
    return answer if name in allowed else 401 if name in STRANGERS else 403


@pytest.mark.parametrize(("method", "route"), TABLE)
def test_each_cell_is_as_declared(callers: dict[str, Client], method: str, route: str) -> None:
    path, answer, allowed = TABLE[method, route]
    assert {name: ask(caller, name, method, path + end) for name, caller in callers.items() for end in ("", "/")} == {
        name: declared(name, allowed, answer) for name in callers
    }


def test_a_caller_of_several_groups_may_do_what_each_of_them_may(tables: None) -> None:
    both = Client("ingest", "read")
    assert both("GET", "/metrics").status_code == 200
    assert both("POST", "/files", b"[]").status_code == 400


def test_what_a_group_loses_is_lost_at_once(tables: None) -> None:
    reader = Client("read")
    assert reader("GET", "/runs").status_code == 200
    reader.user.groups.remove(Group.objects.get(name="read"))
    assert reader("GET", "/runs").status_code == 403


@pytest.mark.parametrize("route", sorted({route for _, route in TABLE}))
def test_other_methods_are_not_there_whoever_asks(callers: dict[str, Client], route: str) -> None:
    path = next(path for (_, known), (path, *_) in TABLE.items() if known == route)
    for method in METHODS:
        if (method, route) not in TABLE:
            assert {ask(callers[name], name, method, path) for name in ("anonymous", "no group", OPERATOR)} == {405}


def test_every_address_has_its_rows_in_the_table() -> None:
    views = {route: view for route, view in VIEWS.items() if route and not route.endswith("/")}
    assert {(method, route) for route, view in views.items() for method in view.permissions} == set(TABLE)


def test_every_view_has_a_permission_for_each_method_and_no_other() -> None:
    for route, view in VIEWS.items():
        if route:  # the front door leads to the admin
            assert {method for method in METHODS if hasattr(view, method.lower())} == set(view.permissions), route


def test_the_docs_name_every_group_of_people() -> None:
    page = (ROOT / "docs" / "console.md").read_text()
    assert {group for group in PEOPLE if f"`{group}`" in page} == set(PEOPLE)
