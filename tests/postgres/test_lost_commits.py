"""`job.transaction()` where the answer to COMMIT is lost, or who waits for it is interrupted."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from backroom import (
    DatabaseJobStorage,
    Job,
    JobService,
)
from backroom.storage.postgres import along
from backroom.storage.postgres.drivers import Asyncpg
from backroom.transition import Transition
from tests.postgres.clients import orders
from tests.postgres.completions import order, worker_service
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace

__all__ = ["worker_service"]


@pytest.mark.parametrize("stands", [True, False])
async def test_whether_it_stands_is_asked_where_the_answer_was_lost(
    place: PostgresPlace, service: JobService, stands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, lost = Asyncpg.commit, []

    async def cut(self: Asyncpg) -> None:
        if lost:
            return await commit(self)
        lost.append(1)
        if stands:
            await commit(self)
        self.given.terminate()
        raise ConnectionResetError("cut")

    monkeypatch.setattr(Asyncpg, "commit", cut)
    after: list[int] = []

    @service.handler("ORDER", retries=1)
    async def buy(job: Job[Any]) -> None:
        async with job.transaction(result=job.attempt) as connection:
            await connection.execute(order(place, f"tea of attempt {job.attempt}"))
            job.log.info("in attempt %d", job.attempt)
        after.append(job.attempt)

    await service.start()
    job_id = await service.schedule("ORDER", {})
    attempt = 1 if stands else 2
    assert await service.result(job_id, timeout=10) == attempt
    assert await orders(place) == [f"tea of attempt {attempt}"]
    assert after == [attempt]
    info = await service.get_job(job_id)
    assert info.attempt == attempt
    assert [line.message for line in info.log] == [f"in attempt {n + 1}" for n in range(attempt)]


async def test_a_commit_that_never_comes_is_not_waited_for_long(
    place: PostgresPlace, service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has the transaction open still, of a client that it hears no more of."""
    commit, lost = Asyncpg.commit, []

    async def cut(self: Asyncpg) -> None:
        if lost:
            return await commit(self)
        lost.append(1)
        raise ConnectionResetError("cut")

    monkeypatch.setattr(Asyncpg, "commit", cut)
    monkeypatch.setattr(along, "PATIENCE", "500ms")

    @service.handler("ORDER", retries=1)
    async def buy(job: Job[Any]) -> None:
        async with job.transaction(result=job.attempt) as connection:
            await connection.execute(order(place, f"tea of attempt {job.attempt}"))

    await service.start()
    assert await service.result(await service.schedule("ORDER", {}), timeout=8) == 2
    assert await orders(place) == ["tea of attempt 2"]


async def test_a_commit_that_is_on_its_way_is_waited_for(
    place: PostgresPlace, service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is given up while the server still has the transaction open; it commits after
    the question was put."""
    commit = Asyncpg.commit
    late: list[asyncio.Task[None]] = []
    stood = DatabaseJobStorage.stood
    asked = asyncio.Event()

    async def cut(self: Asyncpg) -> None:
        async def later() -> None:
            await asked.wait()
            async with asyncio.timeout(10):  # Until the question waits for it.
                watcher = await asyncpg.connect(place.url)
                while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.01)
                await watcher.close()
            await commit(self)

        late.append(asyncio.create_task(later()))
        raise ConnectionResetError("cut")

    async def ask(self: DatabaseJobStorage, transition: Transition) -> bool:
        asked.set()
        return await stood(self, transition)

    monkeypatch.setattr(Asyncpg, "commit", cut)
    monkeypatch.setattr(DatabaseJobStorage, "stood", ask)

    @service.handler("ORDER", retries=0)
    async def buy(job: Job[Any]) -> None:
        async with job.transaction(result="tea") as connection:
            await connection.execute(order(place, "tea"))

    await service.start()
    assert await service.result(await service.schedule("ORDER", {}), timeout=15) == "tea"
    await asyncio.gather(*late)
    assert await orders(place) == ["tea"]


@pytest.mark.parametrize("way", ["timeout", "release"])
async def test_who_is_interrupted_while_it_commits_has_committed(
    place: PostgresPlace, service: JobService, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Asyncpg.commit
    committing, go = asyncio.Event(), asyncio.Event()

    async def slow(self: Asyncpg) -> None:
        committing.set()
        await go.wait()
        await commit(self)

    monkeypatch.setattr(Asyncpg, "commit", slow)
    stopped: list[str] = []

    @service.handler("ORDER", retries=3, timeout=0.5 if way == "timeout" else 60)
    async def buy(job: Job[Any]) -> None:
        try:
            async with job.transaction(result="tea") as connection:
                await connection.execute(order(place, "tea"))
        except asyncio.CancelledError:
            stopped.append(job.id)
            raise

    await service.start()
    job_id = await service.schedule("ORDER", {})
    await asyncio.wait_for(committing.wait(), 10)
    running = next(iter(service._worker._runner.running.values()))  # type: ignore[union-attr]
    stopping = asyncio.create_task(service.stop(0)) if way == "release" else None
    await eventually_async(lambda: running.why == way, "it was interrupted")
    for _ in range(50):  # Turns of the loop: whoever did not wait would have gone.
        await asyncio.sleep(0)
    assert stopped == []
    go.set()
    await eventually_async(lambda: stopped == [job_id], "the handler was interrupted")
    if stopping is not None:
        await stopping
        await service.open()
    assert await service.result(job_id, timeout=10) == "tea"
    info = await service.get_job(job_id)
    assert (info.status, info.attempt, info.result) == ("completed", 1, "tea")
    assert await orders(place) == ["tea"]
