"""Addresses with and without a slash at the end."""

from django.urls import URLPattern, path
from rest_framework.views import APIView


def both(route: str, view: type[APIView], name: str) -> list[URLPattern]:
    """Return a view's two patterns; the one without the slash has the name."""
    return [path(route, view.as_view(), name=name), path(f"{route}/", view.as_view())]
