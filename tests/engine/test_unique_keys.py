"""The same key, one job: through the service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backroom import Job, JobRequest, JobStateError, JobStatus
from tests.engine.world import World


async def test_a_live_job_answers_for_its_key(world: World) -> None:
    service = world.service()
    service.declare("NOTE")
    first = await service.schedule("NOTE", {"n": 1}, unique_key="a")
    assert await service.schedule("NOTE", {"n": 2}, unique_key="a") == first
    assert await service.schedule("NOTE", {"n": 3}, unique_key="b") != first
    assert await service.schedule("NOTE", {"n": 4}) != first
    info = await service.get_job(first)
    assert (info.data, info.unique_key) == ({"n": 1}, "a")


async def test_a_key_belongs_to_its_type(world: World) -> None:
    service = world.service()
    service.declare("NOTE")
    service.declare("OTHER")
    first = await service.schedule("NOTE", unique_key="a")
    assert await service.schedule("OTHER", unique_key="a") != first


async def test_a_key_is_taken_while_its_job_waits_runs_and_is_retried_and_free_after(
    world: World,
) -> None:
    service = world.service()

    @service.handler("NOTE", retries=1, retry_delay=10, backoff="fixed")
    async def note(job: Job[Any]) -> None:
        await asyncio.sleep(10)
        if job.attempt == 1:
            raise ConnectionError

    async with service:
        first = await service.schedule("NOTE", unique_key="a", delay=10)
        for _ in range(4):
            assert await service.schedule("NOTE", unique_key="a") == first
            await asyncio.sleep(9.5)
        await service.result(first)
        second = await service.schedule("NOTE", unique_key="a")
        assert second != first
        with pytest.raises(JobStateError, match="another live job of its type holds its unique"):
            await service.retry_job(first)
        await service.cancel_job(second)


async def test_a_hundred_callers_at_once_get_one_job(world: World) -> None:
    service = world.service()
    runs: list[str] = []

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        runs.append(job.id)
        await asyncio.sleep(5)

    async with service:
        ids = await asyncio.gather(*(service.schedule("NOTE", unique_key="a") for _ in range(100)))
        await asyncio.sleep(30)
    assert len(set(ids)) == 1
    assert runs == [ids[0]]


async def test_a_conflict_inside_a_batch_is_answered_not_refused(world: World) -> None:
    service = world.service()
    service.declare("NOTE")
    first = await service.schedule("NOTE", unique_key="a")
    ids = await service.schedule_many(
        [
            JobRequest("NOTE", unique_key="b"),
            JobRequest("NOTE", unique_key="a"),
            JobRequest("NOTE"),
            JobRequest("NOTE", unique_key="b"),
        ]
    )
    assert ids[1] == first
    assert ids[0] == ids[3]
    assert len({*ids}) == 3
    assert len(list(await service.get_jobs())) == 3


@pytest.mark.parametrize("end", ["cancel", "delete", "fail"])
async def test_a_key_outlives_no_job(world: World, end: str) -> None:
    service = world.service()

    @service.handler("NOTE", retries=0)
    async def note(job: Job[Any]) -> None:
        raise ConnectionError

    first = await service.schedule("NOTE", unique_key="a")
    if end == "cancel":
        assert await service.cancel_job(first) is JobStatus.CANCELLED
    elif end == "delete":
        await service.delete_job(first)
    else:
        async with service:
            await asyncio.sleep(1)
        await service.open()
    assert await service.schedule("NOTE", unique_key="a") != first
