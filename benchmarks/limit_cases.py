"""Measurements of what limits and turns cost; called by `benchmarks.cases`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from backroom import (
    Concurrency,
    DatabaseJobStorage,
    FileJobStorage,
    Job,
    JobRequest,
    JobService,
)
from benchmarks.counter import Counter

CHUNK = 50_000
SLOTS = 50


def _service(directory: str, slots: int = SLOTS) -> JobService:
    storage = DatabaseJobStorage(directory) if "://" in directory else FileJobStorage(directory)
    return JobService(storage, concurrency=slots)


async def _fill(jobs: JobService, type_: str, count: int, data: dict[str, Any]) -> None:
    for at in range(0, count, CHUNK):
        await jobs.schedule_many([JobRequest(type_, data)] * min(CHUNK, count - at))


async def limited(directory: str, count: int, limit: bool) -> dict[str, float]:
    """Jobs that wait already, of one key, with a limit that has room for what the worker has
    slots for."""
    jobs, counter = _service(directory), Counter(count)
    most = Concurrency(4000, key="data.tenant") if limit else []
    jobs.register_handler("WORK", counter.handle, limit=most)
    await jobs.open()
    await _fill(jobs, "WORK", count, {"tenant": "a"})
    began = time.perf_counter()
    await jobs.start()
    await counter.reached.wait()
    took = time.perf_counter() - began
    await jobs.stop()
    return {"rate": count / took}


async def behind_blocked(directory: str, count: int, blocked: int) -> dict[str, float]:
    """Jobs without a limit, in front of which so many wait for room that is not there: from when
    these have been looked at once, and how long that took."""
    jobs, counter = _service(directory), Counter(count)
    held = asyncio.Event()

    async def hold(job: Job[Any]) -> None:
        await held.wait()

    jobs.register_handler("FULL", hold, limit=Concurrency(1, key="data.tenant"))
    jobs.register_handler("WORK", counter.handle)
    await jobs.start()
    began = time.perf_counter()
    await _fill(jobs, "FULL", blocked + 1, {"tenant": "a"})
    while blocked:
        [limit] = await jobs.get_limits()
        if limit.blocked == blocked:
            break
        await asyncio.sleep(0.05)
    aside = time.perf_counter() - began
    await jobs.pause_queue("default")
    await _fill(jobs, "WORK", count, {})
    began = time.perf_counter()
    await jobs.resume_queue("default")
    await counter.reached.wait()
    took = time.perf_counter() - began
    held.set()
    await jobs.pause_queue("default")
    await jobs.stop(grace=1)
    return {"rate": count / took, "aside": aside}


async def turns(directory: str, many: int, fair: bool) -> dict[str, float]:
    """One job of a tenant, scheduled while a worker works on the many of another: how many of
    those begin before it does, and how long it waits."""
    jobs, before, began = _service(directory, 5), 0, 0.0
    waited = asyncio.get_running_loop().create_future()

    async def handle(job: Job[Any]) -> None:
        nonlocal before
        if job.data["tenant"] == "b":
            waited.set_result((time.perf_counter() - began) * 1e3)
        elif began and not waited.done():
            before += 1

    by = {"fair_by": "data.tenant"} if fair else {}
    jobs.register_handler("WORK", handle, **by)
    await jobs.open()
    await _fill(jobs, "WORK", many, {"tenant": "a"})
    await jobs.start()
    await asyncio.sleep(0.5)
    began = time.perf_counter()
    await jobs.schedule("WORK", {"tenant": "b"})
    wait = await waited
    await jobs.pause_queue("default")
    await jobs.stop()
    return {"wait": wait, "before": before}
