"""The application of the workers in the chaos: handlers that note what they do, on a storage whose
disk and clock may be bad.

A plan in the environment says which, and where the jobs are: `{"storage": "file:./jobs", "disk":
{"write": 0.01, "sync": 0.02}, "clock": true, ...}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from backroom import Job, JobService
from backroom.clock import SystemClock
from tests.crash.bad_disk import BadDisk
from tests.process.parts import Journal, die_with_parent

__all__ = ["FOLDER", "PLAN", "journal", "service"]

FOLDER = Path(os.environ["PROCESS_TEST_FOLDER"])
PLAN: dict[str, Any] = json.loads(os.environ.get("CHAOS_TEST_PLAN", "{}"))
journal = Journal(FOLDER)


class SteppingClock:
    """The machine's clock, with hands that somebody moves: by the seconds in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._machine = SystemClock().now

    def now(self) -> int:
        try:
            return self._machine() + int(float(self._file.read_text()) * 1_000_000)
        except FileNotFoundError:
            return self._machine()


die_with_parent()
disk = BadDisk(FOLDER, journal, **PLAN["disk"]) if PLAN.get("disk") else None
if PLAN.get("clock"):  # The wall clock of the whole process: lease time stays the storage's.
    stepping = SteppingClock(FOLDER / "clock")
    SystemClock.now = lambda _: stepping.now()  # type: ignore[method-assign]
service = JobService(PLAN["storage"], **PLAN.get("service", {}))


def _started(job: Job[Any]) -> None:
    journal.write("started", job.data["serial"], job.attempt)


def _finished(job: Job[Any]) -> int:
    journal.write("finished", job.data["serial"], job.attempt)
    return os.getpid()


@service.handler("QUICK")
async def quick(job: Job[Any]) -> int:
    _started(job)
    return _finished(job)


@service.handler("NAP")
async def nap(job: Job[Any]) -> int:
    _started(job)
    await asyncio.sleep(job.data["seconds"])
    return _finished(job)


@service.handler("THREAD")
def thread(job: Job[Any]) -> int:
    _started(job)
    time.sleep(job.data["seconds"])
    return _finished(job)


@service.handler("FLAKY", retry_delay=0.02)
async def flaky(job: Job[Any]) -> int:
    _started(job)
    if job.attempt == 1:
        journal.write("raised", job.data["serial"], job.attempt)
        raise RuntimeError("the first time always fails")
    return _finished(job)


@service.handler("BLOCK")
async def block(job: Job[Any]) -> int:
    """What no coroutine should do: nothing else runs on the loop meanwhile."""
    _started(job)
    time.sleep(job.data["seconds"])  # noqa: ASYNC251
    journal.write("blocked", job.data["serial"], job.attempt)
    return _finished(job)


def isolated(job: Job[Any]) -> int:
    """In a child process, whose parent it notes."""
    journal.write("child-of", job.data["serial"], os.getppid())
    _started(job)
    time.sleep(job.data["seconds"])
    return _finished(job)


if PLAN.get("isolated"):  # Child processes are dear: not every worker has them ready.
    service.register_handler("ISOLATED", isolated, isolation="process", retry_delay=0)
else:
    service.declare("ISOLATED")
