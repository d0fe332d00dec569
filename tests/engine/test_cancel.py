"""People cancel jobs: before they start, while they wait in a worker, while they run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backroom import Job, JobCancelledError, JobRequest, JobStatus
from tests.engine.world import World, forever


async def test_a_pending_job_is_cancelled_at_once(world: World) -> None:
    service = world.service()
    service.declare("NOTE")
    job_id = await service.schedule("NOTE")
    assert await service.cancel_job(job_id) is JobStatus.CANCELLED
    info = await service.get_job(job_id)
    assert (info.status, info.error, info.attempt) == (
        JobStatus.CANCELLED, "cancelled by request", 0,
    )  # fmt: skip
    assert info.finished_at == world.clock.wall


async def test_a_scheduled_job_is_cancelled_at_once_and_never_starts(world: World) -> None:
    service = world.service()
    starts: list[str] = []

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        starts.append(job.id)

    async with service:
        job_id = await service.schedule("NOTE", delay=10)
        assert await service.cancel_job(job_id) is JobStatus.CANCELLED
        await asyncio.sleep(60)
    assert starts == []


async def test_a_running_coroutine_is_interrupted(world: World) -> None:
    service = world.service()
    told: list[bool] = []

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> None:
        try:
            await forever(job)
        finally:
            told.append(job.cancelled)

    async with service:
        job_id = await service.schedule("SLOW")
        await asyncio.sleep(1)
        await service.cancel_job(job_id)
        with pytest.raises(JobCancelledError, match=r"^cancelled by request$"):
            await service.result(job_id)
        info = await service.get_job(job_id)
    assert told == [True]
    assert world.elapsed == pytest.approx(1, abs=0.1)
    assert (info.status, info.errors, info.attempt) == (JobStatus.CANCELLED, (), 1)


async def test_a_job_that_waits_for_its_retry_is_cancelled_at_once(world: World) -> None:
    service = world.service()

    @service.handler("FAILS", retries=5, retry_delay=60)
    async def fails(job: Job[Any]) -> None:
        raise ConnectionError("down")

    async with service:
        job_id = await service.schedule("FAILS")
        await asyncio.sleep(1)
        assert await service.cancel_job(job_id) is JobStatus.CANCELLED
        await asyncio.sleep(600)
        assert (await service.get_job(job_id)).attempt == 1


async def test_a_job_that_ended_keeps_its_status(world: World) -> None:
    service = world.service()

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> str:
        return "done"

    async with service:
        job_id = await service.schedule("NOTE")
        await service.result(job_id)
        assert await service.cancel_job(job_id) is JobStatus.COMPLETED
        assert await service.result(job_id) == "done"


async def test_a_result_that_is_there_when_the_cancel_comes_wins(world: World) -> None:
    """The handler returns in the very turn in which it is told to stop."""
    service = world.service()
    finish = asyncio.Event()

    @service.handler("RACE")
    async def race(job: Job[Any]) -> str:
        await finish.wait()
        return "done"

    async with service:
        job_id = await service.schedule("RACE")
        await asyncio.sleep(1)
        finish.set()
        await service.cancel_job(job_id)
        outcomes: list[Any] = []
        try:
            outcomes.append(await service.result(job_id))
        except JobCancelledError as error:
            outcomes.append(error)
        status = await service.get_job_status(job_id)
        # One outcome, whichever it is, and it stays.
        await asyncio.sleep(60)
        assert await service.get_job_status(job_id) is status
    if status is JobStatus.COMPLETED:
        assert outcomes == ["done"]
    else:
        assert status is JobStatus.CANCELLED
        assert isinstance(outcomes[0], JobCancelledError)


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancel_at_any_turn_around_the_end_leaves_one_outcome_and_a_free_slot(
    world: World, turns: int
) -> None:
    service = world.service(concurrency=1)

    @service.handler("RACE")
    async def race(job: Job[Any]) -> str:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "done"

    async with service:
        job_id = await service.schedule("RACE")
        for _ in range(turns):
            await asyncio.sleep(0)
        await service.cancel_job(job_id)
        try:
            assert await service.result(job_id, timeout=60) == "done"
            expected = JobStatus.COMPLETED
        except JobCancelledError:
            expected = JobStatus.CANCELLED
        await asyncio.sleep(30)
        assert await service.get_job_status(job_id) is expected
        assert await service.result(await service.schedule("RACE"), timeout=60) == "done"


async def test_a_handler_may_refuse_to_be_cancelled_by_returning(world: World) -> None:
    service = world.service()

    @service.handler("PAY")
    async def pay(job: Job[Any]) -> str:
        try:
            await forever(job)
        except asyncio.CancelledError:
            await asyncio.sleep(2)  # The money has left already.
        return "paid"

    async with service:
        job_id = await service.schedule("PAY")
        await asyncio.sleep(1)
        assert await service.cancel_job(job_id) is JobStatus.ACTIVE
        assert await service.result(job_id) == "paid"


async def test_a_cancelled_job_whose_handler_then_fails_is_cancelled_not_retried(
    world: World,
) -> None:
    service = world.service()

    @service.handler("SLOW", retries=5)
    async def slow(job: Job[Any]) -> None:
        try:
            await forever(job)
        except asyncio.CancelledError:
            raise ConnectionError("while tidying up") from None

    async with service:
        job_id = await service.schedule("SLOW")
        await asyncio.sleep(1)
        await service.cancel_job(job_id)
        with pytest.raises(JobCancelledError, match=r"^cancelled by request$"):
            await service.result(job_id, timeout=600)
        assert (await service.get_job(job_id)).status is JobStatus.CANCELLED


async def test_code_that_ignores_its_cancel_loses_the_attempt(world: World) -> None:
    service = world.service(concurrency=2)
    obey = asyncio.Event()

    @service.handler("STUBBORN")
    async def stubborn(job: Job[Any]) -> None:
        while not obey.is_set():
            try:
                await obey.wait()
            except asyncio.CancelledError:
                continue

    async with service:
        job_id = await service.schedule("STUBBORN")
        await asyncio.sleep(1)
        await service.cancel_job(job_id)
        with pytest.raises(JobCancelledError):
            await service.result(job_id, timeout=60)
        obey.set()


async def test_a_job_that_waits_inside_the_worker_ends_without_having_started(
    world: World,
) -> None:
    """Claimed ahead, but not begun: nobody would understand if it started after its cancel."""
    service = world.service(concurrency=2, lease=60)
    starts: list[str] = []
    go = asyncio.Event()

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.001)

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> None:
        starts.append(job.id)
        await go.wait()

    async with service:
        # Quick jobs make the worker claim ahead; then slow ones fill what it holds.
        await service.schedule_many([JobRequest("QUICK") for _ in range(400)])
        slow_ids = await service.schedule_many([JobRequest("SLOW") for _ in range(20)])
        await asyncio.sleep(1)
        assert len(starts) == 2
        held = [
            info.id for info in await service.get_jobs(status="active") if info.id not in starts
        ]
        assert len(held) >= 3, "the worker holds no job ahead: this test shows nothing"
        for job_id in held[:3]:
            await service.cancel_job(job_id)
        await asyncio.sleep(0.1)
        for job_id in held[:3]:
            assert await service.get_job_status(job_id) is JobStatus.CANCELLED
        go.set()
        await asyncio.sleep(60)
        assert len(starts) == len(slow_ids) - 3
        assert not set(starts) & set(held[:3])


async def test_cancelling_many_ends_what_waits_and_interrupts_what_runs(world: World) -> None:
    service = world.service(concurrency=5)

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> None:
        await forever(job)

    @service.handler("OTHER")
    async def other(job: Job[Any]) -> None:
        await asyncio.sleep(1)

    async with service:
        ids = await service.schedule_many([JobRequest("SLOW", tags=["big"]) for _ in range(20)])
        survivor = await service.schedule("OTHER")
        await asyncio.sleep(1)
        assert await service.cancel_jobs(tag="big") == 20
        await asyncio.sleep(1)
        statuses = {await service.get_job_status(job_id) for job_id in ids}
        assert statuses == {JobStatus.CANCELLED}
        await service.result(survivor)


async def test_a_job_is_cancelled_while_a_worker_that_does_not_know_it_parks_it(
    world: World,
) -> None:
    service = world.service(world.faults.store)
    viewer = world.viewer
    viewer.declare("NEW")
    async with service:
        await asyncio.sleep(1)
        answer = world.faults.keep_back("claim")
        job_id = await viewer.schedule("NEW")
        await answer.applied.wait()
        assert await viewer.cancel_job(job_id) is JobStatus.ACTIVE
        answer.send()
        await asyncio.sleep(1)
        info = await viewer.get_job(job_id)
    assert (info.status, info.error) == (JobStatus.CANCELLED, "cancelled by request")


async def test_other_services_can_cancel_what_runs_here(world: World) -> None:
    service = world.service()

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> None:
        await forever(job)

    async with service:
        job_id = await service.schedule("SLOW")
        await asyncio.sleep(1)
        await world.viewer.cancel_job(job_id)
        with pytest.raises(JobCancelledError):
            await world.viewer.result(job_id, timeout=10)


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancel_at_any_turn_around_the_begin_leaves_one_outcome_and_a_free_slot(
    world: World, turns: int
) -> None:
    """Also where the handler has been begun, but has not yet had its first turn."""
    service = world.service(concurrency=1)
    go = asyncio.Event()

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.001)

    @service.handler("GATE")
    async def gate(job: Job[Any]) -> None:
        await go.wait()

    service.register_handler("VICTIM", forever)
    async with service:
        await service.schedule_many([JobRequest("QUICK") for _ in range(300)])
        await service.schedule("GATE")
        victims = await service.schedule_many([JobRequest("VICTIM") for _ in range(3)])
        await asyncio.sleep(0.6)
        status = [await service.get_job_status(job_id) for job_id in victims]
        assert JobStatus.ACTIVE in status, "the worker holds no job ahead: this shows nothing"
        cancelling = [asyncio.create_task(service.cancel_job(job_id)) for job_id in victims]
        for _ in range(turns):
            await asyncio.sleep(0)
        go.set()
        await asyncio.gather(*cancelling)
        await service.result(await service.schedule("QUICK"), timeout=60)
        for job_id in victims:
            assert await service.get_job_status(job_id) is JobStatus.CANCELLED
