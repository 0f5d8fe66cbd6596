"""A throw-away RabbitMQ server: own node, own folder, own ports, gone with the process that started it."""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from .mariadb import free_port

# Not the wrapper on the PATH, which insists on the user and the folders of the system's own server.
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
LOCAL = "127.0.0.1"


class RabbitMQ:
    """One server, which can be stopped and started again: what it was told to keep, it keeps."""

    def __init__(self) -> None:
        if not PROGRAM.exists() or shutil.which("epmd") is None:
            raise RuntimeError("RabbitMQ is needed for the tests: apt-get install rabbitmq-server (make setup does it)")
        self.folder = Path(tempfile.mkdtemp(prefix="console-rabbitmq-"))
        self.port, self.distribution, self.epmd_port = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@{LOCAL}:{self.port}//"
        (self.folder / "rabbitmq.conf").touch()
        # Erlang's name server too: it would outlive the server that started it.
        self.epmd = self._start("epmd", "-port", str(self.epmd_port), "-address", LOCAL)
        self.server: subprocess.Popen[bytes] | None = None
        atexit.register(self.end)
        self.start()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        own = {
            "HOME": str(self.folder),  # where Erlang's cookie is
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": LOCAL,
            "RABBITMQ_NODENAME": f"console-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": LOCAL,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            # One scheduler is enough for bells.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
        }
        theirs = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        with (self.folder / "output").open("a") as log:
            return subprocess.Popen(
                arguments, env=theirs | own, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self.server = self._start(str(PROGRAM))
        for _ in range(300):
            if self.server.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.1)
        raise RuntimeError(f"RabbitMQ did not come up:\n{(self.folder / 'output').read_text()[-2000:]}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOCAL, self.port), timeout=1) as connection:
                connection.sendall(b"AMQP\0\0\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and its children."""
        if self.server is not None and self.server.poll() is None:
            os.killpg(self.server.pid, number)

    def stop(self) -> None:
        """End the server the hard way."""
        if self.server is not None:
            self.signal(signal.SIGKILL)
            self.server.wait()
            self.server = None

    def end(self) -> None:
        """Leave nothing behind."""
        self.stop()
        self.epmd.kill()
        self.epmd.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
