"""A worker that is to drain is told at once, and what each counted is one sum on the server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from backroom import DatabaseJobStorage, Job, JobRequest, JobService
from tests.servers.fixtures import PostgresPlace


async def test_a_worker_drains_at_once_and_the_other_runs_what_it_gives_back(
    place: PostgresPlace,
) -> None:
    services = [
        JobService(DatabaseJobStorage(place.url, schema=place.schema), concurrency=2, lease=60)
        for _ in range(2)
    ]
    ran: list[list[int]] = [[], []]
    released = asyncio.Event()
    for number, service in enumerate(services):

        @service.handler("WORK")
        async def work(job: Job[Any], number: int = number) -> None:
            ran[number].append(job.data["n"])
            await released.wait()

    draining, other = services
    async with draining:
        jobs = await draining.schedule_many([JobRequest("WORK", {"n": n}) for n in range(8)])
        while len(ran[0]) < 2:
            await asyncio.sleep(0.01)
        async with other:
            while len(ran[1]) < 2:
                await asyncio.sleep(0.01)
            first = next(
                one for one in await other.get_workers()
                if one.id == draining._worker._lease.worker  # type: ignore[union-attr]
            )  # fmt: skip
            assert first.alive
            asked = time.monotonic()
            await other.drain_worker(first.id)
            while not draining._worker.draining:  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
            assert time.monotonic() - asked < 5  # Its heartbeat is 15 s apart.
            released.set()
            await asyncio.gather(*(other.result(job, timeout=30) for job in jobs))
            assert len(ran[0]) == 2
            assert len(ran[1]) == 6
            seen = {one.id: one for one in await other.get_workers()}
            assert seen[first.id].draining
            assert seen[first.id].claimed == 0
    viewer = JobService(DatabaseJobStorage(place.url, schema=place.schema))
    [totals] = await viewer.get_totals()
    assert (totals.scheduled, totals.completed) == (8, 8)
    history = await viewer.get_history()
    assert sum(point.completed for point in history.points) == 8
    assert await viewer.get_workers() == []
    await viewer.stop()
