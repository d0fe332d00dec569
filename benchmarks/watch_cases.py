"""One process looks at a store in which another one works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from backroom import FailJob, Job, JobRequest, JobService
from backroom.storage import DatabaseJobStorage, FileJobStorage

__all__ = ["busy", "watched"]

PAGE: Final = 50_000
SECONDS: Final = 20.0
"""For which the other process works."""
PAUSE: Final = 0.05
DAY: Final = 86_400


def _service(place: str) -> JobService:
    storage = DatabaseJobStorage(place) if "://" in place else FileJobStorage(place)
    return JobService(storage, concurrency=100, only=["busy"], default_retry_limit=0)


async def watched(directory: str, many: int, rate: int, looks: int) -> dict[str, float]:
    """Milliseconds of a look; and how many jobs ran a second meanwhile."""
    from benchmarks.cases import spawn

    jobs = _service(directory)
    jobs.declare("NOOP")
    for at in range(0, many, PAGE):
        share = min(PAGE, many - at)
        # Of ten: six are due, three are scheduled over a month, one ends below.
        await jobs.schedule_many([JobRequest("NOOP", {}, queue="due")] * (share * 6 // 10))
        await jobs.schedule_many(
            [
                JobRequest("NOOP", {}, queue=f"later{n % 5}", delay=n * 30 * DAY / share)
                for n in range(share * 3 // 10)
            ]
        )
        await jobs.schedule_many(
            [JobRequest("NOOP", {"fail": n % 20 == 0}, queue="busy") for n in range(share // 10)]
        )
    other = spawn("busy", {"directory": directory, "rate": rate})
    assert other.stdout is not None
    await asyncio.to_thread(other.stdout.readline)
    before = (await jobs.get_stats()).by_status["completed"]
    began = time.perf_counter()
    figures = {
        **await _timed("stats", jobs.get_stats, looks),
        **await _timed("failures", jobs.get_failures, looks),
    }
    took = time.perf_counter() - began
    figures["rate"] = ((await jobs.get_stats()).by_status["completed"] - before) / took
    await asyncio.to_thread(other.communicate)
    await jobs.stop()
    return figures


async def _timed(name: str, look: Callable[[], Awaitable[Any]], looks: int) -> dict[str, float]:
    taken: list[float] = []
    for _ in range(looks):
        began = time.perf_counter()
        await look()
        taken.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(SECONDS / looks / 4)
    taken.sort()
    return {f"{name}_p50": taken[looks // 2], f"{name}_p99": taken[looks * 99 // 100]}


async def busy(directory: str, rate: int) -> dict[str, float]:
    """The other process: it does what waits in its queue, says so, and goes on at a pace."""
    jobs = _service(directory)

    @jobs.handler("NOOP")
    async def nothing(job: Job[dict[str, bool]]) -> None:
        if job.data.get("fail"):
            raise FailJob(f"no route to host {job.id}")

    await jobs.start()
    while any(one.name == "busy" and one.pending for one in (await jobs.get_stats()).queues):
        await asyncio.sleep(0.2)
    print("ready", flush=True)
    until = time.perf_counter() + SECONDS
    due = time.perf_counter()
    while due < until:
        share = round(rate * PAUSE)
        await jobs.schedule_many([JobRequest("NOOP", {}, queue="busy")] * share)
        due += PAUSE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await jobs.stop()
    return {}
