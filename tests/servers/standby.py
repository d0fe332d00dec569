"""A second PostgreSQL that follows a first one, and can take its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.process.parts import eventually
from tests.servers.postgres import PASSWORD, USER, PostgresError, PostgresServer

__all__ = ["FOLLOWED", "Standby"]

FOLLOWED: Final = {"synchronous_standby_names": "*"}
"""What the first one is told once there is a second: no commit is answered before both have it."""


class Standby(PostgresServer):
    """Made from a copy of a server that runs; it streams what that one commits, and can be read."""

    def __init__(self, first: PostgresServer, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(first.binaries, durable=True, settings=settings)
        self._first = first
        self._promoted = False

    def follow(self) -> None:
        """From now on no commit of the first one is answered that is not here."""
        for name, value in FOLLOWED.items():
            self._first.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        self._first.execute("SELECT pg_reload_conf()")
        question = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        eventually(lambda: self._first.execute(question) == [(1,)], "the standby follows", 30)

    def promote(self) -> None:
        """It takes the place of the first one. Returns when it takes changes."""
        self._promoted = True
        self.execute("SELECT pg_promote(true, 30)")
        eventually(lambda: self._status() == "ready", "the standby is the primary", 30)

    def _make_data(self) -> None:
        source = f"host=127.0.0.1 port={self._first.port} user={USER} password={PASSWORD}"
        copying = self._spawn(
            *(
                self.binaries.program("pg_basebackup"),
                f"--dbname={source}",
                "--write-recovery-conf",
            ),
            *(f"--pgdata={self.data}", "--checkpoint=fast", "--no-sync"),
        )
        if copying.wait() != 0:
            raise PostgresError(f"pg_basebackup failed:\n{self.log_tail()}")

    def _status(self) -> str:
        status = super()._status()
        return "ready" if status == "standby" and not self._promoted else status
