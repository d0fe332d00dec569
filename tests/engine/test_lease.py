"""The right to run jobs: kept while the worker lives, and what happens when it is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from backroom import (
    Job,
    JobFailedError,
    JobId,
    JobRequest,
    JobService,
    JobStatus,
    LeaseLostError,
    StorageError,
)
from backroom.ports import Want, WorkerSpec
from tests.engine.world import Handler, World, forever
from tests.virtual import Gate


async def test_a_job_three_leases_long_starts_once(world: World) -> None:
    service, other = world.service(lease=10), world.service(lease=10)
    starts: list[str] = []

    async def long(job: Job[Any]) -> str:
        starts.append(job.id)
        await asyncio.sleep(35)
        return "done"

    service.register_handler("LONG", long)
    other.register_handler("LONG", long)
    async with service:
        job_id = await service.schedule("LONG")
        async with other:
            assert await other.result(job_id) == "done"
    assert starts == [job_id]
    assert (await world.look(job_id)).attempt == 1


async def test_a_job_delayed_by_three_leases_starts_once(world: World) -> None:
    service, other = world.service(lease=10), world.service(lease=10)
    starts: list[float] = []

    async def note(job: Job[Any]) -> None:
        starts.append(world.elapsed)

    service.register_handler("NOTE", note)
    other.register_handler("NOTE", note)
    async with service, other:
        await service.result(await service.schedule("NOTE", delay=35))
        await asyncio.sleep(60)
    assert starts == pytest.approx([35], abs=0.01)


async def test_a_lease_is_kept_through_a_drain_that_is_longer_than_it(world: World) -> None:
    service, other = world.service(lease=10), world.service(lease=10)
    starts: list[str] = []

    async def long(job: Job[Any]) -> None:
        starts.append(job.id)
        await asyncio.sleep(60)

    service.register_handler("LONG", long)
    other.register_handler("LONG", long)
    await service.start()
    await other.start()
    job_id = await service.schedule("LONG")
    await asyncio.sleep(1)
    assert await service.stop(grace=100) is True
    assert starts == [job_id]
    assert (await world.look(job_id)).status is JobStatus.COMPLETED


async def test_a_lease_that_is_over_before_its_worker_knows_of_it_leaves_nothing(
    world: World,
) -> None:
    service = world.service(world.faults.store, lease=10)
    service.register_handler("LONG", forever)
    late = world.faults.keep_back("enlist")
    starting = asyncio.create_task(service.start())
    await late.applied.wait()
    await asyncio.sleep(9.5)
    late.send()
    await starting
    assert world.faults.calls["enlist"] == 2
    assert len((await service.get_stats()).workers) == 1, "the first one never was"
    await service.stop()


async def test_a_worker_whose_lease_was_taken_stops_enlists_again_and_goes_on(
    world: World,
) -> None:
    service = world.service(world.faults.store, lease=10)
    told: list[tuple[str, bool]] = []

    @service.handler("LONG", retries=0)
    async def long(job: Job[Any]) -> str:
        if told:
            return "the second time"
        try:
            await forever(job)
        finally:
            told.append(("interrupted", job.cancelled))
        return "never"

    async with service:
        job_id = await service.schedule("LONG")
        await asyncio.sleep(1)
        before = (await service.get_stats()).workers
        world.faults.fail("extend", "before", error=LeaseLostError("declared dead"))
        await asyncio.sleep(4)
        assert told == [("interrupted", True)]
        assert await service.result(job_id, timeout=60) == "the second time"
        await asyncio.sleep(15)  # The old one leaves the list when its lease has ended.
        after = (await service.get_stats()).workers
    assert [w.started_at for w in before] != [w.started_at for w in after]
    assert len(after) == 1


@pytest.mark.parametrize("thread", [False, True])
async def test_a_result_of_a_lost_lease_is_refused(world: World, thread: bool) -> None:
    """Declared dead while it ran: the job belongs to another worker, whose result counts."""
    service = world.service(world.faults.store, lease=10)
    other = world.service(lease=10)
    gate, runs = Gate(), list[str]()
    obey = asyncio.Event()

    def plain(job: Job[Any]) -> str:
        runs.append("plain")
        gate.wait()
        return "stale"

    async def stubborn(job: Job[Any]) -> str:
        runs.append("stubborn")
        while not obey.is_set():
            try:
                await obey.wait()
            except asyncio.CancelledError:
                continue
        return "stale"

    @other.handler("LONG", retries=0)
    async def elsewhere(job: Job[Any]) -> str:
        runs.append("elsewhere")
        await asyncio.sleep(5)
        return "fresh"

    service.register_handler("LONG", plain if thread else stubborn, retries=1)
    await service.start()
    job_id = await service.schedule("LONG", retries=5)
    if thread:
        await gate.reached()
    await asyncio.sleep(1)
    await service.pause_queue("default")  # so that it is `other` who gets it
    world.faults.fail("extend", "before", times=1000, error=StorageError("unreachable"))
    world.faults.fail("enlist", "before", times=1000, error=StorageError("unreachable"))
    world.faults.fail("claim", "before", times=1000, error=StorageError("unreachable"))
    await asyncio.sleep(30)
    await world.viewer.resume_queue("default")
    async with other:
        await asyncio.sleep(3)
        assert runs[1:] == ["elsewhere"]
        gate.open()
        obey.set()
        if thread:
            await gate.left()
        assert await world.viewer.result(job_id, timeout=60) == "fresh"
        await asyncio.sleep(30)
        info = await world.look(job_id)
        assert (info.status, info.result) == (JobStatus.COMPLETED, "fresh")
        assert info.crashes == 1
        world.faults.mend()


async def test_a_worker_that_heard_late_of_its_lease_stops_before_it_ends(world: World) -> None:
    service = world.service(world.faults.store, lease=20)
    stopped: list[float] = []

    @service.handler("LONG")
    async def long(job: Job[Any]) -> None:
        try:
            await forever(job)
        finally:
            stopped.append(world.elapsed)

    late = world.faults.keep_back("enlist")
    starting = asyncio.create_task(service.start())
    await late.applied.wait()
    await asyncio.sleep(16)
    late.send()
    await starting
    await service.schedule("LONG")
    world.faults.fail("extend", "before", times=1000)
    world.faults.fail("enlist", "before", times=1000)
    await asyncio.sleep(20)
    assert len(stopped) == 1
    assert 16 < stopped[0] < 20
    world.faults.mend()


async def test_what_was_running_when_a_leaving_worker_lost_its_lease_is_stopped(
    world: World,
) -> None:
    """It may run elsewhere already; the grace period is for what is still ours."""
    service = world.service(world.faults.store, lease=10)
    stopped: list[float] = []

    @service.handler("LONG")
    async def long(job: Job[Any]) -> None:
        try:
            await forever(job)
        finally:
            stopped.append(world.elapsed)

    await service.start()
    await service.schedule("LONG")
    await asyncio.sleep(1)
    stopping = asyncio.create_task(service.stop(grace=60))
    world.faults.fail("extend", "before", error=LeaseLostError("declared dead"))
    await stopping
    assert len(stopped) == 1
    assert stopped[0] < 10


async def test_an_answer_that_comes_after_that_to_a_later_call_takes_nothing_away(
    world: World,
) -> None:
    """People's changes have the lease extended, too, from the loop, which may be busy."""
    service = world.service(world.faults.store, lease=20)
    service.declare("OTHER")

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        return

    async with service:
        other = await service.schedule("OTHER", delay=600)
        await asyncio.sleep(1)
        late = world.faults.keep_back("extend")
        await service.cancel_job(other)
        await late.applied.wait()
        await asyncio.sleep(18.2)
        late.send()
        await asyncio.sleep(0)
        asked = world.elapsed
        await service.result(await service.schedule("NOTE"), timeout=60)
        assert world.elapsed - asked < 0.1


async def test_a_worker_stops_by_itself_before_its_lease_ends(world: World) -> None:
    """The storage cannot be reached, so nobody tells it; its own clock does."""
    service = world.service(world.faults.store, lease=20)
    stopped: list[float] = []

    @service.handler("LONG")
    async def long(job: Job[Any]) -> None:
        try:
            await forever(job)
        finally:
            stopped.append(world.elapsed)

    async with service:
        await service.schedule("LONG")
        await asyncio.sleep(1)
        for verb in ("extend", "enlist", "claim", "finish", "reclaim", "prune"):
            world.faults.fail(verb, "before", times=10_000)
        await asyncio.sleep(60)
        assert len(stopped) == 1
        assert 10 < stopped[0] < 20
        world.faults.mend()
        await asyncio.sleep(30)


async def test_a_lease_that_is_extended_with_a_lost_reply_stands(world: World) -> None:
    service = world.service(world.faults.store, lease=20)
    runs: list[int] = []

    @service.handler("LONG")
    async def long(job: Job[Any]) -> str:
        runs.append(job.attempt)
        await asyncio.sleep(60)
        return "done"

    async with service:
        job_id = await service.schedule("LONG")
        world.faults.fail("extend", "after", times=2)
        assert await service.result(job_id) == "done"
    assert runs == [1]


async def hold_ahead_and_lose_touch(
    world: World, slow: Handler, slots: int
) -> tuple[JobService, list[str]]:
    """A worker that holds some of thirty slow jobs ahead when the storage hears no more of it.
    Its lease stands until 9; at 9.375 it finds that it is lost, which ends at 10."""
    service = world.service(world.faults.store, concurrency=slots, lease=10)

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.001)

    service.register_handler("SLOW", slow)
    await service.start()
    for verb in ("extend", "enlist"):
        world.faults.fail(verb, "before", times=1000, error=StorageError("unreachable"))
    await asyncio.sleep(8.3)
    await service.schedule_many([JobRequest("QUICK") for _ in range(400)])
    ids = await service.schedule_many([JobRequest("SLOW") for _ in range(30)])
    await asyncio.sleep(8.9 - world.elapsed)
    assert len(list(await service.get_jobs(status="active"))) > 2 * slots
    return service, [str(job_id) for job_id in ids]


async def test_nothing_begins_once_the_lease_does_not_stand(world: World) -> None:
    """Also in the moments until the worker finds that it is lost."""
    begun: list[float] = []
    go = asyncio.Event()

    async def slow(job: Job[Any]) -> None:
        begun.append(world.elapsed)
        await go.wait()

    await hold_ahead_and_lose_touch(world, slow, slots=1)
    await asyncio.sleep(9.1 - world.elapsed)
    go.set()
    await asyncio.sleep(0.2)
    assert len(begun) == 1
    world.faults.mend()


async def test_what_a_worker_held_ahead_is_not_run_after_it_lost_its_lease(world: World) -> None:
    runs: Counter[str] = Counter()

    async def slow(job: Job[Any]) -> None:
        runs[job.id] += 1
        if len(runs) <= 2 and runs[job.id] == 1:
            await forever(job)

    service, ids = await hold_ahead_and_lose_touch(world, slow, slots=2)
    other = world.service()
    other.register_handler("SLOW", slow)
    async with other:
        for job_id in ids:
            await other.result(JobId(job_id))
        world.faults.mend()
        await asyncio.sleep(5)
        assert len((await service.get_stats()).workers) == 2  # It has enlisted anew.
    assert sorted(runs.values()) == [*[1] * 28, 2, 2]


async def test_a_worker_without_a_lease_claims_nothing(world: World) -> None:
    """It would only give back what it gets, and be woken by that to claim again."""
    service = world.service(world.faults.store, lease=10)

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        return

    async with service:
        await asyncio.sleep(1)
        for verb in ("extend", "enlist"):
            world.faults.fail(verb, "before", times=1000)
        await asyncio.sleep(8.2)  # It lets go of its lease, which has not ended yet.
        world.faults.fail("claim", "before", times=1000)
        before = world.faults.calls["claim"]
        world.viewer.declare("NOTE")
        await world.viewer.schedule("NOTE")
        await asyncio.sleep(10)
        assert world.faults.calls["claim"] == before
        world.faults.mend()
        await asyncio.sleep(5)
        assert (await service.get_stats()).by_status["completed"] == 1


async def test_a_storage_that_does_not_answer_an_extension_in_time_ends_the_lease(
    world: World,
) -> None:
    service = world.service(world.faults.store, lease=20)
    stopped: list[float] = []

    @service.handler("LONG", retries=0)
    async def long(job: Job[Any]) -> str:
        if stopped:
            return "again"
        try:
            await forever(job)
        finally:
            stopped.append(world.elapsed)
        return "never"

    async with service:
        job_id = await service.schedule("LONG", retries=1)
        await asyncio.sleep(1)
        world.faults.keep_back("extend")
        assert await service.result(job_id, timeout=120) == "again"
    assert len(stopped) == 1
    assert stopped[0] <= 20


async def test_a_claim_whose_answer_comes_after_the_lease_was_lost_is_not_run(
    world: World,
) -> None:
    service = world.service(world.faults.store, lease=10, only=["mail"])
    runs: list[int] = []

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        runs.append(job.attempt)
        await asyncio.sleep(30)

    async with service:
        await asyncio.sleep(1)
        answer = world.faults.keep_back("claim")
        world.viewer.declare("NOTE")
        job_id = await world.viewer.schedule("NOTE", queue="mail")
        await answer.applied.wait()
        world.faults.fail("extend", "before", error=LeaseLostError("declared dead"))
        await asyncio.sleep(5)
        answer.send()
        await world.viewer.result(job_id, timeout=60)
    assert runs == [1]
    assert (await world.look(job_id)).attempt == 1


async def test_a_refusal_that_comes_when_the_worker_has_enlisted_anew_costs_no_lease(
    world: World,
) -> None:
    """What was claimed under the new lease in the meantime runs once, and is charged to it."""
    service = world.service(world.faults.store, lease=10, concurrency=2)
    starts: list[str] = []

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        starts.append(job.id)
        await asyncio.sleep(20)

    async with service:
        await asyncio.sleep(1)
        late = world.faults.keep_back("claim", error=LeaseLostError("declared dead"))
        world.viewer.declare("NOTE")
        await world.viewer.schedule("NOTE")
        await late.applied.wait()
        world.faults.fail("extend", "before", error=LeaseLostError("declared dead"))
        await asyncio.sleep(4)
        assert world.faults.calls["enlist"] == 2
        late.send()
        await asyncio.sleep(60)
        assert world.faults.calls["enlist"] == 2
    assert len(starts) == 1


async def test_nothing_begins_under_a_lease_that_a_claim_found_gone(world: World) -> None:
    """Until the worker has enlisted anew, which takes a while here."""
    service = world.service(world.faults.store, lease=10, concurrency=2)
    started: list[float] = []

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        started.append(world.elapsed)

    async with service:
        await asyncio.sleep(1)
        world.faults.fail("claim", "before", error=LeaseLostError("declared dead"))
        enlisting = world.faults.keep_back("enlist")
        world.viewer.declare("NOTE")
        job_id = await world.viewer.schedule("NOTE")
        await enlisting.applied.wait()
        await asyncio.sleep(5)
        assert started == []
        enlisting.send()
        await service.result(job_id, timeout=30)
    assert len(started) == 1


async def test_an_insert_whose_answer_comes_after_the_lease_was_lost_is_not_run_twice(
    world: World,
) -> None:
    service = world.service(world.faults.store, lease=10)
    runs: list[int] = []

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        runs.append(job.attempt)
        await asyncio.sleep(30)

    async with service:
        await asyncio.sleep(1)
        answer = world.faults.keep_back("insert")
        scheduling = asyncio.create_task(service.schedule("NOTE"))
        await answer.applied.wait()
        world.faults.fail("extend", "before", error=LeaseLostError("declared dead"))
        await asyncio.sleep(5)
        answer.send()
        await service.result(await scheduling, timeout=120)
    assert runs == [1]


async def test_starts_whose_answer_comes_after_the_lease_was_lost_are_not_run_twice(
    world: World,
) -> None:
    service = world.service(world.faults.store, concurrency=2, lease=10)
    runs: list[str] = []

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        runs.append(job.id)
        await asyncio.sleep(0.001)

    async with service:
        answer = world.faults.keep_back("start")
        ids = await service.schedule_many([JobRequest("QUICK") for _ in range(1000)])
        await answer.applied.wait()
        world.faults.fail("extend", "before", error=LeaseLostError("declared dead"))
        await asyncio.sleep(15)
        answer.send()
        for job_id in ids:
            await service.result(job_id, timeout=120)
    assert sorted(runs) == sorted(ids)


async def test_a_worker_that_was_suspended_right_before_a_first_line_does_not_run_it(
    world: World,
) -> None:
    """Two jobs were chosen together. While the first of them begins the machine sleeps, and when
    it wakes, another worker is the first to look around."""
    service = world.service(lease=10, concurrency=2)
    starts: list[str] = []

    @service.handler("SLEEP")
    async def sleep(job: Job[Any]) -> None:
        starts.append(job.type)
        if len(starts) == 1:
            world.loop.jump(3000)
            assert (await world.storage.reclaim(world.clock.now())).workers

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        starts.append(job.type)

    for name in ("SLEEP", "NOTE"):
        world.viewer.declare(name)
    await world.viewer.schedule("SLEEP", priority="high")
    second = await world.viewer.schedule("NOTE")
    async with service:
        while not starts:
            await asyncio.sleep(0.1)
        await service.result(second, timeout=60)
    assert starts.count("NOTE") == 1


async def test_a_worker_that_was_suspended_beyond_its_lease_runs_nothing_of_it(
    world: World,
) -> None:
    """The machine sleeps for an hour: when it wakes, others have had the jobs."""
    service = world.service(lease=10)
    runs: list[int] = []

    @service.handler("LONG")
    async def long(job: Job[Any]) -> str:
        runs.append(job.attempt)
        await asyncio.sleep(5 if job.attempt > 1 else 3600)
        return f"attempt {job.attempt}"

    async with service:
        job_id = await service.schedule("LONG", timeout=7200)
        await asyncio.sleep(1)
        world.loop.jump(3000)
        assert await service.result(job_id, timeout=60) == "attempt 2"
    assert runs == [1, 2]


async def test_a_worker_enlists_as_soon_as_the_storage_answers_again(world: World) -> None:
    service = world.service(world.faults.store, lease=10)

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> str:
        return "done"

    async with service:
        await asyncio.sleep(1)
        world.faults.fail("extend", "before", error=LeaseLostError("declared dead"))
        world.faults.fail("enlist", "before", times=5)
        await asyncio.sleep(10)
        assert await service.result(await service.schedule("NOTE"), timeout=10) == "done"


async def test_an_error_that_is_none_of_ours_does_not_leave_a_worker_without_a_lease(
    world: World,
) -> None:
    service = world.service(world.faults.store, lease=10)

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> str:
        return "done"

    async with service:
        world.faults.fail("extend", "before", error=RuntimeError("a bug of the storage"))
        await asyncio.sleep(60)
        assert await service.result(await service.schedule("NOTE"), timeout=10) == "done"


async def test_a_thread_of_a_lost_lease_and_the_new_attempt_do_not_mix(world: World) -> None:
    """The worker that lost the job's lease claims the job anew, while its thread still runs."""
    service = world.service(world.faults.store, lease=10, concurrency=2)
    old, new = Gate(), Gate()

    @service.handler("LONG")
    def long(job: Job[Any]) -> str:
        (old if job.attempt == 1 else new).wait()
        return f"attempt {job.attempt}"

    async with service:
        job_id = await service.schedule("LONG")
        await old.reached()
        world.faults.fail("extend", "before", error=LeaseLostError("declared dead"))
        await asyncio.sleep(20)
        await new.reached()
        old.open()
        await old.left()
        assert await service.get_job_status(job_id) is JobStatus.ACTIVE
        new.open()
        with world.loop.hold():
            assert await service.result(job_id) == "attempt 2"


async def die_with(world: World, job_id: str) -> None:
    """A worker starts the job, and is never heard of again."""
    storage, now = world.storage, world.clock.now()
    await world.viewer.open()
    dead = await storage.enlist(WorkerSpec("dead:1", lease=1))
    [claim] = (await storage.claim(dead.worker, Want(None, (), (1, 1, 1, 1), 1), now)).claims
    assert claim.id == job_id
    await asyncio.sleep(2)
    assert (await storage.reclaim(world.clock.now())).crashed == 1


async def test_a_job_that_kills_its_workers_is_poison_whatever_retries_remain(
    world: World,
) -> None:
    runs: list[str] = []
    service = world.service()

    @service.handler("OOM", retries=100)
    async def oom(job: Job[Any]) -> None:
        runs.append(job.id)

    world.viewer.declare("OOM")
    job_id = await world.viewer.schedule("OOM")
    for _ in range(3):
        await die_with(world, job_id)
    async with service:
        with pytest.raises(JobFailedError, match="poison: 3 workers died while they ran this job"):
            await service.result(job_id, timeout=10)
        info = await service.get_job(job_id)
        assert (info.attempt, info.crashes) == (3, 3)
        assert [error.kind for error in info.errors] == ["crash"] * 4
        # A person may know better.
        await service.retry_job(job_id)
        await service.result(job_id, timeout=10)
    assert runs == [job_id]


async def test_a_crash_consumes_an_attempt(world: World) -> None:
    service = world.service()
    seen: list[tuple[int, int]] = []

    @service.handler("OOM", retries=1)
    async def oom(job: Job[Any]) -> None:
        seen.append((job.attempt, job.max_attempts))

    world.viewer.declare("OOM")
    first = await world.viewer.schedule("OOM")
    await die_with(world, first)
    async with service:
        await service.result(first, timeout=10)
    assert seen == [(2, 2)]
    last = await world.viewer.schedule("OOM", retries=0)
    await die_with(world, last)
    async with service:
        with pytest.raises(JobFailedError, match="died during attempt 1, and no attempt is left"):
            await service.result(last, timeout=10)
    assert seen == [(2, 2)]


@pytest.mark.parametrize("thread", [False, True], ids=["async", "def"])
@pytest.mark.parametrize("away", [9.2, 9.9, 30.0])
async def test_a_worker_that_was_away_for_a_moment_goes_on(
    world: World, away: float, thread: bool
) -> None:
    """Jobs that were ready when the lease did not stand are run once it does again."""
    service = world.service(concurrency=4, lease=10, poll_interval=3600)
    runs: Counter[str] = Counter()

    async def note(job: Job[Any]) -> None:
        runs[job.id] += 1
        await asyncio.sleep(0.003)

    def note_in_thread(job: Job[Any]) -> None:
        runs[job.id] += 1

    service.register_handler("NOTE", note_in_thread if thread else note)
    async with service:
        ids = await service.schedule_many([JobRequest("NOTE") for _ in range(3000)])
        for _ in range(2):  # A third time it is poison.
            await asyncio.sleep(0.2)
            world.loop.jump(away)
        # From here on threads have the time that they need.
        world.loop.watch(lambda: service._worker is not None and service._worker.in_threads)
        for job_id in ids:
            await service.result(job_id, timeout=120)
    assert set(runs) == set(ids)


async def test_a_worker_goes_on_when_there_is_room_for_outcomes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backroom.recorder.MOST_UNRECORDED", 100)
    service = world.service(world.faults.store, concurrency=100, poll_interval=3600)
    go = asyncio.Event()

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        await go.wait()

    async with service:
        ids = await service.schedule_many([JobRequest("NOTE") for _ in range(400)])
        await asyncio.sleep(1)
        world.faults.fail("finish", "before", times=3)
        go.set()
        for job_id in ids:
            await service.result(job_id, timeout=60)


async def test_a_worker_begins_no_more_while_its_outcomes_are_not_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backroom.recorder.MOST_UNRECORDED", 100)
    service = world.service(world.faults.store, concurrency=50)
    begun: list[str] = []

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> None:
        begun.append(job.id)

    async with service:
        world.faults.fail("finish", "before", times=1000)
        ids = await service.schedule_many([JobRequest("NOTE") for _ in range(400)])
        await asyncio.sleep(10)
        assert 100 <= len(begun) < 150
        world.faults.mend()
        for job_id in ids:
            await service.result(job_id, timeout=60)
    assert len(begun) == 400


async def test_a_lease_that_is_lost_by_silence_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    service = world.service(world.faults.store, lease=10)
    service.declare("JOB")
    async with service:
        answer = world.faults.keep_back("extend")
        await asyncio.sleep(20)
        assert "the lease is lost: the storage did not answer in time" in caplog.text
        answer.send()
