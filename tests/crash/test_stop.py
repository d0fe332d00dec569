"""A worker is asked to stop: nothing is lost, nothing runs twice, no attempt is charged."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from backroom import JobRequest, JobService, JobStatus
from tests.process.parts import (
    Family,
    eventually,
    eventually_async,
    is_running,
    scheduling,
)

pytestmark = pytest.mark.crash


async def test_sigterm_gives_back_what_has_not_begun_and_lets_the_rest_end(family: Family) -> None:
    async with scheduling(family.jobs) as service:
        # After so many quick jobs, a worker claims ahead.
        await service.schedule_many([JobRequest("QUICK", {})] * 400)
        job_ids = await service.schedule_many([JobRequest("GATE", {}, retries=0)] * 100)
        worker = family.ready(concurrency=2)
        await eventually_async(lambda: len(_begun(family, job_ids)) == 2, "two jobs run")
        assert await _active(service) > 2, "nothing was claimed ahead"
        worker.signal(signal.SIGTERM)
        await eventually_async(lambda: _is_active(service, 2), "the others are given back")
        assert worker.code is None
        family.gate()
        assert worker.ends() == 0, worker.text
        infos = [await service.get_job(job_id) for job_id in job_ids]
        ended = Counter((info.status, info.attempt, info.crashes) for info in infos)
        assert ended == {("completed", 1, 0): 2, ("pending", 0, 0): 98}
        assert (await service.get_stats()).workers == ()
    assert sorted(os.listdir(family.jobs)) == ["jobs.db", "jobs.lock", "store.json"]


async def test_a_second_sigterm_gives_back_what_runs_and_leaves(family: Family) -> None:
    async with scheduling(family.jobs) as service:
        worker = family.ready()
        job_id = await service.schedule("GATE", retries=0)
        eventually(family.starts, "the job runs")
        worker.signal(signal.SIGTERM)
        worker.says("no new jobs")
        worker.signal(signal.SIGTERM)
        assert worker.ends() == 0, worker.text
        assert family.entries("interrupted")
        info = await service.get_job(job_id)
        assert (info.status, info.attempt, info.crashes) == ("pending", 0, 0)


async def test_what_runs_beyond_the_grace_period_is_given_back(family: Family) -> None:
    async with scheduling(family.jobs) as service:
        worker = family.ready("--grace", "0.2")
        job_id = await service.schedule("GATE", retries=0)
        eventually(family.starts, "the job runs")
        worker.signal(signal.SIGTERM)
        assert worker.ends() == 0, worker.text
        info = await service.get_job(job_id)
        assert (info.status, info.attempt, info.crashes) == ("pending", 0, 0)


async def test_a_thread_that_never_ends_does_not_hold_the_worker_and_costs_no_attempt(
    family: Family,
) -> None:
    async with scheduling(family.jobs) as service:
        worker = family.ready("--grace", "0.2")
        job_ids = [
            await service.schedule("STUBBORN", retries=0),
            await service.schedule("THREAD_GATE", retries=0),
        ]
        eventually(lambda: len(family.starts()) == 2, "both threads run")
        worker.signal(signal.SIGTERM)
        assert worker.ends() == 1, worker.text
        family.gate()
        other = family.ready()
        assert await service.result(job_ids[1], timeout=10) == other.pid
        eventually(lambda: family.starts()[job_ids[0]] == 2, "it runs elsewhere")
        for job_id in job_ids:
            info = await service.get_job(job_id)
            assert (info.attempt, info.crashes) == (1, 0)
        assert {entry.number for entry in family.entries("started")} == {1}


async def test_a_thread_that_outlives_a_service_keeps_its_job_until_the_process_ends(
    family: Family,
) -> None:
    """Not the command line: an application whose service stops while the process goes on."""
    async with scheduling(family.jobs, poll_interval=0.2) as service:
        job_id = await service.schedule("THREAD_GATE", retries=0)
        lingering = family.program("linger", lease=1)
        lingering.says("stopped: False")
        thief = family.ready(lease=1)
        # More than two leases pass while the thief does something else.
        nap = await service.schedule("NAP", {"seconds": 2.2})
        assert await service.result(nap, timeout=10) == thief.pid
        assert family.starts()[job_id] == 1
        family.gate()
        assert await service.result(job_id, timeout=10) == lingering.pid
        info = await service.get_job(job_id)
        assert (info.status, info.attempt, info.crashes) == ("completed", 1, 0)
        assert thief.code is None


async def test_a_worker_that_is_told_to_leave_as_soon_as_it_is_there_does(family: Family) -> None:
    for _ in range(3):
        worker = family.ready()
        worker.signal(signal.SIGTERM)
        assert worker.ends(5) == 0, worker.text


async def test_a_burst_leaves_when_nothing_is_due(family: Family) -> None:
    async with scheduling(family.jobs) as service:
        due = await service.schedule_many([JobRequest("NAP", {})] * 200)
        later = await service.schedule("QUICK", delay=3600)
        flaky = await service.schedule("FLAKY", retry_delay=3600)
        worker = family.worker("--burst")
        assert worker.ends() == 0, worker.text
        assert family.starts().keys() == {*due, flaky}
        assert (await service.get_stats()).by_status["completed"] == len(due)
        assert await service.get_job_status(later) == JobStatus.SCHEDULED
        assert await service.get_job_status(flaky) == JobStatus.SCHEDULED


async def test_a_signal_to_a_process_that_a_handler_forked_does_not_stop_the_worker(
    family: Family,
) -> None:
    """As `multiprocessing.Process.terminate` sends it."""
    async with scheduling(family.jobs) as service:
        worker = family.ready()
        await service.schedule("FORK")
        [child] = eventually(lambda: family.entries("child"), "the handler's process runs")
        os.kill(child.number, signal.SIGTERM)
        eventually(lambda: not is_running(child.number), "the signal has ended it")
        job_id = await service.schedule("QUICK")
        assert await service.result(job_id, timeout=10) == worker.pid
        assert "SIGTERM:" not in worker.text, worker.text


def _begun(family: Family, job_ids: list[str]) -> set[str]:
    return family.starts().keys() & set(job_ids)


async def _active(service: JobService) -> int:
    return (await service.get_stats()).by_status["active"]


async def _is_active(service: JobService, count: int) -> bool:
    return await _active(service) == count
