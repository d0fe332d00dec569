"""Programs beside the workers of the chaos: `python -m tests.crash.producer NAME`."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
from typing import Any, NoReturn

from backroom import (
    JobOptions,
    JobRequest,
    JobService,
    StorageClosedError,
    StorageError,
    StorageFullError,
)
from tests.crash.app import FOLDER, PLAN, journal, service
from tests.process.parts import eventually_async

PAUSE = PLAN.get("pause", 0.01)
KINDS = PLAN.get("kinds", ["QUICK", "NAP", "THREAD", "FLAKY"])
LONGEST = PLAN.get("seconds", 0.05)
TEXT = "x" * PLAN.get("text", 0)

chance = random.Random(os.getpid())
serials = (f"{os.getpid()}-{number}" for number in itertools.count())
calls = itertools.count(1)


def _request(serial: str) -> JobRequest[Any]:
    kind = chance.choice(KINDS)
    options: JobOptions = {"priority": chance.choice(["critical", "high", "normal", "low"])}
    # One attempt only, so that whatever is charged for nothing fails a job.
    options["retries"] = 5 if kind == "FLAKY" or chance.random() < 0.7 else 0
    if chance.random() < 0.1:
        options["delay"] = chance.random() / 5
    seconds = PLAN["block"] if kind == "BLOCK" else chance.random() * LONGEST
    data = {"serial": serial, "seconds": seconds, "text": TEXT}
    return JobRequest(kind, data, **options)


async def schedule(size: int, service: JobService = service) -> None:
    """Schedules so many jobs in one call, with notes of what was asked for and answered."""
    names, call = list(itertools.islice(serials, size)), next(calls)
    requests = [_request(name) for name in names]
    for name in names:
        journal.write("attempted", name, call)
    try:
        if size == 1:
            [asked] = requests
            await service.schedule(asked.type, asked.data, **asked.options)
        else:
            await service.schedule_many(requests)
    except StorageError as error:
        sure = isinstance(error, StorageFullError | StorageClosedError)
        answer = "refused" if sure else "unknown"
        await asyncio.sleep(0.02)
    else:
        answer = "acknowledged"
    for name in names:
        journal.write(answer, name, call)


def _calm() -> bool:
    return (FOLDER / "calm").exists()


async def produce() -> None:
    """Schedules jobs of every kind until the file "calm" is there."""

    async def one_by_one() -> None:
        while not _calm():
            await schedule(1)
            await asyncio.sleep(chance.random() * 2 * PAUSE)

    async def in_batches() -> None:
        while not _calm():
            await schedule(chance.randrange(2, PLAN.get("batch", 50)))
            await asyncio.sleep(chance.random() * min(50 * PAUSE, 1.0))

    await service.open()
    journal.write("up")
    await asyncio.gather(in_batches(), *(one_by_one() for _ in range(8)))
    await service.stop()


async def produce_and_work() -> None:
    """The same in a process that is a worker too, so that jobs may start on their way in."""
    await service.start()
    await produce()
    await service.stop()


async def produce_and_fork() -> None:
    """The same, in a process that forks now and then, as a library in it may."""

    async def fork() -> None:
        while True:
            await asyncio.sleep(chance.random() / 2)
            if _calm():  # The service may be stopped already.
                return
            child = os.fork()
            if not child:
                _be_the_child()
            journal.write("forked", "-", child)
            await asyncio.to_thread(os.waitpid, child, 0)

    await asyncio.gather(produce_and_work(), fork())


def _be_the_child() -> NoReturn:
    """Is refused what the parent had opened, uses the store by itself, and ends, in one of two
    ways, without a word to what it inherited."""
    chance.seed(os.getpid())
    code = 1
    try:
        asyncio.run(_use_both())
        code = 0
    except BaseException as error:
        print(f"the child of a fork failed: {error!r}", flush=True)
    finally:
        if chance.random() < 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(code)


async def _use_both() -> None:
    asked = _request(next(serials))
    try:
        await service.schedule(asked.type, asked.data)
    except StorageClosedError as error:
        if "before this process was forked" in str(error):
            journal.write("fork-refused")
    own = JobService(PLAN["storage"])
    for kind in KINDS:
        own.declare(kind)
    for size in (1, 5, 1):
        await schedule(size, own)
    if chance.random() < 0.5:
        await own.stop()


async def drain() -> None:
    """Works until every job has ended, and no worker is enlisted beside this one."""
    await service.start()

    async def alone_and_done() -> bool:
        stats = await service.get_stats()
        left = sum(stats.by_status[status] for status in ("pending", "scheduled", "active"))
        return not left and len(stats.workers) == 1

    await eventually_async(alone_and_done, "all jobs have ended, all other workers are gone", 60)
    await service.stop()


PROGRAMS = {
    program.__name__: program for program in (produce, produce_and_work, produce_and_fork, drain)
}

if __name__ == "__main__":
    asyncio.run(PROGRAMS[sys.argv[1]]())
