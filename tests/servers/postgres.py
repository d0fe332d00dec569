"""A real PostgreSQL for tests: our own small launcher, of which nothing is left when it is closed,
or when the process that has it is killed."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import hmac
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, urlsplit

from tests.process.parts import eventually
from tests.servers.binaries import Binaries, find_binaries, unprivileged

if TYPE_CHECKING:
    from psycopg.abc import Query

__all__ = ["Binaries", "Postgres", "PostgresError", "PostgresServer", "find_binaries"]

Mode = Literal["smart", "fast", "immediate"]
"""Wait for the clients; throw them out; or leave all as it is, as in a crash."""

USER = "postgres"
PASSWORD = "backroom"
SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

SETTINGS = {
    "dynamic_shared_memory_type": "mmap",  # in the data folder, and goes with it
    "listen_addresses": "127.0.0.1",
    "log_line_prefix": "%m [%p] %d ",
    "max_connections": "200",
    "shared_buffers": "32MB",
}
CARELESS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
IN_MEMORY = "/dev/shm"
ROOM = 4 << 30
"""Bytes that must be free there: several servers run at once."""

KEEPER = """
read -r _
"$1"/pg_ctl --pgdata="$2"/data --mode=immediate stop
segment=$(sed -n '7s/.* //p' "$2"/data/postmaster.pid) && [ "$segment" ] && ipcrm -m "$segment"
rm -rf "$2"
"""
"""Waits for the end of a pipe, which comes when the other process closes it or dies, however it
does; then ends the server, and removes what it had. A server that was killed leaves a segment."""


class PostgresError(Exception):
    """A server does not do what it should; with the end of its log."""


class Postgres:
    """A PostgreSQL that answers at a URL, and in which databases may be made."""

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, database: str | None = None) -> str:
        """Of a database; without a name, of the one there always is."""
        if database is None:
            return self._url
        parts = urlsplit(self._url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{parts.scheme}://{parts.netloc}/{quote(database, safe='')}{query}"

    @functools.cached_property
    def version(self) -> int:
        """The major one."""
        return int(self.execute(b"SHOW server_version_num")[0][0]) // 10_000

    def execute(self, sql: Query, database: str | None = None) -> list[tuple[Any, ...]]:
        """One statement in a connection and a transaction of its own; the rows it gave."""
        import psycopg  # only here: runs that want no PostgreSQL do not wait for it

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str) -> str:
        """A new, empty one; its URL."""
        self.execute(_about("CREATE DATABASE {}", name))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Throws out who is connected to it."""
        self.execute(_about("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))


class PostgresServer(Postgres):
    """One of our own, in a folder of its own, on a loopback port that it keeps when it is started
    again. It is not yet running; `with` starts and closes it.

    Over TCP it wants the password; over its socket, in `folder`, it trusts everyone.
    """

    def __init__(
        self,
        binaries: Binaries | None = None,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._account = unprivileged()
        # Not where TMPDIR says: sockets have short paths, and the server has to get there.
        ground = "/tmp" if durable else _ground()
        self.folder = Path(tempfile.mkdtemp(prefix="backroom-pg-", dir=ground))
        self.data = self.folder / "data"
        self.binaries = self._reachable(binaries or find_binaries()[0])
        self._settings = SETTINGS | ({} if durable else CARELESS) | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        # Bound and never listening: nobody else is given the port, while the server may have it.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]
        super().__init__(f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres")
        self._account.give(self.folder)
        self._keeper = self._spawn(
            *("sh", "-c", KEEPER, "keeper", str(self.binaries.folder), str(self.folder)),
            stdin=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the postmaster, also after its end."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    @property
    def socket_url(self) -> str:
        return f"postgresql://{USER}@/postgres?host={self.folder}&port={self.port}"

    def start(self) -> None:
        """Returns when it accepts connections. After a stop, everything is there again."""
        if not self.data.exists():
            self._make_data()
        settings = self._settings | {"unix_socket_directories": str(self.folder)}
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        self._process = self._spawn(
            *(self.binaries.program("postgres"), "-D", str(self.data), "-p", str(self.port)),
            *arguments,
        )
        self.wait_ready()

    def wait_ready(self, within: float = 60.0) -> None:
        """Until the postmaster says so in its file."""
        process = self._process
        assert process is not None, "it was never started"
        eventually(
            lambda: self._status() == "ready" or process.poll() is not None,
            "PostgreSQL accepts connections",
            within,
        )
        if process.poll() is not None:
            raise PostgresError(f"PostgreSQL did not start:\n{self.log_tail()}")

    def stop(self, mode: Mode = "fast", within: float = 60.0) -> None:
        """Ends the server, and keeps its data for another start. Safe to call twice."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(SIGNALS[mode])
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            late = f"PostgreSQL did not stop within {within:g} s:\n{self.log_tail()}"
            raise PostgresError(late) from None

    def restart(self, mode: Mode = "immediate") -> None:
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Ends it and leaves no process, no shared memory and no folder. Safe to call twice."""
        assert self._keeper.stdin is not None
        if self._process is not None:
            self._process.poll()  # one that was killed is collected, or it would be waited for
        self._keeper.stdin.close()
        self._keeper.wait()
        if self._process is not None:
            self._process.wait()
        self._reserved.close()

    def log_tail(self, lines: int = 30) -> str:
        """The end of what the server and its helpers have written."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.folder / "log").read_text(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return "(no log)"

    def _reachable(self, binaries: Binaries) -> Binaries:
        if binaries.reachable_for(self._account):
            return binaries
        return binaries.copied_to(self.folder)

    def _make_data(self) -> None:
        password = self.folder / "password"
        password.write_text(_verifier(PASSWORD))
        self._account.give(password)
        making = self._spawn(
            *(self.binaries.program("initdb"), f"--pgdata={self.data}", f"--username={USER}"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        )
        if making.wait() != 0:
            raise PostgresError(f"initdb failed:\n{self.log_tail()}")

    def _status(self) -> str:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return "not there"
        ours = len(lines) == 8 and lines[0] == str(self.pid)
        return lines[7].strip() if ours else "starting"

    def _spawn(self, *command: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """In a session of its own: Ctrl-C is for the tests, which then close their server."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"},
                stdin=stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._account.options,
            )


def _verifier(password: str) -> str:
    """What a server keeps of a password (RFC 5803), hashed once and not 4,096 times: tests connect
    some ten thousand times."""
    salt, rounds = os.urandom(16), 1
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    stored = hashlib.sha256(hmac.digest(key, b"Client Key", "sha256")).digest()
    servers = hmac.digest(key, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, servers)]
    return "SCRAM-SHA-256${}:{}${}:{}".format(rounds, *encoded)


def _about(statement: str, name: str) -> Query:
    from psycopg import sql

    return sql.SQL(statement).format(sql.Identifier(name))


def _ground() -> str:
    """Where the files of a server are that need not outlive it: making its tables is making files,
    which takes half as long in memory."""
    if os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > ROOM:
        return IN_MEMORY
    return "/tmp"
