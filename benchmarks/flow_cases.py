"""Measurements of what time and flow cost; called by `benchmarks.cases`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from backroom import (
    BulkJob,
    DatabaseJobStorage,
    FileJobStorage,
    Job,
    JobRequest,
    JobService,
    Unique,
)
from backroom.job import SECOND
from backroom.schedule import ScheduleRecord
from backroom.ticking import every
from backroom.timetable import planned
from benchmarks.counter import Counter

AHEAD = 3.0
MADE = 1000
"""The first tick comes so many seconds after the beginning, and a second more for so many
schedules, that they are made by then."""
HELD: dict[str, dict[str, Any]] = {
    "end": {}, "start": {"until": "start"}, "period": {"period": 3600},
    "replace": {"until": "start", "on_conflict": "replace"},
}  # fmt: skip


async def ticks(
    directory: str, count: int, period: float, together: bool, seconds: float
) -> dict[str, float]:
    """`count` schedules with a tick every `period` seconds, at one moment or evenly spread: from a
    tick to the first line of its job's handler, in milliseconds."""
    waits: list[float] = []

    async def handle(job: Job[Any]) -> None:
        waits.append((time.time() - job.run_at.timestamp()) * 1e3)

    storage = _storage(directory)
    jobs = JobService(storage, concurrency=100)
    jobs.register_handler("TICK", handle)
    await jobs.open()
    planning, step = planned(storage), round(period * SECOND)
    began = time.time_ns() // 1000 + round((AHEAD + count / MADE) * SECOND)

    def record(number: int) -> ScheduleRecord:
        return ScheduleRecord(
            name=f"schedule {number}", rule=every(step), tz="UTC", type="TICK", queue="default",
            priority=2, data="{}", created_at=began,
            next_at=began + (0 if together else number * step // count),
        )  # fmt: skip

    for start in range(0, count, 500):
        chunk = range(start, min(start + 500, count))
        await asyncio.gather(*(planning.put_schedule(record(number)) for number in chunk))
    left = began / SECOND - time.time()
    await jobs.start()
    await asyncio.sleep(max(0.0, left) + seconds)
    await jobs.stop()
    waits.sort()
    return {
        "late": max(0.0, -left),
        "count": len(waits),
        "p50": waits[len(waits) // 2],
        "p99": waits[len(waits) * 99 // 100],
        "last": waits[-1],
    }


async def handled(directory: str, count: int, batch: int, pause: float) -> dict[str, float]:
    """`count` jobs that wait, run by a handler of up to `batch` at once, or by one of single jobs
    (0): each call of either waits so many seconds, as for a network."""
    left = count
    done = asyncio.Event()

    async def run(jobs: int) -> None:
        nonlocal left
        if pause:
            await asyncio.sleep(pause)
        left -= jobs
        if left == 0:
            done.set()

    async def single(job: Job[Any]) -> None:
        await run(1)

    async def many(jobs: list[BulkJob[Any, Any]]) -> None:
        await run(len(jobs))

    jobs = JobService(_storage(directory))
    if batch:
        jobs.register_handler("NOOP", many, batch=batch, within=0.1)
    else:
        jobs.register_handler("NOOP", single)
    for start in range(0, count, 10_000):
        share = min(10_000, count - start)
        await jobs.schedule_many([JobRequest("NOOP", {"n": 1})] * share)
    await jobs.start()
    began = time.perf_counter()
    await done.wait()
    took = time.perf_counter() - began
    await jobs.stop()
    return {"rate": count / took}


async def unique(
    directory: str, count: int, producers: int, held: str = "", each: int = 1, paused: bool = False
) -> dict[str, float]:
    """Jobs with a unique key, from the first call to the last record: held as `HELD` says, or
    without one; `each` calls for one key. `paused`: none of them starts before the last call."""
    done = asyncio.Event()
    left = keys = count // each

    async def handle(job: Job[Any]) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            done.set()

    jobs = JobService(_storage(directory), concurrency=100)
    jobs.register_handler("KEYED", handle)
    await jobs.start()
    if paused:
        await jobs.pause_queue("default")

    async def produce(share: int) -> None:
        for number in range(share, count, producers):
            said = {"unique": Unique(key=f"{number % keys}", **HELD[held])} if held else {}
            await jobs.schedule("KEYED", {"n": number}, **said)

    began = time.perf_counter()
    await asyncio.gather(*map(produce, range(producers)))
    acknowledged = time.perf_counter() - began
    await jobs.resume_queue("default")
    await done.wait()
    while not jobs.idle:
        await asyncio.sleep(0.001)
    took = time.perf_counter() - began
    await jobs.stop()
    return {"rate": count / took, "schedule_rate": count / acknowledged}


def _storage(place: str) -> DatabaseJobStorage | FileJobStorage:
    return DatabaseJobStorage(place) if "://" in place else FileJobStorage(place)


PAIRS = 50
"""Of one workflow: a job, and one that waits for it."""


async def edges(directory: str, count: int, flows: bool) -> dict[str, float]:
    """`count` jobs made and run, half of which wait for the other half, in workflows of fifty
    pairs; or all by themselves, in calls of as many: jobs a second."""
    jobs, counter = JobService(_storage(directory), concurrency=100), Counter(count)
    jobs.register_handler("WORK", counter.handle)
    await jobs.open()
    began = time.perf_counter()
    for _ in range(count // (2 * PAIRS)):
        if flows:
            async with jobs.workflow("pairs") as flow:
                for _ in range(PAIRS):
                    flow.add("WORK", after=flow.add("WORK"))
        else:
            await jobs.schedule_many([JobRequest("WORK")] * (2 * PAIRS))
    await jobs.start()
    await counter.reached.wait()
    took = time.perf_counter() - began
    await jobs.stop()
    return {"rate": count / took}


async def stepped(directory: str, count: int, steps: int) -> dict[str, float]:
    """Jobs that wait already, each of so many durable steps that take no time: jobs a second."""
    jobs, counter = JobService(_storage(directory), concurrency=100), Counter(count)

    async def look(number: int) -> int:
        return number

    async def handle(job: Job[Any]) -> None:
        for number in range(steps):
            await job.step(f"step {number}", look, number)
        await counter.handle(job)

    jobs.register_handler("WORK", handle)
    await jobs.open()
    for start in range(0, count, 10_000):
        await jobs.schedule_many([JobRequest("WORK")] * min(10_000, count - start))
    began = time.perf_counter()
    await jobs.start()
    await counter.reached.wait()
    took = time.perf_counter() - began
    await jobs.stop()
    return {"rate": count / took}
