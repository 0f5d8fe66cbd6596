"""python -m tests.screenshots [FOLDER]: pictures of every page, of a console with believable data, for docs.

Wide and narrow, some of them dark. Each run fills a database of its own; nothing of it is kept.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
# Name of the picture, and the page: an address, or the model whose newest object it is. Who adds a page adds it here;
# one that is not there is left out. A star marks what is taken dark, too.
PAGES: dict[str, str] = {
    "dashboard*": "/admin/",
    "datasets": "/admin/ingest/dataset/",
    "dataset": "ingest/dataset:customers",
    "runs*": "/admin/ingest/run/",
    "run*": "ingest/run:with-rejects",
    "run-live": "ingest/run:loading",
    "run-failed": "ingest/run:failed",
    "rejects": "/admin/ingest/reject/",
    "reject": "ingest/reject:open",
    "tables": "/admin/backups/listedtable/",
    "backups": "/admin/backups/backup/",
    "backup": "backups/backup:done",
    "restores": "/admin/backups/restore/",
    "people": "/admin/auth/user/",
    "person*": "auth/user:cleo",
    "add-person": "/admin/auth/user/add/",
    "groups": "/admin/auth/group/",
    "tokens": "/admin/knox/authtoken/",
    "make-token": "/admin/knox/authtoken/add/",
    "audit": "/admin/migration_console/auditentry/",
    "audit-line": "migration_console/auditentry:person.changed",
    "audit-chain": "/admin/migration_console/auditentry/chain",
    "sign-in": "/admin/login/",
}


def found(page: str) -> str | None:
    """Return the address of a page; None where there is no such object."""
    if page.startswith("/"):
        return page
    from django.apps import apps

    model, _, which = page.partition(":")
    objects = apps.get_model(model.replace("/", "."))._default_manager.order_by("-pk")
    chosen = {
        "dataset": {"name": which},
        "run": {"rejected__gt": 0, "status": "archived"} if which == "with-rejects" else {"status": which},
        "reject": {"state": which},
        "backup": {"status": which},
        "user": {"username": which},
        "auditentry": {"action": which},
    }[model.split("/")[1]]
    one = objects.filter(**chosen).first()
    return None if one is None else f"/admin/{model}/{one.pk}/change/"


@contextmanager
def console() -> Iterator[str]:
    """Serve a filled console in this process; yield its address."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.management import call_command
    from django.db import connections
    from django.test.testcases import LiveServerThread
    from django.test.utils import override_settings

    from tests import believable

    call_command("migrate", verbosity=0)
    believable.fill(days=10)
    with override_settings(ALLOWED_HOSTS=["localhost"]):
        server = LiveServerThread("localhost", StaticFilesHandler, connections_override={})
        server.daemon = True
        server.start()
        server.is_ready.wait()
        yield f"http://localhost:{server.port}"
        server.terminate()
    connections.close_all()


def take(address: str, folder: Path) -> list[Path]:
    """Take all pictures; return the files."""
    from django.contrib.auth import get_user_model
    from django.test import Client
    from playwright.sync_api import sync_playwright

    from tests.pages.conftest import CHROMIUM, QUIET

    client = Client()
    client.force_login(get_user_model().objects.get(username="ann"))
    cookie: Any = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": address}
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for scheme in ("light", "dark"):
            context = browser.new_context(
                base_url=address,
                color_scheme=scheme,
                reduced_motion="reduce",
                timezone_id="Europe/Vienna",
                locale="en-GB",
            )
            page = context.new_page()
            for name, what in PAGES.items():
                if (scheme == "dark" and not name.endswith("*")) or (path := found(what)) is None:
                    continue
                context.clear_cookies()
                if what != "/admin/login/":
                    context.add_cookies([cookie])
                taken += _both(page, path, folder / name.rstrip("*"), "-dark" if scheme == "dark" else "")
        browser.close()
    return taken


def _both(page: Any, path: str, file: Path, ending: str) -> list[Path]:
    """Take a page wide and narrow; none where the server does not have it."""
    answer = page.goto(path)
    if answer is None or answer.status != 200:
        print(f"left out: {path} answers {answer and answer.status}", file=sys.stderr)
        return []
    taken = []
    for size, word in ((WIDE, ""), (NARROW, "-narrow")):
        page.set_viewport_size(size)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(400)  # charts and bars come to rest
        target = file.with_name(f"{file.name}{word}{ending}.png")
        page.screenshot(path=target)
        _shrink(target)
        taken.append(target)
    return taken


def _shrink(file: Path) -> None:
    """Keep 64 colours: pages have few, and the files stay small."""
    from PIL import Image

    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


def main() -> None:
    """Fill, serve, take, and say how much it is."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="console-screenshots-") as var:
        os.environ |= {
            "VAR_FOLDER": var, "DATABASE_URL": "", "LAKE_URL": "", "CELERY_BROKER_URL": "memory://",
            "SECRET_KEY": "screenshots-0123456789-abcdefghijklmnop", "DEBUG": "false",
            "DJANGO_SETTINGS_MODULE": "migration_console.settings", "DJANGO_ALLOW_ASYNC_UNSAFE": "1",
        }  # fmt: skip
        import django

        django.setup()
        with console() as address:
            taken = take(address, folder)
    for stale in set(folder.glob("*.png")) - set(taken):
        stale.unlink()
    size = sum(file.stat().st_size for file in taken)
    print(f"{len(taken)} pictures in {folder}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
