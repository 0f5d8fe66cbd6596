"""What people see where the lake or a disk is away while they use a page: what happened, and what to do next."""

import logging
from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from .lib.errors import Unavailable, reason_of

log = logging.getLogger(__name__)
SECONDS = 5


class Away:
    """Turn what a page could not reach into a page that says so; the API has words of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 503 where trying again may help; anything else is not ours to explain."""
        if not isinstance(error, Unavailable | OSError) or not request.path.startswith("/admin/"):
            return None
        log.warning("%s %s: %s", request.method, request.path, error, exc_info=error)
        said = f"The lake or a disk of the console is away: {reason_of(error)}. Try again in a while."
        if request.headers.get("HX-Request"):
            # For the place that asked, which holds no page.
            answer = HttpResponse(said, status=503, content_type="text/plain; charset=utf-8")
        else:
            frame = admin.site.each_context(request)
            answer = render(request, "console/away.html", {**frame, "title": "Not now", "said": said}, status=503)
        answer.headers["Retry-After"] = str(SECONDS)
        return answer
