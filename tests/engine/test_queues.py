"""Queues: with slots of their own, served by some workers only, paused and resumed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from backroom import Job, JobRequest, JobService, JobStatus
from tests.engine.world import World


class Load:
    """How many jobs of each queue run, and the most there ever were."""

    def __init__(self, service: JobService, seconds: float = 10) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.all_at_once = 0
        self.starts: list[str] = []

        @service.handler("WORK")
        async def work(job: Job[Any]) -> None:
            self.starts.append(job.queue)
            self.now[job.queue] += 1
            self.most |= self.now
            self.all_at_once = max(self.all_at_once, self.now.total())
            await asyncio.sleep(seconds)
            self.now[job.queue] -= 1


async def fill(service: JobService, queue: str, jobs: int) -> list[str]:
    service.declare("WORK")
    return list(await service.schedule_many([JobRequest("WORK", queue=queue) for _ in range(jobs)]))


@pytest.mark.parametrize("concurrency", [1, 3, 40])
async def test_never_more_run_than_the_concurrency_allows(world: World, concurrency: int) -> None:
    service = world.service(concurrency=concurrency)
    load = Load(service)
    async with service:
        await fill(service, "default", 30)
        for _ in range(30):
            await service.schedule("WORK")  # These may pass straight to the worker.
        await asyncio.sleep(10 * 60 / concurrency + 15)
    assert len(load.starts) == 60
    assert load.all_at_once == min(concurrency, 60)


async def test_a_queue_with_slots_of_its_own_neither_takes_nor_gives(world: World) -> None:
    service = world.service(concurrency=4, queues={"mail": 2, "report": 1})
    load = Load(service)
    async with service:
        for queue in ("mail", "report", "default", "other"):
            await fill(service, queue, 20)
        await asyncio.sleep(55)
    assert load.most["mail"] == 2
    assert load.most["report"] == 1
    assert load.most["default"] + load.most["other"] >= 4
    assert load.all_at_once == 7


async def test_other_queues_share_the_slots(world: World) -> None:
    service = world.service(concurrency=2)
    load = Load(service, seconds=1)
    async with service:
        for queue in ("a", "b", "c"):
            await fill(service, queue, 10)
        await asyncio.sleep(20)
    assert Counter(load.starts) == {"a": 10, "b": 10, "c": 10}
    assert load.all_at_once == 2


async def test_a_worker_serves_only_the_queues_it_was_given(world: World) -> None:
    mails, rest = world.service(only=["mail", "sms"], queues={"sms": 3}), world.service()
    mail_load, rest_load = Load(mails, 1), Load(rest, 1)
    async with mails:
        for queue in ("mail", "sms", "default"):
            await fill(mails, queue, 6)
            await mails.schedule("WORK", queue=queue)
        await asyncio.sleep(10)
        assert Counter(mail_load.starts) == {"mail": 7, "sms": 7}
        stats = {queue.name: queue.pending for queue in (await mails.get_stats()).queues}
        assert stats == {"mail": 0, "sms": 0, "default": 7}
    async with rest:
        await asyncio.sleep(10)
    assert Counter(rest_load.starts) == {"default": 7}


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(world: World) -> None:
    service = world.service(concurrency=2, poll_interval=3600)
    load = Load(service, 1)
    async with service:
        await service.pause_queue("mail")
        ids = await fill(service, "mail", 3)
        ids.append(await service.schedule("WORK", queue="mail"))
        await fill(service, "default", 3)
        await asyncio.sleep(60)
        assert Counter(load.starts) == {"default": 3}
        assert {await service.get_job_status(job_id) for job_id in ids} == {JobStatus.PENDING}
        [mail] = [q for q in (await service.get_stats()).queues if q.name == "mail"]
        assert (mail.paused, mail.pending) == (True, 4)
        await service.resume_queue("mail")
        await asyncio.sleep(10)
    assert Counter(load.starts) == {"default": 3, "mail": 4}


async def test_pausing_lets_running_jobs_end(world: World) -> None:
    service = world.service()
    Load(service, 10)
    async with service:
        job_id = await service.schedule("WORK", queue="mail")
        await asyncio.sleep(1)
        await service.pause_queue("mail")
        await service.result(job_id)
    assert world.elapsed == pytest.approx(10)


async def test_pausing_twice_and_resuming_what_runs_change_nothing(world: World) -> None:
    service = world.service()
    load = Load(service, 1)
    async with service:
        await service.resume_queue("mail")
        await service.pause_queue("mail")
        await service.pause_queue("mail")
        await service.resume_queue("mail")
        await fill(service, "mail", 1)
        await asyncio.sleep(5)
    assert load.starts == ["mail"]


async def hold_ahead(world: World, service: JobService, jobs: int) -> list[str]:
    """Makes a worker claim jobs of "mail" ahead, more than it has slots for."""

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> None:
        await asyncio.sleep(0.001)

    await service.schedule_many([JobRequest("QUICK") for _ in range(400)])
    return await fill(service, "mail", jobs)


async def test_jobs_that_a_worker_holds_ahead_are_not_started_when_their_queue_is_paused(
    world: World,
) -> None:
    service = world.service(concurrency=2)
    load = Load(service, 10)
    async with service:
        ids = await hold_ahead(world, service, 20)
        await asyncio.sleep(2)
        assert load.starts == ["mail", "mail"]
        held = len(list(await service.get_jobs(status="active"))) - 2
        assert held > 2, "the worker holds no job ahead: this test shows nothing"
        await service.pause_queue("mail")
        await asyncio.sleep(60)
        assert load.starts == ["mail", "mail"]
        statuses = Counter([await service.get_job_status(job_id) for job_id in ids])
        assert statuses == {JobStatus.COMPLETED: 2, JobStatus.PENDING: 18}
        assert {(await service.get_job(job_id)).attempt for job_id in ids} == {0, 1}
        await service.resume_queue("mail")
        await asyncio.sleep(100)
    assert len(load.starts) == 20


async def test_a_pause_while_another_is_being_looked_at_is_not_missed(world: World) -> None:
    service = world.service(world.faults.store, concurrency=2)
    load = Load(service, 10)
    async with service:
        await hold_ahead(world, service, 20)
        await asyncio.sleep(2)
        looking = world.faults.keep_back("queues")
        await service.pause_queue("other")
        await looking.applied.wait()
        await service.pause_queue("mail")
        await asyncio.sleep(0)
        looking.send()
        await asyncio.sleep(60)
    assert load.starts == ["mail", "mail"]


async def test_a_job_whose_start_is_being_counted_while_its_queue_is_paused_goes_back(
    world: World,
) -> None:
    service = world.service(world.faults.store, concurrency=2)
    load = Load(service, 10)
    async with service:
        ids = await hold_ahead(world, service, 20)
        await asyncio.sleep(2)
        counting = world.faults.keep_back("start")
        await counting.applied.wait()  # When the first two have ended.
        await service.pause_queue("mail")
        await asyncio.sleep(1)
        counting.send()
        await asyncio.sleep(60)
        assert load.starts == ["mail", "mail"]
        statuses = Counter([await service.get_job_status(job_id) for job_id in ids])
        assert statuses == {JobStatus.COMPLETED: 2, JobStatus.PENDING: 18}


async def test_a_claim_that_is_on_its_way_while_jobs_are_given_back_is_not_run_twice(
    world: World,
) -> None:
    """One queue's jobs go back; another queue's claim is granted, and its answer travels."""
    service = world.service(world.faults.store, concurrency=2, queues={"own": 1})
    other = world.service(concurrency=5, only=["own"])
    load = Load(service, 10)
    elsewhere = Load(other, 10)
    async with service:
        await hold_ahead(world, service, 20)
        await asyncio.sleep(2)
        answer = world.faults.keep_back("claim", only=lambda _, want, now: want.queues == ("own",))
        await fill(service, "own", 1)
        await answer.applied.wait()
        await service.pause_queue("mail")
        await asyncio.sleep(0.1)
        await other.start()
        await asyncio.sleep(0.5)
        answer.send()
        await asyncio.sleep(60)
    assert Counter(load.starts + elsewhere.starts)["own"] == 1


@pytest.mark.parametrize("paused", ["", "a\nb", "x" * 201, 7])
async def test_a_queue_name_that_is_none_is_refused(world: World, paused: Any) -> None:
    service = world.service()
    with pytest.raises(ValueError, match="a queue needs a name of 1 to 200 printable characters"):
        await service.pause_queue(paused)
