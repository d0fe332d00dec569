"""The storage fails, before or after it has carried out what it was asked: nothing hangs,
nothing is lost, nothing runs twice that need not."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from backroom import Job, JobFailedError, JobRequest, JobService, JobStatus, Snooze, StorageError
from tests.engine.world import World, forever

When = Literal["before", "after"]
both = pytest.mark.parametrize("when", ["before", "after"])


def noting(service: JobService, seconds: float = 0) -> list[str]:
    """The ids of jobs in the order they run."""
    runs: list[str] = []

    @service.handler("NOTE", retries=0)
    async def note(job: Job[Any]) -> str:
        runs.append(job.id)
        await asyncio.sleep(seconds)
        return "done"

    return runs


@both
@pytest.mark.parametrize("times", [1, 5])
async def test_an_outcome_is_written_until_it_stands(world: World, when: When, times: int) -> None:
    service = world.service(world.faults.store)
    runs = noting(service)
    async with service:
        world.faults.fail("finish", when, times=times)
        job_id = await service.schedule("NOTE")
        assert await service.result(job_id, timeout=60) == "done"
        info = await service.get_job(job_id)
        await asyncio.sleep(60)
    assert runs == [job_id]
    assert (info.status, info.attempt) == (JobStatus.COMPLETED, 1)
    assert world.faults.calls["finish"] == times + 1


@both
async def test_a_failure_that_is_written_twice_is_kept_once(world: World, when: When) -> None:
    service = world.service(world.faults.store)

    @service.handler("FAILS", retries=1, retry_delay=20, backoff="fixed")
    async def fails(job: Job[Any]) -> None:
        job.log.info("attempt %d", job.attempt)
        raise ConnectionError(f"attempt {job.attempt}")

    async with service:
        world.faults.fail("finish", when, times=2)
        job_id = await service.schedule("FAILS")
        with pytest.raises(JobFailedError):
            await service.result(job_id, timeout=60)
        info = await service.get_job(job_id)
    assert [error.message for error in info.errors] == ["attempt 1", "attempt 2"]
    assert [line.message for line in info.log] == ["attempt 1", "attempt 2"]
    assert info.attempt == 2


@both
async def test_every_verb_of_a_busy_worker_may_fail_once(world: World, when: When) -> None:
    service = world.service(world.faults.store, concurrency=3)
    noting(service, 1)
    verbs = ("claim", "finish", "start", "extend", "report", "reclaim", "prune")
    async with service:
        await asyncio.sleep(1)
        for verb in verbs:
            world.faults.fail(verb, when)
        ids = await service.schedule_many([JobRequest("NOTE") for _ in range(30)])
        for job_id in ids:
            assert await service.result(job_id, timeout=300) == "done"
        await asyncio.sleep(60)
        infos = [await service.get_job(job_id) for job_id in ids]
    assert {info.attempt for info in infos} == {1}


async def test_claims_whose_reply_was_lost_come_back_at_once(world: World) -> None:
    """The storage holds them for a worker that does not know of them, and lives."""
    service = world.service(world.faults.store, concurrency=3)
    runs = noting(service, 1)
    async with service:
        await asyncio.sleep(1)
        world.faults.fail("claim", "after")
        world.viewer.declare("NOTE")
        ids = await world.viewer.schedule_many([JobRequest("NOTE") for _ in range(3)])
        for job_id in ids:
            assert await service.result(job_id, timeout=20) == "done"
        assert {(await service.get_job(job_id)).attempt for job_id in ids} == {1}
    assert sorted(runs) == sorted(ids)
    assert world.elapsed < 10


async def test_claims_whose_reply_was_lost_come_back_though_giving_back_fails_too(
    world: World,
) -> None:
    service = world.service(world.faults.store)
    runs = noting(service)
    world.viewer.declare("NOTE")
    async with service:
        await asyncio.sleep(1)
        world.faults.fail("claim", "after")
        world.faults.fail("give_back", "before", times=4)
        job_id = await world.viewer.schedule("NOTE")
        assert await service.result(job_id, timeout=60) == "done"
    assert runs == [job_id]


async def test_claims_whose_reply_was_lost_come_back_though_the_lease_stands_not_for_a_moment(
    world: World,
) -> None:
    """A process that stood still for as long, and extends it as the first thing after that: what is
    held is held for a worker that lives."""
    service = world.service(world.faults.store)
    runs = noting(service)
    world.viewer.declare("NOTE")
    job_id = await world.viewer.schedule("NOTE")
    lost = world.faults.keep_back("claim", error=StorageError("the answer was lost"))
    async with service:
        await lost.applied.wait()
        assert service._worker is not None
        lease = service._worker._lease
        lease._stand_until = 0.0
        lost.send()
        assert await service.result(job_id, timeout=60) == "done"
        assert lease.stands()
        assert (await service.get_job(job_id)).attempt == 1
    assert runs == [job_id]


async def test_a_lost_claim_of_a_job_whose_last_outcome_is_not_known_to_be_written_comes_back(
    world: World,
) -> None:
    service = world.service(world.faults.store)
    runs: list[int] = []

    @service.handler("TWICE")
    async def twice(job: Job[Any]) -> Snooze | None:
        runs.append(job.attempt)
        if len(runs) > 1:
            return None
        world.faults.fail("finish", "after", times=3)
        world.faults.fail("claim", "after", times=1)
        return Snooze(0)

    async with service:
        job_id = await service.schedule("TWICE")
        await service.result(job_id, timeout=10)
    assert runs == [1, 1]


async def test_lost_claims_of_one_queue_leave_the_jobs_of_another_alone(world: World) -> None:
    """While they are given back, an answer with other claims is on its way."""
    service = world.service(world.faults.store, concurrency=2, queues={"own": 2})
    runs = noting(service, 5)
    world.viewer.declare("NOTE")
    async with service:
        await asyncio.sleep(1)
        answer = world.faults.keep_back("claim", only=lambda _, want, now: want.queues == ("own",))
        own = await world.viewer.schedule("NOTE", queue="own")
        await answer.applied.wait()
        world.faults.fail("claim", "after")
        lost = await world.viewer.schedule("NOTE")
        await asyncio.sleep(3)
        answer.send()
        for job_id in (own, lost):
            assert await service.result(job_id, timeout=60) == "done"
            assert (await service.get_job(job_id)).attempt == 1
    assert sorted(runs) == sorted([own, lost])


async def test_no_code_begins_before_its_start_is_counted(world: World) -> None:
    service = world.service(world.faults.store, concurrency=2)
    begun: list[str] = []

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.001)

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> None:
        begun.append(job.id)
        await asyncio.sleep(10)

    async with service:
        await service.schedule_many([JobRequest("QUICK") for _ in range(400)])
        await service.schedule_many([JobRequest("SLOW") for _ in range(20)])
        await asyncio.sleep(2)
        counting = world.faults.keep_back("start")
        await counting.applied.wait()  # When the first two have ended.
        await asyncio.sleep(5)
        assert len(begun) == 2
        counting.send()
        await asyncio.sleep(1)
        assert len(begun) == 4


@both
async def test_starts_that_could_not_be_counted_go_back(world: World, when: When) -> None:
    service = world.service(world.faults.store, concurrency=2)
    runs: list[str] = []

    @service.handler("QUICK", retries=0)
    async def quick(job: Job[Any]) -> None:
        runs.append(job.id)
        await asyncio.sleep(0.001)

    async with service:
        world.faults.fail("start", when, times=2)
        ids = await service.schedule_many([JobRequest("QUICK") for _ in range(1000)])
        for job_id in ids:
            await service.result(job_id, timeout=60)
        assert world.faults.calls["start"] > 2
    assert sorted(runs) == sorted(ids)


async def test_a_job_whose_insert_was_answered_with_an_error_runs_if_it_was_kept(
    world: World,
) -> None:
    """The caller cannot know; what was kept must not wait for ever in a worker that does not
    know of it."""
    service = world.service(world.faults.store)
    runs = noting(service)
    async with service:
        world.faults.fail("insert", "after")
        with pytest.raises(StorageError):
            await service.schedule("NOTE")
        await asyncio.sleep(10)
        [info] = await service.get_jobs()
    assert (info.status, info.attempt) == (JobStatus.COMPLETED, 1)
    assert runs == [info.id]


async def test_a_job_whose_insert_was_carried_out_twice_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time claims it, and only the second answer arrives."""
    insert = world.storage.insert

    async def twice(*args: Any, **kwargs: Any) -> Any:
        await insert(*args, **kwargs)
        return await insert(*args, **kwargs)

    monkeypatch.setattr(world.storage, "insert", twice)
    service = world.service()
    runs = noting(service)
    async with service:
        job_id = await service.schedule("NOTE")
        await service.result(job_id, timeout=10)
    assert runs == [job_id]


@both
async def test_a_caller_that_tries_again_with_the_same_key_gets_the_same_job(
    world: World, when: When
) -> None:
    """Every `schedule` makes a new id, so it is the key that tells a retry from a second job."""
    service = world.service(world.faults.store)
    runs = noting(service, 30)
    async with service:
        world.faults.fail("insert", when)
        with pytest.raises(StorageError):
            await service.schedule("NOTE", unique_key="order 7")
        job_id = await service.schedule("NOTE", unique_key="order 7")
        assert await service.result(job_id, timeout=60) == "done"
        assert [info.id for info in await service.get_jobs()] == [job_id]
    assert runs == [job_id]


async def test_a_caller_that_goes_away_leaves_a_job_that_runs(world: World) -> None:
    """Its task is cancelled while the insert is on its way."""
    service = world.service(world.faults.store)
    runs = noting(service)
    async with service:
        await asyncio.sleep(1)
        answer = world.faults.keep_back("insert")
        scheduling = asyncio.create_task(service.schedule("NOTE"))
        await answer.applied.wait()
        scheduling.cancel()
        await asyncio.sleep(10)
        [info] = await service.get_jobs()
    assert info.status is JobStatus.COMPLETED
    assert runs == [info.id]


async def test_an_error_of_schedule_many_keeps_nothing_when_it_says_so(world: World) -> None:
    service = world.service(world.faults.store)
    noting(service)
    async with service:
        world.faults.fail("insert", "before")
        with pytest.raises(StorageError):
            await service.schedule_many([JobRequest("NOTE") for _ in range(10)])
        assert list(await service.get_jobs()) == []


@both
async def test_an_enlisting_that_fails_leaves_a_service_that_can_be_started(
    world: World, when: When
) -> None:
    service = world.service(world.faults.store)
    noting(service)
    world.faults.fail("enlist", when)
    with pytest.raises(StorageError):
        await service.start()
    assert not service.started
    async with service:
        assert await service.result(await service.schedule("NOTE"), timeout=10) == "done"


@both
@pytest.mark.parametrize("verb", ["retire", "give_back", "disown", "finish", "extend", "close"])
async def test_stop_ends_though_the_storage_fails(world: World, verb: str, when: When) -> None:
    service = world.service(world.faults.store, concurrency=2)
    noting(service)
    service.register_handler("SLOW", forever, retries=0)
    await service.start()
    await service.schedule_many([JobRequest("NOTE") for _ in range(300)])
    job_id = await service.schedule("SLOW")
    await asyncio.sleep(1)
    world.faults.fail(verb, when)
    if verb == "close":
        with pytest.raises(StorageError):
            await service.stop(grace=1)
    else:
        await service.stop(grace=1)
    assert world.elapsed < 10
    assert await service.stop() is True
    assert not service.started
    # Whatever was not said at the end comes out when the lease has ended.
    other = world.service()
    runs: list[str] = []

    async def slow(job: Job[Any]) -> None:
        runs.append(job.id)

    other.register_handler("SLOW", slow, retries=0)
    async with other:
        await other.result(job_id, timeout=120)
    assert runs == [job_id]


async def test_stop_ends_though_the_storage_never_answers_again(world: World) -> None:
    service = world.service(world.faults.store, lease=20)
    noting(service)
    service.register_handler("SLOW", forever)
    await service.start()
    await service.schedule("SLOW")
    await asyncio.sleep(1)
    for verb in ("extend", "finish", "give_back", "retire", "claim", "reclaim", "disown", "report"):
        world.faults.fail(verb, "before", times=10_000)
    await asyncio.wait_for(service.stop(grace=1), 60)


async def test_an_outage_of_a_minute_loses_nothing(world: World) -> None:
    service = world.service(world.faults.store, concurrency=5, lease=120)
    runs = noting(service, 1)
    async with service:
        ids = await service.schedule_many([JobRequest("NOTE") for _ in range(50)])
        await asyncio.sleep(2.5)
        for verb in ("claim", "finish", "start", "extend", "reclaim", "prune", "queues"):
            world.faults.fail(verb, "before", times=10_000)
        with pytest.raises(TimeoutError):
            await service.result(ids[-1], timeout=60)
        world.faults.mend()
        for job_id in ids:
            assert await service.result(job_id, timeout=60) == "done"
    assert sorted(runs) == sorted(ids)


async def test_a_cancel_that_the_worker_could_not_look_up_is_obeyed_later(world: World) -> None:
    service = world.service(world.faults.store, lease=20)
    service.register_handler("SLOW", forever)
    async with service:
        job_id = await service.schedule("SLOW")
        await asyncio.sleep(1)
        world.faults.fail("extend", "before", times=1)
        await service.cancel_job(job_id)
        await asyncio.sleep(10)
        assert await service.get_job_status(job_id) is JobStatus.CANCELLED


async def test_a_pause_that_the_worker_could_not_look_up_is_obeyed_later(world: World) -> None:
    service = world.service(world.faults.store, concurrency=2)
    starts: list[str] = []

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.001)

    @service.handler("SLOW")
    async def slow(job: Job[Any]) -> None:
        starts.append(job.id)
        await asyncio.sleep(5)

    async with service:
        await service.schedule_many([JobRequest("QUICK") for _ in range(400)])
        await service.schedule_many([JobRequest("SLOW", queue="mail") for _ in range(20)])
        await asyncio.sleep(1)
        world.faults.fail("queues", "before", times=2)
        await service.pause_queue("mail")
        await asyncio.sleep(60)
    assert len(starts) <= 4


@both
@pytest.mark.parametrize(
    "verb",
    ["claim", "finish", "start", "extend", "report", "reclaim", "prune", "queues",
     "insert", "give_back", "outlook"],
)  # fmt: skip
async def test_a_bug_of_the_storage_is_treated_like_an_error_of_it(
    world: World, verb: str, when: When
) -> None:
    """An exception that no storage should raise costs a log line, and no job."""
    service = world.service(world.faults.store, concurrency=2, lease=20)
    runs: list[str] = []

    @service.handler("QUICK", retries=0)
    async def quick(job: Job[Any]) -> None:
        runs.append(job.id)
        job.progress(0.5)
        await asyncio.sleep(0.001)

    async with service:
        await asyncio.sleep(1)
        if verb != "outlook":
            world.faults.fail(verb, when, error=RuntimeError("a bug"))
        if verb == "give_back":
            world.faults.fail("claim", "after")
        world.viewer.declare("QUICK")
        ids = await world.viewer.schedule_many([JobRequest("QUICK") for _ in range(400)])
        if verb == "insert":
            with pytest.raises(RuntimeError, match="a bug"):
                await service.schedule("QUICK")
        await service.pause_queue("none")
        await asyncio.sleep(60)
        for job_id in ids:
            assert await world.viewer.get_job_status(job_id) is JobStatus.COMPLETED
        if verb == "outlook":
            waiting = asyncio.create_task(service.result(await service.schedule("QUICK", delay=5)))
            await asyncio.sleep(1)
            world.faults.fail("outlook", when, error=RuntimeError("a bug"))
            await asyncio.wait_for(waiting, 30)
        stats = await service.get_stats()
        assert stats.by_status["active"] == stats.by_status["pending"] == 0
    assert set(ids) <= set(runs)
