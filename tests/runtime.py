"""AWS Lambda in small: the real runtime client (awslambdaric), in a process of its own, against a local Runtime API.

    with Function({"CONSOLE_URL": …}) as function:
        answer = function.invoke(event, seconds=30)

As on AWS a process serves many events, one after the other (for events at the same time take several Functions); the
next one after kill() starts a new process; an event that outlasts its time costs the process its life.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

from migration_console.env import ROOT

API = "/2018-06-01/runtime"


class FunctionError(Exception):
    """The function failed; `report` is what the runtime said: errorType, errorMessage, stackTrace."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report
        super().__init__(f"{report['errorType']}: {report['errorMessage']}")


class RuntimeAPI(ThreadingHTTPServer):
    """What a runtime asks for its next event, and tells its answers."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RuntimeCall)
        # Headers and body of the next event; None where there will be no next.
        self.events: SimpleQueue[tuple[dict[str, str], bytes] | None] = SimpleQueue()
        # Whether it went well, and what was said.
        self.answers: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.events.put(None)
        self.shutdown()
        self.server_close()


class RuntimeCall(BaseHTTPRequestHandler):
    """One call of the runtime."""

    server: RuntimeAPI
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Hand out the next event, once there is one."""
        assert self.path == f"{API}/invocation/next"
        if (event := self.server.events.get()) is None:
            self.close_connection = True
            return
        self._answer(200, *event)

    def do_POST(self) -> None:
        """Take an answer, or an error of the function or of its start."""
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.answers.put((self.path.endswith("/response"), said))
        self._answer(202, {}, b"{}")

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Function:
    """A deployed function: code in a folder, a handler in it, an environment, and what it printed."""

    def __init__(
        self, environment: Mapping[str, str], *, code: Path = ROOT, handler: str = "lambda_trigger.handler.handler"
    ) -> None:
        self.environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "eu-central-1", **environment}
        self.code = code
        self.command = [sys.executable, "-m", "awslambdaric", handler]
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__
        self._api: RuntimeAPI | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()
        self._printed.close()

    def start(self) -> None:
        """Start the process if there is none; `invoke` does so too."""
        if self._process and self._process.poll() is None:
            return
        self.kill()
        self._api = RuntimeAPI()
        environment = self.environment | {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_port}"}
        self._process = subprocess.Popen(
            self.command, cwd=self.code, env=environment, stdout=self._printed, stderr=self._printed
        )

    def kill(self) -> None:
        """SIGKILL the process, from any thread; an event in its hand ends in FunctionError."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
        api, self._api = self._api, None
        if api:
            api.close()

    def invoke(self, event: Any, *, seconds: float = 60) -> Any:
        """Return the function's answer to an event for which it gets so many seconds."""
        self.start()
        assert self._api and self._process
        api, process = self._api, self._process
        end = time.time() + seconds
        headers = {
            "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
            "Lambda-Runtime-Deadline-Ms": str(int(end * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:lambda_trigger",
        }
        api.events.put((headers, json.dumps(event).encode()))
        well, answer = _answer(api, process, end)
        if not well:
            if answer["errorType"] == "Sandbox.Timedout":
                self.kill()
            raise FunctionError(answer)
        return answer

    @property
    def output(self) -> str:
        """What the processes printed so far."""
        return os.pread(self._printed.fileno(), 1 << 24, 0).decode()


def _answer(api: RuntimeAPI, process: "subprocess.Popen[bytes]", end: float) -> tuple[bool, Any]:
    while True:
        # Looked at before the queue: what the process said last is said by then.
        code, late = process.poll(), time.time() > end
        try:
            return api.answers.get(timeout=0.02)
        except Empty:
            if code is not None:
                return False, {"errorType": "Runtime.ExitError", "errorMessage": f"the process ended with {code}"}
            if late:
                return False, {"errorType": "Sandbox.Timedout", "errorMessage": "the event outlasted its time"}
