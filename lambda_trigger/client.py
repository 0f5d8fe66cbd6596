"""The way to the console: one connection kept open, tries again where that can help, a token that nobody sees."""

import json
import logging
import os
import random
import re
import ssl
import time
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Self
from urllib.parse import urlsplit

import boto3

log = logging.getLogger(__name__)

# One request, the longest and the shortest back-off, and what is kept back for answering AWS; all in seconds.
REQUEST, SLOWEST, FASTEST, RESERVE = 20.0, 10.0, 0.1, 0.5


class Misconfigured(Exception):
    """The environment lacks something; the sentence says what."""


class Unavailable(Exception):
    """The console could not be reached in the time of this invocation; a later one may succeed."""


class Answered(Exception):
    """The console said no: the same request will get the same answer."""

    def __init__(self, request: str, status: int, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        super().__init__(f"{request}: {status} {code}: {detail}")


class Console:
    """The console's REST API, for one invocation: Lambda's freezer would outlast a connection kept longer."""

    def __init__(self, seconds: float) -> None:
        """Connect within the seconds that the invocation has left."""
        self.deadline = time.monotonic() + seconds - RESERVE
        parts = urlsplit(os.environ.get("CONSOLE_URL", "").rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Misconfigured("CONSOLE_URL must be the console's address, such as https://console.example.org")
        self.path = parts.path
        self.token = read_token()
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self.connection = kind(parts.hostname, parts.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.connection.close()

    def left(self) -> float:
        """Return the seconds that are left for requests."""
        return self.deadline - time.monotonic()

    def post(self, path: str, body: bytes, content_type: str) -> dict[str, Any]:
        """Return the console's answer, trying again on 429, 5xx, time-outs and broken connections."""
        request = f"POST {path.partition('?')[0]}"
        attempt, pause, trouble = 0, 0.0, "not tried"
        while pause < self.left():
            time.sleep(pause)
            pause = random.uniform(0, min(SLOWEST, FASTEST * 2**attempt))  # noqa: S311  # spreads, hides nothing
            attempt += 1
            try:
                response, answer = self._exchange(path, body, content_type)
            except ssl.SSLCertVerificationError:
                raise
            except (OSError, HTTPException) as error:
                self.connection.close()
                trouble = repr(error)
            else:
                if response.status == 401 and self._renew_token():
                    pause = 0.0
                elif response.status != 429 and response.status < 500:
                    return _judged(request, response.status, answer)
                pause += _retry_after(response)
                trouble = f"status {response.status}"
            log.warning("%s: %s at attempt %d; next in %.1f s", request, trouble, attempt, pause)
        raise Unavailable(f"{request}: {trouble}; the time of this invocation is over after {attempt} attempts")

    def _exchange(self, path: str, body: bytes, content_type: str) -> tuple[HTTPResponse, bytes]:
        # Half of the time that is left, so that a request that hangs leaves time for another; never zero.
        timeout = self.connection.timeout = min(REQUEST, max(FASTEST, self.left() / 2))
        if self.connection.sock:
            self.connection.sock.settimeout(timeout)
        headers = {"Authorization": f"Token {self.token}", "Content-Type": content_type, "Accept": "application/json"}
        self.connection.request("POST", self.path + path, body, headers)
        response = self.connection.getresponse()
        return response, response.read()

    def _renew_token(self) -> bool:
        """Read a rotated token; False where it is still the one that was refused."""
        _secret.cache_clear()
        refused, self.token = self.token, read_token()
        return self.token != refused


def _judged(request: str, status: int, answer: bytes) -> dict[str, Any]:
    try:
        content = json.loads(answer)
        if status in (200, 201) and isinstance(content, dict):
            return content
        problem = content["errors"][0]
        raise Answered(request, status, str(problem["code"]), str(problem["detail"]))
    except (ValueError, LookupError, TypeError):
        raise Answered(request, status, "not-the-console", "the answer has not the console's form") from None


def _retry_after(response: HTTPResponse) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0


def read_token() -> str:
    """Return the token from the environment or Secrets Manager."""
    name = os.environ.get("CONSOLE_TOKEN_SECRET", "")
    token = (os.environ.get("CONSOLE_TOKEN") or (_secret(name) if name else "")).strip()
    if not token:
        raise Misconfigured("CONSOLE_TOKEN or CONSOLE_TOKEN_SECRET (a secret whose text is the token) must be set")
    if not re.fullmatch(r"[!-~]+", token):
        # http.client would say so too, and show the token.
        raise Misconfigured("the console's token holds characters that no token has")
    return token


@cache
def _secret(name: str) -> str:
    """Return a secret's text; kept between invocations."""
    return str(boto3.client("secretsmanager").get_secret_value(SecretId=name).get("SecretString", ""))
