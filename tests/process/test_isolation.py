"""Handlers in child processes: what they do wrong costs their own attempt, and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backroom import (
    ConfigurationError,
    FileJobStorage,
    Job,
    JobCancelledError,
    JobFailedError,
    JobRequest,
    JobService,
    JobStatus,
)
from backroom.frames import Setup, pack
from tests.process.isolated import DOUBLE, Number, double, register
from tests.process.parts import Family, eventually, eventually_async, is_running, scheduling


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[JobService]:
    service = JobService(
        FileJobStorage(tmp_path / "jobs"), concurrency=2, max_memory=512 << 20,
        default_retry_delay=0,
    )  # fmt: skip
    register(service)
    async with service:
        yield service


_older: set[int] = set()
"""What this process had started before a test, such as a server that the tests share."""


@pytest.fixture(autouse=True)
def others() -> None:
    _older.clear()
    _older.update(children())


def children() -> set[int]:
    """The processes that a test has started and not collected."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # The thread has ended.
            found |= {int(number) for number in (task / "children").read_text().split()}
    return found - _older


async def error_of(service: JobService, job_id: Any) -> str:
    with pytest.raises(JobFailedError) as caught:
        await service.result(job_id, timeout=30)
    return str(caught.value)


async def test_bad_jobs_fail_with_their_reason_and_the_others_never_notice(
    service: JobService, tmp_path: Path
) -> None:
    begun = {"begun": str(tmp_path / "begun")}
    bad = {
        "SEGFAULT": await service.schedule("SEGFAULT", retries=0),
        "LEAVE": await service.schedule("LEAVE", retries=0),
        "ALLOCATE": await service.schedule("ALLOCATE", {"bytes": 2 << 30}, retries=0),
        "SPIN": await service.schedule("SPIN", begun, retries=0, timeout=1),
    }
    good = await service.schedule_many([JobRequest(DOUBLE, Number(n)) for n in range(1000)])

    assert [await service.result(job_id, timeout=60) for job_id in good] == [
        2 * n for n in range(1000)
    ]
    errors = {name: await error_of(service, job_id) for name, job_id in bad.items()}

    assert errors == {
        "SEGFAULT": "its process was killed by SIGSEGV",
        "LEAVE": "its process ended with exit code 3",
        "ALLOCATE": "MemoryError",
        "SPIN": "timed out after 1 s",
    }
    await service.stop()
    assert children() == set()


async def test_a_job_that_kills_its_process_again_and_again_is_poison(service: JobService) -> None:
    job_id = await service.schedule("SEGFAULT", retries=9)
    error = await error_of(service, job_id)
    assert error.startswith("poison: 3 processes died while they ran this job; its process was")
    info = await service.get_job(job_id)
    assert (info.status, info.attempt, info.crashes) == (JobStatus.FAILED, 3, 3)
    assert [one.kind for one in info.errors] == ["crash"] * 3
    assert info.errors[0].traceback == "about to read address 0"


async def test_a_crash_is_told_with_the_lines_of_its_own_attempt(tmp_path: Path) -> None:
    service = JobService(FileJobStorage(tmp_path), concurrency=1)
    register(service)
    async with service:
        said = await service.schedule("SAY", {"how": "print"})
        await service.result(said, timeout=30)
        died = await service.schedule("LEAVE", retries=0)
        assert await error_of(service, died) == "its process ended with exit code 3"
        assert (await service.get_job(died)).errors[0].traceback is None


async def test_what_a_handler_says_and_returns_comes_back(service: JobService) -> None:
    job_id = await service.schedule(DOUBLE, Number(21), metadata={"trace": "00-1"})
    assert await service.result(job_id, timeout=30) == 42
    info = await service.get_job(job_id)
    assert [line.message for line in info.log] == ["doubling 21"]
    assert (info.progress, info.progress_message) == (0.5, "half")
    said = await service.schedule("SAY", {"how": "tell"}, retries=4, metadata={"trace": "00-1"})
    assert await service.result(said, timeout=30) == {
        "attempt": 1, "most": 5, "metadata": {"trace": "00-1"},
    }  # fmt: skip
    assert await service.result(await service.schedule("PID"), timeout=30) != os.getpid()


async def test_a_handler_ends_in_every_way_it_could_on_the_loop(
    service: JobService, tmp_path: Path
) -> None:
    mark = str(tmp_path / "mark")
    snoozed = await service.schedule("SAY", {"how": "snooze", "mark": mark}, retries=0)
    assert await service.result(snoozed, timeout=30) == "awake"
    retried = await service.schedule("SAY", {"how": "retry"}, retries=1)
    assert (await service.result(retried, timeout=30))["attempt"] == 2
    with pytest.raises(JobCancelledError, match="no need"):
        await service.result(await service.schedule("SAY", {"how": "cancel"}), timeout=30)
    failed = await service.schedule("SAY", {"how": "fail"}, retries=9)
    assert await error_of(service, failed) == "no such user"
    assert (await service.get_job(failed)).attempt == 1
    left = await service.schedule("SAY", {"how": "exit"}, retries=0)
    assert await error_of(service, left) == "a handler that exits"
    assert (await service.get_job(left)).crashes == 0
    strange = await service.schedule("SAY", {"how": "lambda"}, retries=0)
    assert "the result cannot be encoded as JSON" in await error_of(service, strange)


@pytest.mark.parametrize("name", ["SPIN", "SLEEP", "HEED"])
async def test_a_cancelled_job_is_stopped_whatever_it_does(
    service: JobService, tmp_path: Path, name: str
) -> None:
    begun = tmp_path / "begun"
    job_id = await service.schedule(name, {"begun": str(begun)})
    await eventually_async(begun.exists, "it runs")
    began = time.monotonic()
    await service.cancel_job(job_id)
    with pytest.raises(JobCancelledError, match="cancelled by request"):
        await service.result(job_id, timeout=30)
    assert time.monotonic() - began < 5


async def test_a_timeout_of_a_coroutine_is_one(service: JobService, tmp_path: Path) -> None:
    job_id = await service.schedule(
        "SLEEP", {"begun": str(tmp_path / "begun")}, timeout=0.3, retries=0
    )
    assert await error_of(service, job_id) == "timed out after 0.3 s"
    assert (await service.get_job(job_id)).errors[0].kind == "timeout"


@pytest.mark.parametrize("name", ["SPIN", "SLEEP", "HEED"])
async def test_what_does_not_end_in_time_is_released_uncharged(
    service: JobService, tmp_path: Path, name: str
) -> None:
    begun = tmp_path / "begun"
    job_id = await service.schedule(name, {"begun": str(begun)}, retries=0)
    await eventually_async(begun.exists, "it runs")
    assert await service.stop(grace=0.2) is True
    assert children() == set()
    async with scheduling(tmp_path / "jobs") as viewer:
        info = await viewer.get_job(job_id)
    assert (info.status, info.attempt, info.crashes) == (JobStatus.PENDING, 0, 0)


async def test_a_killed_handler_takes_its_own_offspring_along(
    service: JobService, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    job_id = await service.schedule("OFFSPRING", {"begun": str(begun)}, timeout=1, retries=0)
    await eventually_async(lambda: begun.exists() and begun.read_text(), "it runs")
    numbers = [int(number) for number in begun.read_text().split()]
    assert await error_of(service, job_id) == "timed out after 1 s"
    await eventually_async(lambda: not any(map(is_running, numbers)), "both have gone")


async def test_a_child_is_replaced_after_so_many_jobs(tmp_path: Path) -> None:
    service = JobService(FileJobStorage(tmp_path), concurrency=1, max_jobs_per_process=2)
    register(service)
    async with service:
        pids = [await service.result(await service.schedule("PID"), timeout=30) for _ in range(6)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]


async def test_a_child_that_has_grown_large_is_replaced_after_its_job(tmp_path: Path) -> None:
    service = JobService(FileJobStorage(tmp_path), concurrency=1, max_memory=256 << 20)
    register(service)
    async with service:
        first = await service.result(await service.schedule("PID"), timeout=30)
        assert await service.result(await service.schedule("PID"), timeout=30) == first
        large = await service.schedule("ALLOCATE", {"bytes": 190 << 20, "keep": True})
        assert await service.result(large, timeout=30) == 190 << 20
        assert await service.result(await service.schedule("PID"), timeout=30) != first


async def test_children_end_with_a_worker_that_is_killed(family: Family) -> None:
    app = "tests.process.isolated:service"
    async with scheduling(family.jobs) as viewer:
        viewer.declare("OFFSPRING")
        begun = family.folder / "begun"
        await viewer.schedule("OFFSPRING", {"begun": str(begun)})
        worker = family.worker(app=app)
        eventually(lambda: begun.exists() and begun.read_text(), "it runs")
        child, offspring = (int(number) for number in begun.read_text().split())
        worker.kill()
        eventually(lambda: not is_running(child), "its child has gone")
        os.kill(offspring, signal.SIGKILL)  # The kernel ends the child, not what that started.


async def test_what_had_begun_in_a_child_is_charged_when_its_worker_is_killed(
    family: Family,
) -> None:
    app = "tests.process.isolated:service"
    async with scheduling(family.jobs) as viewer:
        viewer.declare("SPIN")
        begun = family.folder / "begun"
        job_id = await viewer.schedule("SPIN", {"begun": str(begun)}, retries=0)
        worker = family.worker(app=app)
        eventually(begun.exists, "it runs")
        worker.kill()
        family.ready(app=app)
        with pytest.raises(JobFailedError, match="no attempt is left"):
            await viewer.result(job_id, timeout=15)
        info = await viewer.get_job(job_id)
        assert (info.attempt, info.crashes) == (1, 1)


async def test_what_is_not_to_begin_any_more_is_not_given_to_a_child(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the lease ended while a child was being started; the job runs later, uncharged."""
    assert service._worker is not None
    runner = service._worker._runner
    note_start, asked = runner._note_start, []

    def not_at_first(claim: Any) -> bool:
        asked.append(claim.id)
        return len(asked) > 1 and note_start(claim)

    monkeypatch.setattr(runner, "_note_start", not_at_first)
    job_id = await service.schedule(DOUBLE, Number(21), retries=0)
    assert await service.result(job_id, timeout=30) == 42
    assert asked == [job_id, job_id]
    assert (await service.get_job(job_id)).attempt == 1


async def test_ctrl_c_leaves_no_child_behind(family: Family) -> None:
    async with scheduling(family.jobs) as viewer:
        viewer.declare("SPIN")
        begun = family.folder / "begun"
        await viewer.schedule("SPIN", {"begun": str(begun)}, retries=0)
        worker = family.worker("--grace", "0.2", app="tests.process.isolated:service")
        eventually(begun.exists, "it runs")
        worker.signal(signal.SIGINT)
        assert worker.ends() == 0, worker.text
        assert (await viewer.get_stats()).by_status["pending"] == 1


# -- what is refused ----------------------------------------------------------------------------


def unimportable() -> dict[str, Any]:
    def inner(job: Job[Any]) -> None:
        return

    return {
        "a lambda": lambda job: None,
        "defined inside a function": inner,
        "a partial": functools.partial(double),
        "a method": "".join,
    }


@pytest.mark.parametrize("what", ["a lambda", "defined inside a function", "a partial"])
def test_a_handler_that_no_child_can_import_is_refused_at_once(what: str) -> None:
    service = JobService("memory:")
    with pytest.raises(ConfigurationError, match=what) as caught:
        service.register_handler("X", unimportable()[what], isolation="process")
    assert "define it with def at the top of a module" in str(caught.value)
    service.register_handler("X", unimportable()[what])  # Nothing of it was kept.


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match='isolation must be "none" or "process"'):
        JobService("memory:", isolation="thread")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="max_memory must be a whole number of at least"):
        JobService("memory:", max_memory=1000)
    with pytest.raises(ConfigurationError, match="max_jobs_per_process must be"):
        JobService("memory:", max_jobs_per_process=0)


async def test_a_service_may_isolate_all_its_handlers(tmp_path: Path) -> None:
    service = JobService(FileJobStorage(tmp_path), isolation="process")
    service.register_handler(DOUBLE, double)
    async with service:
        assert await service.result(await service.schedule(DOUBLE, Number(4)), timeout=30) == 8
        assert children() != set()
    await asyncio.sleep(0)
    assert children() == set()


def test_a_child_that_is_not_needed_any_more_before_it_is_ready_ends_without_a_word() -> None:
    """Its parent hears it no more, as one that leaves while the child begins."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(pack(Setup(None, None, None, 1 << 20, logging.WARNING, False)))
        ours.shutdown(socket.SHUT_RD)
        code = f"from backroom.child import main; main({theirs.fileno()})"
        child = subprocess.run(
            [sys.executable, "-c", code], pass_fds=[theirs.fileno()], capture_output=True,
            text=True, timeout=30, check=False,
        )  # fmt: skip
    assert (child.returncode, child.stderr) == (0, "")
