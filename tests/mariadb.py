"""A throw-away MariaDB server: own data folder, own port, gone with the process that started it."""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

OPTIONS = [
    "--no-defaults",
    "--skip-grant-tables",
    "--skip-log-bin",
    "--innodb-buffer-pool-size=512M",
    "--innodb-log-file-size=256M",
    "--local-infile=1",
    "--character-set-server=utf8mb4",
    "--bind-address=127.0.0.1",
]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start() -> str:
    """Start a server and return the URL of its empty schema `test`."""
    server = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    if server is None:
        raise SystemExit(
            "MariaDB's server is needed for the tests: apt-get install mariadb-server (make setup does it)"
        )
    folder = Path(tempfile.mkdtemp(prefix="console-mariadb-"))
    port = free_port()
    data = folder / "data"
    user = ["--user=root"] if os.geteuid() == 0 else []
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", *user],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    arguments = [server, *OPTIONS, *user, f"--datadir={data}", f"--port={port}", f"--socket={folder}/server.sock"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*arguments, f"--pid-file={folder}/pid"], stdout=log, stderr=log)

    def stop() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    wait_for(port, process, folder / "log")
    return f"mysql://root@127.0.0.1:{port}/test"


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers."""
    import MySQLdb

    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            connection = MySQLdb.connect(host="127.0.0.1", port=port, user="root")
            connection.cursor().execute("CREATE DATABASE IF NOT EXISTS test")
            connection.close()
            return
        except MySQLdb.OperationalError:
            time.sleep(0.1)
    raise SystemExit(f"MariaDB did not come up:\n{log.read_text()[-2000:]}")
