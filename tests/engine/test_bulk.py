"""Bulk handlers: one call over many jobs, each of which has an outcome of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from backroom import (
    BulkJob,
    Cancel,
    FailJob,
    Job,
    JobId,
    JobRequest,
    JobStatus,
    JobType,
    LeaseLostError,
    OptionError,
    RetryJob,
    ServiceError,
    Snooze,
    StorageError,
)
from tests.engine.world import World
from tests.virtual import Gate

Jobs = Sequence[BulkJob[Any, Any]]


@dataclass
class Doc:
    n: int


INDEX = JobType("INDEX", Doc, result=str)
PLAIN = JobType("PLAIN", Doc)


def requests(count: int, kind: JobType[Doc, Any] = PLAIN, **options: Any) -> list[JobRequest[Any]]:
    return [JobRequest(kind, Doc(n), **options) for n in range(count)]


def numbers(jobs: Jobs) -> list[int]:
    return [job.data.n for job in jobs]


# -- company ---------------------------------------------------------------------------------------


async def test_jobs_that_are_there_are_run_at_once_in_calls_of_a_batch(world: World) -> None:
    service = world.service(concurrency=2)
    calls: list[list[int]] = []

    @service.handler(PLAIN, batch=4, within=10)
    async def index(jobs: Jobs) -> None:
        calls.append(numbers(jobs))

    await service.schedule_many(requests(10))
    async with service:
        await asyncio.sleep(1)
        assert calls == [[0, 1, 2, 3], [4, 5, 6, 7]]
        await asyncio.sleep(10)
    assert calls[2:] == [[8, 9]]


async def test_the_first_job_waits_no_longer_than_it_is_said(world: World) -> None:
    service = world.service()
    called: list[tuple[float, list[int]]] = []

    @service.handler(PLAIN, batch=100, within=timedelta(seconds=3))
    async def index(jobs: Jobs) -> None:
        called.append((world.elapsed, numbers(jobs)))

    async with service:
        for n in range(3):
            await service.schedule(PLAIN, Doc(n))
            await asyncio.sleep(1)
        await asyncio.sleep(10)
    [(at, ran)] = called
    assert ran == [0, 1, 2]
    assert at == pytest.approx(3, abs=0.01)


async def test_with_nothing_to_wait_for_all_that_is_there_goes_in_one_call(world: World) -> None:
    service = world.service(concurrency=1)
    sizes: list[int] = []

    @service.handler(PLAIN, batch=100, within=0)
    async def index(jobs: Jobs) -> None:
        sizes.append(len(jobs))

    await service.schedule_many(requests(70))
    async with service:
        await asyncio.sleep(1)
    assert sizes == [70]


@pytest.mark.parametrize("seconds", [0.001, 0.1, 10], ids=["quick", "middling", "slow"])
async def test_under_load_all_calls_are_full(world: World, seconds: float) -> None:
    """Nobody goes alone because the others are still in the storage."""
    service = world.service(concurrency=3)
    sizes: list[int] = []

    @service.handler(PLAIN, batch=100, within=0)
    async def index(jobs: Jobs) -> None:
        sizes.append(len(jobs))
        await asyncio.sleep(seconds)

    await service.schedule_many(requests(1000))
    async with service:
        await asyncio.sleep(30 * seconds + 1)
    assert sum(sizes) == 1000
    assert sizes == [100] * 10


async def test_among_slow_jobs_of_another_type_all_have_their_turn(world: World) -> None:
    service, other = world.service(concurrency=2), world.service(concurrency=2)
    sizes: list[int] = []
    ran: list[int] = []

    async def index(jobs: Jobs) -> None:
        sizes.append(len(jobs))

    async def slow(job: Job[Any]) -> None:
        ran.append(job.data["n"])
        await asyncio.sleep(1)

    for one in (service, other):
        one.register_handler(PLAIN, index, batch=10, within=0.5)
        one.register_handler("SLOW", slow)
    for n in range(40):
        await service.schedule("SLOW", {"n": n})
        await service.schedule(PLAIN, Doc(n))
    began = world.elapsed
    async with service, other:
        while len(ran) < 40 or sum(sizes) < 40:
            await asyncio.sleep(0.1)
    assert world.elapsed - began < 15  # Four slots, forty seconds of work.
    assert max(sizes) <= 10


async def test_a_batch_takes_one_slot_and_what_gathers_takes_none(world: World) -> None:
    service = world.service(concurrency=2)
    running: set[str] = set()
    most: list[int] = []

    @service.handler(PLAIN, batch=5, within=60)
    async def index(jobs: Jobs) -> None:
        running.add(jobs[0].id)
        most.append(len(running))
        await asyncio.sleep(1)
        running.discard(jobs[0].id)

    @service.handler("SINGLE")
    async def single(job: Job[Any]) -> float:
        return world.elapsed

    await service.schedule_many(requests(23))
    async with service:
        await asyncio.sleep(5)
        assert max(most) == 2
        assert len(most) == 4  # Three jobs gather, for most of a minute.
        assert await service.result(await service.schedule("SINGLE"), timeout=5) < 6


async def test_jobs_of_all_priorities_and_queues_keep_each_other_company(world: World) -> None:
    service = world.service()
    calls: list[set[int]] = []

    @service.handler(PLAIN, batch=3, within=10)
    async def index(jobs: Jobs) -> None:
        calls.append(set(numbers(jobs)))

    async with service:
        await service.schedule(PLAIN, Doc(1), priority="low")
        await service.schedule(PLAIN, Doc(2), queue="other")
        await service.schedule(PLAIN, Doc(3), priority="critical")
        await asyncio.sleep(1)
    assert calls == [{1, 2, 3}]


async def test_who_waits_for_company_counts_as_not_started(world: World) -> None:
    """What a crash would be charged for is what was counted."""
    service = world.service(world.faults.store)

    @service.handler(PLAIN, batch=100, within=10)
    async def index(jobs: Jobs) -> None: ...

    async with service:
        for n in range(3):
            await service.schedule(PLAIN, Doc(n))
        await asyncio.sleep(9)
        assert world.faults.calls["start"] == 0
        await asyncio.sleep(2)
        assert world.faults.calls["start"] == 1


async def test_who_waits_for_company_goes_back_untouched_when_the_worker_leaves(
    world: World,
) -> None:
    service = world.service()
    calls: list[int] = []

    @service.handler(PLAIN, batch=100, within=3600, retries=0)
    async def index(jobs: Jobs) -> None:
        calls.append(len(jobs))

    ids = await service.schedule_many(requests(3))
    await service.start()
    await asyncio.sleep(10)
    began = world.elapsed
    assert await service.stop(grace=30)
    assert world.elapsed - began < 1
    assert calls == []
    for job_id in ids:
        info = await world.look(job_id)
        assert (info.status, info.attempt) == (JobStatus.PENDING, 0)


async def test_who_waits_for_company_can_be_cancelled_and_its_queue_paused(world: World) -> None:
    service = world.service()
    calls: list[list[int]] = []

    @service.handler(PLAIN, batch=100, within=20)
    async def index(jobs: Jobs) -> None:
        calls.append(numbers(jobs))

    ids = await service.schedule_many(requests(2))
    await service.schedule(PLAIN, Doc(5), queue="other")
    async with service:
        await asyncio.sleep(1)
        await service.cancel_job(ids[0])
        await service.pause_queue("other")
        await asyncio.sleep(60)
        assert calls == [[1]]
        await service.resume_queue("other")
        await asyncio.sleep(60)
    assert calls == [[1], [5]]


# -- what becomes of each --------------------------------------------------------------------------


async def status_of(world: World, ids: Sequence[JobId[Any]]) -> list[tuple[str, int, Any]]:
    infos = [await world.look(job_id) for job_id in ids]
    return [
        (str(info.status), info.attempt, info.result if info.error is None else info.error)
        for info in infos
    ]


async def test_each_job_has_the_outcome_that_is_said_of_it(world: World) -> None:
    service = world.service()

    @service.handler(INDEX, batch=10, within=1, retries=2, retry_delay=600)
    async def index(jobs: Sequence[BulkJob[Doc, str]]) -> None:
        if jobs[0].attempt == 2:
            raise AssertionError("none is retried within the minute that this takes")
        jobs[0].succeed("found")
        jobs[1].fail(OSError("no route to host"))
        jobs[2].fail("too large", retry_in=timedelta(hours=1))
        jobs[3].fail(FailJob("no such document"))
        jobs[4].snooze(120)
        jobs[5].cancel("not needed")
        jobs[6].succeed(7)  # type: ignore[call-overload]
        jobs[7].fail(RetryJob("later", delay=90))

    async with service:
        ids = await service.schedule_many(requests(8, INDEX))
        await asyncio.sleep(60)
        assert await status_of(world, ids) == [
            ("completed", 1, "found"),
            ("scheduled", 1, "no route to host"),
            ("scheduled", 1, "too large"),
            ("failed", 1, "no such document"),
            ("scheduled", 0, None),
            ("cancelled", 1, "not needed"),
            ("failed", 1, "INDEX: expected str at $ of the result, got int"),
            ("scheduled", 1, "later"),
        ]
        info = await world.look(ids[2])
        assert (info.run_at - info.created_at).total_seconds() == pytest.approx(3601, abs=1)
        assert info.errors[0].kind == "RetryJob"
        info = await world.look(ids[1])
        assert (info.errors[0].kind, info.errors[0].attempt) == ("OSError", 1)


async def test_what_nobody_said_anything_of_is_completed_when_the_call_ends(world: World) -> None:
    service = world.service()

    @service.handler(PLAIN, batch=3, within=1)
    async def index(jobs: Jobs) -> None:
        jobs[1].fail(FailJob("this one"))

    async with service:
        ids = await service.schedule_many(requests(3))
        await asyncio.sleep(2)
    assert await status_of(world, ids) == [
        ("completed", 1, None), ("failed", 1, "this one"), ("completed", 1, None)
    ]  # fmt: skip


async def test_a_call_that_raises_fails_what_it_has_said_nothing_of(world: World) -> None:
    service = world.service()
    attempts: list[list[int]] = []

    @service.handler(PLAIN, batch=3, within=1, retries=1, retry_delay=5)
    async def index(jobs: Jobs) -> None:
        attempts.append([job.attempt for job in jobs])
        if len(attempts) == 1:
            jobs[0].succeed()
            raise ConnectionError("down")

    async with service:
        ids = await service.schedule_many(requests(3))
        await asyncio.sleep(60)
    assert attempts == [[1, 1, 1], [2, 2]]
    assert [status for status, _, _ in await status_of(world, ids)] == ["completed"] * 3
    assert [len((await world.look(job_id)).errors) for job_id in ids] == [0, 1, 1]


async def test_a_list_has_a_result_for_each_or_an_error_in_its_place(world: World) -> None:
    service = world.service()

    @service.handler(INDEX, batch=5, within=1, retries=0)
    async def index(jobs: Sequence[BulkJob[Doc, str]]) -> list[Any]:
        async def one(job: BulkJob[Doc, str]) -> Any:
            if job.data.n == 1:
                raise OSError("no route to host")
            return Cancel("gone") if job.data.n == 2 else f"result {job.data.n}"

        jobs[4].fail(FailJob("it is said"))
        return await asyncio.gather(*map(one, jobs), return_exceptions=True)

    async with service:
        ids = await service.schedule_many(requests(5, INDEX))
        await asyncio.sleep(2)
        assert await service.result(ids[0]) == "result 0"
    assert await status_of(world, ids) == [
        ("completed", 1, "result 0"),
        ("failed", 1, "no route to host"),
        ("cancelled", 1, "gone"),
        ("completed", 1, "result 3"),
        ("failed", 1, "it is said"),
    ]


@pytest.mark.parametrize(
    ("value", "what"),
    [(["a"], "list of 1 for 2 jobs"), ({"a": 1}, "dict for 2 jobs"), ("ab", "str for 2 jobs")],
)
async def test_what_is_no_list_of_results_fails_the_jobs_and_says_so(
    world: World, value: Any, what: str
) -> None:
    service = world.service()

    @service.handler(PLAIN, batch=2, within=1)
    async def index(jobs: Jobs) -> Any:
        return value

    async with service:
        ids = await service.schedule_many(requests(2))
        await asyncio.sleep(2)
    for job_id in ids:
        info = await world.look(job_id)
        assert info.status is JobStatus.FAILED
        assert info.errors[0].kind == "JobTypeError"
        assert what in str(info.error)
        assert "job.succeed(result)" in str(info.error)


async def test_one_word_for_all_holds_for_those_of_whom_nothing_was_said(world: World) -> None:
    service = world.service()

    @service.handler(PLAIN, batch=3, within=1)
    async def index(jobs: Jobs) -> Snooze:
        jobs[0].succeed()
        return Snooze(3600)

    async with service:
        ids = await service.schedule_many(requests(3))
        await asyncio.sleep(2)
    assert [(status, attempt) for status, attempt, _ in await status_of(world, ids)] == [
        ("completed", 1), ("scheduled", 0), ("scheduled", 0)
    ]  # fmt: skip


async def test_what_is_said_of_a_job_is_recorded_at_once(world: World) -> None:
    service = world.service()

    @service.handler(PLAIN, batch=2, within=1)
    async def index(jobs: Jobs) -> None:
        jobs[0].succeed("first")
        await asyncio.sleep(30)
        jobs[1].succeed("second")
        await asyncio.sleep(30)

    async with service:
        ids = await service.schedule_many(requests(2))
        assert await service.result(ids[0]) == "first"
        assert world.elapsed == pytest.approx(0, abs=0.1)
        assert await service.result(ids[1]) == "second"
        assert world.elapsed == pytest.approx(30, abs=0.1)


async def test_what_becomes_of_a_job_is_said_once(world: World) -> None:
    service = world.service()
    errors: list[str] = []

    @service.handler(PLAIN, batch=2, within=1)
    async def index(jobs: Jobs) -> None:
        jobs[0].succeed(1)
        with pytest.raises(ServiceError) as twice:
            jobs[0].fail("after all")
        errors.append(str(twice.value))
        with pytest.raises(OptionError, match="an exception or a text, got 5"):
            jobs[1].fail(5)  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="retry_in"):
            jobs[1].fail("no", retry_in=-1)
        with pytest.raises(OptionError, match="FailJob is not retried"):
            jobs[1].fail(FailJob("no"), retry_in=1)
        jobs[1].succeed(2)

    async with service:
        ids = await service.schedule_many(requests(2))
        await asyncio.sleep(2)
    assert "job.fail() after job.succeed()" in errors[0]
    assert [result for _, _, result in await status_of(world, ids)] == [1, 2]


async def test_progress_and_log_are_those_of_each_job(world: World) -> None:
    service = world.service()

    @service.handler(PLAIN, batch=2, within=1)
    async def index(jobs: Jobs) -> None:
        for job in jobs:
            job.progress(0.5 + job.data.n / 10, f"half of {job.data.n}")
            job.log.info("document %d", job.data.n)
        await asyncio.sleep(1)
        jobs[1].log.info("done")

    async with service:
        ids = await service.schedule_many(requests(2))
        await asyncio.sleep(3)
    first, second = [await world.look(job_id) for job_id in ids]
    assert (first.progress, first.progress_message) == (0.5, "half of 0")
    assert (second.progress, second.progress_message) == (0.6, "half of 1")
    assert [line.message for line in second.log] == ["document 1", "done"]
    assert [line.message for line in first.log] == ["document 0"]


# -- time, and people ------------------------------------------------------------------------------


async def test_a_call_that_is_out_of_time_fails_the_rest_and_is_interrupted(world: World) -> None:
    service = world.service()
    ended: list[float] = []

    @service.handler(PLAIN, batch=3, within=1, timeout=20, retries=0)
    async def index(jobs: Jobs) -> None:
        jobs[0].succeed()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(world.elapsed)

    async with service:
        ids = await service.schedule_many(requests(3))
        await asyncio.sleep(60)
    assert await status_of(world, ids) == [
        ("completed", 1, None),
        ("failed", 1, "timed out after 20 s"),
        ("failed", 1, "timed out after 20 s"),
    ]
    assert ended == [pytest.approx(20, abs=0.1)]


async def test_a_job_with_a_shorter_time_of_its_own_ends_and_the_others_go_on(
    world: World,
) -> None:
    service = world.service()
    cancelled: list[bool] = []

    @service.handler(PLAIN, batch=2, within=1, timeout=60, retries=0)
    async def index(jobs: Jobs) -> list[str]:
        await asyncio.sleep(30)
        cancelled.extend(job.cancelled for job in jobs)
        return ["late", "in time"]

    async with service:
        ids = [
            await service.schedule(PLAIN, Doc(0), timeout=5),
            await service.schedule(PLAIN, Doc(1)),
        ]
        await asyncio.sleep(60)
    assert cancelled == [True, False]
    assert await status_of(world, ids) == [
        ("failed", 1, "timed out after 5 s"), ("completed", 1, "in time")
    ]  # fmt: skip


async def test_code_that_goes_on_after_its_last_job_is_out_of_time_too(world: World) -> None:
    service = world.service(concurrency=1)
    ended: list[float] = []

    @service.handler(PLAIN, batch=2, within=0, timeout=20)
    async def index(jobs: Jobs) -> None:
        for job in jobs:
            job.succeed()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(world.elapsed)

    async with service:
        ids = await service.schedule_many(requests(2))
        await asyncio.sleep(1)
        assert [status for status, _, _ in await status_of(world, ids)] == ["completed"] * 2
        assert not service.idle
        await asyncio.sleep(30)
        assert service.idle
    assert ended == [pytest.approx(20, abs=0.1)]


async def test_a_job_that_is_cancelled_ends_and_the_others_go_on(world: World) -> None:
    service = world.service()
    seen: list[bool] = []

    @service.handler(PLAIN, batch=2, within=1)
    async def index(jobs: Jobs) -> None:
        await asyncio.sleep(20)
        seen.extend(job.cancelled for job in jobs)
        for job in jobs:
            job.succeed("done")  # Of the cancelled one it counts for nothing.

    async with service:
        ids = await service.schedule_many(requests(2))
        await asyncio.sleep(5)
        await service.cancel_job(ids[0])
        await asyncio.sleep(5)
        assert (await world.look(ids[0])).status is JobStatus.CANCELLED
        await asyncio.sleep(20)
    assert seen == [True, False]
    assert await status_of(world, ids) == [
        ("cancelled", 1, "cancelled by request"), ("completed", 1, "done")
    ]  # fmt: skip


async def test_when_all_its_jobs_are_cancelled_the_call_is_interrupted(world: World) -> None:
    service = world.service()
    ended: list[float] = []

    @service.handler(PLAIN, batch=2, within=1)
    async def index(jobs: Jobs) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(world.elapsed)

    async with service:
        ids = await service.schedule_many(requests(2))
        await asyncio.sleep(5)
        for job_id in ids:
            await service.cancel_job(job_id)
        await asyncio.sleep(5)
    assert ended == [pytest.approx(5, abs=0.1)]
    assert [status for status, _, _ in await status_of(world, ids)] == ["cancelled"] * 2


async def test_a_call_ends_within_the_grace_period_also_when_its_jobs_have_ended(
    world: World,
) -> None:
    service = world.service()
    ended: list[str] = []

    @service.handler(PLAIN, batch=2, within=0)
    async def index(jobs: Jobs) -> None:
        for job in jobs:
            job.succeed()
        await asyncio.sleep(10)
        ended.append("closed")

    await service.start()
    await service.schedule_many(requests(2))
    await asyncio.sleep(1)
    assert await service.stop(grace=30)
    assert ended == ["closed"]
    assert world.elapsed == pytest.approx(10, abs=0.1)


async def test_what_does_not_end_in_time_is_released_and_costs_no_attempt(world: World) -> None:
    service = world.service()
    told: list[list[bool]] = []

    @service.handler(PLAIN, batch=3, within=0, retries=0)
    async def index(jobs: Jobs) -> None:
        jobs[0].succeed("before")
        try:
            await asyncio.Event().wait()
        finally:
            told.append([job.cancelled for job in jobs])
            jobs[1].succeed("at last")

    await service.start()
    ids = await service.schedule_many(requests(3))
    await asyncio.sleep(1)
    assert await service.stop(grace=5)
    assert told == [[True, True, True]]
    assert await status_of(world, ids) == [
        ("completed", 1, "before"), ("completed", 1, "at last"), ("pending", 0, None)
    ]  # fmt: skip


async def test_a_worker_that_was_suspended_right_before_a_call_does_not_begin_it(
    world: World,
) -> None:
    """As with single jobs: what was chosen together with the one that slept is another's now."""
    service = world.service(lease=10, concurrency=2)
    starts: list[str] = []

    @service.handler("SLEEP")
    async def sleep(job: Job[Any]) -> None:
        starts.append("SLEEP")
        if len(starts) == 1:
            world.loop.jump(3000)
            assert (await world.storage.reclaim(world.clock.now())).workers

    @service.handler(PLAIN, batch=2, within=0)
    async def index(jobs: Jobs) -> None:
        starts.append(f"INDEX {numbers(jobs)}")

    world.viewer.declare("SLEEP")
    await world.viewer.schedule("SLEEP", priority="high")
    ids = await world.viewer.schedule_many(requests(2))
    async with service:
        while not starts:
            await asyncio.sleep(0.1)
        await service.result(ids[1], timeout=60)
    assert starts.count("INDEX [0, 1]") == 1


async def test_what_is_said_under_a_lost_lease_is_refused(world: World) -> None:
    """Declared dead in the middle of a call: the rest belongs to another worker."""
    service, other = world.service(world.faults.store, lease=10), world.service(lease=10)
    obey = asyncio.Event()
    ran: list[list[int]] = []

    @service.handler(PLAIN, batch=3, within=0)
    async def stubborn(jobs: Jobs) -> None:
        jobs[0].succeed("before")
        while not obey.is_set():
            try:
                await obey.wait()
            except asyncio.CancelledError:
                continue
        jobs[1].succeed("stale")

    @other.handler(PLAIN, batch=3, within=0)
    async def again(jobs: Jobs) -> list[str]:
        ran.append(numbers(jobs))
        await asyncio.sleep(5)
        return ["fresh"] * len(jobs)

    await service.start()
    ids = await service.schedule_many(requests(3))
    await asyncio.sleep(1)
    await service.pause_queue("default")  # so that it is `other` who gets them
    for verb in ("extend", "enlist", "claim"):
        world.faults.fail(verb, "before", times=1000, error=StorageError("unreachable"))
    await asyncio.sleep(30)
    await world.viewer.resume_queue("default")
    async with other:
        await asyncio.sleep(3)
        obey.set()
        await asyncio.sleep(30)
        world.faults.mend()
    assert ran == [[1, 2]]
    assert await status_of(world, ids) == [
        ("completed", 1, "before"), ("completed", 2, "fresh"), ("completed", 2, "fresh")
    ]  # fmt: skip
    assert [(await world.look(job_id)).crashes for job_id in ids] == [0, 1, 1]


async def test_a_thread_of_a_lost_lease_and_the_new_call_do_not_mix(world: World) -> None:
    """The worker that lost the lease claims the jobs anew, while its thread still runs."""
    service = world.service(world.faults.store, lease=10, concurrency=2)
    old, new = Gate(), Gate()

    @service.handler(PLAIN, batch=2, within=0)
    def index(jobs: Jobs) -> list[str]:
        (old if jobs[0].attempt == 1 else new).wait()
        return [f"attempt {job.attempt}" for job in jobs]

    async with service:
        ids = await service.schedule_many(requests(2))
        await old.reached()
        world.faults.fail("extend", "before", error=LeaseLostError("declared dead"))
        await asyncio.sleep(20)
        await new.reached()
        old.open()
        with world.loop.hold():
            while len(service._worker._runner.calls.active) > 1:  # type: ignore[union-attr]
                await asyncio.to_thread(time.sleep, 0.001)
        assert [status for status, _, _ in await status_of(world, ids)] == ["active"] * 2
        new.open()
        with world.loop.hold():
            assert [await service.result(job_id) for job_id in ids] == ["attempt 2"] * 2
        assert service.idle


# -- each is checked by itself ---------------------------------------------------------------------


async def test_what_must_not_run_is_left_out_of_the_call(world: World) -> None:
    service = world.service(concurrency=1)
    calls: list[list[int]] = []
    service.declare("PLAIN")
    junk = await service.schedule("PLAIN", {"n": "no number"})
    other = world.service(concurrency=1)

    @other.handler(PLAIN, batch=10, within=5)
    async def index(jobs: Jobs) -> None:
        calls.append(numbers(jobs))

    late = await other.schedule(PLAIN, Doc(1), expires_in=2)
    good = await other.schedule(PLAIN, Doc(2))
    async with other:
        await asyncio.sleep(10)
    assert calls == [[2]]
    assert (await world.look(junk)).errors[0].kind == "JobTypeError"
    assert (await world.look(late)).error == "expired before it started"
    assert (await world.look(good)).status is JobStatus.COMPLETED


async def test_a_job_that_the_engine_cannot_begin_costs_no_other(world: World) -> None:
    """Its options are those of another version, say."""
    service = world.service()
    calls: list[list[int]] = []

    @service.handler(PLAIN, batch=10, within=1)
    async def index(jobs: Jobs) -> None:
        calls.append(numbers(jobs))

    ids = await service.schedule_many(requests(2))
    odd = service._records.make(PLAIN, Doc(2), {}, world.clock.now())
    await world.storage.insert(
        [msgspec.structs.replace(odd, options='{"timeout":"soon"}')], world.clock.now()
    )
    async with service:
        await asyncio.sleep(5)
    assert calls == [[0, 1]]
    assert [status for status, _, _ in await status_of(world, ids)] == ["completed"] * 2
    assert (await world.look(odd.id)).errors[0].kind == "ValidationError"


async def test_older_data_is_upgraded_and_newer_data_waits_for_another_worker(
    world: World,
) -> None:
    old, new = world.service(), world.service()
    old.declare("PLAIN")
    newest = JobType("PLAIN", Doc, version=3, upgrade={1: lambda data: data, 2: lambda data: data})
    ids = [await old.schedule("PLAIN", {"m": n}) for n in (1, 0)]

    def upgraded(data: dict[str, int]) -> dict[str, int]:
        return {"n": 10 // data["m"]}

    @new.handler(JobType("PLAIN", Doc, version=2, upgrade={1: upgraded}), batch=10, within=1)
    async def index(jobs: Jobs) -> list[int]:
        return numbers(jobs)

    ids.append(await world.service().schedule(newest, Doc(5)))
    async with new:
        await asyncio.sleep(5)
    assert (await world.look(ids[0])).result == 10
    assert (await world.look(ids[1])).errors[0].kind == "UpgradeError"
    info = await world.look(ids[2])
    assert (info.status, info.attempt) == (JobStatus.PENDING, 0)


async def test_steps_and_transactions_are_refused_and_say_what_to_do(world: World) -> None:
    service = world.service()
    errors: list[str] = []

    @service.handler(PLAIN, batch=2, within=0)
    async def index(jobs: Jobs) -> None:
        for call in (
            lambda: jobs[0].step("quote", print),
            lambda: jobs[0].sleep("1d"),
            lambda: jobs[0].wait_for("approved"),
            lambda: jobs[0].transaction(),
        ):
            with pytest.raises(ServiceError) as refused:
                call()
            errors.append(str(refused.value))

    async with service:
        await service.result(await service.schedule(PLAIN, Doc(1)))
    assert len(errors) == 4
    assert all("PLAIN" in error and "has no batch=" in error for error in errors)


async def test_one_backoff_that_fails_does_not_hold_up_the_others(world: World) -> None:
    service = world.service()

    def backoff(attempt: int) -> float:
        raise LookupError("no such attempt")

    @service.handler(PLAIN, batch=2, within=1, backoff=backoff)
    async def index(jobs: Jobs) -> None:
        jobs[0].fail("no")

    async with service:
        ids = await service.schedule_many(requests(2))
        await asyncio.sleep(2)
    assert [status for status, _, _ in await status_of(world, ids)] == ["failed", "completed"]


async def test_wrappers_are_called_once_a_call(world: World) -> None:
    service = world.service()
    around: list[Any] = []

    def wrapper(handler: Any) -> Any:
        async def run(given: Any) -> Any:
            around.append(len(given))
            return await handler(given)

        return run

    service.wrap_handlers(wrapper)

    @service.handler(PLAIN, batch=3, within=1)
    async def index(jobs: Jobs) -> None: ...

    async with service:
        ids = await service.schedule_many(requests(3))
        await asyncio.sleep(2)
    assert around == [3]
    assert [status for status, _, _ in await status_of(world, ids)] == ["completed"] * 3


# -- threads ---------------------------------------------------------------------------------------


async def test_a_plain_function_runs_in_one_thread_and_says_it_there(world: World) -> None:
    service = world.service()
    threads: list[str] = []

    @service.handler(INDEX, batch=4, within=0, retries=0)
    def index(jobs: Sequence[BulkJob[Doc, str]]) -> list[str]:
        threads.append(threading.current_thread().name)
        jobs[1].fail(FailJob("this one"))
        jobs[2].succeed("said")
        return [f"returned {job.data.n}" for job in jobs]

    async with service:
        with world.loop.hold():
            ids = await service.schedule_many(requests(4, INDEX))
            assert await service.result(ids[3]) == "returned 3"
            assert await service.result(ids[2]) == "said"
    assert len(threads) == 1
    assert threads[0].startswith("backroom-handler-")
    assert [status for status, _, _ in await status_of(world, ids)] == [
        "completed", "failed", "completed", "completed"
    ]  # fmt: skip


async def test_a_thread_that_raises_fails_what_it_has_said_nothing_of(world: World) -> None:
    service = world.service()

    @service.handler(PLAIN, batch=2, within=0, retries=0)
    def index(jobs: Jobs) -> None:
        jobs[0].succeed("said")
        raise SystemExit("no")

    async with service:
        with world.loop.hold():
            ids = await service.schedule_many(requests(2))
            await service.result(ids[0])
            while (await world.look(ids[1])).status is not JobStatus.FAILED:
                await asyncio.sleep(0)
    assert (await world.look(ids[1])).errors[0].kind == "SystemExit"


async def test_a_thread_that_is_out_of_time_loses_its_jobs_and_keeps_its_slot(
    world: World,
) -> None:
    service = world.service(concurrency=1)
    gate = Gate()
    seen: list[bool] = []

    @service.handler(PLAIN, batch=2, within=0, timeout=5, retries=0)
    def index(jobs: Jobs) -> None:
        gate.wait()
        seen.extend(job.cancelled for job in jobs)
        jobs[0].succeed("too late")

    @service.handler("NEXT")
    async def next_(job: Job[Any]) -> str:
        return "next"

    async with service:
        ids = await service.schedule_many(requests(2))
        with world.loop.hold():
            await gate.reached()
        await asyncio.sleep(6)
        assert [error for _, _, error in await status_of(world, ids)] == [
            "timed out after 5 s"
        ] * 2  # fmt: skip
        following = await service.schedule("NEXT")
        await asyncio.sleep(1)
        assert (await world.look(following)).status is JobStatus.PENDING
        gate.open()
        with world.loop.hold():
            assert await service.result(following) == "next"
    assert seen == [True, True]
    assert [status for status, _, _ in await status_of(world, ids)] == ["failed"] * 2
