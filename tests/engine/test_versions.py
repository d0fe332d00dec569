"""Services whose code is of different versions, on one storage."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from backroom import (
    FailJob,
    Job,
    JobCancelledError,
    JobFailedError,
    JobRequest,
    JobService,
    JobStatus,
    JobType,
    ParkedStats,
    RetryJob,
    Schedule,
)
from backroom.job import JobInfo
from tests.engine.world import World


@dataclass
class First:
    to: str


@dataclass
class Second:
    recipient: str


@dataclass
class Third:
    recipients: list[str]


def from_v1(data: First) -> Second:
    return Second(data.to)


def from_v2(data: dict[str, Any]) -> dict[str, Any]:
    return {"recipients": [data["recipient"]]}


V1 = JobType("MAIL", First)
V2 = JobType("MAIL", Second, version=2, upgrade={1: from_v1})
V3 = JobType("MAIL", Third, version=3, upgrade={1: from_v1, 2: from_v2})


async def send(job: Job[Any]) -> str:
    return repr(job.data)


def send_in_thread(job: Job[Any]) -> str:
    return repr(job.data)


def worker(
    world: World, kind: JobType[Any, Any], handler: Any = send, **options: Any
) -> JobService:
    service = world.service(concurrency=5)
    service.register_handler(kind, handler, **options)
    return service


async def scheduled(world: World, kind: JobType[Any, Any], data: Any, **options: Any) -> Any:
    """By a process that only schedules."""
    return await world.service().schedule(kind, data, **options)


@pytest.mark.parametrize("handler", [send, send_in_thread])
async def test_old_jobs_are_upgraded_when_they_run(world: World, handler: Any) -> None:
    first = await scheduled(world, V1, First("ada"))
    second = await scheduled(world, V2, Second("ada"), tags=["a"])
    third = await scheduled(world, V3, Third(["ada"]))
    service = worker(world, V3, handler)
    with world.loop.hold():
        async with service:
            for job_id in (first, second, third):
                assert await service.result(job_id, timeout=60) == "Third(recipients=['ada'])"
    seen = [await world.look(job_id) for job_id in (first, second, third)]
    assert [(info.version, info.data) for info in seen] == [
        (1, {"to": "ada"}), (2, {"recipient": "ada"}), (3, {"recipients": ["ada"]}),
    ]  # fmt: skip
    assert [(info.options, info.tags) for info in seen] == [({}, ()), ({}, ("a",)), ({}, ())]


async def test_newer_data_waits_for_a_newer_worker_which_finds_it_at_once(world: World) -> None:
    old, new = worker(world, V1), worker(world, V2)
    async with old:
        job_id = await scheduled(world, V2, Second("ada"))
        await asyncio.sleep(30)
        info = await world.look(job_id)
        assert (info.status, info.parked, info.version) == (JobStatus.PENDING, True, 2)
        assert (info.attempt, info.errors) == (0, ())
        stats = await world.viewer.get_stats()
        assert stats.parked == (ParkedStats("MAIL", 2, 1),)
        began = world.elapsed
        async with new:
            assert await new.result(job_id, timeout=60) == "Second(recipient='ada')"
            assert world.elapsed - began < 0.1
    assert (await world.look(job_id)).attempt == 1


async def test_what_an_older_worker_parks_the_newer_one_beside_it_runs_at_once(
    world: World,
) -> None:
    old, new = world.service(world.faults.store), worker(world, V2)
    old.register_handler(V1, send)
    async with old, new:
        producer = world.service()
        ids = await producer.schedule_many([JobRequest(V2, Second(str(n))) for n in range(50)])
        began = world.elapsed
        for n, job_id in enumerate(ids):
            assert await new.result(job_id, timeout=60) == f"Second(recipient='{n}')"
        assert world.elapsed - began < 0.1


async def test_an_older_worker_parks_a_job_once(world: World) -> None:
    old = worker(world, V1)
    ran: list[int] = []
    claim = world.storage.claim

    async def counted(*args: Any) -> Any:
        claimed = await claim(*args)
        ran.extend(one.key for one in claimed.claims)
        return claimed

    world.storage.claim = counted  # type: ignore[method-assign]
    async with old:
        await scheduled(world, V2, Second("ada"))
        mine = await scheduled(world, V1, First("ada"))
        assert await old.result(mine, timeout=60) == "First(to='ada')"
        await asyncio.sleep(600)
    assert len(ran) == len(set(ran)) == 2


async def test_an_older_worker_runs_what_was_scheduled_before_while_both_are_there(
    world: World,
) -> None:
    """The data in the store stays as it was: who upgrades it does so for itself."""

    async def fail(job: Job[Any]) -> None:
        raise OSError("no route to host")

    new = worker(world, V2, fail, retry_delay=60)
    job_id = await scheduled(world, V1, First("ada"))
    async with new:
        await asyncio.sleep(1)
    old = worker(world, V1)
    async with old:
        assert await old.result(job_id, timeout=120) == "First(to='ada')"
    assert (await world.look(job_id)).attempt == 2


@pytest.mark.parametrize("thread", [False, True])
async def test_an_upgrade_that_raises_fails_the_attempt_which_is_retried(
    world: World, thread: bool
) -> None:
    calls: list[Any] = []

    def flaky(data: Any) -> Any:
        calls.append(data)
        if len(calls) < 3:
            raise KeyError("to")
        return {"recipient": data["to"]}

    kind = JobType("MAIL", Second, version=2, upgrade={1: flaky})
    job_id = await scheduled(world, V1, First("ada"))
    service = worker(world, kind, send_in_thread if thread else send, retry_delay=0)
    with world.loop.hold():
        async with service:
            assert await service.result(job_id) == "Second(recipient='ada')"
    assert calls == [{"to": "ada"}] * 3
    info = await world.look(job_id)
    assert info.attempt == 3
    assert [(error.kind, error.message) for error in info.errors] == [
        ("UpgradeError", "MAIL: the upgrade of its data from version 1 to 2 failed: KeyError: 'to'")
    ] * 2
    assert "in flaky" in (info.errors[0].traceback or "")


async def test_out_of_attempts_it_fails_with_the_version_in_its_text_and_a_retry_upgrades_it(
    world: World,
) -> None:
    mended = False

    def upgrade(data: dict[str, Any]) -> dict[str, Any]:
        return {"recipient": data["to"]} if mended else {"to": data["to"]}

    kind = JobType("MAIL", Second, version=2, upgrade={1: upgrade})
    job_id = await scheduled(world, V1, First("ada"), retries=1, retry_delay=0)
    service = worker(world, kind)
    async with service:
        with pytest.raises(JobFailedError, match=r"from version 1 to 2 .* field `?recipient"):
            await service.result(job_id, timeout=60)
        assert (await world.look(job_id)).attempt == 2
        mended = True
        await world.viewer.retry_job(job_id)
        assert await service.result(job_id, timeout=60) == "Second(recipient='ada')"


async def test_an_old_job_that_had_failed_is_upgraded_when_it_is_retried(world: World) -> None:
    async def fail(job: Job[Any]) -> None:
        raise FailJob("no such user")

    old, new = worker(world, V1, fail), worker(world, V3)
    async with old:
        job_id = await scheduled(world, V1, First("ada"))
        with pytest.raises(JobFailedError):
            await old.result(job_id, timeout=60)
    async with new:
        await world.viewer.retry_job(job_id)
        assert await new.result(job_id, timeout=60) == "Third(recipients=['ada'])"


@pytest.mark.parametrize(
    ("error", "status"), [(FailJob("too old"), "failed"), (RetryJob(delay=5), "scheduled")]
)
async def test_an_upgrade_may_say_what_becomes_of_the_job(
    world: World, error: Exception, status: str
) -> None:
    def refuse(data: Any) -> Any:
        raise error

    kind = JobType("MAIL", Second, version=2, upgrade={1: refuse})
    job_id = await scheduled(world, V1, First("ada"))
    async with worker(world, kind):
        await asyncio.sleep(1)
        info = await world.look(job_id)
    assert (info.status, info.attempt, info.error) == (status, 1, str(error))


async def test_an_upgrade_runs_after_the_start_was_counted_and_in_the_handler_s_place(
    world: World,
) -> None:
    seen: list[Any] = []
    noted: list[int] = []
    note_start = world.storage.note_start

    def note(worker: int, claim: Any) -> None:
        noted.append(claim.key)
        note_start(worker, claim)

    world.storage.note_start = note  # type: ignore[method-assign]

    def look(data: First) -> Second:
        seen.append((len(noted), threading.current_thread() is threading.main_thread()))
        return Second(data.to)

    kind = JobType("MAIL", Second, version=2, upgrade={1: look})
    for handler in (send, send_in_thread):
        job_id = await scheduled(world, V1, First("ada"))
        service = worker(world, kind, handler)
        with world.loop.hold():
            async with service:
                await service.result(job_id, timeout=60)
    assert seen == [(1, True), (2, False)]


async def test_a_thread_s_upgrade_that_takes_too_long_is_out_of_time(world: World) -> None:
    free = threading.Event()

    def slow(data: First) -> Second:
        assert free.wait(60)
        return Second(data.to)

    kind = JobType("MAIL", Second, version=2, upgrade={1: slow})
    job_id = await scheduled(world, V1, First("ada"))
    service = worker(world, kind, send_in_thread, retries=0, timeout=5)
    async with service:
        with pytest.raises(JobFailedError, match="timed out after 5 s"):
            await service.result(job_id, timeout=60)
        free.set()


async def test_what_is_parked_can_be_cancelled(world: World) -> None:
    async with worker(world, V1):
        job_id = await scheduled(world, V2, Second("ada"))
        await asyncio.sleep(1)
        await world.viewer.cancel_job(job_id)
        with pytest.raises(JobCancelledError):
            await world.viewer.result(job_id, timeout=1)


async def test_of_a_type_that_nobody_knows_the_version_counts_too(world: World) -> None:
    async with world.service():
        job_id = await scheduled(world, V2, Second("ada"))
        await asyncio.sleep(1)
    async with worker(world, V1) as old:
        await asyncio.sleep(60.5)  # Between two looks.
        info = await world.look(job_id)
        assert (info.parked, info.attempt) == (True, 0)
        assert old.idle
    async with worker(world, V3) as new:
        assert await new.result(job_id, timeout=60) == "Third(recipients=['ada'])"


async def test_a_process_that_schedules_and_runs_starts_its_own_version_at_once(
    world: World,
) -> None:
    service = worker(world, V3)
    async with service:
        job_id = await service.schedule("MAIL", {"recipients": ["ada"]})
        assert await service.result(job_id, timeout=60) == "Third(recipients=['ada'])"
    info = await world.look(job_id)
    assert info.version == 3
    assert service.handled_versions == {"MAIL": 3}


async def test_data_whose_version_cannot_be_read_fails_its_attempt(world: World) -> None:
    """Nobody writes it so."""
    producer = world.service()
    job_id = await producer.schedule(V1, First("ada"), retries=0)
    ledger = world.storage._ledger
    assert ledger is not None
    ledger.run("UPDATE job SET options = ? WHERE id = ?", ('{"version":"x"}', str(job_id)))
    service = worker(world, V2, retries=0)
    async with service:
        with pytest.raises(JobFailedError, match="version"):
            await service.result(job_id, timeout=60)


# -- schedules -----------------------------------------------------------------------------------


def told(data: Any) -> Schedule:
    """Each minute."""
    return Schedule(60, data=data, name="each minute")


async def of_ticks(world: World) -> list[JobInfo]:
    """The jobs of its ticks, the oldest first."""
    ticks = await world.viewer.get_ticks("each minute")
    return [await world.look(tick.job or "") for tick in reversed(ticks)]


async def test_newer_code_declares_a_schedule_that_older_workers_go_on_with(world: World) -> None:
    old, new = worker(world, V1), worker(world, V2, schedules=[told(Second("ada"))])
    async with old:
        async with new:
            pass
        await asyncio.sleep(125)
        # The older one has decided both ticks, and left their jobs to who knows their version.
        jobs = await of_ticks(world)
        assert [(job.version, job.parked, job.attempt) for job in jobs] == [(2, True, 0)] * 2
        again = worker(world, V2, schedules=[told(Second("ada"))])
        began = world.elapsed
        async with again:
            for job in jobs:
                assert await again.result(job.id, timeout=60) == "Second(recipient='ada')"
            assert world.elapsed - began < 0.1
            await asyncio.sleep(60)
        assert [job.status for job in await of_ticks(world)] == ["completed"] * 3


async def test_a_schedule_of_older_code_is_upgraded_when_its_jobs_run(world: World) -> None:
    info = await world.service().every(60, V1, First("ada"), name="each minute", tags=["a"])
    new = worker(world, V3)
    async with new:
        await asyncio.sleep(125)
        beside = await new.run_schedule("each minute")
        ids = [*(job.id for job in await of_ticks(world)), beside]
        assert len(ids) == 3
        for job_id in ids:
            assert await new.result(job_id, timeout=60) == "Third(recipients=['ada'])"
    seen = [await world.look(job_id) for job_id in ids]
    assert {(job.version, job.tags, repr(job.data)) for job in seen} == {
        (1, ("a",), "{'to': 'ada'}")
    }
    kept = await world.viewer.get_schedule("each minute")
    assert (kept.data, kept.next_runs[0] > info.next_runs[0]) == ({"to": "ada"}, True)


async def test_while_old_and_new_code_restart_each_tick_fires_once_and_runs(world: World) -> None:
    """Who starts last says what the jobs of the next ticks carry."""
    new = worker(world, V2, schedules=[told(Second("new"))])
    async with new:
        for n in range(4):
            old = worker(world, V1, schedules=[told(First("old"))])
            again = worker(world, V2, schedules=[told(Second("new"))])
            async with old if n % 2 else again:
                await asyncio.sleep(60)
        await asyncio.sleep(1)
        jobs = await of_ticks(world)
        assert [job.version for job in jobs] == [2, 1, 2, 1]
        results = [await new.result(job.id, timeout=60) for job in jobs]
    names = ["new", "old", "new", "old"]
    assert [result.partition("'")[2][:3] for result in results] == names


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_a_tick_that_waits_for_newer_code_is_not_over(world: World, overlap: Any) -> None:
    schedule = Schedule(60, data=Second("ada"), name="each minute", overlap=overlap)
    new = worker(world, V2, schedules=[schedule])
    async with new:
        pass
    async with worker(world, V1):
        await asyncio.sleep(185)
        [*_, first] = await world.viewer.get_ticks("each minute")
        assert first.outcome == "fired"
        assert (await world.look(first.job or "")).parked
        fired = [t for t in await world.viewer.get_ticks("each minute") if t.outcome == "fired"]
        assert fired == [first]
        again = worker(world, V2, schedules=[schedule])
        async with again:
            await again.result(first.job or "", timeout=60)
            await asyncio.sleep(70)
    fired = [t for t in await world.viewer.get_ticks("each minute") if t.outcome == "fired"]
    assert len(fired) >= 2


async def test_a_schedule_shows_its_version_as_no_option(world: World) -> None:
    info = await world.service().every(60, V2, Second("ada"), name="each minute", retries=1)
    assert info.options == {"retries": 1}
    assert info.version == 2
    first = await world.service().every(60, V1, First("ada"), name="another")
    assert (first.options, first.version) == ({}, 1)
