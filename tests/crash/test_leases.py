"""A worker that was stopped loses its jobs, and nothing it still says counts; one that is merely
busy, however busy, keeps them. The leases here last a second."""

from __future__ import annotations

import signal
import time

import pytest

from backroom import JobService
from tests.process.parts import Child, Family, eventually, eventually_async, scheduling

pytestmark = pytest.mark.crash

LEASE = 1.0


async def test_a_worker_revived_after_its_lease_changes_nothing_and_goes_on_working(
    family: Family,
) -> None:
    async with scheduling(family.jobs, poll_interval=0.2) as service:
        frozen = family.ready(lease=LEASE)
        job_id = await service.schedule("THREAD_GATE", {"gate": "open"})
        eventually(family.starts, "the job runs")
        frozen.freeze(family.jobs)
        other = family.ready(lease=LEASE)
        eventually(lambda: family.starts()[job_id] == 2, "the other worker runs it", 10)

        # The revived worker's thread ends its attempt while the other one's still runs.
        family.gate(f"open-{frozen.pid}")
        frozen.signal(signal.SIGCONT)
        eventually(lambda: family.entries("finished"), "the stale attempt has ended")
        frozen.says("was not kept")
        info = await service.get_job(job_id)
        assert (info.status, info.attempt, info.crashes) == ("active", 2, 1)
        family.gate(f"open-{other.pid}")
        assert await service.result(job_id, timeout=10) == other.pid
        info = await service.get_job(job_id)
        assert (info.status, info.attempt, info.crashes) == ("completed", 2, 1)
        assert [entry.number for entry in family.entries("started")] == [1, 2]

        # It has enlisted anew.
        other.signal(signal.SIGTERM)
        assert other.ends() == 0, other.text
        again = await service.schedule("QUICK")
        assert await service.result(again, timeout=10) == frozen.pid
        frozen.signal(signal.SIGTERM)
        assert frozen.ends() == 0, frozen.text


async def test_a_coroutine_of_a_revived_worker_is_interrupted(family: Family) -> None:
    async with scheduling(family.jobs, poll_interval=0.2) as service:
        frozen = family.ready(lease=LEASE)
        job_id = await service.schedule("GATE", {"gate": "open"})
        eventually(family.starts, "the job runs")
        frozen.freeze(family.jobs)
        other = family.ready(lease=LEASE)
        eventually(lambda: family.starts()[job_id] == 2, "the other worker runs it", 10)
        frozen.signal(signal.SIGCONT)
        [interrupted] = eventually(lambda: family.entries("interrupted"), "it is interrupted")
        assert interrupted.pid == frozen.pid
        family.gate(f"open-{other.pid}")
        assert await service.result(job_id, timeout=10) == other.pid
        assert family.starts()[job_id] == 2


async def test_a_lone_worker_runs_a_job_again_that_it_lost_to_a_freeze(family: Family) -> None:
    """The thread of the lost attempt still runs in the same process meanwhile."""
    async with scheduling(family.jobs, poll_interval=0.2) as service:
        worker = family.ready(lease=LEASE, concurrency=2)
        job_id = await service.schedule("THREAD_GATE")
        eventually(family.starts, "the job runs")
        worker.freeze(family.jobs)
        await eventually_async(lambda: _reclaimed(service), "its lease is over, the job is back")
        worker.signal(signal.SIGCONT)
        eventually(lambda: family.starts()[job_id] == 2, "it runs again")
        family.gate()
        eventually(lambda: len(family.entries("finished")) == 2, "both attempts have ended")
        assert await service.result(job_id, timeout=10) == worker.pid
        info = await service.get_job(job_id)
        assert (info.attempt, info.crashes) == (2, 1)
        assert "Traceback" not in worker.text, worker.text

        # Both slots are free again.
        (family.folder / "gate").unlink()
        both = [await service.schedule("GATE") for _ in range(2)]
        eventually(lambda: all(family.starts()[id_] for id_ in both), "two more run at once")
        family.gate()
        worker.signal(signal.SIGTERM)
        assert worker.ends() == 0, worker.text


async def test_the_end_of_a_stale_attempt_does_not_hide_that_the_next_one_has_begun(
    family: Family,
) -> None:
    async with scheduling(family.jobs, poll_interval=0.2) as service:
        worker = family.ready(lease=LEASE)
        job_id = await service.schedule("THREAD_GATE")
        eventually(family.starts, "the job runs")
        worker.freeze(family.jobs)
        await eventually_async(lambda: _reclaimed(service), "its lease is over, the job is back")
        worker.signal(signal.SIGCONT)
        eventually(lambda: family.starts()[job_id] == 2, "it runs again")
        family.gate("gate-attempt-1")
        eventually(lambda: family.entries("finished"), "the stale attempt has ended")
        await service.result(await service.schedule("QUICK"), timeout=10)
        worker.kill()
        family.ready()
        eventually(lambda: family.starts()[job_id] == 3, "it runs elsewhere")
        attempts = [entry.number for entry in family.entries("started") if entry.job == job_id]
        assert attempts == [1, 2, 3]
        assert (await service.get_job(job_id)).crashes == 2


async def test_nobody_robs_a_blocked_loop_or_a_long_job_or_a_long_drain(family: Family) -> None:
    async with scheduling(family.jobs, poll_interval=0.2) as service:
        blocked = family.ready("--queue", "blocked", lease=LEASE)
        draining = family.ready("--queue", "draining", lease=LEASE)
        long_one = await service.schedule("GATE", queue="draining")
        blocking = await service.schedule("BLOCK", {"seconds": 3 * LEASE}, queue="blocked")
        eventually(lambda: len(family.starts()) == 2, "both run")
        began = time.monotonic()
        draining.signal(signal.SIGTERM)
        thief = family.ready(lease=LEASE)

        assert await service.result(blocking, timeout=20) == blocked.pid
        await eventually_async(
            lambda: time.monotonic() > began + 3 * LEASE, "three leases are over"
        )
        assert draining.code is None
        family.gate()
        assert await service.result(long_one, timeout=10) == draining.pid
        assert draining.ends() == 0, draining.text
        for job_id in (long_one, blocking):
            info = await service.get_job(job_id)
            assert (info.status, info.attempt, info.crashes) == ("completed", 1, 0)
        assert family.starts() == {long_one: 1, blocking: 1}
        _went_on_without_complaint(blocked)
        _went_on_without_complaint(thief)


def _went_on_without_complaint(worker: Child) -> None:
    assert worker.code is None
    assert "lease" not in worker.text, worker.text
    assert "took back" not in worker.text, worker.text


async def _reclaimed(service: JobService) -> bool:
    """Looks for dead workers, as every worker does each second."""
    return bool((await service.storage.reclaim(service.storage.clock.now())).workers)
