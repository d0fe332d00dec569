"""Several processes share one folder."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from backroom import JobRequest, JobService, JobStatus
from tests.process.parts import Family, eventually, eventually_async, none_left, scheduling

SLOW_POLL = 5.0
"""No test here may pass because somebody looked by itself."""


async def test_a_job_scheduled_in_one_process_starts_in_another_at_once(family: Family) -> None:
    family.ready(poll_interval=SLOW_POLL)
    took = []
    async with scheduling(family.jobs) as service:
        for _ in range(20):
            began = time.monotonic()
            job_id = await service.schedule("QUICK")
            eventually(lambda id_=job_id: family.starts()[id_], "the job was started")
            [entry] = [entry for entry in family.entries("started") if entry.job == job_id]
            took.append(entry.at - began)
            assert took[-1] < SLOW_POLL / 2
    print(f"from schedule to the handler's first line: p50 {statistics.median(took) * 1e3:.1f} ms")
    assert statistics.median(took) < SLOW_POLL / 20


async def test_a_result_is_awaited_in_another_process(family: Family) -> None:
    worker = family.ready(poll_interval=SLOW_POLL)
    async with scheduling(family.jobs, poll_interval=SLOW_POLL) as service:
        job_id = await service.schedule("GATE")
        waiting = asyncio.create_task(service.result(job_id, timeout=30))
        await eventually_async(lambda: family.starts()[job_id], "the job was started")
        began = time.monotonic()
        family.gate()
        assert await waiting == worker.pid
        assert time.monotonic() - began < SLOW_POLL / 2


async def test_a_job_that_runs_in_another_process_is_cancelled_at_once(family: Family) -> None:
    family.ready(poll_interval=SLOW_POLL)
    async with scheduling(family.jobs) as service:
        job_id = await service.schedule("GATE")
        await eventually_async(lambda: family.starts()[job_id], "the job was started")
        began = time.monotonic()
        # The worker may have stopped it before this process looks how it stands.
        assert await service.cancel_job(job_id) in (JobStatus.ACTIVE, JobStatus.CANCELLED)
        eventually(lambda: family.entries("interrupted"), "the handler was interrupted")
        assert time.monotonic() - began < SLOW_POLL / 2
        await eventually_async(
            lambda: _has_status(service, job_id, "cancelled"), "the job is cancelled"
        )


async def test_a_queue_is_paused_and_resumed_from_another_process(family: Family) -> None:
    family.ready(poll_interval=SLOW_POLL)
    async with scheduling(family.jobs) as service:
        await service.pause_queue("default")
        held = [await service.schedule("QUICK") for _ in range(5)]
        passing = await service.schedule("QUICK", queue="other")
        await service.result(passing, timeout=30)
        assert not family.starts().keys() & set(held)
        began = time.monotonic()
        await service.resume_queue("default")
        for job_id in held:
            await service.result(job_id, timeout=30)
        assert time.monotonic() - began < SLOW_POLL / 2


async def test_a_worker_that_does_not_know_a_type_leaves_the_job_to_one_that_does(
    family: Family,
) -> None:
    stranger = family.ready(app="tests.process.app:stranger")
    async with scheduling(family.jobs) as service:
        job_ids = await service.schedule_many([JobRequest("QUICK", {})] * 50)
        await _parking(service, len(job_ids))
        assert (await service.get_job(job_ids[0])).attempt == 0
        knowing = family.ready()
        for job_id in job_ids:
            assert await service.result(job_id, timeout=30) == knowing.pid
        assert (await service.get_job(job_ids[0])).attempt == 1
        assert stranger.code is None


@pytest.mark.slow
async def test_four_processes_run_each_of_ten_thousand_jobs_once(family: Family) -> None:
    workers = [family.worker(concurrency=20) for _ in range(2)]
    producers = [family.program("produce", "5000") for _ in range(2)]
    async with scheduling(family.jobs) as service:
        for producer in producers:
            assert producer.ends(60) == 0, producer.text
        await eventually_async(lambda: none_left(service), "all jobs have ended", 60)
        stats = await service.get_stats()
    assert stats.by_status["completed"] == 10_000
    starts = family.starts()
    assert sum(starts.values()) == len(starts) == 10_000
    ran_by = {entry.pid for entry in family.entries("started")}
    assert ran_by == {worker.pid for worker in workers}


async def _has_status(service: JobService, job_id: str, status: str) -> bool:
    return await service.get_job_status(job_id) == status


async def _parking(service: JobService, count: int) -> None:
    async def all_parked() -> bool:
        return sum((await service.get_stats()).unknown_types.values()) == count

    await eventually_async(all_parked, "all jobs are parked")
