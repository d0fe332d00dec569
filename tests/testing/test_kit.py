"""A service in a test's hands: its jobs run when the test says so, and it gets its own back."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from backroom import (
    ConfigurationError,
    Job,
    JobNotFoundError,
    JobService,
    JobStateError,
    MemoryJobStorage,
    ServiceError,
    Snooze,
)
from backroom.testing import Jobs, Stuck, TestStorage, inline, kit, run_virtual
from tests.testing.app import MAIL, Mail, Shop


async def test_scheduled_jobs_wait_for_a_drain(shop: Shop, jobs: Jobs) -> None:
    job_id = await shop.service.schedule(MAIL, Mail("welcome"))
    await asyncio.sleep(0.01)
    assert shop.done == []

    [ran] = await jobs.drain()

    assert (ran.id, ran.status, ran.result, ran.attempt) == (job_id, "completed", "sent", 1)
    assert shop.done == [("ada@example.com", 1)]
    assert await jobs.drain() == []


async def test_a_drain_runs_what_is_scheduled_meanwhile_and_what_is_retried_at_once(
    shop: Shop, jobs: Jobs
) -> None:
    @shop.service.handler("PARENT", retry_delay=0)
    async def parent(job: Job[dict[str, int]]) -> None:
        if job.attempt < 3:
            raise ValueError("not yet")
        for name in "ab":
            await shop.service.schedule(MAIL, Mail("welcome", name))

    await shop.service.schedule("PARENT", {})
    ran = await jobs.drain()
    assert [(job.type, job.attempt) for job in ran] == [("PARENT", 3), ("MAIL", 1), ("MAIL", 1)]
    assert shop.done == [("a", 1), ("b", 1)]


async def test_every_run_is_the_same(shop: Shop) -> None:
    async def run() -> list[object]:
        shop.done.clear()
        async with kit(shop.service) as jobs:
            for number in range(50):
                priority = ("critical", "high", "normal", "low")[number % 4]
                await shop.service.schedule(MAIL, Mail("x", str(number)), priority=priority)  # type: ignore[call-overload]
            await jobs.drain()
        return list(shop.done)

    first = await run()
    assert len(first) == 50
    assert [await run() for _ in range(3)] == [first] * 3


async def test_threads_are_waited_for(shop: Shop, jobs: Jobs) -> None:
    for _ in range(20):
        await shop.service.schedule("THREAD", {})
    assert [job.result for job in await jobs.drain()] == ["done"] * 20


async def test_run_makes_one_attempt_of_one_job_whatever_its_time(shop: Shop, jobs: Jobs) -> None:
    other = await shop.service.schedule(MAIL, Mail("x", "other"))
    late = await shop.service.schedule(MAIL, Mail("x", "late"), delay=3600)

    ran = await jobs.run(late)

    assert (ran.status, ran.attempt) == ("completed", 1)
    assert shop.done == [("late", 1)]
    assert await shop.service.get_job_status(other) == "pending"


async def test_what_a_job_schedules_does_not_run_with_it(shop: Shop, jobs: Jobs) -> None:
    @shop.service.handler("PARENT", retry_delay=0)
    async def parent(job: Job[dict[str, int]]) -> None:
        await shop.service.schedule(MAIL, Mail("welcome"))
        raise ValueError("again, at once")

    job = await jobs.run(await shop.service.schedule("PARENT", {}))
    assert (job.status, job.attempt) == ("pending", 1)
    assert shop.done == []
    await jobs.run(jobs.scheduled(MAIL)[0].id)
    assert shop.done == [("ada@example.com", 1)]


async def test_run_says_what_cannot_run(shop: Shop, jobs: Jobs) -> None:
    shop.service.declare("ORPHAN")
    with pytest.raises(JobNotFoundError):
        await jobs.run("no-such-job")
    with pytest.raises(ConfigurationError, match="ORPHAN has no handler"):
        await jobs.run(await shop.service.schedule("ORPHAN"))
    job_id = await shop.service.schedule(MAIL, Mail("x"))
    await jobs.run(job_id)
    with pytest.raises(JobStateError, match="is completed"):
        await jobs.run(job_id)


async def test_raise_errors_raises_what_the_handler_raised_and_records_it(
    shop: Shop, jobs: Jobs
) -> None:
    error = LookupError("no such user")

    @shop.service.handler("BAD", retries=0)
    async def bad(job: Job[object]) -> None:
        raise error

    job_id = await shop.service.schedule("BAD")
    with pytest.raises(LookupError) as raised:
        await jobs.drain(raise_errors=True)
    assert raised.value is error
    job = await shop.service.get_job(job_id)
    assert (job.status, job.error) == ("failed", "no such user")


async def test_planned_errors_are_not_raised(shop: Shop, jobs: Jobs) -> None:
    jobs.fail(MAIL)
    await shop.service.schedule(MAIL, Mail("x"))
    [job] = await jobs.drain(raise_errors=True)
    assert job.status == "scheduled"


async def test_jobs_that_breed_are_an_error_and_no_hang(
    shop: Shop, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backroom.testing.jobs.MOST", 100)

    @shop.service.handler("BREED")
    async def breed(job: Job[object]) -> None:
        await shop.service.schedule("BREED")

    await shop.service.schedule("BREED")
    with pytest.raises(Stuck, match="jobs are still due"):
        await jobs.drain()


async def test_a_handler_cannot_drain(shop: Shop, jobs: Jobs) -> None:
    @shop.service.handler("DRAIN", retries=0)
    async def drain(job: Job[object]) -> None:
        await jobs.drain()

    await shop.service.schedule("DRAIN")
    with pytest.raises(ServiceError, match="runs jobs already"):
        await jobs.drain(raise_errors=True)


async def test_results_can_be_awaited_across_drains(shop: Shop, jobs: Jobs) -> None:
    job_id = await shop.service.schedule(MAIL, Mail("x"), delay=60)
    waiting = asyncio.create_task(shop.service.result(job_id))
    await jobs.drain()
    assert not waiting.done()
    await jobs.advance(60)
    assert await waiting == "sent"


async def test_a_service_that_is_started_meanwhile_works_by_itself(shop: Shop, jobs: Jobs) -> None:
    async with shop.service:
        job_id = await shop.service.schedule(MAIL, Mail("x"))
        assert await shop.service.result(job_id, timeout=10) == "sent"
        late = await shop.service.schedule(MAIL, Mail("x"), delay=3600)
        await jobs.advance(3600)
        assert await shop.service.get_job_status(late) == "completed"
    assert len(jobs.scheduled()) == 2
    await shop.service.open()
    assert await shop.service.get_job_status(late) == "completed"


async def test_process_handlers_run_here(shop: Shop, jobs: Jobs) -> None:
    service = JobService(isolation="process")
    service.register_handler("SQUARE", square)
    async with kit(service) as jobs:
        await service.schedule("SQUARE", {"n": 7})
        [job] = await jobs.drain()
        assert job.result == 49


def square(job: Job[dict[str, int]]) -> int:
    return job.data["n"] ** 2


async def test_the_service_gets_its_own_back() -> None:
    storage = MemoryJobStorage()
    service = JobService(storage)
    service.declare("X")
    job_id = await service.schedule("X", {"mine": True})
    before = vars(service).copy()

    async def fails() -> None:
        async with kit(service):
            assert len(await service.get_jobs()) == 0
            await service.schedule("X")
            await service.stop()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    assert vars(service) == before
    [job] = await service.get_jobs()
    assert job.id == job_id
    await service.stop()


async def test_a_started_service_is_refused() -> None:
    service = JobService("memory:")
    async with service:
        with pytest.raises(ConfigurationError, match="is started"):
            kit(service).__enter__()


async def test_the_real_storage_is_never_opened(shop: Shop, jobs: Jobs) -> None:
    await shop.service.schedule(MAIL, Mail("x"))
    assert shop.service.storage is jobs.storage
    assert shop.service.storage.url == "memory:"


async def test_a_storage_may_be_looked_into_afterwards(shop: Shop) -> None:
    storage = TestStorage()
    async with kit(shop.service, storage=storage) as jobs:
        job_id = await shop.service.schedule(MAIL, Mail("x"))
        await jobs.drain()
    found = await storage.find(job_id, storage.clock.now())
    assert found is not None
    assert found.status == "completed"
    storage.forget()


def test_one_kit_serves_several_loops(shop: Shop, jobs: Jobs) -> None:
    async def once() -> None:
        await shop.service.schedule(MAIL, Mail("x"), delay=60)
        await jobs.advance(60)

    asyncio.run(once())
    run_virtual(once)
    asyncio.run(once())
    assert len(shop.done) == 3


async def test_nothing_else_is_logged_than_what_was_to_fail(
    shop: Shop, jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    jobs.fail(MAIL, times=2)
    jobs.kill(MAIL)
    jobs.kill("THREAD", when="after")
    await shop.service.schedule(MAIL, Mail("x"))
    await shop.service.schedule("THREAD")
    await jobs.advance(timedelta(days=1))
    told = [r.getMessage() for r in caplog.records if r.name.startswith("backroom")]
    assert len(told) == 2
    assert all("failed, again in" in line for line in told)  # Of the failures that were asked for.


# -- inline --------------------------------------------------------------------------------------


async def test_inline_jobs_run_before_schedule_returns(shop: Shop) -> None:
    async with inline(shop.service) as jobs:
        job_id = await shop.service.schedule(MAIL, Mail("x"))
        assert shop.done == [("ada@example.com", 1)]
        assert await shop.service.result(job_id) == "sent"
        await shop.service.schedule(MAIL, Mail("x"), delay=60)
        assert len(shop.done) == 1
        await jobs.advance(60)
        assert len(shop.done) == 2


async def test_inline_errors_are_recorded(shop: Shop) -> None:
    async with inline(shop.service):
        shop.service.register_handler("BAD", bad, retries=0)
        job_id = await shop.service.schedule("BAD")
        assert (await shop.service.get_job(job_id)).error == "division by zero"


async def test_inline_errors_may_be_raised(shop: Shop) -> None:
    async with inline(shop.service, raise_errors=True) as jobs:
        shop.service.register_handler("BAD", bad, retries=0)
        with pytest.raises(ZeroDivisionError):
            await shop.service.schedule("BAD")
        jobs.assert_scheduled("BAD", count=1)


async def bad(job: Job[object]) -> float:
    return 1 / 0


async def test_inline_jobs_may_schedule_and_await_others(shop: Shop) -> None:
    @shop.service.handler("PARENT")
    async def parent(job: Job[object]) -> object:
        return await shop.service.result(await shop.service.schedule(MAIL, Mail("x")), timeout=10)

    async with inline(shop.service):
        assert await shop.service.result(await shop.service.schedule("PARENT")) == "sent"


async def test_a_kit_may_begin_at_a_moment_and_stand(shop: Shop) -> None:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)

    @shop.service.handler("SNOOZE")
    async def snooze(job: Job[object]) -> Snooze | None:
        shop.done.append(jobs.now)
        return Snooze(60) if len(shop.done) < 3 else None

    async with kit(shop.service, start=start) as jobs:
        await asyncio.sleep(0.01)
        assert jobs.now == start
        await shop.service.schedule("SNOOZE")
        await jobs.advance(timedelta(hours=1))
        assert shop.done == [start + timedelta(minutes=n) for n in range(3)]
        assert jobs.now == start + timedelta(hours=1)
