"""The API's own description: OpenAPI under /schema, to be tried under /docs."""

from functools import lru_cache
from typing import ClassVar

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


@lru_cache(maxsize=1)
def document() -> bytes:
    """Return the description of the whole API; it changes with the code only."""
    found = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return bytes(OpenApiJsonRenderer2().render(found))


class Document(APIView):
    """The API's own description."""

    permissions: ClassVar = {"GET": None}
    authentication_classes = ()

    @extend_schema(summary="This description: OpenAPI 3.1, in JSON", auth=[], responses={200: OpenApiTypes.OBJECT})
    def get(self, _request: Request) -> HttpResponse:
        """Return it."""
        return HttpResponse(document(), content_type="application/json")


class Docs(SpectacularSwaggerSplitView):
    """The description as a page on which requests can be tried; its script is a file of its own: no inline scripts."""

    permissions: ClassVar = {"GET": None}
    authentication_classes = ()

    @extend_schema(
        exclude=False, summary="A page to try requests on", auth=[], responses={(200, "text/html"): OpenApiTypes.STR}
    )
    def get(self, request: Request) -> Response:
        """Return it."""
        return super().get(request)  # type: ignore[no-any-return,no-untyped-call]
