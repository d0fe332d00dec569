"""The same key, one job: through the service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backroom import (
    DuplicateJobError,
    Job,
    JobRequest,
    JobStateError,
    JobStatus,
    JobType,
    Unique,
)
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


# -- unique= ------------------------------------------------------------------------------------


async def test_the_last_of_many_calls_runs_once_some_time_after_it(world: World) -> None:
    """Debounce."""
    service = world.service()
    seen: list[tuple[int, float]] = []
    began = asyncio.get_running_loop().time()

    @service.handler("SYNC", unique=Unique(by="data.user", on_conflict="replace"))
    async def sync(job: Job[Any]) -> None:
        seen.append((job.data["n"], round(asyncio.get_running_loop().time() - began)))

    async with service:
        ids = set()
        for n in range(4):
            ids.add(await service.schedule("SYNC", {"user": 7, "n": n}, delay=5))
            await asyncio.sleep(2)
        other = await service.schedule("SYNC", {"user": 8, "n": 0})
        [one] = ids
        await service.result(one)
        await service.result(other)
    assert sorted(seen) == [(0, 8), (3, 11)]


async def test_at_most_one_job_runs_in_a_period(world: World) -> None:
    """Throttle."""
    service = world.service()
    runs: list[str] = []

    @service.handler("REPORT", unique=Unique(by="type", period=60))
    async def report(job: Job[Any]) -> None:
        runs.append(job.id)

    async with service:
        ids = []
        for n in range(10):
            ids.append(await service.schedule("REPORT", {"n": n}))
            await asyncio.sleep(20)
        await service.result(ids[-1])
    assert [ids.index(one) for one in runs] == [0, 3, 6, 9]


async def test_what_comes_while_a_job_runs_has_one_more(world: World) -> None:
    service = world.service(concurrency=1)
    runs: list[str] = []

    @service.handler("INDEX", unique=Unique(by="data.doc", until="start"))
    async def index(job: Job[Any]) -> None:
        runs.append(job.id)
        await asyncio.sleep(10)

    async with service:
        first = await service.schedule("INDEX", {"doc": "a"})
        await asyncio.sleep(1)
        # It waits in the lanes of the worker, or in the store: that makes no difference.
        later = [await service.schedule("INDEX", {"doc": "a"}) for _ in range(3)]
        await asyncio.sleep(1)
        later += [await service.schedule("INDEX", {"doc": "a"}) for _ in range(3)]
        [second] = set(later)
        await service.result(second)
    assert runs == [first, second]


async def test_a_key_that_is_held_is_told_with_who_holds_it(world: World) -> None:
    service = world.service()
    kind = JobType("PAY", dict[str, int], unique=Unique(by="data.order", on_conflict="raise"))
    first = await service.schedule(kind, {"order": 7}, delay=60)
    with pytest.raises(DuplicateJobError) as told:
        await service.schedule(kind, {"order": 7})
    assert str(told.value) == f"PAY: job {first} holds the unique key 'order=7'"
    assert (told.value.job_id, told.value.index) == (first, None)
    with pytest.raises(DuplicateJobError, match=f"job 1 of schedule_many: PAY: job {first}"):
        await service.schedule_many(
            [JobRequest(kind, {"order": 8}), JobRequest(kind, {"order": 7})]
        )
    with pytest.raises(DuplicateJobError) as told:
        await service.schedule_many([JobRequest(kind, {"order": 7})])
    assert told.value.index == 0
    assert [job.id for job in await service.get_jobs()] == [first]


async def test_what_a_call_says_counts_more_than_what_its_type_says(world: World) -> None:
    service = world.service()
    kind = JobType("PAY", dict[str, int], unique=Unique(by="data.order"))
    first = await service.schedule(kind, {"order": 7}, delay=60)
    assert await service.schedule(kind, {"order": 7}) == first
    other = await service.schedule(kind, {"order": 7}, unique_key="mine")
    assert other != first
    assert await service.schedule(kind, {"order": 8}, unique=Unique(key="mine")) == other
    infos = [await service.get_job(one) for one in (first, other)]
    assert [info.unique_key for info in infos] == ["order=7", "mine"]
    throttled = await service.schedule(kind, {"order": 9}, unique=Unique(by="data", period=9))
    info = await service.get_job(throttled)
    assert info.unique_key is not None
    assert info.unique_key.startswith("data ")
    assert info.options == {}
