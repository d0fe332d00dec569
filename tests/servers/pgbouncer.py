"""A real PgBouncer for tests, where this machine has one: it is no Python package, so nothing here
installs it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit, urlunsplit

from tests.process.parts import die_with_parent, eventually
from tests.servers.binaries import unprivileged

__all__ = ["NO_PGBOUNCER", "PgBouncer", "find_pgbouncer"]

NO_PGBOUNCER = "no PgBouncer: `pgbouncer` is neither on the PATH nor in /usr/sbin"

CONFIG = """
[databases]
* = host={host} port={port} user={user} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
server_login_retry = 0.2
"""


def find_pgbouncer() -> str | None:
    """Where Debian puts it is not on everybody's PATH."""
    return shutil.which("pgbouncer", path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin"]))


class PgBouncer:
    """Before a server: each transaction gets any of a few sessions. `with` starts and ends it."""

    def __init__(self, url: str, *, sessions: int = 4) -> None:
        """`url`: of the server, any database of it."""
        program = find_pgbouncer()
        assert program is not None, NO_PGBOUNCER
        self._program = program
        self._account = unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="backroom-pgbouncer-", dir="/tmp"))
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]
        parts = urlsplit(url)
        (self._folder / "pgbouncer.ini").write_text(
            CONFIG.format(
                host=parts.hostname, port=parts.port, user=unquote(parts.username or ""),
                password=unquote(parts.password or ""), listen=self.port, size=sessions,
            )
        )  # fmt: skip
        self._account.give(self._folder)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(self._folder / "pgbouncer.ini")],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent, **self._account.options,
            )  # fmt: skip
        try:
            eventually(self._answers, f"PgBouncer answers: {self.log}", 10)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)  # At once; SIGINT would wait for clients.
            self._process.wait(10)
        self._reserved.close()
        shutil.rmtree(self._folder)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def of(self, url: str) -> str:
        """A URL of the server, by way of this."""
        parts = urlsplit(url)
        who = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{self.port}"))

    def _answers(self) -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0
