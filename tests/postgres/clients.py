"""Applications with a connection of their own to the database of the jobs, by every driver."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import psycopg
import psycopg2
from psycopg.rows import dict_row
from psycopg2.extras import RealDictCursor
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from tests.servers.fixtures import PostgresPlace

__all__ = [
    "AUTOCOMMIT",
    "CLIENTS",
    "FEW",
    "PLAIN",
    "Client",
    "alchemy",
    "async_alchemy",
    "autocommit",
    "orders",
]


class Client:
    """One connection, before its transaction: what it gives, and what is done with it."""

    def __init__(
        self,
        connection: Any,
        place: PostgresPlace,
        say: Callable[[str], Any],
        commit: Callable[[], Any],
        rollback: Callable[[], Any],
        begin: Callable[[], Any] = lambda: None,
    ) -> None:
        self.connection = connection
        self._place = place
        self._say, self._begin, self._commit, self._rollback = say, begin, commit, rollback

    async def begin(self) -> None:
        await _done(self._begin())

    async def order(self, name: str) -> None:
        """A row of the application's own."""
        await _done(self._say(f"INSERT INTO {self._place.schema}.orders VALUES ('{name}')"))

    async def commit(self) -> None:
        await _done(self._commit())

    async def rollback(self) -> None:
        await _done(self._rollback())


async def _done(answer: Any) -> None:
    if isinstance(answer, Awaitable):
        await answer


async def orders(place: PostgresPlace) -> list[str]:
    """What was committed of them."""
    connection = await asyncpg.connect(place.url)
    try:
        rows = await connection.fetch(f"SELECT name FROM {place.schema}.orders ORDER BY name")
        return [row[0] for row in rows]
    finally:
        await connection.close()


def alchemy_url(place: PostgresPlace, driver: str) -> str:
    return place.url.replace("postgresql://", f"postgresql+{driver}://", 1)


@contextlib.contextmanager
def alchemy(place: PostgresPlace, driver: str, **options: Any) -> Iterator[Engine]:
    engine = create_engine(alchemy_url(place, driver), **options)
    try:
        yield engine
    finally:
        engine.dispose()


@asynccontextmanager
async def async_alchemy(
    place: PostgresPlace, driver: str, **options: Any
) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(alchemy_url(place, driver), **options)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def by_asyncpg(place: PostgresPlace) -> AsyncIterator[Client]:
    connection = await asyncpg.connect(place.url)
    try:
        yield _asyncpg_client(connection, place)
    finally:
        await connection.close()


@asynccontextmanager
async def by_asyncpg_pool(place: PostgresPlace) -> AsyncIterator[Client]:
    async with (
        asyncpg.create_pool(place.url, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
    ):
        yield _asyncpg_client(connection, place)


def _asyncpg_client(connection: Any, place: PostgresPlace) -> Client:
    transactions: list[Any] = []

    async def begin() -> None:
        transactions.append(connection.transaction())
        await transactions[-1].start()

    return Client(
        connection, place, connection.execute,
        lambda: transactions.pop().commit(), lambda: transactions.pop().rollback(), begin,
    )  # fmt: skip


@asynccontextmanager
async def by_psycopg(place: PostgresPlace) -> AsyncIterator[Client]:
    with psycopg.connect(place.url, row_factory=dict_row) as connection:
        yield Client(connection, place, connection.execute, connection.commit, connection.rollback)


@asynccontextmanager
async def by_async_psycopg(place: PostgresPlace) -> AsyncIterator[Client]:
    async with await psycopg.AsyncConnection.connect(place.url, row_factory=dict_row) as own:
        yield Client(own, place, own.execute, own.commit, own.rollback)


@asynccontextmanager
async def by_psycopg2(place: PostgresPlace) -> AsyncIterator[Client]:
    connection = psycopg2.connect(place.url, cursor_factory=RealDictCursor)
    say = connection.cursor().execute
    with contextlib.closing(connection):
        yield Client(connection, place, say, connection.commit, connection.rollback)


def by_session(driver: str) -> Open:
    @asynccontextmanager
    async def opened(place: PostgresPlace) -> AsyncIterator[Client]:
        with alchemy(place, driver) as engine, Session(engine) as session:
            yield Client(
                session, place, lambda said: session.execute(text(said)),
                session.commit, session.rollback,
            )  # fmt: skip

    return opened


@asynccontextmanager
async def by_scoped_session(place: PostgresPlace) -> AsyncIterator[Client]:
    """It is another session in each thread."""
    with alchemy(place, "psycopg") as engine:
        given = scoped_session(sessionmaker(engine))
        yield Client(
            given, place, lambda said: given.execute(text(said)), given.commit, given.rollback
        )
        given.remove()


def by_connection(driver: str) -> Open:
    @asynccontextmanager
    async def opened(place: PostgresPlace) -> AsyncIterator[Client]:
        with alchemy(place, driver) as engine, engine.connect() as own:
            yield Client(own, place, lambda said: own.execute(text(said)), own.commit, own.rollback)

    return opened


def by_async_session(driver: str, scoped: bool = False) -> Open:
    @asynccontextmanager
    async def opened(place: PostgresPlace) -> AsyncIterator[Client]:
        async with async_alchemy(place, driver) as engine, AsyncSession(engine) as session:
            given = async_scoped_session(lambda: session, lambda: 1) if scoped else session  # type: ignore[arg-type,return-value]
            yield Client(
                given, place, lambda said: session.execute(text(said)),
                session.commit, session.rollback,
            )  # fmt: skip

    return opened


def by_async_connection(driver: str) -> Open:
    @asynccontextmanager
    async def opened(place: PostgresPlace) -> AsyncIterator[Client]:
        async with async_alchemy(place, driver) as engine, engine.connect() as own:
            yield Client(own, place, lambda said: own.execute(text(said)), own.commit, own.rollback)

    return opened


Open = Callable[[PostgresPlace], AbstractAsyncContextManager[Client]]

PLAIN: dict[str, Open] = {
    "psycopg": by_psycopg,
    "psycopg2": by_psycopg2,
    "Session-psycopg": by_session("psycopg"),
    "Session-psycopg2": by_session("psycopg2"),
    "scoped_session": by_scoped_session,
    "Connection-psycopg": by_connection("psycopg"),
    "Connection-psycopg2": by_connection("psycopg2"),
}
"""Those without asyncio; Django's is apart, since it refuses to be used beside a running loop."""

CLIENTS: dict[str, Open] = {
    "asyncpg": by_asyncpg,
    "asyncpg-pool": by_asyncpg_pool,
    "psycopg-async": by_async_psycopg,
    "AsyncSession-asyncpg": by_async_session("asyncpg"),
    "AsyncSession-psycopg": by_async_session("psycopg"),
    "async_scoped_session": by_async_session("asyncpg", scoped=True),
    "AsyncConnection-asyncpg": by_async_connection("asyncpg"),
    "AsyncConnection-psycopg": by_async_connection("psycopg"),
    **PLAIN,
}

FEW: dict[str, Open] = {
    name: CLIENTS[name]
    for name in (
        "asyncpg",
        "psycopg-async",
        "AsyncSession-asyncpg",
        "AsyncSession-psycopg",
        "psycopg",
        "psycopg2",
        "Session-psycopg2",
    )
}
"""Every way that a statement is said."""


AUTOCOMMIT = ["asyncpg", "psycopg", "psycopg-async", "psycopg2", "Connection", "AsyncConnection"]


@asynccontextmanager
async def autocommit(kind: str, place: PostgresPlace) -> AsyncIterator[Any]:
    """A connection, one of `AUTOCOMMIT`, that is in no transaction."""
    if kind == "AsyncConnection":
        async with (
            async_alchemy(place, "asyncpg", isolation_level="AUTOCOMMIT") as engine,
            engine.connect() as connection,
        ):
            yield connection
    elif kind == "Connection":
        with (
            alchemy(place, "psycopg2", isolation_level="AUTOCOMMIT") as plain,
            plain.connect() as own,
        ):
            yield own
    else:
        async with CLIENTS[kind](place) as client:
            if kind == "psycopg-async":
                await client.connection.set_autocommit(True)
            elif kind != "asyncpg":
                client.connection.autocommit = True
            yield client.connection
