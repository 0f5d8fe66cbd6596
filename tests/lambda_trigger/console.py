"""A console that keeps to the contract of POST /files and /validate-transform, and gets into trouble on request."""

import json
import ssl
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

TOKEN = "token-that-nobody-may-see"


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    path: str
    query: dict[str, str]
    authorization: str
    content_type: str
    body: bytes


class Console(ThreadingHTTPServer):
    """The console's edge; `trouble` says which request (0 is the first) ends how.

    A number is a status, "drop" closes the connection instead of answering, "forget" does so after the work was
    done, "hang" does not answer at all.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Call)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.token = TOKEN
        self.answer: dict[str, Any] = {"run": 7, "status": "received", "send": "nothing"}
        self.trouble: dict[int, int | str] = {}
        self.code = "trouble"
        self.retry_after = ""
        self.delay = 0.0
        self.requests: list[Request] = []
        self.connections = 0
        self.received = b""
        self.answered: dict[int, dict[str, Any]] = {}
        self.closing = Event()

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def speak_tls(self, certificate: Path) -> None:
        """Take only TLS from here on, with a certificate and its key in one file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = self.url.replace("http:", "https:")

    def want(self, key: str, version: str, data: bytes, *, skip: int = 0) -> None:
        """Ask for the rows of an object of which the header and so many bytes behind it are known."""
        start = data.index(b"\n") + 1 + skip
        done = data[:start].count(b"\n")
        self.answer = {
            "run": 7, "status": "loading", "send": "rows", "epoch": 3, "key": key, "version": version,
            "start": start, "end": len(data), "row": done, "line": done + 1, "records": 1000,
        }  # fmt: skip

    def slices(self) -> list[Request]:
        """Return the requests that brought rows."""
        return [request for request in self.requests if request.path == "/validate-transform"]

    def files(self) -> list[dict[str, Any]]:
        """Return what was announced."""
        return [json.loads(request.body) for request in self.requests if request.path == "/files"]

    def work(self, request: Request) -> tuple[int, dict[str, Any]]:
        """Return status and answer of a request that meets no trouble."""
        if request.authorization != f"Token {self.token}":
            return 401, problem("authentication_failed")
        if request.path == "/files":
            return 201, self.answer
        if request.path != "/validate-transform":
            return 404, problem("not_found")
        start, end = int(request.query["start"]), int(request.query["end"])
        if start not in self.answered:
            if start != self.answer["start"] + len(self.received) or end - start != len(request.body):
                return 400, problem("out-of-order")
            self.received += request.body
            read = request.body.count(b"\n")
            self.answered[start] = {"run": 7, "start": start, "end": end, "read": read, "loaded": read}
        return 200, self.answered[start] | {"rejected": 0, "skipped": 0}


def problem(code: str) -> dict[str, Any]:
    """Return the console's form of an error."""
    return {"type": "client_error", "errors": [{"code": code, "detail": f"what {code} means", "attr": None}]}


class Call(BaseHTTPRequestHandler):
    """One connection."""

    server: Console
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        console, parts = self.server, urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        request = Request(parts.path, dict(parse_qsl(parts.query)), self.headers["Authorization"], kind, body)
        trouble = console.trouble.get(len(console.requests))
        console.requests.append(request)
        time.sleep(console.delay)
        if trouble == "hang":
            console.closing.wait(30)
        if isinstance(trouble, int):
            return self.answer(trouble, problem(console.code))
        status, answer = (0, {}) if trouble in ("drop", "hang") else console.work(request)
        if trouble:
            self.close_connection = True
            return None
        return self.answer(status, answer)

    def answer(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""
