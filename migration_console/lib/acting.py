"""Who acts on the command line, for the audit log."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# `command: NAME` for as long as a command runs, else nothing; no user's name has a colon.
command: ContextVar[str] = ContextVar("command", default="")


@contextmanager
def acting_as_command() -> Iterator[None]:
    """Write lines of the audit log under the account that runs this process, whatever user a service is told of."""
    token = command.set(f"command: {_account()}"[:150])
    try:
        yield
    finally:
        command.reset(token)


def _account() -> str:
    """Return the account of the operating system; not from the environment, which could name any."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers run under numbers that no account has
        return f"uid {os.getuid()}"
