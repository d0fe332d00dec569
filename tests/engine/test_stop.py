"""Start and stop: nothing is lost, nothing is charged, and every call is safe to repeat."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from backroom import (
    Job,
    JobFailedError,
    JobRequest,
    JobService,
    JobStatus,
    ServiceStoppedError,
    StorageError,
    StorageFullError,
)
from tests.engine.world import World, forever
from tests.virtual import Gate


async def test_running_jobs_end_within_the_grace_period(world: World) -> None:
    service = world.service()

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> str:
        await asyncio.sleep(20)
        return "done"

    await service.start()
    job_id = await service.schedule("SLOW")
    await asyncio.sleep(1)
    assert await service.stop(grace=30) is True
    assert world.elapsed == pytest.approx(20, abs=0.1)
    info = await world.look(job_id)
    assert (info.status, info.result, info.attempt) == (JobStatus.COMPLETED, "done", 1)


async def test_a_job_that_does_not_end_in_time_is_released_and_costs_no_attempt(
    world: World,
) -> None:
    service, other = world.service(), world.service()
    told: list[bool] = []

    @service.handler("SLOW", retries=0)
    async def slow(job: Job[Any]) -> None:
        try:
            await forever(job)
        finally:
            told.append(job.cancelled)

    @other.handler("SLOW", retries=0)
    async def again(job: Job[Any]) -> int:
        return job.attempt

    await service.start()
    job_id = await service.schedule("SLOW")
    await asyncio.sleep(1)
    assert await service.stop(grace=10) is True
    assert world.elapsed == pytest.approx(11, abs=0.1)
    info = await world.look(job_id)
    assert (info.status, info.attempt, info.errors) == (JobStatus.PENDING, 0, ())
    assert told == [True]
    async with other:
        assert await other.result(job_id) == 1


async def test_jobs_that_have_not_begun_are_given_back_untouched(world: World) -> None:
    service = world.service(concurrency=2)

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.001)

    @service.handler("SLOW", retries=0)
    async def slow(job: Job[Any]) -> None:
        await asyncio.sleep(5)

    await service.start()
    await service.schedule_many([JobRequest("QUICK") for _ in range(400)])
    ids = await service.schedule_many([JobRequest("SLOW") for _ in range(30)])
    await asyncio.sleep(0.5)
    assert len(list(await service.get_jobs(status="active"))) > 2  # some are held ahead
    await service.stop(grace=30)
    infos = [await world.look(job_id) for job_id in ids]
    begun = [info for info in infos if info.status is JobStatus.COMPLETED]
    waiting = [info for info in infos if info.status is JobStatus.PENDING]
    assert len(begun) == 2
    assert len(waiting) == 28
    assert {info.attempt for info in waiting} == {0}
    assert (await world.viewer.get_stats()).workers == ()


async def test_no_job_is_started_while_stopping(world: World) -> None:
    service = world.service(concurrency=3)
    starts: list[float] = []

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> None:
        starts.append(world.elapsed)
        await asyncio.sleep(20)

    await service.start()
    await service.schedule("SLOW")
    await asyncio.sleep(1)
    stopping = asyncio.create_task(service.stop(grace=60))
    await asyncio.sleep(1)
    world.viewer.declare("SLOW")
    late = await world.viewer.schedule("SLOW")
    await stopping
    assert starts == [0]
    assert await world.viewer.get_job_status(late) is JobStatus.PENDING


async def test_nothing_is_claimed_while_stopping(world: World) -> None:
    service = world.service(concurrency=3)

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> None:
        await asyncio.sleep(20)

    await service.start()
    await service.schedule("SLOW")
    await asyncio.sleep(1)
    stopping = asyncio.create_task(service.stop(grace=60))
    await asyncio.sleep(1)
    world.viewer.declare("SLOW")
    late = await world.viewer.schedule("SLOW")
    await asyncio.sleep(10)
    assert await world.viewer.get_job_status(late) is JobStatus.PENDING
    await stopping


async def test_a_worker_that_has_stopped_leaves_no_loop_behind(world: World) -> None:
    before = asyncio.all_tasks()
    service = world.service(concurrency=3, queues={"own": 2})
    service.declare("SLOW")
    await service.start()
    assert asyncio.all_tasks() != before
    await service.stop()
    assert asyncio.all_tasks() == before


async def test_an_outcome_that_must_be_written_again_is_written_before_the_worker_leaves(
    world: World,
) -> None:
    service = world.service(world.faults.store)

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> None:
        await asyncio.sleep(1)

    await service.start()
    job_id = await service.schedule("SLOW")
    await asyncio.sleep(0.5)
    world.faults.fail("finish", "before", times=5)
    assert await service.stop(grace=10) is True
    assert (await world.look(job_id)).status is JobStatus.COMPLETED


async def hold_ahead(service: JobService) -> list[str]:
    """Makes a worker hold more jobs of 20 seconds than it has slots for; returns all of them."""

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.001)

    @service.handler("SLOW", retries=0)
    async def slow(job: Job[Any]) -> None:
        await asyncio.sleep(20)

    await service.start()
    await service.schedule_many([JobRequest("QUICK") for _ in range(400)])
    ids = await service.schedule_many([JobRequest("SLOW") for _ in range(30)])
    await asyncio.sleep(0.5)
    assert len(list(await service.get_jobs(status="active"))) > 4
    return list(ids)


async def test_what_has_not_begun_goes_back_at_once_and_not_after_the_grace(world: World) -> None:
    """Other workers are free to run it while this one drains."""
    service = world.service(concurrency=2)
    ids = await hold_ahead(service)
    stopping = asyncio.create_task(service.stop(grace=60))
    await asyncio.sleep(1)
    status = Counter([await world.viewer.get_job_status(job_id) for job_id in ids])
    assert status == {JobStatus.ACTIVE: 2, JobStatus.PENDING: 28}
    await stopping


async def test_nothing_begins_while_the_loops_are_being_stopped(world: World) -> None:
    """One of them waits for the storage, while jobs end and others are ready."""
    service = world.service(world.faults.store, concurrency=2)
    ids = await hold_ahead(service)
    answer = world.faults.keep_back("queues")
    await service.pause_queue("other")  # What people changed is looked up.
    await answer.applied.wait()
    stopping = asyncio.create_task(service.stop(grace=60))
    await asyncio.sleep(30)
    answer.send()
    await stopping
    status = Counter([await world.viewer.get_job_status(job_id) for job_id in ids])
    assert status == {JobStatus.COMPLETED: 2, JobStatus.PENDING: 28}


async def test_what_is_scheduled_while_stopping_is_kept(world: World) -> None:
    service = world.service()

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> None:
        await asyncio.sleep(5)

    await service.start()
    await service.schedule("SLOW")
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(1)
    late = await service.schedule("SLOW")
    await stopping
    info = await world.look(late)
    assert (info.status, info.attempt) == (JobStatus.PENDING, 0)


async def test_a_handler_may_schedule_what_comes_next_while_its_service_stops(
    world: World,
) -> None:
    service = world.service()
    next_ids: list[str] = []

    @service.handler("CHAIN")
    async def chain(job: Job[Any]) -> None:
        await asyncio.sleep(5)
        next_ids.append(await service.schedule("CHAIN"))

    await service.start()
    await service.schedule("CHAIN")
    await asyncio.sleep(1)
    await service.stop()
    assert await world.viewer.get_job_status(next_ids[0]) is JobStatus.PENDING


async def test_stop_is_safe_to_call_twice_and_at_once(world: World) -> None:
    service = world.service()
    service.register_handler("SLOW", forever)
    await service.start()
    await service.schedule("SLOW")
    await asyncio.sleep(1)
    ended = await asyncio.gather(*(service.stop(5) for _ in range(3)))
    assert ended == [True, True, True]
    assert await service.stop() is True
    assert world.elapsed == pytest.approx(6, abs=0.1)


async def test_stop_is_safe_without_a_start(world: World) -> None:
    service = world.service()
    assert await service.stop() is True
    with pytest.raises(ServiceStoppedError):
        await service.get_stats()


async def test_start_is_safe_to_call_twice(world: World) -> None:
    service = world.service(concurrency=1)
    runs: list[str] = []

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        runs.append(job.id)
        await asyncio.sleep(1)

    await asyncio.gather(service.start(), service.start())
    await service.start()
    ids = [await service.schedule("NOTE") for _ in range(3)]
    await asyncio.sleep(10)
    assert runs == ids
    assert len((await service.get_stats()).workers) == 1


async def test_a_stopped_service_can_be_started_again(world: World) -> None:
    service = world.service()

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> str:
        return "done"

    for _ in range(3):
        async with service:
            assert await service.result(await service.schedule("NOTE")) == "done"
        assert not service.started


async def test_nothing_is_scheduled_after_stop_until_it_is_opened(world: World) -> None:
    service = world.service()
    service.declare("NOTE")
    async with service:
        pass
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: service.schedule("NOTE"),
        lambda: service.schedule_many([JobRequest("NOTE")]),
        lambda: service.get_jobs(),
        lambda: service.pause_queue("default"),
        lambda: service.cancel_jobs(status="pending"),
    ]
    for call in calls:
        with pytest.raises(ServiceStoppedError, match=r"call open\(\) .* or start\(\)"):
            await call()
    assert list(await world.viewer.get_jobs()) == []
    await service.open()
    job_id = await service.schedule("NOTE")
    assert await service.get_job_status(job_id) is JobStatus.PENDING


async def test_what_waits_for_a_stop_does_not_open_what_it_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several first calls, and a stop that comes before the storage is open."""
    service = world.service()
    opens = world.storage.open

    async def open_slowly() -> None:
        await asyncio.sleep(1)
        await opens()

    monkeypatch.setattr(world.storage, "open", open_slowly)
    first = asyncio.create_task(service.get_stats())
    await asyncio.sleep(0.1)
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0.1)
    late = asyncio.create_task(service.get_stats())
    assert await stopping
    await first
    with pytest.raises(ServiceStoppedError):
        await late
    assert service.loop is None


async def test_a_grace_of_nothing_releases_at_once(world: World) -> None:
    service = world.service()
    service.register_handler("SLOW", forever)
    await service.start()
    job_id = await service.schedule("SLOW")
    await asyncio.sleep(1)
    await service.stop(grace=0)
    assert world.elapsed == pytest.approx(1, abs=0.1)
    assert (await world.look(job_id)).attempt == 0


@pytest.mark.parametrize("turns", range(8))
async def test_stop_at_any_turn_after_schedule_loses_and_doubles_nothing(
    world: World, turns: int
) -> None:
    service = world.service(concurrency=2)
    runs: list[str] = []

    async def note(job: Job[Any]) -> None:
        runs.append(job.id)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    service.register_handler("NOTE", note, retries=0)
    await service.start()
    ids = [await service.schedule("NOTE") for _ in range(5)]
    for _ in range(turns):
        await asyncio.sleep(0)
    await service.stop(grace=30)
    infos = [await world.look(job_id) for job_id in ids]
    for info in infos:
        if info.status is JobStatus.COMPLETED:
            assert (runs.count(info.id), info.attempt) == (1, 1)
        else:
            assert (info.status, info.attempt) == (JobStatus.PENDING, 0)
            assert info.id not in runs
    async with service:
        for job_id in ids:
            await service.result(job_id, timeout=30)
    assert sorted(runs) == sorted(ids)


@pytest.mark.parametrize("turns", range(6))
async def test_a_grace_of_nothing_at_any_turn_leaves_every_job_whole(
    world: World, turns: int
) -> None:
    """Also where a handler has been begun, but has not yet had its first turn."""
    service = world.service(concurrency=5)
    service.register_handler("SLOW", forever, retries=0)
    await service.start()
    ids = [await service.schedule("SLOW") for _ in range(5)]
    for _ in range(turns):
        await asyncio.sleep(0)
    assert await service.stop(grace=0) is True
    for job_id in ids:
        info = await world.look(job_id)
        assert (info.status, info.attempt) == (JobStatus.PENDING, 0)
    assert (await world.viewer.get_stats()).workers == ()


async def test_code_that_ignores_the_end_of_its_grace_keeps_its_lease(world: World) -> None:
    service, other = world.service(), world.service()
    obey = asyncio.Event()

    @service.handler("STUBBORN")
    async def stubborn(job: Job[Any]) -> None:
        while not obey.is_set():
            try:
                await obey.wait()
            except asyncio.CancelledError:
                continue

    runs: list[str] = []

    @other.handler("STUBBORN")
    async def again(job: Job[Any]) -> None:
        runs.append(job.id)

    await service.start()
    await service.schedule("STUBBORN")
    await asyncio.sleep(1)
    assert await service.stop(grace=1) is False
    async with other:
        await asyncio.sleep(120)
        assert runs == []
        obey.set()


async def test_a_thread_that_is_overdue_is_told_of_by_stop(world: World) -> None:
    service = world.service()
    gate = Gate()

    @service.handler("SLOW", timeout=5, retries=0)
    def slow(job: Job[Any]) -> None:
        gate.wait()

    await service.start()
    job_id = await service.schedule("SLOW")
    await gate.reached()
    await asyncio.sleep(10)
    assert await service.stop(grace=5) is False
    assert (await world.look(job_id)).status is JobStatus.FAILED
    assert (await world.viewer.get_stats()).workers == ()
    gate.open()
    await gate.left()


async def test_a_second_stop_joins_the_first_and_may_shorten_its_grace(world: World) -> None:
    service = world.service()
    service.register_handler("SLOW", forever)
    await service.start()
    await service.schedule("SLOW")
    await asyncio.sleep(1)
    stopping = asyncio.create_task(service.stop(grace=3600))
    await asyncio.sleep(1)
    assert await service.stop(grace=0.5) is True
    assert await stopping is True
    assert world.elapsed == pytest.approx(2.5, abs=0.2)


async def test_a_service_lives_as_long_as_its_application(world: World) -> None:
    service = world.service()
    async with service.lifespan(object()):
        assert service.started
    assert not service.started


async def test_leaving_the_block_by_an_error_stops_the_service(world: World) -> None:
    service: JobService = world.service()
    with pytest.raises(ZeroDivisionError):
        async with service:
            raise ZeroDivisionError
    assert not service.started


async def heard(world: World, fact: Callable[[], bool] = lambda: True) -> None:
    """Waits until the loop has heard what a thread that was let go says as it ends: virtual
    time knows nothing of threads."""
    for _ in range(1000):
        with world.loop.hold():
            await asyncio.to_thread(time.sleep, 0.01)
        await asyncio.sleep(0.1)
        if fact():
            return
    raise AssertionError("not within ten seconds")


async def test_a_caller_of_stop_that_is_cancelled_takes_no_job_with_it(world: World) -> None:
    service = world.service(world.faults.store)

    @service.handler("SLOW", retries=0)
    async def slow(job: Job[Any]) -> str:
        await asyncio.sleep(8)
        return "done"

    await service.start()
    job_id = await service.schedule("SLOW")
    await asyncio.sleep(1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(service.stop(), 0.3)
    assert not world.faults.calls["close"]
    assert await service.stop() is True
    info = await world.look(job_id)
    assert (info.status, info.result, info.attempt) == (JobStatus.COMPLETED, "done", 1)
    assert world.faults.calls["close"] == 1


async def test_stop_is_refused_to_a_handler_of_the_service(world: World) -> None:
    service = world.service()

    @service.handler("ENDS_ALL")
    async def end_all(job: Job[Any]) -> None:
        await service.stop()

    async with service:
        job_id = await service.schedule("ENDS_ALL", retries=0)
        with pytest.raises(JobFailedError, match="called by a handler of this service"):
            await service.result(job_id, timeout=5)
        assert service.started


async def test_a_storage_stays_open_until_the_last_thread_has_ended(world: World) -> None:
    service = world.service(world.faults.store, lease=10)
    gate = Gate()

    @service.handler("SLOW", retries=0)
    def slow(job: Job[Any]) -> str:
        gate.wait()
        return "done after all"

    await service.start()
    job_id = await service.schedule("SLOW")
    await gate.reached()
    assert await service.stop(grace=1) is False
    assert await service.stop(grace=1) is False
    await service.start()
    assert await service.stop(grace=1) is False
    await asyncio.sleep(30)  # Three leases: it is alive, and keeps its job.
    assert not world.faults.calls["close"]
    assert (await world.look(job_id)).status is JobStatus.ACTIVE
    gate.open()
    await gate.left()
    await heard(world, lambda: world.faults.calls["close"] == 1)
    info = await world.look(job_id)
    assert (info.status, info.result) == (JobStatus.COMPLETED, "done after all")
    assert (await world.viewer.get_stats()).workers == ()
    assert await service.stop() is True


async def test_a_storage_is_closed_under_code_whose_attempt_has_ended(world: World) -> None:
    service = world.service(world.faults.store)
    gate = Gate()

    @service.handler("SLOW", timeout=5, retries=0)
    def slow(job: Job[Any]) -> None:
        gate.wait()

    await service.start()
    await service.schedule("SLOW")
    await gate.reached()
    await asyncio.sleep(10)
    assert await service.stop(grace=5) is False
    assert world.faults.calls["close"] == 1
    gate.open()
    await gate.left()
    while not await service.stop():
        await heard(world)


@pytest.mark.parametrize("how", ["raises", "returns nothing"])
async def test_a_thread_that_sees_that_it_should_end_costs_no_attempt(
    world: World, how: str
) -> None:
    service = world.service()
    gate = Gate()

    @service.handler("LONG", retries=0)
    def long(job: Job[Any]) -> None:
        gate.wait()
        assert job.cancelled
        if how == "raises":
            raise RuntimeError("I was told to stop")

    await service.start()
    job_id = await service.schedule("LONG")
    await gate.reached()
    stopping = asyncio.create_task(service.stop(grace=1))
    await asyncio.sleep(1.1)
    gate.open()
    await gate.left()
    assert await stopping is True
    info = await world.look(job_id)
    assert (info.status, info.attempt, info.errors) == (JobStatus.PENDING, 0, ())


async def test_a_coroutine_that_turns_its_interruption_into_an_error_costs_no_attempt(
    world: World,
) -> None:
    service = world.service()

    @service.handler("LONG", retries=0)
    async def long(job: Job[Any]) -> None:
        try:
            await forever(job)
        except asyncio.CancelledError:
            raise RuntimeError("the connection was closed") from None

    await service.start()
    job_id = await service.schedule("LONG")
    await asyncio.sleep(1)
    await service.stop(grace=1)
    info = await world.look(job_id)
    assert (info.status, info.attempt, info.errors) == (JobStatus.PENDING, 0, ())


async def test_what_a_handler_returned_at_the_last_moment_counts(world: World) -> None:
    service = world.service()

    @service.handler("LONG")
    async def long(job: Job[Any]) -> str:
        try:
            await forever(job)
        except asyncio.CancelledError:
            return f"saved, {job.cancelled}"
        return "never"

    await service.start()
    job_id = await service.schedule("LONG")
    await asyncio.sleep(1)
    await service.stop(grace=1)
    assert (await world.look(job_id)).result == "saved, True"


async def test_a_job_that_was_released_after_it_began_does_not_expire(world: World) -> None:
    service, other = world.service(), world.service()
    service.register_handler("LONG", forever)
    await service.start()
    job_id = await service.schedule("LONG", expires_in=5)
    await asyncio.sleep(1)
    await service.stop(grace=1)
    await asyncio.sleep(60)

    @other.handler("LONG")
    async def again(job: Job[Any]) -> str:
        return "in time"

    async with other:
        assert await other.result(job_id, timeout=5) == "in time"


async def test_stop_ends_though_outcomes_cannot_be_written(world: World) -> None:
    service, other = world.service(world.faults.store), world.service()
    runs: list[str] = []

    async def quick(job: Job[Any]) -> None:
        runs.append(job.id)

    service.register_handler("QUICK", quick)
    other.register_handler("QUICK", quick)
    await service.start()
    world.faults.fail("finish", "before", times=10_000, error=StorageFullError("full"))
    job_id = await service.schedule("QUICK")
    await asyncio.sleep(1)
    began = world.elapsed
    await service.stop(grace=30)
    assert world.elapsed - began < 10
    async with other:
        await other.result(job_id, timeout=60)
    assert runs == [job_id, job_id]


async def test_a_start_that_is_cancelled_leaves_no_worker(world: World) -> None:
    service = world.service(world.faults.store)
    reply = world.faults.keep_back("enlist")
    starting = asyncio.create_task(service.start())
    await reply.applied.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    reply.send()
    await asyncio.sleep(1)
    assert (await world.viewer.get_stats()).workers == ()
    assert not service.started


async def test_a_start_that_fails_leaves_no_worker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = world.service()

    def refuse(callback: object) -> None:
        raise StorageError("no pipe can be made")

    monkeypatch.setattr(world.storage, "subscribe", refuse)
    with pytest.raises(StorageError, match="no pipe"):
        await service.start()
    assert (await world.viewer.get_stats()).workers == ()


async def test_a_start_that_is_thrown_away_with_its_loop_makes_no_noise(world: World) -> None:
    service = world.service()
    await service.open()
    starting = service.start()
    starting.send(None)  # On its way to the storage.
    starting.close()  # "coroutine ignored GeneratorExit", where it waits for anything.
