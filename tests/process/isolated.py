"""Handlers that the tests run in child processes: importable by name, as users' are."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backroom import Cancel, FailJob, Job, JobService, JobType, RetryJob, Snooze

__all__ = ["DOUBLE", "Number", "register"]


@dataclass
class Number:
    n: int


DOUBLE = JobType("DOUBLE", Number, result=int)


def double(job: Job[Number]) -> int:
    job.log.info("doubling %d", job.data.n)
    job.progress(0.5, "half")
    return job.data.n * 2


def segfault(job: Job[Any]) -> None:
    print("about to read address 0", flush=True)
    ctypes.string_at(0)


def leave(job: Job[Any]) -> None:
    os._exit(3)


KEPT: list[bytearray] = []


def allocate(job: Job[Any]) -> int:
    taken = bytearray(job.data["bytes"])
    if job.data.get("keep"):
        taken[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(taken[:: os.sysconf("SC_PAGE_SIZE")])
        KEPT.append(taken)
    return len(taken)


def spin(job: Job[Any]) -> None:
    Path(job.data["begun"]).touch()
    while True:
        pass


def heed(job: Job[Any]) -> None:
    Path(job.data["begun"]).touch()
    while not job.cancelled:
        time.sleep(0.005)


async def sleep(job: Job[Any]) -> None:
    Path(job.data["begun"]).touch()
    await asyncio.sleep(3600)


async def pid(job: Job[Any]) -> int:
    await asyncio.sleep(0)
    return os.getpid()


def say(job: Job[Any]) -> Any:
    """Ends in the way its data names."""
    how = job.data["how"]
    if how == "print":
        print("a line of another job", flush=True)
    if how == "snooze":
        if Path(job.data["mark"]).exists():
            return "awake"
        Path(job.data["mark"]).touch()
        return Snooze(0)
    if how == "cancel":
        return Cancel("no need")
    if how == "fail":
        raise FailJob("no such user")
    if how == "retry" and job.attempt == 1:
        raise RetryJob(delay=0)
    if how == "exit":
        sys.exit("a handler that exits")
    if how == "lambda":
        return lambda: 0
    return {"attempt": job.attempt, "most": job.max_attempts, "metadata": dict(job.metadata)}


def offspring(job: Job[Any]) -> None:
    """Starts a process of its own, and never ends."""
    child = subprocess.Popen(["sleep", "600"])
    Path(job.data["begun"]).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def register(service: JobService, **options: Any) -> None:
    """All of them, in child processes."""
    service.register_handler(DOUBLE, double, isolation="process", **options)
    for name, handler in HANDLERS.items():
        service.register_handler(name, handler, isolation="process", **options)


HANDLERS: dict[str, Any] = {
    "SEGFAULT": segfault,
    "LEAVE": leave,
    "ALLOCATE": allocate,
    "SPIN": spin,
    "HEED": heed,
    "SLEEP": sleep,
    "PID": pid,
    "SAY": say,
    "OFFSPRING": offspring,
}

FOLDER = os.environ.get("PROCESS_TEST_FOLDER")
service = JobService("memory:" if FOLDER is None else f"file:{FOLDER}/jobs")
"""Of the worker that a test starts; in a child process, what importing this module makes."""
register(service)
