"""Operators limit queues while workers run, over what code says, until they take that away."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from backroom import Concurrency, Job, JobService, OptionError
from tests.engine.test_limits import Meter
from tests.engine.world import World


def working(world: World, meter: Meter, **options: Any) -> JobService:
    jobs = world.service(**{"concurrency": 20, **options})

    @jobs.handler("WORK")
    async def work(job: Job[Any]) -> None:
        await meter.run(job.queue)

    return jobs


async def limit(world: World, most: int | None) -> None:
    """And the workers have heard of it."""
    await world.viewer.limit_queue("default", most)
    await asyncio.sleep(0.1)


async def run(jobs: JobService, count: int = 30) -> None:
    ids = [await jobs.schedule("WORK") for _ in range(count)]
    for id_ in ids:
        await jobs.result(id_, timeout=20)


async def test_no_more_jobs_of_a_queue_run_at_once_than_an_operator_says(world: World) -> None:
    meter = Meter()
    jobs = working(world, meter)
    async with jobs:
        await limit(world, 3)
        await run(jobs)
        assert meter.most == {"default": 3}
        [found] = await world.viewer.get_limits()
        assert (found.queue, found.most, found.own, found.used) == ("default", 3, 3, 0)


async def test_it_holds_for_jobs_that_were_there_before_and_for_workers_that_come_later(
    world: World,
) -> None:
    meter = Meter()
    producer = world.service()
    producer.declare("WORK")
    async with producer:
        ids = [await producer.schedule("WORK") for _ in range(20)]
    await world.viewer.limit_queue("default", 2)
    jobs = working(world, meter)
    async with jobs:
        for id_ in ids:
            await jobs.result(id_, timeout=20)
    assert meter.most == {"default": 2}


async def test_it_holds_over_the_number_of_the_code_and_that_one_again_when_it_is_taken_away(
    world: World,
) -> None:
    meter = Meter()
    jobs = working(world, meter)
    jobs.limit("default", Concurrency(5))
    async with jobs:
        await run(jobs)
        assert meter.most == {"default": 5}
        for most, own in ((2, 2), (8, 8), (None, None)):
            meter.most.clear()
            await limit(world, most)
            await run(jobs, 40)
            assert meter.most == {"default": most or 5}
            [found] = await jobs.get_limits()
            assert (found.most, found.own) == (most or 5, own)


async def test_a_queue_that_code_does_not_limit_has_none_when_the_operator_s_is_taken_away(
    world: World,
) -> None:
    meter = Meter()
    jobs = working(world, meter)
    async with jobs:
        await limit(world, 1)
        await run(jobs, 5)
        await limit(world, None)
        meter.most.clear()
        await run(jobs, 60)
        assert meter.most["default"] > 5
        assert await jobs.get_limits() == []


async def test_what_runs_when_the_limit_comes_goes_on_and_counts(world: World) -> None:
    meter, gate = Meter(), asyncio.Event()
    jobs = world.service(concurrency=20)

    @jobs.handler("WORK")
    async def work(job: Job[Any]) -> None:
        meter.now[0] = meter.now.get(0, 0) + 1
        await gate.wait()
        meter.now[0] -= 1

    async with jobs:
        for _ in range(4):
            await jobs.schedule("WORK")
        while meter.now.get(0) != 4:
            await asyncio.sleep(0.01)
        await limit(world, 5)
        for _ in range(4):
            await jobs.schedule("WORK")
        await asyncio.sleep(1)
        assert meter.now[0] == 5
        gate.set()


@pytest.mark.parametrize("most", [0, -1, 10_001, 1.5, True, "3"])
async def test_a_limit_that_is_none_is_refused(world: World, most: Any) -> None:
    with pytest.raises(OptionError, match="1 to 10,000"):
        await world.viewer.limit_queue("default", most)
    assert await world.viewer.get_limits() == []


@pytest.mark.parametrize("most", [2, 7, 50])
async def test_what_workers_have_claimed_ahead_of_a_limit_runs_within_it_and_without_a_pause(
    world: World, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    meter, starts = Meter(), list[float]()
    jobs = world.service(concurrency=8)

    @jobs.handler("WORK")
    async def work(job: Job[Any]) -> None:
        starts.append(world.elapsed)
        await meter.run(job.queue, 0.2)

    async with jobs:
        ids = [await jobs.schedule("WORK") for _ in range(120)]
        while len(starts) < 20:
            await asyncio.sleep(0.01)
        await limit(world, most)
        await asyncio.sleep(0.3)  # What ran when it came has ended.
        meter.most.clear()
        for id_ in ids:
            await jobs.result(id_, timeout=60)
        assert meter.most == {"default": min(most, 8)}
        [found] = await jobs.get_limits()
        assert (found.used, found.blocked) == (0, 0)
    assert len(starts) == 120
    pauses = [after - before for before, after in pairwise(starts)]
    assert max(pauses) < 1
    assert not [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")]
