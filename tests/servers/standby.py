"""A second PostgreSQL that follows a first one, and can take its place."""

from __future__ import annotations

from tests.process.parts import eventually
from tests.servers.postgres import PASSWORD, USER, PostgresError, PostgresServer

__all__ = ["Standby"]


class Standby(PostgresServer):
    """Made from a copy of a server that runs; it streams what that one commits, and can be read."""

    def __init__(self, first: PostgresServer) -> None:
        super().__init__(first.binaries, durable=True)
        self._first = first
        self._promoted = False

    def follow(self) -> None:
        """From now on no commit of the first one is answered that is not here."""
        self._first.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
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
