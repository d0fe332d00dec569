"""The application that the workers of these tests run, as `backroom worker` loads it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from backroom import DatabaseJobStorage, Job, JobService
from backroom.ports import Store
from tests.process.parts import Journal, die_with_parent

FOLDER = Path(os.environ["PROCESS_TEST_FOLDER"])
SETTINGS = json.loads(os.environ.get("PROCESS_TEST_SETTINGS", "{}"))

die_with_parent()
journal = Journal(FOLDER)
STORAGE = SETTINGS.pop("storage", f"file:{FOLDER / 'jobs'}")


def storage() -> Store | str:
    """In the folder of the test, or where it says."""
    place = json.loads(os.environ.get("PROCESS_TEST_DATABASE", "null"))
    return STORAGE if place is None else DatabaseJobStorage(**place)


service = JobService(storage(), **SETTINGS)
stranger = JobService(storage(), **SETTINGS)
"""A service that knows none of the types."""
handler = service.handler


def started(job: Job[Any]) -> None:
    journal.write("started", job.id, job.attempt)


def finished(job: Job[Any]) -> int:
    journal.write("finished", job.id, job.attempt)
    return os.getpid()


def is_open(job: Job[Any]) -> bool:
    """Whether the test has let this job go, or those of this process, or this attempt."""
    name = job.data.get("gate", "gate")
    gates = (name, f"{name}-{os.getpid()}", f"{name}-attempt-{job.attempt}")
    return any((FOLDER / gate).exists() for gate in gates)


@handler("QUICK")
async def quick(job: Job[Any]) -> int:
    started(job)
    return finished(job)


@handler("ECHO")
async def echo(job: Job[Any]) -> Any:
    started(job)
    return job.data


@handler("SAY")
async def speak(job: Job[Any]) -> None:
    started(job)
    job.log.info(job.data["text"])


@handler("NAP")
async def nap(job: Job[Any]) -> int:
    started(job)
    await asyncio.sleep(job.data.get("seconds", 0.003))
    return finished(job)


@handler("THREAD")
def thread(job: Job[Any]) -> int:
    started(job)
    time.sleep(job.data.get("seconds", 0.002))
    return finished(job)


@handler("FLAKY", retry_delay=0.02)
async def flaky(job: Job[Any]) -> int:
    started(job)
    if job.attempt == 1:
        journal.write("raised", job.id, job.attempt)
        raise RuntimeError("the first time always fails")
    return finished(job)


async def opening(job: Job[Any]) -> None:
    """Waits until the job is let go. There is nothing but the file to be told by."""
    while not is_open(job):
        await asyncio.sleep(0.005)


@handler("GATE")
async def gate(job: Job[Any]) -> int:
    started(job)
    try:
        await opening(job)
    except asyncio.CancelledError:
        journal.write("interrupted", job.id, job.attempt)
        raise
    return finished(job)


@handler("THREAD_GATE")
def thread_gate(job: Job[Any]) -> int:
    """Deaf to its cancellation."""
    started(job)
    while not is_open(job):
        time.sleep(0.005)
    return finished(job)


@handler("STUBBORN")
def stubborn(job: Job[Any]) -> None:
    started(job)
    while True:
        time.sleep(60)


@handler("BLOCK")
async def block(job: Job[Any]) -> int:
    """What no coroutine should do: nothing else runs on the loop meanwhile."""
    started(job)
    time.sleep(job.data["seconds"])  # noqa: ASYNC251
    return finished(job)


@handler("DIE", retry_delay=0)
async def die(job: Job[Any]) -> None:
    started(job)
    os.kill(os.getpid(), signal.SIGKILL)


@handler("FORK")
async def fork(job: Job[Any]) -> int:
    """Leaves a child that does nothing, holding all that a fork inherits."""
    started(job)
    if job.attempt == 1 and not os.fork():
        journal.write("child", job.id, os.getpid())
        time.sleep(60)  # noqa: ASYNC251
        os._exit(0)
    await opening(job)
    return finished(job)


@handler("SPAWN")
async def spawn(job: Job[Any]) -> int:
    """Leaves another program running."""
    started(job)
    if job.attempt == 1:
        command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
        child = subprocess.Popen(command)  # noqa: ASYNC220
        journal.write("child", job.id, child.pid)
    await opening(job)
    return finished(job)
