"""How the API is described in OpenAPI 3.1: what an address takes, what it answers, and how any error looks."""

import re
from collections.abc import Iterator
from typing import Any

from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel

from .address import Listed
from .answers import Errors

PROBLEMS = {
    400: "The request is wrong: every mistake, with its place.",
    401: "There is no token, or it is wrong, or has expired.",
    403: "The groups of the token's user may not do this.",
    404: "There is no such thing.",
    409: "Well formed, but not what the present state allows; at another time it may be.",
    411: "The body came without a Content-Length.",
    413: "The body is larger than allowed.",
    415: "The body is of a content type that is not taken here.",
    429: "Too many requests.",
    503: "The database or the lake does not answer; the same request may succeed later.",
}
HEADERS = {
    401: ("WWW-Authenticate", "how to name a token", {"type": "string"}),
    429: ("Retry-After", "seconds to wait", {"type": "integer"}),
    503: ("Retry-After", "seconds to wait", {"type": "integer"}),
}


class TokenScheme(KnoxTokenScheme):  # type: ignore[no-untyped-call]  # its base has no types
    """`Authorization: Token …`."""

    target_class = "migration_console.api.TokenAuthentication"
    name = "token"


class Described(AutoSchema):
    """OpenAPI of an address: what it answers, and how any error looks."""

    def _is_list_view(self, _serializer: Any = None) -> bool:
        return isinstance(self.view, Listed)

    def _get_response_bodies(self, *args: Any, **kwargs: Any) -> Any:
        problem = self._get_response_for_code(Errors, "default", media_types=["application/json"])  # type: ignore[no-untyped-call]
        found = {str(code): {**problem, "description": PROBLEMS[code]} for code in self._problems()}
        for code, (name, description, schema) in HEADERS.items():
            if str(code) in found:
                found[str(code)]["headers"] = {name: {"description": description, "required": True, "schema": schema}}
        default = {**problem, "description": "Not done: every reason, with a stable code."}
        return {**super()._get_response_bodies(*args, **kwargs), **found, "default": default}

    def _problems(self) -> Iterator[int]:
        """Yield the statuses that the address may answer instead of what was asked for."""
        if permission_of(self.view, self.method) is None:
            return
        yield from (400, 401, 403, 429, 503)
        if "{" in self.path or self.method == "POST":
            yield 404
        if self.method != "GET":
            yield 409
        if self.method in {"POST", "PUT"} and self.get_request_serializer():
            yield from (411, 413, 415)

    def _get_request_body(self, *args: Any, **kwargs: Any) -> Any:
        body = super()._get_request_body(*args, **kwargs)  # type: ignore[no-untyped-call]
        if body is None:
            return None
        fields = getattr(self.get_request_serializer(), "model_fields", {}).values()
        return {**body, "required": self.method == "PUT" or not fields or any(field.is_required() for field in fields)}

    def get_operation_id(self) -> str:
        """Return method and path in words: get_runs_id_rejects."""
        words = re.findall(r"\w+", self.path)
        return "_".join([self.method.lower(), *words]).replace("-", "_")


def permission_of(view: Any, method: str) -> str | None:
    """Return the permission that a view wants for a method; a method without one is a mistake in the code."""
    permissions: dict[str, str | None] = view.permissions
    return permissions[method]


def parameters(query: type[BaseModel], description: str) -> list[OpenApiParameter]:
    """Return the parameters that a model of a query string describes."""
    found = query.model_json_schema()["properties"]
    # What may be null is left out of a query.
    schemas = {name: schema.get("anyOf", [schema])[0] for name, schema in found.items()}
    return [OpenApiParameter(name, schema, description=description) for name, schema in schemas.items()]


def without_slash(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Leave the twins of addresses that end in a slash out of the description."""
    return [endpoint for endpoint in endpoints if not endpoint[0].endswith("/")]
