"""python -m tests.backups.killed WHERE ID [stop|backup]: a restore, or a backup, killed or stopped at some step."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django


def die() -> None:
    """End this process the hard way; or stop it, until somebody continues it."""
    os.kill(os.getpid(), signal.SIGSTOP if sys.argv[3:] == ["stop"] else signal.SIGKILL)


def before(owner: Any, name: str, matches: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Die before a call."""
    original = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        if matches(*arguments, **options):
            die()
        return original(*arguments, **options)

    setattr(owner, name, call)


def after(owner: Any, name: str, matches: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Die behind a call."""
    original = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        original(*arguments, **options)
        if matches(*arguments, **options):
            die()

    setattr(owner, name, call)


def arm(where: str) -> None:
    """Set the place to die at: before or after a step is written down, or a call of a module."""
    from backups import dump, restore, restoring
    from backups.models import Restore
    from migration_console.lib.lake import lake

    if where == "never":
        return
    when, _, what = where.partition(" ")
    kill = before if when == "before" else after
    if what.startswith("step "):
        step = what.removeprefix("step ")
        kill(Restore, "step", lambda _self, status, **_: status == step)
    elif what == "upload_part":
        kill(lake().client, what)  # type: ignore[attr-defined]
    else:
        kill(next(module for module in (restoring, restore, dump) if hasattr(module, what)), what)


if __name__ == "__main__":
    django.setup()
    arm(sys.argv[1])
    from backups.services import bring_back, take

    print((take if sys.argv[3:] == ["backup"] else bring_back)(int(sys.argv[2])).status)
