"""Addresses with and without a slash at the end."""

from typing import Any

from django.urls import URLPattern, path


def both(route: str, view: Any, name: str) -> list[URLPattern]:
    """Return a view's two patterns; the one without the slash has the name.

    Only what has a permission is a method: one that was forgotten is answered with 405, not open to everybody.
    """
    methods = [method.lower() for method in view.permissions]
    found = view.as_view(http_method_names=[*methods, "head"] if "get" in methods else methods)
    return [path(route, found, name=name), path(f"{route}/", found)]
