"""`backroom worker --processes`: several workers, kept running."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

import pytest

from backroom import JobRequest
from backroom.supervisor import Process
from tests.process.parts import Child, Family, eventually, eventually_async, is_running, scheduling

pytestmark = pytest.mark.crash


def workers(child: Child) -> set[int]:
    """The worker processes that a supervisor has now."""
    with open(f"/proc/{child.pid}/task/{child.pid}/children") as children:
        return {int(number) for number in children.read().split() if is_running(int(number))}


def ready(family: Family, count: int, *options: str) -> Child:
    """A supervisor whose workers have all begun."""
    supervisor = family.worker("--processes", str(count), *options)
    eventually(lambda: supervisor.text.count("\n  runs ") == count, "all workers run")
    return supervisor


async def test_several_workers_share_the_work_and_drain_on_a_signal(family: Family) -> None:
    supervisor = ready(family, 2, "--concurrency", "2")
    async with scheduling(family.jobs) as service:
        ids = await service.schedule_many([JobRequest("NAP", {"seconds": 0.05})] * 40)
        pids = {await service.result(job_id, timeout=30) for job_id in ids}
        assert pids == workers(supervisor)
        slow = [await service.schedule("NAP", {"seconds": 1}) for _ in range(4)]
        await eventually_async(lambda: len(family.starts()) == 44, "they run")
        began = workers(supervisor)
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ends() == 0, supervisor.text
        assert {await service.result(job_id, timeout=5) for job_id in slow} <= began
        assert not any(map(is_running, began))
        assert (await service.get_stats()).workers == ()


async def test_a_second_signal_has_them_give_back_what_runs(family: Family) -> None:
    supervisor = ready(family, 2)
    async with scheduling(family.jobs) as service:
        ids = [await service.schedule("GATE", retries=0) for _ in range(4)]
        await eventually_async(lambda: len(family.starts()) == 4, "they run")
        supervisor.signal(signal.SIGINT)
        supervisor.says("SIGINT: all workers drain")
        supervisor.signal(signal.SIGINT)
        assert supervisor.ends() == 0, supervisor.text
        for job_id in ids:
            info = await service.get_job(job_id)
            assert (info.status, info.attempt) == ("pending", 0)


async def test_a_worker_that_is_killed_is_started_again(family: Family) -> None:
    supervisor = ready(family, 2)
    before = workers(supervisor)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    supervisor.says(f"(process {victim}) was killed by SIGKILL; it is started again in 0.5 s")
    eventually(lambda: supervisor.text.count("\n  runs ") == 3, "another one runs")
    after = workers(supervisor)
    assert len(after) == 2
    assert victim not in after
    supervisor.signal(signal.SIGTERM)
    assert supervisor.ends() == 0, supervisor.text


async def test_a_hangup_replaces_all_workers_without_a_gap(family: Family) -> None:
    supervisor = ready(family, 2)
    before = workers(supervisor)
    async with scheduling(family.jobs) as service:
        supervisor.signal(signal.SIGHUP)
        while "all 2 workers were replaced" not in supervisor.text:
            assert await service.result(await service.schedule("QUICK"), timeout=10)
        assert workers(supervisor).isdisjoint(before)
        assert len(workers(supervisor)) == 2
    supervisor.signal(signal.SIGTERM)
    assert supervisor.ends() == 0, supervisor.text


async def test_a_worker_leaves_after_so_many_jobs_and_another_takes_its_place(
    family: Family,
) -> None:
    supervisor = family.worker("--max-jobs", "10", "--concurrency", "1")
    async with scheduling(family.jobs) as service:
        ids = await service.schedule_many([JobRequest("NAP", {"seconds": 0.03})] * 40)
        pids = {await service.result(job_id, timeout=60) for job_id in ids}
        assert len(pids) >= 2
        assert sum(family.starts().values()) == 40
    supervisor.signal(signal.SIGTERM)
    assert supervisor.ends() == 0, supervisor.text


def test_workers_leave_when_their_supervisor_is_killed(family: Family) -> None:
    supervisor = ready(family, 2)
    orphans = workers(supervisor)
    supervisor.kill()
    eventually(lambda: not any(map(is_running, orphans)), "they have left")


@pytest.mark.parametrize(
    ("app", "code", "says"),
    [
        ("tests.process.app:servise", 2, "did you mean 'service'"),
        ("tests.process.nowhere:service", 2, "there is no module"),
    ],
)
def test_workers_that_cannot_begin_are_not_started_again(
    family: Family, app: str, code: int, says: str
) -> None:
    supervisor = family.worker("--processes", "3", app=app)
    assert supervisor.ends() == code, supervisor.text
    assert says in supervisor.text
    assert "started again" not in supervisor.text


async def test_a_signal_to_a_worker_that_has_just_ended_does_not_hide_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looking, waitid = threading.Event(), os.waitid

    def wait(*arguments: int) -> object:
        assert looking.wait(30)
        return waitid(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "waitid", wait)
    process = Process([sys.executable, "-c", "raise SystemExit(3)"], asyncio.get_running_loop())
    waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.signal(signal.SIGTERM)
    looking.set()
    assert await asyncio.wait_for(process.ended, 30) == 3


def test_no_processes_are_none(family: Family) -> None:
    supervisor = family.worker("--processes", "0")
    assert supervisor.ends() == 2
    assert "0 is not in the range" in supervisor.text


async def test_a_burst_of_several_workers_ends_when_nothing_is_due(family: Family) -> None:
    async with scheduling(family.jobs) as service:
        ids = await service.schedule_many([JobRequest("NAP", {"seconds": 0.01})] * 100)
        supervisor = family.worker("--processes", "2", "--burst")
        assert supervisor.ends(60) == 0, supervisor.text
        assert {(await service.get_job(job_id)).status for job_id in ids} == {"completed"}
