"""Events: who listens is told what this process did, and harms nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from backroom import (
    Cancel,
    Event,
    Job,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobFailedError,
    JobRequest,
    JobRetrying,
    JobScheduled,
    JobService,
    JobSnoozed,
    JobStarted,
    OptionError,
    Schedule,
    ScheduleFired,
    Snooze,
)
from backroom.events import MOST_WAITING, event_of
from backroom.transition import Claim, Transition
from tests.engine.world import World


async def until_told(service: JobService) -> None:
    """A second of the jobs' time; then the threads of listeners have come to their end, too."""
    await asyncio.sleep(1)
    deadline = time.monotonic() + 10
    while any(ear.busy for ear in service._events._ears):
        assert time.monotonic() < deadline
        time.sleep(0.001)  # noqa: ASYNC251 - virtual time waits for no thread
        await asyncio.sleep(0)


async def test_a_job_that_fails_is_told_from_its_scheduling_to_its_end(world: World) -> None:
    service = world.service()

    @service.handler("BAD", retries=1, retry_delay=7, backoff="fixed", queue="mail")
    async def bad(job: Job[Any]) -> None:
        await asyncio.sleep(2)
        raise ValueError("no such thing")

    heard: list[Event] = []

    async def listener(event: Event) -> None:
        heard.append(event)

    service.on("job.*", listener)
    await service.start()
    job_id = await service.schedule("BAD", delay=3)
    with pytest.raises(JobFailedError):
        await service.result(job_id)
    await until_told(service)
    scheduled, first, retrying, second, failed = heard
    assert isinstance(scheduled, JobScheduled)
    assert scheduled.run_at - scheduled.at == timedelta(seconds=3)
    assert isinstance(first, JobStarted)
    assert (first.job_id, first.type, first.queue, first.attempt) == (job_id, "BAD", "mail", 1)
    assert first.waited == pytest.approx(0, abs=0.1)
    assert isinstance(retrying, JobRetrying)
    assert (retrying.kind, retrying.message, retrying.attempt) == (
        "ValueError", "no such thing", 1,
    )  # fmt: skip
    assert retrying.duration == pytest.approx(2)
    assert retrying.run_at - retrying.at == timedelta(seconds=7)
    assert isinstance(second, JobStarted)
    assert second.attempt == 2
    assert isinstance(failed, JobFailed)
    assert (failed.job_id, failed.kind, failed.attempt) == (job_id, "ValueError", 2)


async def test_each_outcome_has_an_event_of_its_own(world: World) -> None:
    service = world.service()
    snoozed: list[str] = []

    @service.handler("GOOD")
    async def good(job: Job[Any]) -> str:
        return "done"

    @service.handler("GIVES_UP")
    async def gives_up(job: Job[Any]) -> Cancel:
        return Cancel("not needed")

    @service.handler("LATER")
    async def later(job: Job[Any]) -> Snooze | None:
        if job.id in snoozed:
            return None
        snoozed.append(job.id)
        return Snooze(60)

    heard: list[Event] = []
    for name in ("job.completed", "job.cancelled", "job.snoozed"):
        service.on(name, heard.append)
    await service.start()
    for type_ in ("GOOD", "GIVES_UP", "LATER"):
        await service.schedule(type_)
        await until_told(service)
    completed, cancelled, put_off = heard
    assert isinstance(completed, JobCompleted)
    assert isinstance(cancelled, JobCancelled)
    assert cancelled.reason == "not needed"
    assert isinstance(put_off, JobSnoozed)
    assert put_off.run_at is not None
    assert put_off.run_at - put_off.at == timedelta(seconds=60)


async def test_workers_queues_and_schedules_tell_of_themselves(world: World) -> None:
    service = world.service()

    @service.handler("TICK", schedules=[Schedule(timedelta(seconds=10), name="ticker")])
    async def tick(job: Job[Any]) -> None: ...

    names: list[str] = []
    fired: list[ScheduleFired] = []
    service.on("*", lambda event: names.append(event.name))
    service.on("schedule.fired", fired.append)
    await service.start()
    await service.pause_queue("mail")
    await service.resume_queue("mail")
    await asyncio.sleep(11)
    await until_told(service)
    await service.stop()
    assert names[:3] == ["worker.started", "queue.paused", "queue.resumed"]
    assert "job.completed" in names
    assert names[-1] == "worker.stopped"
    assert fired[0].schedule == "ticker"
    assert len(fired[0].jobs) == 1


async def test_a_listener_that_raises_harms_neither_jobs_nor_other_listeners(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    service = world.service()

    @service.handler("GOOD")
    async def good(job: Job[Any]) -> None: ...

    def broken(event: JobCompleted) -> None:
        raise RuntimeError("my own fault")

    heard: list[JobCompleted] = []
    service.on("job.completed", broken)
    service.on("job.completed", heard.append)
    await service.start()
    for _ in range(2):
        await service.result(await service.schedule("GOOD"))
    await until_told(service)
    assert len(heard) == 2
    failures = [one for one in caplog.records if "broken failed at job.completed" in one.message]
    assert len(failures) == 2
    assert failures[0].levelno == logging.ERROR


async def test_a_listener_that_hangs_stops_neither_jobs_nor_the_service(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    service = world.service(concurrency=50)

    @service.handler("GOOD")
    async def good(job: Job[Any]) -> None: ...

    begun = 0

    async def hangs(event: JobCompleted) -> None:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    off = service.on("job.completed", hangs)
    await service.start()
    await service.schedule_many([JobRequest("GOOD") for _ in range(MOST_WAITING + 10)])
    await asyncio.sleep(5)
    assert (await service.get_stats()).by_status["completed"] == MOST_WAITING + 10
    assert begun == 1
    assert any("is behind: 1,000 events wait for it" in one.message for one in caplog.records)
    before = world.elapsed
    await service.stop()
    assert world.elapsed - before < 5
    off()


async def test_a_listener_that_was_taken_off_hears_nothing_more(world: World) -> None:
    service = world.service()

    @service.handler("GOOD")
    async def good(job: Job[Any]) -> None: ...

    heard: list[JobCompleted] = []
    off = service.on("job.completed", heard.append)
    await service.start()
    await service.result(await service.schedule("GOOD"))
    await until_told(service)
    off()
    off()
    await service.result(await service.schedule("GOOD"))
    await until_told(service)
    assert len(heard) == 1


async def test_a_plain_listener_runs_in_a_thread_and_in_order(world: World) -> None:
    service = world.service()

    @service.handler("GOOD")
    async def good(job: Job[Any]) -> None: ...

    heard: list[tuple[str, bool]] = []

    def listener(event: Event) -> None:
        heard.append((event.name, threading.current_thread() is threading.main_thread()))

    service.on("job.*", listener)
    await service.start()
    await service.result(await service.schedule("GOOD"))
    await until_told(service)
    assert [name for name, _ in heard] == ["job.scheduled", "job.started", "job.completed"] or [
        name for name, _ in heard
    ] == ["job.started", "job.scheduled", "job.completed"]
    assert not any(on_loop for _, on_loop in heard)


async def test_a_stream_gives_what_happens_until_the_service_stops(world: World) -> None:
    service = world.service()

    @service.handler("GOOD")
    async def good(job: Job[Any]) -> None: ...

    await service.start()
    heard: list[str] = []

    async def listen() -> None:
        heard.extend([event.job_id async for event in service.events("job.completed")])

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    ids = [await service.schedule("GOOD") for _ in range(3)]
    await until_told(service)
    await service.stop()
    await asyncio.wait_for(listening, 1)
    assert heard == ids


async def test_a_stream_that_is_not_read_counts_what_it_missed(world: World) -> None:
    service = world.service()

    @service.handler("GOOD")
    async def good(job: Job[Any]) -> None: ...

    await service.start()
    stream = service.events("job.completed", buffer=2)
    ids = [await service.schedule("GOOD") for _ in range(5)]
    await until_told(service)
    assert [(await anext(stream)).job_id, (await anext(stream)).job_id] == ids[3:]
    assert stream.missed == 3
    stream.close()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_stream_that_nobody_holds_any_more_is_forgotten(world: World) -> None:
    service = world.service()
    stream = service.events("job.completed")
    assert service._events.outcomes
    del stream
    service._events.tell([])
    assert not service._events.outcomes


def test_an_attempt_that_never_was_is_no_event() -> None:
    claim = Claim(1, 1, "id", "SLOW", "default", 2, 0, 0, "{}", None, None)
    assert event_of(claim, Transition.released(claim), 5) is None
    assert event_of(claim, Transition.parked(claim), 5) is None


@pytest.mark.parametrize("name", ["job.fail", "", "fail*", 3])
def test_an_event_that_there_is_not_is_refused_with_those_there_are(name: Any) -> None:
    service = JobService("memory:")
    with pytest.raises(OptionError, match=r"known are job\.scheduled"):
        service.on(name, print)
    with pytest.raises(OptionError, match=r"known are job\.scheduled"):
        service.events(name)


def test_what_cannot_be_called_cannot_listen() -> None:
    service = JobService("memory:")
    with pytest.raises(OptionError, match="cannot be called"):
        service.on("job.failed", None)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="1 to 100,000"):
        service.events(buffer=0)
