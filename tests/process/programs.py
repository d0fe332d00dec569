"""Programs that the tests start beside workers: `python -m tests.process.programs NAME ...`."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from backroom import JobId, JobOptions, JobRequest, JobService, StorageClosedError
from tests.process.parts import (
    die_with_parent,
    eventually_async,
    read_journals,
    scheduling,
)

FOLDER = Path(os.environ["PROCESS_TEST_FOLDER"])


async def produce(count: str) -> None:
    """Schedules so many jobs: half of them one by one from fifty coroutines, half in batches."""
    singles = int(count) // 2
    async with scheduling(FOLDER / "jobs") as service:

        async def some(number: int) -> None:
            for _ in range(number):
                await service.schedule("QUICK")

        async def batches() -> None:
            for start in range(singles, int(count), 500):
                size = min(500, int(count) - start)
                await service.schedule_many([JobRequest("QUICK", {})] * size)

        await asyncio.gather(batches(), *(some(singles // 50) for _ in range(50)))


async def storm(kind: str) -> None:
    """Schedules jobs of every kind, without end, until the file "calm" is there.

    Before each call it notes the serial numbers of the jobs ("attempted"), and after it again
    ("acknowledged"). With `kind` "both" the process is a worker too, so that jobs may start on
    their way in.
    """
    from tests.process.app import PAUSE, journal, service

    chance = random.Random(os.getpid())
    serials = (f"{os.getpid()}-{number}" for number in itertools.count())

    def request() -> tuple[str, JobRequest[Any]]:
        serial = next(serials)
        job_type = chance.choice(["QUICK", "QUICK", "NAP", "NAP", "THREAD", "FLAKY"])
        options: JobOptions = {}
        if chance.random() < 0.3 and job_type != "FLAKY":
            options["retries"] = 0
        else:
            options["retries"] = 5
        if chance.random() < 0.1:
            options["delay"] = chance.random() / 5
        options["priority"] = chance.choice(["critical", "high", "normal", "low"])
        return serial, JobRequest(job_type, {"serial": serial, "seconds": chance.random() / 20}, **options)

    async def schedule(size: int) -> None:
        wanted = [request() for _ in range(size)]
        for serial, _ in wanted:
            journal.write("attempted", serial)
        if size == 1:
            asked = wanted[0][1]
            await service.schedule(asked.type, asked.data, **asked.options)
        else:
            await service.schedule_many([asked for _, asked in wanted])
        for serial, _ in wanted:
            journal.write("acknowledged", serial)

    async def one_by_one() -> None:
        while not (FOLDER / "calm").exists():
            await schedule(1)
            await asyncio.sleep(chance.random() * 2 * PAUSE)

    async def in_batches() -> None:
        while not (FOLDER / "calm").exists():
            await schedule(chance.randrange(2, 50))
            await asyncio.sleep(chance.random() * 50 * PAUSE)

    if kind == "both":
        await service.start()
    journal.write("up")
    await asyncio.gather(in_batches(), *(one_by_one() for _ in range(8)))
    await service.stop()


async def fork_while_open() -> None:
    """Forks while its service works, as a handler may: what does each side see?"""
    from tests.process.app import service

    await service.start()
    child = os.fork()
    if not child:
        try:
            asyncio.run(_in_the_child(service))
        except BaseException as error:
            say(f"child failed: {error!r}")
        os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    job_id = await service.schedule("QUICK")
    say("parent ran", await service.result(job_id, timeout=10))
    await eventually_async(lambda: (FOLDER / "calm").exists(), "the test is done")
    say("parent stopped:", await service.stop())


async def _in_the_child(inherited: JobService) -> None:
    for name, call in {
        "schedule": inherited.schedule("QUICK"),
        "schedule_many": inherited.schedule_many([JobRequest("QUICK", {})]),
        "get_jobs": inherited.get_jobs(),
        "cancel_jobs": inherited.cancel_jobs(status="pending"),
        "result": inherited.result(JobId("none"), timeout=1),
    }.items():
        try:
            await call
        except StorageClosedError as error:
            say(f"child {name} refused: {error}")
    say("child stopped:", await inherited.stop(0))
    async with scheduling(FOLDER / "jobs") as own:
        say("child scheduled", await own.schedule("GATE"))


async def lock() -> None:
    """Another program that writes to the database, in no hurry."""
    with closing(sqlite3.connect(FOLDER / "jobs" / "jobs.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        say("locked")
        await eventually_async(lambda: (FOLDER / "unlock").exists(), "the test lets it go")
        database.execute("ROLLBACK")


def say(*words: object) -> None:
    print(*words, flush=True)


async def linger() -> None:
    """Stops its service while a handler's thread runs on, and goes on itself."""
    from tests.process.app import service

    await service.start()
    await eventually_async(lambda: read_journals(FOLDER, "started"), "the job runs")
    say("stopped:", await service.stop(grace=0.1))
    await eventually_async(lambda: read_journals(FOLDER, "finished"), "the thread ends", 60)
    await asyncio.Event().wait()


PROGRAMS = {program.__name__: program for program in (produce, storm, fork_while_open, lock, linger)}

if __name__ == "__main__":
    die_with_parent()
    asyncio.run(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
