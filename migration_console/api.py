"""What every address of the REST API shares: who may, how bodies are read, how lists go on."""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import orjson
from django.utils import timezone
from knox.auth import TokenAuthentication as KnoxAuthentication
from pydantic import BaseModel, ConfigDict, ValidationError
from rest_framework import exceptions, status
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from .lib.errors import Problem, Refused

if TYPE_CHECKING:
    from rest_framework.views import APIView

# What one request with JSON may weigh; files are streamed and have a limit of their own.
MAX_JSON = 8 << 20


class Envelope(BaseModel):
    """A request's body: keys that it does not know are mistakes, not decoration."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """A query string: text, so numbers are read from text."""

    model_config = ConfigDict(extra="forbid")


M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], data: object) -> M:
    """Return the checked body or query of a request; Refused with every mistake and its place."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Refused(
            Problem(details["type"].replace("_", "-"), _words(details), ".".join(map(str, details["loc"])))
            for details in error.errors(include_url=False, include_input=False, include_context=False)
        ) from None


def _words(details: Any) -> str:
    if details["type"] == "model_type":
        return "the body must be a JSON object"
    return str(details["msg"]).removeprefix("Value error, ")


RECENT, MOST_RECENT = 2.0, 1000


class TokenAuthentication(KnoxAuthentication):  # type: ignore[misc]  # knox has no types
    """`Authorization: Token …`; a token that is no text is as wrong as any other."""

    # Who has just been let in: a client that sends batch after batch is looked up once in two seconds, not each time.
    recent: ClassVar[dict[bytes, tuple[float, Any, Any]]] = {}

    def authenticate_credentials(self, token: bytes) -> Any:
        """Return user and token; one that was taken away is good for RECENT seconds more, one that expires is not."""
        if not token.isalnum():
            raise exceptions.AuthenticationFailed("Invalid token.")
        key, now = hashlib.sha256(token).digest(), time.monotonic()
        at, user, auth = self.recent.get(key, (-RECENT, None, None))
        if now - at < RECENT and not _expired(auth):
            return user, auth
        user, auth = super().authenticate_credentials(token)
        if len(self.recent) >= MOST_RECENT:
            self.recent.clear()
        self.recent[key] = now, user, auth
        return user, auth

    def _cleanup_token(self, auth_token: Any) -> bool:
        """Delete the token if it has expired; its owner's other tokens are not looked at in each request."""
        if expired := _expired(auth_token):
            auth_token.delete()
        return expired


def _expired(token: Any) -> bool:
    return token.expiry is not None and bool(token.expiry < timezone.now())


class Allowed(BasePermission):
    """The permission that a view names for the method, `permissions = {"GET": "ingest.view_run"}`; None is open to all.

    A method that is not named is not there (see routes.py), and answered with 405 whoever asks.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Tell whether the request's user has it."""
        wanted: Mapping[str, str | None] = getattr(view, "permissions", {})
        method = "GET" if request.method == "HEAD" else request.method or ""
        if method not in wanted:
            return True
        permission, user = wanted[method], request.user
        if permission is None:
            return True
        # Groups first: one query, and all that service users have.
        return bool(user.is_active and permission in user.get_group_permissions()) or user.has_perm(permission)


class AnyAccept(BaseContentNegotiation):
    """One kind of answer, whatever the client would rather have."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the parser of the body's content type; none means 415."""
        return next((parser for parser in parsers if kind_of(request) in parser.media_types), None)

    def select_renderer(self, _request: Request, renderers: Any, _suffix: Any = None) -> Any:
        """Return the first one."""
        return renderers[0], renderers[0].media_type


def _exact(digits: str) -> float | Decimal:
    """Return a JSON number as a float only where the float is that very number."""
    number = float(digits)
    exact = Decimal(digits)
    return number if abs(number) != float("inf") and Decimal(repr(number)) == exact else exact


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


HALF = re.compile(rb"\\u[dD][89a-fA-F]")
DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_exact, parse_constant=_no_constant)


class StrictJSONParser(BaseParser):
    """JSON by RFC 8259, numbers kept exactly, keys once."""

    media_type = "application/json"
    media_types = ("application/json",)

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the decoded body."""
        body = stream.read(MAX_JSON + 1)
        if len(body) > MAX_JSON:
            raise TooLarge(f"The body has more than {MAX_JSON >> 20} MiB; send it in several requests.")
        try:
            found = DECODER.decode(body.decode())
            if HALF.search(body):
                json.dumps(found, ensure_ascii=False, default=str).encode()  # no database stores half a surrogate pair
            return found
        except (ValueError, RecursionError) as error:
            raise exceptions.ParseError(f"The body is not JSON that can be kept exactly: {error}.") from None


class FastJSONRenderer(JSONRenderer):
    """JSON by orjson: an answer of a thousand rows is written in a tenth of the time."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """Return the body; none where there is nothing to say."""
        if data is None:
            return b""
        return orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)


class CsvParser(BaseParser):
    """CSV as the stream that it is: a file is never held in memory."""

    media_type = "text/csv"
    media_types: tuple[str, ...] = ("text/csv",)

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the stream."""
        return stream


class FileParser(CsvParser):
    """CSV, plain or gzipped."""

    media_types = ("text/csv", "application/gzip")


def kind_of(request: Request) -> str:
    """Return the body's content type without its parameters."""
    return (request.content_type or "").partition(";")[0].strip().lower()


class TooLarge(exceptions.APIException):
    """The body is longer than allowed."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too-large"


class LengthRequired(exceptions.APIException):
    """A body without a length would look like an empty one."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_code = "length-required"
    default_detail = "Send the body with a Content-Length; for curl: --data-binary @FILE."


WRONG_CURSOR = "Take the whole address in `next` or `previous` of a page."


class Newest(CursorPagination):
    """Newest first, from page to page by a cursor: what arrives meanwhile neither repeats nor hides a row."""

    ordering = "-id"
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000
    position = r"\d{1,18}"

    def get_page_size(self, request: Request) -> int:
        """Return the size that is asked for; one that cannot be is a mistake, not the default."""
        text = request.query_params.get("page_size")
        if text is None:
            return self.page_size
        if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= self.max_page_size:
            raise exceptions.ValidationError({"page_size": f"Give a number from 1 to {self.max_page_size}."})
        return int(text)

    def decode_cursor(self, request: Request) -> Any:
        """Return the place to go on from; what no page has given is refused."""
        try:
            cursor: Any = super().decode_cursor(request)
        except exceptions.NotFound:
            raise exceptions.ValidationError({"cursor": WRONG_CURSOR}) from None
        if cursor and cursor.position is not None and not re.fullmatch(self.position, cursor.position):
            raise exceptions.ValidationError({"cursor": WRONG_CURSOR})
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the OpenAPI of a page."""
        address = {"type": ["string", "null"], "format": "uri"}
        page = {"next": address, "previous": address, "results": schema}
        return {"type": "object", "properties": page, "required": list(page)}


class ByName(Newest):
    """In the order of names."""

    ordering = "name"
    position = r"[a-z0-9._-]{1,100}"
