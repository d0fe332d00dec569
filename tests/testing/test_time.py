"""A day in milliseconds: on an ordinary loop, and on a virtual one, where handlers' waits count."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from backroom import Job, JobService, OptionError, Snooze
from backroom.testing import Jobs, Stuck, VirtualLoop, kit, run_virtual, virtual_time
from tests.testing.app import MAIL, Mail, Shop

MINUTE = timedelta(minutes=1)


async def day(shop: Shop, jobs: Jobs) -> None:
    """Retries, delays, snoozes and an expiry, each at its moment."""
    began, service = jobs.now, shop.service
    moments: dict[str, list[float]] = {"FLAKY": [], "LATE": [], "SNOOZE": []}

    async def note(job: Job[object]) -> None:
        moments[job.type].append((jobs.now - began).total_seconds())

    @service.handler("FLAKY", retries=3, retry_delay=60)
    async def flaky(job: Job[object]) -> None:
        await note(job)
        raise ValueError

    service.register_handler("LATE", note)

    @service.handler("SNOOZE")
    async def snooze(job: Job[object]) -> Snooze | None:
        await note(job)
        return Snooze(timedelta(hours=6)) if len(moments["SNOOZE"]) < 3 else None

    service.declare("NEVER")
    flaky_id = await service.schedule("FLAKY")
    await service.schedule("LATE", delay=timedelta(hours=23))
    await service.schedule("SNOOZE")
    stale = await service.schedule("NEVER", delay=7200, expires_in=3600)
    after = await service.schedule("LATE", delay=timedelta(hours=25))

    ran = await jobs.advance(timedelta(days=1))

    assert moments == {
        "FLAKY": [0, 60, 180, 420],
        "LATE": [23 * 3600],
        "SNOOZE": [0, 6 * 3600, 12 * 3600],
    }
    assert [job.type for job in ran] == ["FLAKY", "SNOOZE", "LATE"]
    assert jobs.now - began == timedelta(days=1)
    failed, expired = await service.get_job(flaky_id), await service.get_job(stale)
    assert (failed.status, failed.attempt) == ("failed", 4)
    assert (expired.status, expired.finished_at) == ("cancelled", began + timedelta(hours=1))
    assert await service.get_job_status(after) == "scheduled"


START = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_a_day_on_an_ordinary_loop(shop: Shop) -> None:
    real = time.monotonic()
    async with kit(shop.service, start=START) as jobs:
        await day(shop, jobs)
    assert time.monotonic() - real < 5


@virtual_time
async def test_a_day_on_a_virtual_loop(shop: Shop) -> None:
    real = time.monotonic()
    async with kit(shop.service, start=START) as jobs:
        await day(shop, jobs)
    assert time.monotonic() - real < 5


async def test_time_goes_on_between_the_calls_and_stands_within(shop: Shop, jobs: Jobs) -> None:
    seen: list[datetime] = []

    @shop.service.handler("LOOK")
    async def look(job: Job[object]) -> None:
        seen.append(jobs.now)
        await asyncio.sleep(0.01)
        seen.append(jobs.now)

    before = jobs.now
    await asyncio.sleep(0.01)
    await shop.service.schedule("LOOK", run_at=datetime.now(UTC))
    await jobs.drain()
    assert before < seen[0] == seen[1] <= jobs.now <= datetime.now(UTC)
    await jobs.advance(timedelta(days=1))
    assert timedelta(hours=24) <= jobs.now - seen[0] < timedelta(hours=25)


async def test_code_that_reads_the_real_clock_is_served(shop: Shop, jobs: Jobs) -> None:
    await asyncio.sleep(0.02)
    job_id = await shop.service.schedule(MAIL, Mail("x"), run_at=datetime.now(UTC) + MINUTE)
    await jobs.advance(59)
    assert await shop.service.get_job_status(job_id) == "scheduled"
    await jobs.advance(1)
    assert await shop.service.get_job_status(job_id) == "completed"


def test_a_moment_needs_its_zone(shop: Shop) -> None:
    with pytest.raises(OptionError, match="naive"):
        kit(shop.service, start=datetime(2026, 3, 1))


# -- virtual loops -------------------------------------------------------------------------------


@virtual_time
async def test_handlers_that_sleep_take_virtual_time(shop: Shop, jobs: Jobs) -> None:
    @shop.service.handler("SLEEP", timeout=timedelta(days=1))
    async def sleep(job: Job[object]) -> None:
        await asyncio.sleep(3600)

    began = jobs.now
    for _ in range(5):
        await shop.service.schedule("SLEEP")
    await jobs.drain()
    assert timedelta(hours=1) == jobs.now - began


@virtual_time
async def test_a_timeout_interrupts_a_handler(shop: Shop, jobs: Jobs) -> None:
    @shop.service.handler("HANG", timeout=30, retries=1, retry_delay=60)
    async def hang(job: Job[object]) -> None:
        await asyncio.Event().wait()

    began = jobs.now
    job_id = await shop.service.schedule("HANG")
    await jobs.advance(MINUTE * 5)
    job = await shop.service.get_job(job_id)
    assert [error.kind for error in job.errors] == ["timeout", "timeout"]
    assert job.finished_at == began + timedelta(seconds=30 + 60 + 30)
    assert jobs.now == began + MINUTE * 5


@virtual_time
async def test_other_code_of_the_test_wakes_in_its_time(shop: Shop, jobs: Jobs) -> None:
    seen: list[int] = []

    async def later() -> None:
        await asyncio.sleep(90)
        seen.append(len(shop.done))

    task = asyncio.create_task(later())
    for delay in (60, 120):
        await shop.service.schedule(MAIL, Mail("x"), delay=delay)
    await jobs.advance(MINUTE * 2)
    await task
    assert (seen, len(shop.done)) == ([1], 2)


@virtual_time
async def test_threads_get_their_real_time(shop: Shop, jobs: Jobs) -> None:
    @shop.service.handler("SLOW", timeout=3600)
    def slow(job: Job[object]) -> str:
        time.sleep(0.2)
        return "slept"

    await shop.service.schedule("SLOW")
    await shop.service.schedule("THREAD")
    assert sorted(job.result for job in await jobs.drain()) == ["done", "slept"]


@virtual_time
async def test_a_thread_that_outlasts_its_timeout_ends_the_drain_when_it_ends(
    shop: Shop, jobs: Jobs
) -> None:
    @shop.service.handler("STUBBORN", timeout=0.05, retries=0)
    def stubborn(job: Job[object]) -> None:
        while not job.cancelled:
            time.sleep(0.001)
        time.sleep(0.1)
        shop.done.append("ended")

    job_id = await shop.service.schedule("STUBBORN")
    await jobs.drain()
    assert shop.done == ["ended"]
    assert (await shop.service.get_job(job_id)).errors[0].kind == "timeout"


@virtual_time
async def test_executors_get_their_real_time() -> None:
    async with asyncio.timeout(60):
        await asyncio.to_thread(time.sleep, 0.05)


def test_run_virtual_passes_arguments_and_returns() -> None:
    async def main(base: int, *, add: int) -> tuple[int, bool]:
        await asyncio.sleep(86_400)
        return base + add, isinstance(asyncio.get_running_loop(), VirtualLoop)

    assert run_virtual(main, 40, add=2) == (42, True)


def test_a_wait_for_what_never_comes_is_an_error(shop: Shop) -> None:
    async def main() -> None:
        async with kit(shop.service):
            await shop.service.result(await shop.service.schedule(MAIL, Mail("x")))

    with (
        asyncio.Runner(loop_factory=lambda: VirtualLoop(most_jumps=100)) as runner,
        pytest.raises(Stuck, match="virtual seconds it still waits"),
    ):
        runner.run(main())


async def test_standing_alone_the_storage_serves_like_any_other(shop: Shop, jobs: Jobs) -> None:
    service = JobService(jobs.storage, poll_interval=0.05)
    ended = threading.Event()

    @service.handler("SOON")
    async def soon(job: Job[object]) -> None:
        ended.set()

    async with service:
        await service.result(await service.schedule("SOON", delay=0.05), timeout=10)
    assert ended.is_set()
