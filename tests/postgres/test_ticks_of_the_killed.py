"""Workers that are killed at a tick, one or all of them: what they leave, others decide, once."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from backroom import DatabaseJobStorage, JobService, JobStatus, ScheduleInfo
from tests.process.parts import TYPES, Child, Family, eventually_async
from tests.servers.fixtures import PostgresPlace

pytestmark = pytest.mark.crash

SECOND = timedelta(seconds=1)


@pytest.fixture
async def service(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[JobService]:
    """Only schedules; the workers of the test have the same store."""
    place = {"connection": postgres_url.url, "schema": postgres_url.schema}
    monkeypatch.setenv("PROCESS_TEST_DATABASE", json.dumps(place))
    service = JobService(DatabaseJobStorage(**place))
    for name in TYPES:
        service.declare(name)
    yield service
    await service.stop()


async def until_tick(info: ScheduleInfo) -> None:
    left = (info.next_runs[0] - datetime.now(UTC)).total_seconds()
    await asyncio.sleep(max(0.0, left))


async def check(service: JobService, first: ScheduleInfo, type_: str) -> set[str]:
    """Each tick has one job that has ended, or says why it has none; no job has another tick.
    Returns what became of them."""
    moment, fired = first.next_runs[0], set[str]()
    ticks = list(await service.get_ticks(first.name, limit=1000))[::-1]
    for tick in ticks:
        assert tick.at == moment, f"a tick of {first.name} is missing, or there twice"
        moment = tick.until + SECOND
        assert (tick.job is None) == (tick.outcome != "fired")
        if tick.job is not None:
            fired.add(tick.job)
    jobs = await service.get_jobs(type=type_, limit=1000)
    assert {job.id for job in jobs} == fired
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    return {tick.outcome for tick in ticks}


async def test_whoever_is_killed_at_a_tick_each_has_one_job_or_says_why_not(
    service: JobService, family: Family
) -> None:
    chance = random.Random(7)
    workers: list[Child] = [family.ready(), family.ready()]
    beat = await service.every(1, "QUICK", name="beat")
    apart = await service.every(1, "NAP", {"seconds": 1.5}, name="apart", overlap="skip")
    for victims in ([0], [0, 1]):  # A job that is killed three times is poison.
        await until_tick(await service.get_schedule("beat"))
        await asyncio.sleep(chance.random() * 0.01)
        for victim in victims:
            workers[victim].kill()
        for victim in victims:
            workers[victim] = family.ready()
    await until_tick(await service.get_schedule("apart"))
    for schedule in (beat, apart):
        await service.pause_schedule(schedule.name)

    async def all_have_ended() -> bool:
        stats = await service.get_stats()
        return not stats.by_status["pending"] + stats.by_status["active"]

    await eventually_async(all_have_ended, "all jobs have ended", 60)
    assert await check(service, beat, "QUICK") == {"fired"}
    assert await check(service, apart, "NAP") <= {"fired", "overlap"}
