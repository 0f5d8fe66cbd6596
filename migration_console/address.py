"""What has an address: its methods, its query, its pages."""

from collections.abc import Callable
from typing import Any, ClassVar

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .api import LengthRequired
from .lib.errors import Problem, Refused


class Address(APIView):
    """An address: its methods are those that have a permission, and a query where none is read is a mistake."""

    permissions: ClassVar[dict[str, str | None]] = {}
    # The methods that look at the query, and refuse by themselves what they do not know.
    reads_query: ClassVar[frozenset[str]] = frozenset()
    # Which throttle counts the requests; unless named, what only looks and what changes something count apart.
    throttle_scope = ""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check what every request must keep to, once it is known who asks."""
        self.throttle_scope = self.throttle_scope or ("read" if request.method in SAFE_METHODS else "write")
        super().initial(request, *args, **kwargs)
        if request.query_params and request.method in self.permissions.keys() - self.reads_query:
            raise Refused(
                Problem("unknown-parameter", "this address takes no such parameter", name)
                for name in request.query_params
            )
        if request.META.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
            raise UnsupportedMediaType("", "Send the body as it is; a gzipped file goes as application/gzip to /files.")
        # Chunks: Django would take a body of unknown length for an empty one.
        if request.META.get("HTTP_TRANSFER_ENCODING") and not request.META.get("CONTENT_LENGTH"):
            raise LengthRequired


class Listed(Address, GenericAPIView[Any]):
    """A list, page by page."""

    reads_query = frozenset({"GET"})

    def answer(self, show: Callable[[Any], Any]) -> Response:
        """Return the page that the query asks for."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response([show(item) for item in page or []])
