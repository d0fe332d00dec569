"""A worker is killed: its jobs run elsewhere at once, and only those that had begun are charged."""

from __future__ import annotations

import os
import time

import pytest

from backroom import JobRequest, JobService, JobStatus
from tests.process.parts import Family, eventually, eventually_async, is_running, scheduling

pytestmark = pytest.mark.crash

AT_ONCE = 2.0
"""Seconds within which orphans run elsewhere; a lease here is 30."""


async def _hoard(family: Family, service: JobService) -> list[str]:
    """Many jobs that wait for the gate, after so many quick ones that a worker of four slots
    claims some of them ahead; every second of them has `retries=0`."""
    await service.schedule_many([JobRequest("QUICK", {})] * 400)
    gated = [JobRequest("GATE", {}, retries=number % 2 * 3) for number in range(300)]
    return [str(job_id) for job_id in await service.schedule_many(gated)]


async def test_orphans_run_at_once_and_only_those_that_had_begun_are_charged(
    family: Family,
) -> None:
    async with scheduling(family.jobs) as service:
        job_ids = await _hoard(family, service)
        victim = family.ready(concurrency=4)
        await eventually_async(lambda: len(_begun(family, job_ids)) == 4, "four jobs run")
        other = family.ready(concurrency=400)
        await eventually_async(lambda: _count(service, "pending", 0), "the workers hold all jobs")
        held = (await _held(service))[victim.pid]
        # How many depends on how fast its jobs ended.
        assert held > 8, "the worker claimed little ahead, so this test would show nothing"
        begun = {entry.job for entry in family.entries("started") if entry.pid == victim.pid}
        begun &= set(job_ids)

        assert len(begun) == 4
        killed = time.monotonic()
        victim.kill()
        ends_unrun = {job_id for job_id in begun if job_ids.index(job_id) % 2 == 0}
        await eventually_async(
            lambda: len(_begun(family, job_ids, other.pid)) == 300 - len(ends_unrun),
            "every job of the dead worker runs elsewhere",
            AT_ONCE,
        )
        await eventually_async(
            lambda: _count(service, "failed", len(ends_unrun)), "those without retries have failed"
        )
        print(f"all {held} orphans ran elsewhere {time.monotonic() - killed:.2f} s after the kill")

        for job_id in job_ids:
            info = await service.get_job(job_id)
            if job_id in ends_unrun:
                assert (info.status, info.attempt, info.crashes) == ("failed", 1, 1)
                assert "no attempt is left" in (info.error or "")
            elif job_id in begun:
                assert (info.status, info.attempt, info.crashes) == ("active", 2, 1)
            else:
                assert (info.status, info.attempt, info.crashes) == ("active", 1, 0)
        family.gate()
        await eventually_async(
            lambda: _count(service, "completed", 700 - len(ends_unrun)), "all others complete"
        )


@pytest.mark.parametrize("left_behind", ["FORK", "SPAWN"])
async def test_a_process_that_a_handler_left_behind_does_not_keep_the_jobs_of_a_dead_worker(
    family: Family, left_behind: str
) -> None:
    async with scheduling(family.jobs) as service:
        victim = family.ready()
        job_ids = [await service.schedule(left_behind), await service.schedule("GATE")]
        eventually(lambda: len(family.starts()) == 2, "both jobs run")
        [child] = eventually(lambda: family.entries("child"), "the handler's process runs")
        other = family.ready()
        victim.kill()
        eventually(
            lambda: len(_begun(family, job_ids, other.pid)) == 2, "both run elsewhere", AT_ONCE
        )
        assert is_running(child.number)
        family.gate()
        for job_id in job_ids:
            assert await service.result(job_id, timeout=10) == other.pid


async def test_a_job_that_kills_its_worker_is_given_up_as_poison(family: Family) -> None:
    async with scheduling(family.jobs) as service:
        job_id = await service.schedule("DIE", retries=10)
        for deaths in (1, 2, 3):
            worker = family.worker()
            assert worker.ends() == -9, worker.text
            assert family.starts()[job_id] == deaths
        family.ready()
        await eventually_async(lambda: _has_status(service, job_id, "failed"), "it has failed")
        info = await service.get_job(job_id)
        assert (info.attempt, info.crashes, family.starts()[job_id]) == (3, 3, 3)
        assert "poison" in (info.error or "")
        assert [error.kind for error in info.errors] == ["crash"] * 4


async def test_a_burst_runs_the_jobs_of_a_dead_worker_and_clears_up_after_it(
    family: Family,
) -> None:
    async with scheduling(family.jobs) as service:
        victim = family.ready()
        job_id = await service.schedule("GATE")
        eventually(family.starts, "the job runs")
        victim.kill()
        family.gate()
        successor = family.worker("--burst")
        assert successor.ends() == 0, successor.text
        assert await service.get_job_status(job_id) == JobStatus.COMPLETED
        assert (await service.get_stats()).workers == ()
    assert sorted(os.listdir(family.jobs)) == ["jobs.db", "jobs.lock", "store.json"]


def _begun(family: Family, job_ids: list[str], pid: int | None = None) -> set[str]:
    """Which of these jobs have begun, in any process or in this one."""
    entries = family.entries("started")
    return {entry.job for entry in entries if pid in (None, entry.pid)}.intersection(job_ids)


async def _held(service: JobService) -> dict[int, int]:
    """How many jobs each worker holds, by process."""
    workers = (await service.get_stats()).workers
    return {int(worker.name.rpartition(":")[2]): worker.active for worker in workers}


async def _has_status(service: JobService, job_id: str, status: str) -> bool:
    return await service.get_job_status(job_id) == JobStatus(status)


async def _count(service: JobService, status: str, count: int) -> bool:
    return (await service.get_stats()).by_status[status] == count
