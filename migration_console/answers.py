"""How errors look: one shape, whatever went wrong and wherever."""

import logging
from typing import Any, Literal

from django.core.exceptions import SuspiciousOperation
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from drf_standardized_errors.formatter import ExceptionFormatter
from drf_standardized_errors.handler import ExceptionHandler
from drf_standardized_errors.types import Error
from pydantic import BaseModel
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from .lib.engine import engine
from .lib.errors import Conflict, Fenced, Gone, Refused, Unavailable, Unknown

log = logging.getLogger(__name__)


class ErrorItem(BaseModel):
    """One reason."""

    code: str
    detail: str
    attr: str | None


class Errors(BaseModel):
    """How every error looks, whatever the address and the status."""

    type: Literal["validation_error", "client_error", "server_error"]
    errors: list[ErrorItem]


class Formatter(ExceptionFormatter):
    """Our own refusals keep their codes and places."""

    def get_errors(self) -> list[Error]:
        """Return every reason; the codes of others are written as ours are."""
        if isinstance(self.original_exc, Refused):
            return [Error(code=p.code, detail=p.message, attr=p.where or None) for p in self.original_exc.problems]
        return [Error(e.code.replace("_", "-"), e.detail, e.attr) for e in super().get_errors()]


class Handler(ExceptionHandler):
    """Turn what the product raises into answers."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        """Give each kind its status."""
        if isinstance(exc, Unknown):
            return _answer(404, str(exc), "not-found")
        if isinstance(exc, Refused):
            return _answer(409 if isinstance(exc, Conflict) else 400, str(exc), "refused")
        if isinstance(exc, Fenced):
            return _answer(409, str(exc), "taken-over")
        if isinstance(exc, Gone):
            return _answer(404, str(exc), "not-found")
        if isinstance(exc, SuspiciousOperation):
            return _answer(400, str(exc), "refused")
        if isinstance(exc, RecursionError):
            return _answer(400, "The body is nested too deeply.", "refused")
        if isinstance(exc, Unavailable | OSError) or _is_away(exc):
            answer = _answer(503, "The database or the lake does not answer; try again.", "unavailable")
            answer.wait = 5  # type: ignore[attr-defined]  # seconds, for Retry-After
            return answer
        return super().convert_known_exceptions(exc)

    def should_not_handle(self, _exc: Exception) -> bool:
        """Answer in the one shape in debugging too."""
        return False

    def report_exception(self, exc: exceptions.APIException, response: Response) -> None:
        """Raise no alarm, with a traceback a request, for what passes by itself."""
        if exc.status_code == 503:
            log.warning("the database or the lake did not answer: %s", self.exc)
        else:
            super().report_exception(exc, response)

    def run(self) -> Any:
        """Answer in JSON, whatever the client asked for."""
        request = self.context.get("request")
        if request is not None:
            request.accepted_renderer, request.accepted_media_type = JSONRenderer(), "application/json"
        return super().run()


def _is_away(error: Exception) -> bool:
    """Tell whether the database did not answer, or will another time: nothing is wrong with the request."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    unconnected = connection.connection is None
    return unconnected or isinstance(error, InterfaceError) or bool(engine(connection).is_transient(error))


def _answer(code: int, detail: str, name: str) -> exceptions.APIException:
    answer = exceptions.APIException(detail, name)
    answer.status_code = code
    return answer


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer an address that does not exist."""
    return _plain(404, "not-found", f"There is nothing at {request.path}; GET /schema lists what is.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django refuses before it looks at the address, such as a host that is not in ALLOWED_HOSTS."""
    return _plain(400, "refused", "The request was refused; is the host one of ALLOWED_HOSTS?")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer where our own code failed outside a view."""
    return _plain(500, "error", "Server Error (500)")


def _plain(code: int, name: str, detail: str) -> JsonResponse:
    kind = "client_error" if code < 500 else "server_error"
    return JsonResponse({"type": kind, "errors": [{"code": name, "detail": detail, "attr": None}]}, status=code)
