"""All addresses of the admin, found by walking its resolver, with example objects for what they take."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, NamedTuple

from django.apps import apps
from django.urls import URLPattern, URLResolver, get_resolver

from tests.believable import examples

# What stands in an address beside the key of an object, by its name. Who adds a parameter adds its example here.
PARAMETERS: dict[str, Any] = {
    "what": "file",
    "kind": "csv",
    "name": "customers",
    "dataset": "customers",
    "table": "customers",
    "number": 1,
    "version": 1,
    "row": 1,
    "column": "email",
    "field": "email",
    "code": "pattern",
    "app_label": "ingest",
    "content_type_id": 1,
    "uidb64": "MQ",
    "token": "set-password",
}
# Django's own, where a POST changes nothing of ours, or only what is one's own.
HARMLESS = {
    "admin:index", "admin:login", "admin:logout", "admin:password_change", "admin:password_change_done",
    "admin:search", "admin:autocomplete", "admin:jsi18n", "admin:app_list", "admin:view_on_site", "welcome",
}  # fmt: skip


class Address(NamedTuple):
    """An address, and the name of its route."""

    name: str
    path: str


def addresses() -> list[Address]:
    """Return every address of the admin; those of single objects with each of the model's examples."""
    found = examples()
    return list(dict.fromkeys(address for route in _routes() for address in _addresses(*route, found)))


def _routes(patterns: list[Any] | None = None, prefix: str = "", space: str = "") -> Iterator[tuple[str, str]]:
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + re.sub(r"^\^|\$$", "", str(pattern.pattern))
        if isinstance(pattern, URLResolver) and (prefix or route == "admin/"):
            yield from _routes(pattern.url_patterns, route, "admin:")
        elif isinstance(pattern, URLPattern) and route.startswith("admin/") and pattern.name:
            yield space + pattern.name, route


def _addresses(name: str, route: str, found: dict[str, list[Any]]) -> Iterator[Address]:
    # The pages of a run's rejects stand below those of rejects.
    model = "ingest/run" if route.startswith("admin/ingest/reject/run/") else "/".join(route.split("/")[1:3])
    if "(?P<" in route:  # the only one written as a regular expression
        assert "app_label" in route, route
        yield Address(name, "/admin/ingest/")
        return
    own = _keys(model, found) if "<" in route else [None]
    for pk in own if name.endswith("_change") else own[:1]:
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match, pk=pk: str(_value(match[1], pk, found)), route)  # type: ignore[misc]
        yield Address(name, f"/{path}")


def _value(parameter: str, pk: Any, found: dict[str, list[Any]]) -> Any:
    if parameter in {"object_id", "pk"}:
        return pk
    for model, keys in found.items():
        if parameter.removesuffix("_id").removesuffix("_pk") == model.split("/")[1] and parameter not in PARAMETERS:
            return keys[0]
    assert parameter in PARAMETERS, f"tests/pages/walk.py needs an example of <{parameter}>"
    return PARAMETERS[parameter]


def _keys(model: str, found: dict[str, list[Any]]) -> list[Any]:
    if model not in found:
        try:
            objects = apps.get_model(model.replace("/", "."))._default_manager.order_by("-pk")
        except (LookupError, ValueError, TypeError):
            return [1]
        found[model] = [objects[0].pk] if objects.exists() else [1]
    return found[model]


class Offered(HTMLParser):
    """What a page offers: links, and what sends something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        # The address of each form that is POSTed by a button of its own, and what htmx would send.
        self.sends: list[str] = []
        self._form: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "form":
            self._form = given.get("action", "") if given.get("method", "").lower() == "post" else None
        submits = tag == "button" and given.get("type", "submit") == "submit"
        if submits or (tag == "input" and given.get("type") in {"submit", "image"}):
            if self._form is not None:
                self.sends.append(self._form)
            elif "form" in given or "formaction" in given:
                self.sends.append(given.get("formaction", given.get("form", "")))
        self.sends += [given[name] for name in ("hx-post", "hx-put", "hx-delete", "hx-patch") if name in given]

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a form."""
        if tag == "form":
            self._form = None
