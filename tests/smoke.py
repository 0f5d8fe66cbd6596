"""python tests/smoke.py: what a newcomer does, in a fresh clone: make run, log in, see the rejects, drop a file.

Needs nothing but the standard library; the clone makes its own virtual environment.
"""

import http.cookiejar
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ("DATABASE_URL", "LAKE_URL", "CELERY_BROKER_URL", "SECRET_KEY", "VAR_FOLDER", "DJANGO_SETTINGS_MODULE")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Browser:
    """Just enough of one: cookies, and the token of forms."""

    def __init__(self, address: str) -> None:
        self.address = address
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(jar)

    def get(self, path: str) -> str:
        """Return a page."""
        with self.opener.open(self.address + path, timeout=20) as answer:
            return str(answer.read().decode())

    def log_in(self, password: str) -> str:
        """Return the page behind the login."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get("/admin/login/"))
        assert token, "the login page has no form"
        form = {"username": "admin", "password": password, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
        request = urllib.request.Request(
            f"{self.address}/admin/login/",
            urllib.parse.urlencode(form).encode(),
            {"Referer": f"{self.address}/admin/login/"},
        )
        with self.opener.open(request, timeout=20) as answer:
            return str(answer.read().decode())


def wait_for(what: str, seconds: float, look: object) -> object:
    """Poll until a look gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := look():  # type: ignore[operator]
                return found
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.3)
    raise SystemExit(f"smoke: waited {seconds} s for {what}")


def main() -> None:
    """Clone, run, look, stop."""
    with tempfile.TemporaryDirectory(prefix="console-smoke-") as folder:
        clone, port = Path(folder) / "clone", free_port()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {name: value for name, value in os.environ.items() if name not in LOCAL} | {"PORT": str(port)}
        log = Path(folder) / "log"
        with log.open("w") as output:
            run = subprocess.Popen(
                ["make", "run"], cwd=clone, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        try:
            look_around(clone, log, port)
        except (SystemExit, AssertionError):
            print(log.read_text(), file=sys.stderr)
            raise
        finally:
            os.killpg(run.pid, signal.SIGINT)
            run.wait(30)
    print("smoke: a fresh clone runs, shows its rejects, and loads a file that is dropped into raw/")


def look_around(clone: Path, log: Path, port: int) -> None:
    """Do what the printed lines say."""
    login = wait_for("the login", 600, lambda: re.search(r"login: admin / (\S+)", log.read_text()))
    browser = Browser(f"http://127.0.0.1:{port}")
    wait_for("the console", 60, lambda: "csrfmiddlewaretoken" in browser.get("/admin/login/"))
    assert "Rejects" in browser.log_in(login[1])  # type: ignore[index]
    rejects = browser.get("/admin/ingest/reject/")
    assert "is not a day of the calendar" in rejects, rejects[:2000]
    assert "4,Dora Ebner,dora@example,AT,1988-13-01,10.00,yes" in rejects
    (clone / "var/lake/raw/customers-2.csv").write_text(
        "id,name,email,country,born,credit,active\n77,New One,new@example.org,DE,,,\n"
    )
    wait_for("the dropped file", 60, lambda: list((clone / "var/lake/processed").glob("*/customers-2.csv")))
    assert "customers-2.csv" in browser.get("/admin/ingest/run/")


if __name__ == "__main__":
    main()
