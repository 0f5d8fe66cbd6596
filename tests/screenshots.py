"""python -m tests.screenshots [FOLDER]: pictures of every page, of a console with believable data, for docs.

Wide and narrow, some of them dark. Each run fills a database of its own; nothing of it is kept.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
# Name of the picture, and the address of the page; in braces the model, and which of its objects. Who adds a page
# adds it here; one that is not there is left out. A star marks what is taken dark, too.
RUN, REJECTS = "/admin/ingest/run/{ingest.run:%s}/change/", "/admin/ingest/reject/run/{ingest.run:with-rejects}/"
PAGES: dict[str, str] = {
    "dashboard*": "/admin/",
    "datasets": "/admin/ingest/dataset/",
    "dataset": "/admin/ingest/dataset/{ingest.dataset:customers}/change/",
    "dataset-new": "/admin/ingest/dataset/new",
    "dataset-draft*": "/admin/ingest/dataset/draft/{ingest.draft}/",
    "files-without-dataset": "/admin/ingest/dataset/files/",
    "runs*": "/admin/ingest/run/",
    "run*": RUN % "with-rejects",
    "run-live": RUN % "loading",
    "run-failed": RUN % "failed",
    "run-refused": RUN % "refused",
    "upload": "/admin/ingest/run/upload/",
    "rejects": "/admin/ingest/reject/",
    "rejects-of-run*": REJECTS,
    "rejects-fix": REJECTS + "fix/?field=amount&code=bad-decimal",
    "rejects-upload": REJECTS + "upload/",
    "tables": "/admin/backups/listedtable/",
    "plan": "/admin/backups/listedtable/plan/customers/",
    "backups": "/admin/backups/backup/",
    "backup": "/admin/backups/backup/{backups.backup:done}/change/",
    "restore-choose": "/admin/backups/restore/choose/customers/",
    "restore-dry-run*": "/admin/backups/restore/dry-run/{backups.dryrun}/",
    "restores": "/admin/backups/restore/",
    "restore": "/admin/backups/restore/{backups.restore}/change/",
    "people": "/admin/auth/user/",
    "person*": "/admin/auth/user/{auth.user:cleo}/change/",
    "add-person": "/admin/auth/user/add/",
    "groups": "/admin/auth/group/",
    "tokens": "/admin/knox/authtoken/",
    "make-token": "/admin/knox/authtoken/add/",
    "audit": "/admin/migration_console/auditentry/",
    "audit-line": "/admin/migration_console/auditentry/{migration_console.auditentry:person.changed}/change/",
    "audit-chain": "/admin/migration_console/auditentry/chain",
    "sign-in": "/admin/login/",
}
# By model, the field that tells which.
BY = {"dataset": "name", "run": "status", "backup": "status", "user": "username", "auditentry": "action"}


def found(page: str) -> str | None:
    """Return the address of a page; None where there is no such object."""
    missing = False

    def key(match: re.Match[str]) -> str:
        nonlocal missing
        model, _, which = match[1].partition(":")
        given = {BY[model.partition(".")[2]]: which} if which else {}
        if which == "with-rejects":
            given = {"rejected__gt": 0, "status": "archived"}
        one = apps.get_model(model)._default_manager.filter(**given).order_by("-pk").first()
        missing = missing or one is None
        return str(one and one.pk)

    from django.apps import apps

    address = re.sub(r"\{([^}]+)\}", key, page)
    return None if missing else address


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
