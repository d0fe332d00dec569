"""When jobs start: at once, after a delay, at a moment; whatever the wall clock does."""

from __future__ import annotations

import asyncio
from datetime import timedelta, timezone
from typing import Any

import pytest

from backroom import Job, JobService, JobStatus
from tests.engine.world import World


def recording(world: World, service: JobService, name: str = "NOTE") -> list[float]:
    """The moments at which jobs of a type start."""
    starts: list[float] = []

    @service.handler(name)
    async def note(job: Job[Any]) -> None:
        starts.append(world.elapsed)

    return starts


async def test_a_job_without_a_delay_starts_at_once(world: World) -> None:
    service = world.service()
    starts = recording(world, service)
    async with service:
        await service.result(await service.schedule("NOTE"))
    assert starts == [0]


@pytest.mark.parametrize("delay", [0.001, 0.75, 90, 3600.5, timedelta(hours=2)])
async def test_a_delayed_job_starts_at_its_moment(world: World, delay: float | timedelta) -> None:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    service = world.service(poll_interval=600)
    starts = recording(world, service)
    async with service:
        job_id = await service.schedule("NOTE", delay=delay)
        assert await service.get_job_status(job_id) is JobStatus.SCHEDULED
        await service.result(job_id)
    assert starts == pytest.approx([seconds], abs=1e-3)


async def test_run_at_says_the_moment_in_any_zone(world: World) -> None:
    service = world.service()
    starts = recording(world, service)
    moment = (world.clock.wall + timedelta(minutes=5)).astimezone(timezone(timedelta(hours=9)))
    async with service:
        job_id = await service.schedule("NOTE", run_at=moment)
        assert (await service.get_job(job_id)).run_at == moment
        await service.result(job_id)
    assert starts == pytest.approx([300], abs=1e-3)


async def test_a_moment_that_has_passed_is_now(world: World) -> None:
    service = world.service()
    starts = recording(world, service)
    async with service:
        job_id = await service.schedule("NOTE", run_at=world.clock.wall - timedelta(days=400))
        await service.result(job_id)
    assert starts == [0]


async def test_a_job_is_pending_from_its_moment_on_without_a_worker(world: World) -> None:
    service = world.service()
    service.declare("NOTE")
    job_id = await service.schedule("NOTE", delay=10)
    assert await service.get_job_status(job_id) is JobStatus.SCHEDULED
    await asyncio.sleep(10)
    assert await service.get_job_status(job_id) is JobStatus.PENDING


async def test_a_job_that_is_due_sooner_overtakes_the_next_look(world: World) -> None:
    service = world.service(poll_interval=3600)
    starts = recording(world, service)
    async with service:
        late = await service.schedule("NOTE", delay=1800)
        await asyncio.sleep(1)
        soon = await service.schedule("NOTE", delay=2)
        await service.result(soon)
        await service.result(late)
    assert starts == pytest.approx([3, 1800], abs=1e-3)


async def test_a_thousand_moments_are_all_kept(world: World) -> None:
    service = world.service(concurrency=50)
    starts: dict[float, float] = {}

    @service.handler("NOTE")
    async def note(job: Job[dict[str, float]]) -> None:
        starts[job.data["at"]] = world.elapsed

    async with service:
        moments = [n * 0.037 for n in range(1000)]
        for at in reversed(moments):
            await service.schedule("NOTE", {"at": at}, delay=at)
        await asyncio.sleep(40)
    assert len(starts) == 1000
    assert max(abs(at - start) for at, start in starts.items()) < 0.002


@pytest.mark.parametrize("step", [-3600, 3600])
async def test_a_step_of_the_wall_clock_harms_no_lease_and_no_job(world: World, step: int) -> None:
    service = world.service(lease=30)
    runs: list[int] = []

    @service.handler("LONG")
    async def long(job: Job[Any]) -> str:
        runs.append(job.attempt)
        await asyncio.sleep(120)
        return "done"

    async with service:
        job_id = await service.schedule("LONG", timeout=300)
        await asyncio.sleep(10)
        world.clock.step(step)
        assert await service.result(job_id) == "done"
        assert len((await service.get_stats()).workers) == 1
        assert await service.result(await service.schedule("LONG")) == "done"
    assert runs == [1, 1]
    assert world.elapsed == pytest.approx(240, abs=1)


async def test_a_job_waits_for_the_wall_clock_that_was_set_back(world: World) -> None:
    """`run_at` is a promise about the calendar: not before this moment, as the clock shows it."""
    service = world.service()
    starts = recording(world, service)
    async with service:
        job_id = await service.schedule("NOTE", delay=60)
        world.clock.step(-600)
        await service.result(job_id)
    assert starts == pytest.approx([660], abs=1.1)


async def test_a_job_starts_within_a_look_when_the_wall_clock_was_set_forward(
    world: World,
) -> None:
    service = world.service(poll_interval=1)
    starts = recording(world, service)
    async with service:
        job_id = await service.schedule("NOTE", delay=600)
        world.clock.step(3600)
        await service.result(job_id)
    assert starts[0] <= 1.1


async def test_a_job_that_has_not_started_in_time_is_cancelled_unstarted(world: World) -> None:
    service = world.service(concurrency=1)
    starts: list[str] = []

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        starts.append(job.data["name"])
        await asyncio.sleep(100)

    async with service:
        await service.schedule("NOTE", {"name": "first"})
        late = await service.schedule("NOTE", {"name": "late"}, expires_in=99)
        kept = await service.schedule("NOTE", {"name": "kept"}, expires_in=101)
        await service.result(kept)
        info = await service.get_job(late)
    assert starts == ["first", "kept"]
    assert (info.status, info.error) == (JobStatus.CANCELLED, "expired before it started")
    assert info.attempt == 0


async def test_a_job_that_nobody_serves_is_cancelled_when_it_expires(world: World) -> None:
    idle = world.service(only=["other"])
    world.viewer.declare("NOTE")
    waits = await world.viewer.schedule("NOTE", expires_in=50)
    async with idle:
        await asyncio.sleep(90)
        assert await idle.get_job_status(waits) is JobStatus.CANCELLED


async def test_a_job_that_has_started_does_not_expire_before_its_retry(world: World) -> None:
    """expires_in bounds the start, and it had started."""
    service = world.service()
    attempts: list[int] = []

    @service.handler("SHAKY", retries=1, retry_delay=100, backoff="fixed")
    async def shaky(job: Job[Any]) -> None:
        attempts.append(job.attempt)
        if job.attempt == 1:
            raise ConnectionError

    async with service:
        await service.result(await service.schedule("SHAKY", expires_in=50))
    assert attempts == [1, 2]
