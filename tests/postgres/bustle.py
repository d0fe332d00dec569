"""What the tests of faults share: a service at work, and books of what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from backroom import DatabaseJobStorage, Job, JobService
from backroom.errors import StorageError
from tests.process.parts import eventually_async, none_left
from tests.servers.fixtures import PostgresPlace
from tests.servers.proxy import Proxy

__all__ = ["Bustle", "audit", "by_way_of", "short"]


def by_way_of(proxy: Proxy, place: PostgresPlace, **options: Any) -> DatabaseJobStorage:
    """A store of this place behind a proxy, of little patience."""
    return short(DatabaseJobStorage(proxy.of(place.url), schema=place.schema, **options))


def short(storage: DatabaseJobStorage, answer: float = 1.0) -> DatabaseJobStorage:
    """It gives up a connection that does not answer after so many seconds, not after ten."""
    storage._links.answer = answer
    return storage


class Bustle:
    """A worker, and somebody who schedules job after job; whatever happens, they go on."""

    def __init__(
        self,
        storage: DatabaseJobStorage,
        *,
        lease: float = 30,
        every: float = 0.01,
        concurrency: int = 8,
        takes: float = 0.005,
        logs: bool = False,
    ) -> None:
        """`every`: seconds between two jobs, if the storage takes them so fast. `takes`: seconds
        that each of them takes. `logs`: each of them has a log."""
        self.service = JobService(storage, concurrency=concurrency, poll_interval=0.2, lease=lease)
        self.runs: Counter[int] = Counter()
        """How often the code of each job has run to its end."""
        self.kept: dict[int, str] = {}
        """Those whose schedule was acknowledged, and their ids."""
        self.unknown: list[StorageError] = []
        self.refused: dict[int, StorageError] = {}
        """Those of which it was said that nothing was changed."""
        self._every = every
        self._next = 0
        self._busy = True

        @self.service.handler("STEP", retries=3, retry_delay=0.05)
        async def step(job: Job[dict[str, Any]]) -> int:
            await asyncio.sleep(takes)
            if logs:  # An outcome with a log takes more than one statement.
                job.log.info("a step")
            self.runs[job.data["n"]] += 1
            return int(job.data["n"])

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """All is well at first, and some jobs have run; and at the end all have."""
        async with self.service:
            producer = asyncio.create_task(self._produce())
            try:
                await self.more(20)
                yield
                self._busy = False
                await producer
                await eventually_async(lambda: none_left(self.service), "all jobs have ended")
            finally:
                producer.cancel()
                await asyncio.wait([producer])

    async def _produce(self) -> None:
        while self._busy:
            await self.schedule()
            await asyncio.sleep(self._every)

    def pause(self) -> None:
        """Nobody schedules any more but who calls `schedule`."""
        self._busy = False

    async def schedule(self, more: dict[str, str] | None = None) -> int | None:
        """The number of the new job, if it was acknowledged."""
        number = self._next
        self._next += 1
        try:
            self.kept[number] = await self.service.schedule("STEP", {"n": number, **(more or {})})
        except StorageError as error:
            if "nothing was changed" in str(error):
                self.refused[number] = error
            else:
                self.unknown.append(error)
            return None
        return number

    async def more(self, count: int, within: float = 15.0) -> None:
        """So many more jobs have been scheduled and run."""
        wanted = len(self.runs) + count
        await eventually_async(lambda: len(self.runs) >= wanted, f"{count} more jobs", within)

    async def works_again(self, within: float = 5.0) -> float:
        """A job that is scheduled from now on runs within so many seconds; how long it took."""
        began = time.monotonic()
        first = self._next

        def done() -> bool:
            return any(number >= first for number in self.runs)

        await eventually_async(done, "it works again", within)
        return time.monotonic() - began


async def audit(bustle: Bustle, place: PostgresPlace) -> None:
    """Every job that was acknowledged ended well, once, at its first attempt; none that was
    refused is there; nobody holds a job any more."""
    link = await asyncpg.connect(place.url)
    try:
        await link.execute(f"SET search_path TO {place.schema}")

        held = await link.fetchval("SELECT count(*) FROM background_jobs_held")
        rows = await link.fetch(
            "SELECT j.id, (j.data::json->>'n')::int AS n, e.state, e.attempt, j.crashes"
            " FROM background_jobs j LEFT JOIN background_jobs_ended e USING (id)"
        )
    finally:
        await link.close()
    there = {row["n"]: row for row in rows}
    assert not held, "somebody holds a job that has ended"
    assert len(there) == len(rows), "a job is there twice"
    assert bustle.kept.keys() <= there.keys(), "an acknowledged job is lost"
    assert not bustle.refused.keys() & there.keys(), "a job is there that was refused"
    assert {row["state"] for row in rows} == {2}, "every job has completed"
    assert {(row["attempt"], row["crashes"]) for row in rows} == {(1, 0)}, "at its first attempt"
    assert {number: bustle.runs[number] for number in there} == dict.fromkeys(there, 1)
