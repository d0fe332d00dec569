"""Ticks with real workers, of which one is killed at the tick."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from backroom import JobService, ScheduleInfo, TickInfo
from tests.process.parts import Child, Family, eventually_async, none_left, scheduling

SECOND = timedelta(seconds=1)


async def ticks(service: JobService, name: str) -> list[TickInfo]:
    """Oldest first."""
    return list(await service.get_ticks(name, limit=1000))[::-1]


async def until_next(info: ScheduleInfo, before: float = 0.0) -> None:
    wait = (info.next_runs[0] - datetime.now(UTC)).total_seconds() - before
    await asyncio.sleep(max(0.0, wait))


@pytest.mark.crash
async def test_whoever_is_killed_at_the_tick_each_tick_has_one_job(family: Family) -> None:
    chance = random.Random(7)
    workers: list[Child] = [family.ready(), family.ready()]
    async with scheduling(family.jobs) as service:
        first = await service.every(1, "QUICK", name="beat")
        for round_ in range(8):
            info = await service.get_schedule("beat")
            await until_next(info, before=0.003)
            await asyncio.sleep(chance.random() * 0.02)
            workers[round_ % 2].kill()
            workers[round_ % 2] = family.ready()
        await service.pause_schedule("beat")
        await eventually_async(lambda: none_left(service), "all jobs have ended", 60)
        found = await ticks(service, "beat")
        assert len(found) >= 8
        starts = family.starts()
        moment = first.next_runs[0]
        for tick in found:
            assert tick.at == moment, "a tick is missing, or there twice"
            moment = tick.until + SECOND
            assert tick.outcome == "fired"
            assert tick.job is not None
            assert (await service.get_job(tick.job)).status == "completed"
            assert starts.pop(str(tick.job)) >= 1
        assert not starts, "jobs that belong to no tick"


async def test_a_worker_that_is_alone_makes_up_for_what_nobody_was_there_for(
    family: Family,
) -> None:
    async with scheduling(family.jobs) as service:
        await service.every(1, "QUICK", name="beat", missed="run_all")
        await asyncio.sleep(3.5)
        family.ready()
        await eventually_async(lambda: len(family.starts()) >= 4, "all have run")
        found = await ticks(service, "beat")
        assert [tick.outcome for tick in found[:4]] == ["fired"] * 4


async def test_a_schedule_of_another_process_is_heard_of_at_once(family: Family) -> None:
    """Also by a worker that saw none when it looked, and looks but seldom."""
    family.ready(poll_interval=60)
    async with scheduling(family.jobs) as service:
        info = await service.every(1, "QUICK", name="beat")
        await eventually_async(lambda: len(family.starts()) >= 2, "two have run", 10)
        found = await ticks(service, "beat")
        assert found[0].at == info.next_runs[0]
        for tick in found[:2]:
            assert tick.job is not None
            job = await service.get_job(tick.job)
            assert job.created_at - tick.at < timedelta(seconds=0.5)
