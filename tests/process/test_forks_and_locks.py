"""What happens beside a store: forks of its process, locks of other programs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from backroom import FileJobStorage
from backroom.ports import WorkerSpec
from tests.process.parts import Family, eventually, eventually_async, is_running, scheduling


async def test_a_store_opened_before_a_fork_is_refused_in_the_child_and_works_in_the_parent(
    family: Family,
) -> None:
    parent = family.program("fork_while_open", poll_interval=5)
    parent.says("parent ran")
    for call in ("schedule", "schedule_many", "get_jobs", "cancel_jobs", "result"):
        [refusal] = [line for line in parent.text.splitlines() if f"child {call} refused" in line]
        assert "before this process was forked" in refusal
        assert "make a new JobService" in refusal
    assert "child failed" not in parent.text, parent.text
    assert "child scheduled" in parent.text
    assert f"parent ran {parent.pid}" in parent.text
    # Whatever the child did to what it inherited: wake-ups still reach the parent.
    async with scheduling(family.jobs) as service:
        began = time.monotonic()
        await service.result(await service.schedule("QUICK"), timeout=10)
        assert time.monotonic() - began < 2.5
        family.gate()
        family.gate("calm")
        parent.says("parent stopped: True")
        stats = await service.get_stats()
        assert stats.by_status["completed"] == 3
        assert stats.by_status["active"] == stats.by_status["pending"] == 0


def test_a_fork_waits_until_a_store_is_open(family: Family) -> None:
    program = family.program("fork_while_opening")
    assert program.ends(60) == 0, program.text
    lines = program.text.splitlines()
    assert len(lines) == 20
    assert set(lines) <= {"refused", "worked"}, program.text
    assert "refused" in lines, "no fork came while a store was opened"


def test_a_storage_that_was_closed_before_a_fork_works_on_both_sides(family: Family) -> None:
    program = family.program("fork_when_closed")
    assert program.ends(40) == 0, program.text
    assert "child failed" not in program.text, program.text
    assert program.text.count("looked up: pending") == 3


async def test_a_child_that_opens_the_store_for_itself_may_outlive_its_parent(
    family: Family,
) -> None:
    parent = family.program("fork_and_leave")
    assert parent.ends() == 0, parent.text
    [child] = family.entries("child")
    family.gate("calm")
    eventually(lambda: len(family.entries("acknowledged")) == 10, "the child has scheduled more")
    eventually(lambda: not is_running(child.pid), "the child has ended")
    assert "child failed" not in parent.text, parent.text
    async with scheduling(family.jobs) as service:
        assert (await service.get_stats()).by_status["pending"] == 10 + 1 + 10


async def test_another_program_that_locks_the_database_for_a_moment_only_delays(
    family: Family,
) -> None:
    family.ready()
    async with scheduling(family.jobs) as service:
        await service.result(await service.schedule("QUICK"), timeout=10)
        locker = family.program("lock")
        locker.says("locked")
        waiting = [asyncio.create_task(service.schedule("QUICK")) for _ in range(10)]
        # Reading goes on beside the lock.
        assert (await service.get_stats()).by_status["completed"] == 1
        done, _ = await asyncio.wait(waiting, timeout=0.3)
        assert not done
        family.gate("unlock")
        for job_id in await asyncio.gather(*waiting):
            await service.result(job_id, timeout=10)
        assert locker.ends() == 0
        await eventually_async(lambda: len(family.entries("finished")) == 11, "each ran once")
        assert set(family.starts().values()) == {1}


IS_FREE = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(sys.argv[2]))
except BlockingIOError:
    sys.exit("it is held")
"""


async def test_a_lock_that_something_dropped_is_taken_again_with_the_next_heartbeat(
    tmp_path: Path,
) -> None:
    """Whatever in a process closes the lock file, a backup for one, drops all its locks."""

    def is_free(worker: int) -> bool:
        command = [sys.executable, "-c", IS_FREE, str(tmp_path / "jobs.lock"), str(worker)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    storage = FileJobStorage(tmp_path)
    await storage.open()
    worker = (await storage.enlist(WorkerSpec("host:1", 30))).worker
    assert not is_free(worker)
    (tmp_path / "jobs.lock").read_bytes()
    assert is_free(worker)
    await storage.extend(worker)
    assert not is_free(worker)
    await storage.retire(worker)
    assert is_free(worker)
    await storage.close()
