"""Schedules in a test of a user's: time that passes has their ticks fire."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backroom import Cron, Job, JobService, JobStatus
from backroom.testing import inline, kit, run_virtual

START = datetime(2026, 3, 28, 12, tzinfo=UTC)


def application() -> JobService:
    """A service with a schedule beside its handler."""
    service = JobService()

    @service.handler("DIGEST", cron=Cron("0 9 * * *", tz="Europe/Paris"))
    async def digest(job: Job[Any]) -> str:
        return str(job.metadata["tick"])

    @service.handler("POLL")
    def poll(job: Job[Any]) -> None:
        return None

    return service


async def test_time_that_passes_has_the_ticks_fire() -> None:
    service = application()
    async with kit(service, start=START) as jobs:
        assert await jobs.advance(timedelta(hours=1)) == []
        ran = await jobs.advance(timedelta(days=2))
        assert [job.result for job in ran] == ["2026-03-29T07:00:00Z", "2026-03-30T07:00:00Z"]
        assert jobs.now == START + timedelta(days=2, hours=1)
        jobs.assert_scheduled("DIGEST", count=2)
        assert [tick.outcome for tick in await service.get_ticks("DIGEST")] == ["fired"] * 2
    assert service._registry.schedules.keys() == {"DIGEST"}


async def test_nothing_comes_by_itself_while_no_time_passes() -> None:
    async with kit(application(), start=START) as jobs:
        assert await jobs.drain() == []
        jobs.assert_not_scheduled()


async def test_a_schedule_that_a_test_makes_fires_at_its_moments() -> None:
    service = application()
    async with kit(service, start=START) as jobs:
        await service.every(600, "POLL", {"n": 1}, name="poll")
        ran = await jobs.advance(3600)
        assert [job.run_at for job in ran] == [
            START + timedelta(minutes=10 * n) for n in range(1, 7)
        ]
        await service.pause_schedule("poll")
        assert await jobs.advance(3600) == []
        job_id = await service.run_schedule("poll")
        [job] = await jobs.drain()
        assert (job.id, job.status) == (job_id, JobStatus.COMPLETED)


async def test_a_job_that_takes_too_long_is_seen_by_the_next_tick() -> None:
    """With a retry 50 minutes later, the ticks that come meanwhile are skipped, or wait."""
    service = JobService(default_retry_delay=3000, default_retry_limit=1)

    @service.handler("FLAKY")
    async def flaky(job: Job[Any]) -> None:
        return None

    async with kit(service, start=START) as jobs:
        await service.cron("*/30 * * * *", "FLAKY", name="skips", overlap="skip")
        jobs.fail("FLAKY")
        await jobs.advance(timedelta(hours=2, seconds=1))
        ticks = await service.get_ticks("skips")
        assert [tick.outcome for tick in reversed(ticks)] == [
            "fired", "overlap", "fired", "fired",
        ]  # fmt: skip
        await service.delete_schedule("skips")
        await service.cron("*/30 * * * *", "FLAKY", name="waits", overlap="queue")
        jobs.fail("FLAKY")
        ran = await jobs.advance(timedelta(hours=2))
        assert [job.metadata["tick"][11:16] for job in ran] == ["14:30", "15:00", "15:30", "16:00"]
        waited = ran[1].started_at
        assert waited is not None
        assert (waited - START).total_seconds() == pytest.approx(3.3333 * 3600, abs=1)


def test_under_virtual_time_a_started_service_has_its_ticks() -> None:
    service = application()

    async def test() -> None:
        async with kit(service, start=START) as jobs, service:
            await service.every(600, "POLL", name="poll")
            await asyncio.sleep(3601)
            jobs.assert_scheduled("POLL", count=6)

    run_virtual(test)


async def test_an_inline_kit_runs_what_time_brings() -> None:
    service = application()
    async with inline(service, start=START) as jobs:
        await jobs.advance(86_400)
        jobs.assert_scheduled("DIGEST", count=1)


@pytest.mark.parametrize("times", [1, 2])
async def test_a_kit_leaves_nothing_of_a_schedule(times: int) -> None:
    service = application()
    for _ in range(times):
        async with kit(service, start=START) as jobs:
            await jobs.advance(86_400)
            assert len(await service.get_schedules()) == 1
