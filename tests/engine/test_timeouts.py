"""How long one attempt may take, and what becomes of code that does not obey."""

from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from typing import Any

import pytest

from backroom import Job, JobFailedError, JobRequest, JobStatus
from backroom.runner import Deadlines
from tests.engine.world import World, forever


async def test_an_attempt_that_is_out_of_time_is_interrupted(world: World) -> None:
    service = world.service()
    interrupted: list[tuple[float, bool]] = []

    @service.handler("SLOW", timeout=5, retries=0)
    async def slow(job: Job[Any]) -> None:
        try:
            await forever(job)
        finally:
            interrupted.append((world.elapsed, job.cancelled))

    async with service:
        job_id = await service.schedule("SLOW")
        with pytest.raises(JobFailedError, match=r"^timed out after 5 s$"):
            await service.result(job_id)
        [error] = (await service.get_job(job_id)).errors
    assert interrupted == [(5, True)]
    assert error.kind == "timeout"


async def test_an_attempt_that_is_out_of_time_is_retried(world: World) -> None:
    service = world.service()
    attempts: list[float] = []

    @service.handler("SLOW", timeout=5, retries=2, retry_delay=10, backoff="fixed")
    async def slow(job: Job[Any]) -> str:
        attempts.append(world.elapsed)
        if job.attempt < 3:
            await forever(job)
        return "at last"

    async with service:
        assert await service.result(await service.schedule("SLOW")) == "at last"
    assert attempts == pytest.approx([0, 15, 30], abs=0.01)


async def test_a_job_knows_its_deadline(world: World) -> None:
    service = world.service()
    left: list[timedelta] = []

    @service.handler("SLOW", timeout=timedelta(minutes=2))
    async def slow(job: Job[Any]) -> None:
        left.append(job.deadline - world.clock.wall)

    async with service:
        await service.result(await service.schedule("SLOW"))
    assert left == [timedelta(minutes=2)]


async def test_many_timeouts_are_each_kept(world: World) -> None:
    service = world.service(concurrency=200)
    ends: dict[float, float] = {}

    @service.handler("SLOW", retries=0)
    async def slow(job: Job[Any]) -> None:
        try:
            await forever(job)
        finally:
            ends[job.data["timeout"]] = world.elapsed

    async with service:
        for n in range(1, 201):
            await service.schedule("SLOW", {"timeout": n / 4}, timeout=n / 4)
        await asyncio.sleep(60)
    assert len(ends) == 200
    assert max(abs(timeout - end) for timeout, end in ends.items()) < 0.001


async def test_a_handler_that_ends_in_time_while_it_is_interrupted_has_ended(
    world: World,
) -> None:
    service = world.service()

    @service.handler("TIDY", timeout=5, retries=0)
    async def tidy(job: Job[Any]) -> str:
        try:
            await forever(job)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return "tidied up"

    async with service:
        assert await service.result(await service.schedule("TIDY")) == "tidied up"


async def test_code_that_ignores_its_timeout_loses_the_attempt_and_keeps_the_slot(
    world: World,
) -> None:
    """The store must not wait for code that never ends; the slot must, or twice as much would
    run as was allowed."""
    service = world.service(concurrency=1)
    obey = asyncio.Event()
    starts: list[tuple[str, float]] = []

    @service.handler("STUBBORN", timeout=5, retries=0)
    async def stubborn(job: Job[Any]) -> str:
        starts.append(("stubborn", world.elapsed))
        while not obey.is_set():
            try:
                await obey.wait()
            except asyncio.CancelledError:
                continue
        return "nobody asks any more"

    @service.handler("NEXT")
    async def next_(job: Job[Any]) -> None:
        starts.append(("next", world.elapsed))

    async with service:
        bad, after = await service.schedule("STUBBORN"), await service.schedule("NEXT")
        with pytest.raises(JobFailedError, match="timed out after 5 s"):
            await service.result(bad)
        assert 5 < world.elapsed < 15
        await asyncio.sleep(50)
        assert await service.get_job_status(after) is JobStatus.PENDING
        obey.set()
        await service.result(after)
        assert await service.get_job_status(bad) is JobStatus.FAILED
        assert len((await service.get_job(bad)).errors) == 1
    assert [name for name, _ in starts] == ["stubborn", "next"]


async def test_an_overdue_attempt_and_its_retry_do_not_mix(world: World) -> None:
    """The same worker runs the retry while the first attempt's code still runs."""
    service = world.service(concurrency=2)
    obey = asyncio.Event()

    @service.handler("STUBBORN", timeout=5, retries=1, retry_delay=1, backoff="fixed")
    async def stubborn(job: Job[Any]) -> str:
        if job.attempt == 1:
            while not obey.is_set():
                try:
                    await obey.wait()
                except asyncio.CancelledError:
                    continue
            return "the first"
        obey.set()
        await asyncio.sleep(2)
        return "the second"

    async with service:
        job_id = await service.schedule("STUBBORN")
        assert await service.result(job_id, timeout=60) == "the second"
        info = await service.get_job(job_id)
        assert (info.status, info.attempt) == (JobStatus.COMPLETED, 2)
        # Both slots are free again.
        for other in [await service.schedule("STUBBORN") for _ in range(2)]:
            assert await service.result(other, timeout=60) == "the first"


async def test_a_timeout_shorter_than_a_turn_of_the_loop_is_a_timeout(world: World) -> None:
    service = world.service(concurrency=1)

    @service.handler("SLOW", timeout=1e-9, retries=0)
    async def slow(job: Job[Any]) -> None:
        await forever(job)

    async with service:
        for _ in range(3):
            with pytest.raises(JobFailedError, match="timed out"):
                await service.result(await service.schedule("SLOW"), timeout=60)


async def test_the_time_of_an_attempt_begins_with_its_code(world: World) -> None:
    service = world.service(concurrency=2)

    @service.handler("BLOCKS")
    async def blocks(job: Job[Any]) -> None:
        world.loop.jump(5)

    @service.handler("QUICK", timeout=1, retries=0)
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.5)

    async with service:
        ids = await service.schedule_many([JobRequest("BLOCKS"), JobRequest("QUICK")])
        for job_id in ids:
            await service.result(job_id, timeout=60)


async def test_a_handler_that_raises_cancelled_error_by_itself_has_failed(world: World) -> None:
    service = world.service()

    @service.handler("ODD", retries=0)
    async def odd(job: Job[Any]) -> None:
        raise asyncio.CancelledError("not by us")

    async with service:
        job_id = await service.schedule("ODD")
        with pytest.raises(JobFailedError, match="not by us"):
            await service.result(job_id, timeout=60)


async def test_timeouts_that_are_all_different_leave_nothing_behind(world: World) -> None:
    """Callers compute them: what is left until some deadline."""
    service = world.service(concurrency=50)

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        return

    async with service:
        before = count(Deadlines)
        for n in range(500):
            await service.schedule("QUICK", timeout=1 + n / 1000)
        await asyncio.sleep(10)
        assert count(Deadlines) <= before + 1


def count(kind: type) -> int:
    gc.collect()
    # By its type: what an object says of its class itself may do anything.
    return sum(type(thing) is kind for thing in gc.get_objects())


async def test_groups_of_long_timeouts_that_are_all_different_are_forgotten(world: World) -> None:
    """Long before their time is over: it may be years."""
    service = world.service()

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        return

    async with service:
        for n in range(300):
            await service.result(await service.schedule("QUICK", timeout=10**6 + n), timeout=60)
        assert count(Deadlines) <= 70
