"""`def` handlers: real threads, which nobody can interrupt."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from backroom import Job, JobCancelledError, JobFailedError, JobStatus
from tests.engine.world import World
from tests.virtual import Gate


async def test_a_plain_function_runs_in_a_thread_of_its_own(world: World) -> None:
    service = world.service()

    @service.handler("WHERE")
    def where(job: Job[Any]) -> list[Any]:
        return [threading.current_thread().name, threading.current_thread().daemon]

    async with service:
        with world.loop.hold():
            name, daemon = await service.result(await service.schedule("WHERE"))
    assert name.startswith("backroom-handler-")
    assert daemon


async def test_as_many_threads_run_at_once_as_there_are_slots(world: World) -> None:
    service = world.service(concurrency=3)
    together = threading.Barrier(3)

    @service.handler("MEET")
    def meet(job: Job[Any]) -> int:
        return together.wait(5)

    async with service:
        with world.loop.hold():
            ids = [await service.schedule("MEET") for _ in range(6)]
            places = [await service.result(job_id) for job_id in ids]
    assert sorted(places) == [0, 0, 1, 1, 2, 2]


async def test_a_thread_that_is_out_of_time_loses_its_attempt_and_keeps_its_slot(
    world: World,
) -> None:
    service = world.service(concurrency=1)
    gate = Gate()
    told: list[bool] = []

    @service.handler("SLOW", timeout=5, retries=0)
    def slow(job: Job[Any]) -> str:
        gate.wait()
        told.append(job.cancelled)
        return "too late"

    @service.handler("NEXT")
    async def next_(job: Job[Any]) -> str:
        return "next"

    async with service:
        late = await service.schedule("SLOW")
        await gate.reached()
        after = await service.schedule("NEXT")
        with pytest.raises(JobFailedError, match="timed out after 5 s"):
            await service.result(late)
        assert world.elapsed == pytest.approx(5)
        await asyncio.sleep(60)
        assert await service.get_job_status(after) is JobStatus.PENDING
        gate.open()
        with world.loop.hold():
            assert await service.result(after) == "next"
        assert (await service.get_job(late)).result is None
    assert told == [True]


async def test_an_overdue_thread_and_its_retry_do_not_mix(world: World) -> None:
    service = world.service(concurrency=2)
    first, second = Gate(), Gate()

    @service.handler("SLOW", timeout=5, retries=1, retry_delay=1, backoff="fixed")
    def slow(job: Job[Any]) -> str:
        (first if job.attempt == 1 else second).wait()
        return f"attempt {job.attempt}"

    async with service:
        job_id = await service.schedule("SLOW")
        await first.reached()
        await asyncio.sleep(6)
        await second.reached()
        first.open()  # The first one returns while the second one runs ...
        await first.left()
        assert await service.get_job_status(job_id) is JobStatus.ACTIVE
        second.open()  # ... whose end is recorded all the same.
        with world.loop.hold():
            assert await service.result(job_id) == "attempt 2"
        for _ in range(4):
            with world.loop.hold():
                assert await service.result(await service.schedule("SLOW")) == "attempt 1"


async def test_a_thread_whose_job_is_cancelled_is_told_so(world: World) -> None:
    service = world.service(concurrency=1)
    gate = Gate()
    told: list[bool] = []

    @service.handler("SLOW")
    def slow(job: Job[Any]) -> str:
        told.append(job.cancelled)
        gate.wait()
        told.append(job.cancelled)
        return "all the same"

    async with service:
        job_id = await service.schedule("SLOW")
        await gate.reached()
        assert await service.cancel_job(job_id) in (JobStatus.ACTIVE, JobStatus.CANCELLED)
        with pytest.raises(JobCancelledError, match="cancelled by request"):
            await service.result(job_id)
        gate.open()
        await gate.left()
        assert await service.get_job_status(job_id) is JobStatus.CANCELLED
    assert told == [False, True]


async def test_a_failing_thread_fails_like_any_other_handler(world: World) -> None:
    service = world.service()

    @service.handler("FAILS", retries=0)
    def fails(job: Job[Any]) -> None:
        raise OSError("disk on fire")

    async with service:
        job_id = await service.schedule("FAILS")
        with world.loop.hold(), pytest.raises(JobFailedError, match="disk on fire"):
            await service.result(job_id)
        [error] = (await service.get_job(job_id)).errors
    assert error.kind == "OSError"
    assert 'raise OSError("disk on fire")' in (error.traceback or "")


async def test_a_thread_can_tell_its_progress_and_write_lines(world: World) -> None:
    service = world.service()
    gate = Gate()

    @service.handler("SLOW")
    def slow(job: Job[Any]) -> None:
        job.progress(0.5, "half way")
        job.log.info("from %s", "a thread")
        gate.wait()

    async with service:
        job_id = await service.schedule("SLOW")
        await gate.reached()
        await asyncio.sleep(1)
        info = await service.get_job(job_id)
        gate.open()
        with world.loop.hold():
            await service.result(job_id)
    assert (info.progress, info.progress_message) == (0.5, "half way")
    assert [line.message for line in info.log] == ["from a thread"]


async def test_stop_leaves_a_thread_that_runs_on_its_lease(world: World) -> None:
    """Its job must not run elsewhere while its code still runs here."""
    service, other = world.service(lease=30), world.service()
    gate = Gate()
    starts: list[str] = []

    @service.handler("SLOW", retries=0)
    def slow(job: Job[Any]) -> None:
        starts.append("here")
        gate.wait()

    @other.handler("SLOW", retries=0)
    def again(job: Job[Any]) -> str:
        starts.append("there")
        return "there"

    await service.start()
    job_id = await service.schedule("SLOW")
    await gate.reached()
    assert await service.stop(grace=10) is False
    async with other:
        await asyncio.sleep(300)
        info = await other.get_job(job_id)
    assert starts == ["here"]
    assert (info.status, info.attempt) == (JobStatus.ACTIVE, 0)  # it comes back uncharged
    gate.open()
    await gate.left()
