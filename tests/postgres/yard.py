"""What the tests of the PostgreSQL storage share: a bench with ids of its own, and a connection
beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from backroom import DatabaseJobStorage
from backroom.identity import JobIds
from backroom.storage.postgres.history import History, Part
from tests.contract.parts import Bench, SettableClock
from tests.servers.fixtures import PostgresPlace

__all__ = ["Yard", "a_yard"]


class Yard:
    """A store in a place of its own, and who looks over its fence."""

    def __init__(self, place: PostgresPlace, retention: float | None) -> None:
        self.place = place
        self.clock = SettableClock()
        self.retention = retention
        self.storages: list[DatabaseJobStorage] = []
        self.side: asyncpg.Connection

    async def bench(self) -> Bench:
        """One more process at the same jobs."""
        storage = DatabaseJobStorage(
            self.place.url, schema=self.place.schema, retention=self.retention, clock=self.clock
        )
        await storage.open()
        self.storages.append(storage)
        bench = Bench(storage, self.clock)
        bench._ids = JobIds()
        return bench

    async def connect(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(self.place.url)
        await connection.execute(f"SET search_path = {self.place.schema}")
        return connection

    async def ask(self, sql: str, *arguments: Any) -> Any:
        """What one statement says, where it says one thing."""
        return await self.side.fetchval(sql, *arguments)

    async def table_of(self, job: str) -> str:
        """Which table a job is in."""
        name = await self.ask(
            "SELECT tableoid::regclass::text FROM background_jobs WHERE id = $1", job
        )
        return str(name).removeprefix("background_jobs_")

    def history(self) -> History:
        return self.storages[0]._retaining._history

    async def parts(self) -> list[Part]:
        return await self.storages[0]._links.run(self.history().look)


@asynccontextmanager
async def a_yard(place: PostgresPlace, retention: float | None) -> AsyncIterator[Yard]:
    yard = Yard(place, retention)
    yard.side = await yard.connect()
    try:
        yield yard
    finally:
        await yard.side.close()
        for storage in yard.storages:
            await storage.close()
