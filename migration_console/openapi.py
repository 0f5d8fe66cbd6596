"""Lists page by page, and how addresses are described in OpenAPI."""

import re
from collections.abc import Callable
from typing import Any

from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme
from drf_spectacular.openapi import AutoSchema
from rest_framework.generics import GenericAPIView
from rest_framework.response import Response

from .answers import Errors


class TokenScheme(KnoxTokenScheme):  # type: ignore[no-untyped-call]  # its base has no types
    """`Authorization: Token …`."""

    target_class = "migration_console.api.TokenAuthentication"
    name = "token"


class Listed(GenericAPIView[Any]):
    """A list, page by page."""

    throttle_scope = "read"

    def answer(self, show: Callable[[Any], Any]) -> Response:
        """Return the page that the query asks for."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response([show(item) for item in page or []])


class Described(AutoSchema):
    """OpenAPI of an address: what it answers, and how any error looks."""

    def _is_list_view(self, _serializer: Any = None) -> bool:
        return isinstance(self.view, Listed)

    def _get_response_bodies(self, *args: Any, **kwargs: Any) -> Any:
        bodies = super()._get_response_bodies(*args, **kwargs)
        content = self._get_response_for_code(Errors, "default", media_types=["application/json"])  # type: ignore[no-untyped-call]
        return {**bodies, "default": {**content, "description": "Not done: every reason, with a stable code."}}

    def get_operation_id(self) -> str:
        """Return method and path in words: get_runs_id_rejects."""
        words = re.findall(r"\w+", self.path)
        return "_".join([self.method.lower(), *words]).replace("-", "_")


def without_slash(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Leave the twins of addresses that end in a slash out of the description."""
    return [endpoint for endpoint in endpoints if not endpoint[0].endswith("/")]
