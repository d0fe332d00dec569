"""Processes that are killed: their jobs run elsewhere at once. Those that are stopped: when
their lease is over, and nothing they still say counts."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator

import pytest

from backroom import DatabaseJobStorage, JobRequest, JobService, JobStatus
from tests.process.parts import TYPES, Family, eventually, eventually_async, is_running
from tests.servers.fixtures import PostgresPlace

pytestmark = pytest.mark.crash

AT_ONCE = 2.0
"""Seconds within which orphans run elsewhere while the machine runs other tests, too; where it does
not, it takes less than one. A lease here is 30."""
SHORT = 1.0
"""A lease that is waited for."""
ISOLATED = "tests.postgres.isolated_app:service"


@pytest.fixture
async def service(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[JobService]:
    """Only schedules; the workers of the test have the same store."""
    place = {"connection": postgres_url.url, "schema": postgres_url.schema}
    monkeypatch.setenv("PROCESS_TEST_DATABASE", json.dumps(place))
    service = JobService(DatabaseJobStorage(**place))
    for name in (*TYPES, "ISOLATED"):
        service.declare(name)
    yield service
    await service.stop()


def _begun(family: Family, pid: int) -> set[str]:
    return {entry.job for entry in family.entries("started") if entry.pid == pid}


async def test_500_jobs_of_a_killed_worker_run_elsewhere_at_once(
    service: JobService, family: Family
) -> None:
    long = [JobRequest("NAP", {"seconds": 600})] * 500
    job_ids = {str(job_id) for job_id in await service.schedule_many(long)}
    victim = family.ready(concurrency=500)
    eventually(lambda: _begun(family, victim.pid) == job_ids, "all run")
    other = family.ready(concurrency=500)
    await eventually_async(lambda: _workers(service, 2), "both have enlisted")
    killed = time.monotonic()
    victim.kill()
    _run_elsewhere_at_once(family, other.pid, job_ids, killed)
    infos = [await service.get_job(job_id) for job_id in job_ids]
    assert {(info.attempt, info.crashes) for info in infos} == {(2, 1)}


async def test_of_500_claims_of_a_killed_process_only_what_had_begun_is_charged(
    service: JobService, family: Family
) -> None:
    long = [JobRequest("NAP", {"seconds": 600}, retries=n % 2) for n in range(500)]
    job_ids = [str(job_id) for job_id in await service.schedule_many(long)]
    victim = family.start("-m", "tests.postgres.holder")
    victim.says("holds 500")
    other = family.ready(concurrency=500)
    await eventually_async(lambda: _workers(service, 2), "both have enlisted")
    killed = time.monotonic()
    victim.kill()
    out_of_retries = set(job_ids[:200:2])
    _run_elsewhere_at_once(family, other.pid, set(job_ids) - out_of_retries, killed)
    await eventually_async(lambda: _count(service, "failed", 100), "the others have failed")
    infos = [await service.get_job(job_id) for job_id in job_ids]
    assert [(info.attempt, info.crashes) for info in infos] == (
        [(1, 1), (2, 1)] * 100 + [(1, 0)] * 300
    )


@pytest.mark.parametrize("left_behind", ["FORK", "SPAWN", "ISOLATED"])
async def test_a_process_that_a_worker_left_behind_does_not_make_it_look_alive(
    service: JobService, family: Family, left_behind: str
) -> None:
    app = [ISOLATED] if left_behind == "ISOLATED" else []
    start = family.ready if not app else lambda: family.ready(app=ISOLATED)
    victim = start()
    job_id = await service.schedule(left_behind, {})
    [child] = eventually(lambda: family.entries("child"), "the handler's process runs")
    other = start()
    await eventually_async(lambda: _workers(service, 2), "both have enlisted")
    victim.kill()
    eventually(lambda: family.starts()[job_id] == 2, "it runs elsewhere", AT_ONCE)
    assert is_running(child.number)
    assert other.code is None
    family.gate()
    await eventually_async(lambda: _has_status(service, job_id, "completed"), "it completes")


async def test_a_burst_runs_the_jobs_of_a_dead_worker_and_clears_up_after_it(
    service: JobService, family: Family
) -> None:
    victim = family.ready()
    job_id = await service.schedule("GATE", {})
    eventually(family.starts, "the job runs")
    victim.kill()
    family.gate()
    successor = family.worker("--burst")
    assert successor.ends() == 0, successor.text
    assert await service.get_job_status(job_id) == JobStatus.COMPLETED
    assert (await service.get_stats()).workers == ()


async def test_a_worker_that_is_stopped_keeps_its_jobs_for_its_lease_and_then_changes_nothing(
    service: JobService, family: Family
) -> None:
    frozen = family.ready(lease=SHORT)
    job_id = await service.schedule("THREAD_GATE", {"gate": "open"})
    eventually(family.starts, "the job runs")
    other = family.ready(lease=SHORT)
    await eventually_async(lambda: _workers(service, 2), "both have enlisted")
    frozen.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    eventually(lambda: family.starts()[job_id] == 2, "the other worker runs it", 10)
    [_, again] = family.entries("started")
    # It may have beaten last a quarter of its lease before it was stopped.
    assert again.at - stopped > SHORT * 0.7

    family.gate(f"open-{frozen.pid}")
    frozen.signal(signal.SIGCONT)
    eventually(lambda: family.entries("finished"), "the stale attempt has ended")
    frozen.says("was not kept")
    info = await service.get_job(job_id)
    assert (info.status, info.attempt, info.crashes) == ("active", 2, 1)
    family.gate(f"open-{other.pid}")
    assert await service.result(job_id, timeout=10) == other.pid
    other.signal(signal.SIGTERM)
    assert other.ends() == 0, other.text
    again_id = await service.schedule("QUICK", {})
    assert await service.result(again_id, timeout=10) == frozen.pid


async def test_a_worker_whose_loop_is_blocked_for_three_leases_is_not_robbed(
    service: JobService, family: Family
) -> None:
    family.ready(lease=SHORT, concurrency=2)
    job_id = await service.schedule("BLOCK", {"seconds": 3 * SHORT})
    eventually(family.starts, "it blocks the loop")
    family.ready(lease=SHORT)
    await eventually_async(lambda: _has_status(service, job_id, "completed"), "it has ended")
    assert family.starts()[job_id] == 1


def _run_elsewhere_at_once(family: Family, pid: int, job_ids: set[str], killed: float) -> None:
    eventually(lambda: _begun(family, pid) == job_ids, "all run elsewhere", 5)
    last = max(entry.at for entry in family.entries("started") if entry.pid == pid)
    print(f"the last of {len(job_ids)} orphans ran {last - killed:.2f} s after the kill")
    assert last - killed < AT_ONCE


async def _workers(service: JobService, count: int) -> bool:
    return len((await service.get_stats()).workers) == count


async def _has_status(service: JobService, job_id: str, status: str) -> bool:
    return await service.get_job_status(job_id) == JobStatus(status)


async def _count(service: JobService, status: str, count: int) -> bool:
    return (await service.get_stats()).by_status[status] == count
