"""Which job is next: priority, then moment, then insertion; and nothing starves."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from backroom import Job, JobRequest, JobService, Priority
from backroom.job import PRIORITIES
from tests.engine.world import World


def recorder(world: World, service: JobService, seconds: float) -> list[tuple[str, Any]]:
    """What starts, in order: priority and number."""
    starts: list[tuple[str, Any]] = []

    @service.handler("WORK")
    async def work(job: Job[Any]) -> None:
        starts.append((job.priority, job.data.get("n")))
        await asyncio.sleep(seconds)

    return starts


async def test_priorities_are_strict(world: World) -> None:
    service = world.service(concurrency=1)
    starts = recorder(world, service, 1)
    order: list[Priority] = ["low", "normal", "critical", "high"] * 5
    await service.schedule_many(
        [JobRequest("WORK", {"n": n}, priority=p) for n, p in enumerate(order)]
    )
    async with service:
        await asyncio.sleep(25)
    expected = sorted(range(20), key=lambda n: (PRIORITIES.index(order[n]), n))
    assert [n for _, n in starts] == expected


async def test_within_a_priority_the_moment_counts_then_the_insertion(world: World) -> None:
    service = world.service(concurrency=1)
    starts = recorder(world, service, 1)
    now = world.clock.wall
    late = [JobRequest("WORK", {"n": n}, run_at=now - timedelta(seconds=n)) for n in range(5)]
    same = [JobRequest("WORK", {"n": n}) for n in range(10, 15)]
    await service.schedule_many([*same, *late])
    async with service:
        await asyncio.sleep(15)
    assert [n for _, n in starts] == [4, 3, 2, 1, 10, 11, 12, 13, 14, 0]


async def test_a_critical_job_overtakes_what_waits_inside_the_worker(world: World) -> None:
    service = world.service(concurrency=2)
    starts = recorder(world, service, 1)

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.001)

    async with service:
        await service.schedule_many([JobRequest("QUICK") for _ in range(400)])
        await service.schedule_many([JobRequest("WORK", {"n": n}) for n in range(40)])
        await asyncio.sleep(4)  # It has seen that the pace has fallen, in whatever turn.
        before = len(starts)
        await service.schedule("WORK", {"n": "now"}, priority="critical")
        await asyncio.sleep(20)
    assert [n for _, n in starts[before:]].index("now") <= 2


@pytest.mark.parametrize("source", ["storage", "this process"])
async def test_a_low_job_starts_in_bounded_time_under_99_percent_high_load(
    world: World, source: str
) -> None:
    """Two slots, jobs of a second, and as many high ones as the worker can do."""
    service = world.service(concurrency=2, starvation_after=60, poll_interval=60)
    feeder = service if source == "this process" else world.viewer
    feeder.declare("WORK")
    starts = recorder(world, service, 1)
    waits: list[float] = []

    @service.handler("LOW")
    async def low(job: Job[Any]) -> None:
        waits.append((world.clock.wall - job.run_at).total_seconds())
        await asyncio.sleep(1)

    async def feed() -> None:
        for n in range(600):
            for _ in range(2):
                await feeder.schedule("WORK", {"n": n}, priority="high")
            if n % 33 == 0:
                feeder.declare("LOW")
                await feeder.schedule("LOW", priority="low")
            await asyncio.sleep(1)

    async with service:
        await feed()
    assert len(starts) > 1000
    assert len(waits) >= 15
    assert 55 < max(waits) < 60 + 15


async def test_a_starving_job_is_found_behind_many_that_have_not_waited_so_long(
    world: World,
) -> None:
    service = world.service(concurrency=1, starvation_after=10)
    starts = recorder(world, service, 1)
    service.declare("WORK")
    await service.schedule("WORK", {"n": "old"}, priority="low")
    await asyncio.sleep(11)
    await service.schedule_many([JobRequest("WORK", {"n": n}, priority="high") for n in range(100)])
    async with service:
        await asyncio.sleep(20)
    assert [n for _, n in starts].index("old") <= 8


async def test_a_queue_that_always_has_work_does_not_starve_another(world: World) -> None:
    service = world.service(concurrency=1, starvation_after=30)
    starts: list[str] = []

    @service.handler("WORK")
    async def work(job: Job[Any]) -> None:
        starts.append(job.queue)
        await asyncio.sleep(1)

    async with service:
        await service.schedule_many([JobRequest("WORK", queue="a") for _ in range(200)])
        await service.schedule("WORK", queue="b")
        await asyncio.sleep(60)
    assert "b" in starts


async def test_a_starved_job_does_not_wait_for_inserts_that_pass_straight_to_the_worker(
    world: World,
) -> None:
    """One slot, and a caller who schedules the next critical job whenever one has ended."""
    service = world.service(concurrency=1, starvation_after=10)
    recorder(world, service, 1)
    low_started: list[float] = []

    @service.handler("LOW")
    async def low(job: Job[Any]) -> None:
        low_started.append(world.elapsed)

    async with service:
        job_id = await service.schedule("WORK", priority="critical")
        await service.schedule("LOW", priority="low")
        for _ in range(60):
            await service.result(job_id)
            job_id = await service.schedule("WORK", priority="critical")
        assert low_started
        assert low_started[0] < 40


async def test_a_flood_that_never_leaves_this_process_starves_nothing_in_the_storage(
    world: World,
) -> None:
    """At this pace the worker holds jobs ahead, and inserts pass into its lanes all the time."""
    service = world.service(concurrency=2, starvation_after=1)
    waits: list[float] = []

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.001)

    @service.handler("LOW")
    async def low(job: Job[Any]) -> None:
        waits.append((world.clock.wall - job.run_at).total_seconds())

    async def flood() -> None:
        for n in range(3000):
            for _ in range(3):
                await service.schedule("QUICK", priority="high")
            if n == 500:
                world.viewer.declare("LOW")
                await world.viewer.schedule("LOW", priority="low")
            await asyncio.sleep(0.001)

    async with service:
        await flood()
        assert len(waits) == 1
        assert waits[0] < 2
