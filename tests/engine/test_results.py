"""Waiting for a job's end."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backroom import (
    Job,
    JobCancelledError,
    JobFailedError,
    JobId,
    JobNotFoundError,
    JobService,
    JobStatus,
    JobType,
    JobTypeError,
    ServiceStoppedError,
    StorageError,
)
from tests.engine.world import World, forever


@dataclass
class Numbers:
    values: list[int]


@dataclass
class Sum:
    total: int
    count: int


ADD = JobType("ADD", Numbers, result=Sum)


async def add(job: Job[Numbers]) -> Sum:
    await asyncio.sleep(1)
    return Sum(sum(job.data.values), len(job.data.values))


async def test_a_result_comes_back_as_its_type(world: World) -> None:
    service = world.service()
    service.register_handler(ADD, add)
    async with service:
        result = await service.result(await service.schedule(ADD, Numbers([1, 2, 3])))
    assert result == Sum(6, 3)


async def test_a_result_without_a_type_comes_back_as_plain_json(world: World) -> None:
    service = world.service()

    @service.handler("ANY")
    async def any_(job: Job[Any]) -> Any:
        return Sum(6, 3)

    async with service:
        assert await service.result(await service.schedule("ANY")) == {"total": 6, "count": 3}


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False, 1.5, "ü\0", [{"a": None}]])
async def test_every_json_value_is_a_result(world: World, value: Any) -> None:
    service = world.service()

    @service.handler("ANY")
    async def any_(job: Job[Any]) -> Any:
        return value

    async with service:
        job_id = await service.schedule("ANY")
        assert await service.result(job_id) == value
        assert (await service.get_job(job_id)).result == value


async def test_a_result_is_told_to_those_who_wait_and_to_those_who_come_later(
    world: World,
) -> None:
    service = world.service()
    service.register_handler(ADD, add)
    async with service:
        job_id = await service.schedule(ADD, Numbers([4]))
        waiting = [asyncio.create_task(service.result(job_id)) for _ in range(50)]
        assert await asyncio.gather(*waiting) == [Sum(4, 1)] * 50
        assert world.elapsed == 1
        assert await service.result(job_id, timeout=0) == Sum(4, 1)
        await service.stop()
    viewer = world.viewer
    viewer.declare(ADD)
    assert await viewer.result(job_id) == Sum(4, 1)


async def test_a_service_that_runs_nothing_is_told_at_once(world: World) -> None:
    service, viewer = world.service(), world.service(poll_interval=3600)
    service.register_handler(ADD, add)
    viewer.declare(ADD)
    async with service:
        job_id = await viewer.schedule(ADD, Numbers([4]))
        assert await viewer.result(job_id) == Sum(4, 1)
    assert world.elapsed == pytest.approx(1, abs=0.01)


async def test_a_failed_job_tells_its_last_error(world: World) -> None:
    service = world.service()

    @service.handler("FAILS", retries=2, retry_delay=1)
    async def fails(job: Job[Any]) -> None:
        raise ConnectionError(f"attempt {job.attempt} refused")

    async with service:
        with pytest.raises(JobFailedError, match=r"^attempt 3 refused$"):
            await service.result(await service.schedule("FAILS"))


async def test_a_wait_may_end_before_its_job(world: World) -> None:
    service = world.service()

    @service.handler("SLOW", timeout=300)
    async def slow(job: Job[Any]) -> str:
        await asyncio.sleep(100)
        return "done"

    async with service:
        job_id = await service.schedule("SLOW")
        with pytest.raises(TimeoutError, match=rf"job {job_id} had not ended after 5 s"):
            await service.result(job_id, timeout=5)
        assert world.elapsed == 5
        assert await service.get_job_status(job_id) is JobStatus.ACTIVE
        assert await service.result(job_id) == "done"


async def test_one_wait_that_ends_early_leaves_the_others(world: World) -> None:
    service = world.service()
    service.register_handler(ADD, add)
    async with service:
        job_id = await service.schedule(ADD, Numbers([4]))
        patient = asyncio.create_task(service.result(job_id))
        hasty = asyncio.create_task(service.result(job_id))
        gone = asyncio.create_task(service.result(job_id, timeout=0.5))
        await asyncio.sleep(0.1)
        hasty.cancel()
        with pytest.raises(TimeoutError):
            await gone
        assert await patient == Sum(4, 1)
        assert hasty.cancelled()


async def test_an_unknown_job_is_an_error_not_a_wait(world: World) -> None:
    service = world.service()
    unknown: JobId[Any] = JobId("00000000-0000-7000-8000-000000000000")
    async with service:
        for ask in (service.result, service.get_job, service.get_job_status, service.cancel_job):
            with pytest.raises(JobNotFoundError, match=unknown):
                await ask(unknown)


async def test_a_job_that_is_deleted_meanwhile_is_not_waited_for(world: World) -> None:
    service = world.service(poll_interval=1)
    service.declare("NOTE")
    job_id = await service.schedule("NOTE")
    waiting = asyncio.create_task(service.result(job_id))
    await asyncio.sleep(0.1)
    await service.delete_job(job_id)
    with pytest.raises(JobNotFoundError):
        await waiting


async def test_a_wait_goes_on_while_its_job_is_retried(world: World) -> None:
    service = world.service()

    @service.handler("SHAKY", retries=3, retry_delay=10, backoff="fixed")
    async def shaky(job: Job[Any]) -> str:
        if job.attempt < 4:
            raise ConnectionError("down")
        return "up"

    async with service:
        assert await service.result(await service.schedule("SHAKY")) == "up"
    assert world.elapsed == pytest.approx(30, abs=0.1)


async def test_a_job_that_an_operator_retries_has_a_new_end(world: World) -> None:
    service = world.service()
    up = False

    @service.handler("SHAKY", retries=0)
    async def shaky(job: Job[Any]) -> str:
        await asyncio.sleep(1)
        if not up:
            raise ConnectionError("down")
        return "up"

    async with service:
        job_id = await service.schedule("SHAKY")
        with pytest.raises(JobFailedError):
            await service.result(job_id)
        up = True
        await service.retry_job(job_id)
        assert await service.result(job_id) == "up"


async def test_a_result_that_does_not_fit_the_type_of_the_one_who_asks_says_so(
    world: World,
) -> None:
    @dataclass
    class Other:
        words: str

    service, viewer = world.service(), world.service()
    service.register_handler(ADD, add)
    viewer.declare("ADD", Numbers, Other)
    async with service:
        job_id = await service.schedule(ADD, Numbers([1]))
        await service.result(job_id)
        with pytest.raises(JobTypeError, match=r"ADD: .*`?words`? at \$ of the result"):
            await viewer.result(JobId(job_id))


async def test_stop_tells_those_who_wait(world: World) -> None:
    """A cancelled wait would look as if its own task had been cancelled."""
    service = world.service()
    service.register_handler("SLOW", forever)
    await service.start()
    job_id = await service.schedule("SLOW")
    waiting = asyncio.create_task(service.result(job_id))
    await asyncio.sleep(1)
    await service.stop(grace=0)
    with pytest.raises(ServiceStoppedError):
        await waiting


async def test_a_cancelled_job_tells_its_reason(world: World) -> None:
    service = world.service()
    service.declare("NOTE")
    job_id = await service.schedule("NOTE", delay=60)
    waiting = asyncio.create_task(service.result(job_id))
    await asyncio.sleep(1)
    await service.cancel_job(job_id)
    with pytest.raises(JobCancelledError, match="cancelled by request"):
        await waiting
    assert world.elapsed < 2


async def test_a_wait_outlives_an_error_of_the_storage(world: World) -> None:
    service, viewer = world.service(), world.service(world.faults.store, poll_interval=5)
    service.register_handler(ADD, add)
    viewer.declare(ADD)
    job_id = await viewer.schedule(ADD, Numbers([4]))
    waiting = asyncio.create_task(viewer.result(job_id))
    await asyncio.sleep(1)
    world.faults.fail("outlook", "before", times=3)
    async with service:
        assert await asyncio.wait_for(waiting, 60) == Sum(4, 1)


async def test_what_ends_while_others_are_looked_at_is_told_at_once(world: World) -> None:
    """Its wake-up comes while the answer of that look is on its way."""
    service, viewer = world.service(), world.service(world.faults.store, poll_interval=3600)
    service.register_handler(ADD, add)
    viewer.declare(ADD)
    async with service:
        second = await viewer.schedule(ADD, Numbers([2]), delay=1)
        waiting = asyncio.create_task(viewer.result(second))
        await asyncio.sleep(0.5)
        answer = world.faults.keep_back("outlook")
        first = await viewer.schedule(ADD, Numbers([1]))
        await answer.applied.wait()
        assert await service.result(first) == Sum(1, 1)
        assert await service.result(second) == Sum(2, 1)
        answer.send()
        assert await asyncio.wait_for(waiting, 10) == Sum(2, 1)


@pytest.mark.parametrize("error", [RuntimeError("odd"), TimeoutError(), KeyError("gone")])
async def test_a_wait_outlives_whatever_a_look_raises(world: World, error: Exception) -> None:
    service, viewer = world.service(), world.service(world.faults.store, poll_interval=5)
    service.register_handler(ADD, add)
    viewer.declare(ADD)
    job_id = await viewer.schedule(ADD, Numbers([4]))
    waiting = asyncio.create_task(viewer.result(job_id))
    await asyncio.sleep(1)
    world.faults.fail("outlook", "before", times=3, error=error)
    async with service:
        assert await asyncio.wait_for(waiting, 60) == Sum(4, 1)


@pytest.mark.parametrize("timeout", [None, 60])
async def test_a_storage_that_times_out_is_no_timeout_of_the_wait(
    world: World, timeout: float | None
) -> None:
    viewer = world.service(world.faults.store)
    viewer.declare(ADD)
    job_id = await viewer.schedule(ADD, Numbers([4]))
    world.faults.fail("outlook", "before", error=TimeoutError("the storage is slow"))
    with pytest.raises(TimeoutError, match=r"^the storage is slow$"):
        await viewer.result(job_id, timeout=timeout)


@pytest.mark.parametrize(("timeout", "ends"), [(5, 5), (0, 1)])
async def test_a_storage_that_does_not_answer_does_not_prolong_a_wait(
    world: World, timeout: float, ends: float
) -> None:
    viewer = world.service(world.faults.store)
    viewer.declare(ADD)
    job_id = await viewer.schedule(ADD, Numbers([4]))
    world.faults.keep_back("outlook")
    with pytest.raises(TimeoutError, match=f"job {job_id} had not ended after {timeout} s"):
        await viewer.result(job_id, timeout=timeout)
    assert world.elapsed == ends


async def test_a_timeout_of_zero_asks_how_a_job_stands(world: World) -> None:
    """Also where the answer takes its time."""
    service, viewer = world.service(), world.service(world.faults.store)
    service.register_handler(ADD, add)
    viewer.declare(ADD)
    async with service:
        job_id = await service.schedule(ADD, Numbers([4]))
        with pytest.raises(TimeoutError, match="had not ended after 0 s"):
            await viewer.result(job_id, timeout=0)
        await service.result(job_id)
        answer = world.faults.keep_back("outlook")
        world.loop.call_later(0.5, answer.send)
        assert await viewer.result(job_id, timeout=0) == Sum(4, 1)


@pytest.mark.parametrize("url", ["memory:", "file:"])
@pytest.mark.parametrize("stopped", [True, False])
def test_a_service_waits_on_every_loop_it_is_used_on(
    tmp_path: Path, url: str, stopped: bool
) -> None:
    if url == "file:":
        url += str(tmp_path)
    # A poll would hide a wake-up that is lost.
    service = JobService(url, poll_interval=3600)
    service.declare("NOTE")

    async def use() -> None:
        job_id = await service.schedule("NOTE", delay=60)
        waiting = asyncio.create_task(service.result(job_id))
        left = asyncio.create_task(service.result(await service.schedule("NOTE", delay=60)))
        await asyncio.sleep(0.1)
        await service.cancel_job(job_id)
        with pytest.raises(JobCancelledError):
            await asyncio.wait_for(waiting, 10)
        assert not left.done()
        if stopped:
            await service.stop()
            with pytest.raises(ServiceStoppedError):
                await left
            await service.open()

    for _ in range(2):
        asyncio.run(use())
    asyncio.run(service.stop())


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1", True])
async def test_a_timeout_that_is_none_is_refused(world: World, timeout: Any) -> None:
    service = world.service()
    service.declare("NOTE")
    job_id = await service.schedule("NOTE")
    with pytest.raises(ValueError, match="timeout must be"):
        await service.result(job_id, timeout=timeout)


async def test_a_look_that_fails_after_the_job_was_deleted_leaves_nothing_unsaid(
    world: World,
) -> None:
    """What the others had found meanwhile is nobody's to hear; the loop shall not report it."""
    service = world.service(world.faults.store, poll_interval=1)
    service.declare("NOTE")
    job_id = await service.schedule("NOTE", delay=60)
    late = world.faults.keep_back("outlook", error=StorageError("its answer was lost"))

    async def ask() -> bool:
        try:
            await service.result(job_id)
        except StorageError:
            return True
        return False

    asking = asyncio.create_task(ask())
    await late.applied.wait()
    await service.delete_job(job_id)
    await asyncio.sleep(5)
    late.send()
    assert await asking
    gc.collect()
    assert world.loop.unhandled == []
