"""The processes of `bench dashboard`: `python -m benchmarks.dashboard_roles ROLE JSON`.

Each says a line when it is ready, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import timedelta
from typing import Any, Final

from backroom import FailJob, Job, JobRequest, JobService
from backroom.web import Bounds, Identity, Role, dashboard
from backroom.web.serving import serve
from benchmarks.cases import storage_at

KINDS: Final = 20
"""Job types, each with its share of the jobs."""
CHUNK: Final = 20_000
NEEDLE: Final = "needle in the haystack"
"""Text of the very first job, and of no other."""


def made(place: str, **settings: Any) -> JobService:
    """The service of all roles."""
    service = JobService(storage_at(place), **{"concurrency": 100, **settings})

    async def quick(job: Job[Any]) -> int:
        return int(job.data["number"])

    async def failing(job: Job[Any]) -> None:
        kinds = (ValueError, KeyError, TimeoutError, ConnectionError, FailJob)
        number = job.data["number"]
        raise kinds[number // 200 % 5](f"the address {number} does not answer")

    service.register_handler("HOT", quick)
    for number in range(KINDS):
        service.register_handler(f"TYPE{number}", quick)
        service.register_handler(f"FAILING{number}", failing, retries=0)
    return service


def request(number: int, name: str, queue: str, **more: Any) -> JobRequest:
    text = NEEDLE if number == 0 else f"dear customer {number}, your order has been shipped"
    data = {"number": number, "address": f"customer{number}@example.com", "text": text}
    return JobRequest(
        f"{name}{number // 10 % KINDS}", data, queue=queue, tags=[f"shop{number % 50}"], **more
    )


async def fill(place: str, jobs: int) -> dict[str, Any]:
    """Of so many jobs: four tenths wait, two are for later, three have completed, one failed."""
    service = made(place, only=None)
    await service.open()
    ids: list[str] = []
    for first in range(0, jobs, CHUNK):
        numbers = range(first, min(first + CHUNK, jobs))
        requests = [_tenth(number) for number in numbers]
        ids += await service.schedule_many(requests)
    await service.stop()
    working = made(place, only=("warm",))
    await working.start()
    while not working.idle:
        await asyncio.sleep(0.1)
    await working.stop()
    return {"first": ids[0], "failed": ids[9], "last": ids[-1]}


def _tenth(number: int) -> JobRequest:
    share = number % 10
    if share < 4:
        return request(number, "TYPE", "cold")
    if share < 6:
        return request(number, "TYPE", "cold", delay=timedelta(days=1 + number % 7))
    return request(number, "FAILING" if share == 9 else "TYPE", "warm")


async def hot(place: str, rate: int) -> dict[str, Any]:
    """So many jobs a second are scheduled and run, as evenly as the machine lets us."""
    service = made(place, only=("hot",))
    await service.start()
    ends = asyncio.create_task(_input_ends())
    print("ready", flush=True)
    began, sent = time.monotonic(), 0
    while not ends.done():
        due = int((time.monotonic() - began) * rate) - sent
        if due > 0:
            requests = [JobRequest("HOT", {"number": number}, queue="hot") for number in range(due)]
            await service.schedule_many(requests)
            sent += due
        await asyncio.sleep(0.05)
    took = time.monotonic() - began
    while not service.idle:
        await asyncio.sleep(0.01)
    ended = service.attempts_ended
    await service.stop()
    return {"rate": ended / took}


async def web(place: str) -> dict[str, Any]:
    """The dashboard, in a process of its own."""
    service = made(place)
    ends = asyncio.Event()

    async def watch() -> None:
        await _input_ends()
        ends.set()

    watching = asyncio.create_task(watch())
    app = dashboard(
        service,
        authenticate=lambda request: Identity("bench", Role.ADMIN),
        bounds=Bounds(requests=256, streams_each=100),
    )
    await serve(
        app, service, host="127.0.0.1", port=0,
        ready=lambda url: print(url, flush=True), until=ends,
    )  # fmt: skip
    await watching
    await service.stop()
    return {}


async def drain(place: str, jobs: int) -> dict[str, Any]:
    """Jobs a second of a worker that has nothing to wait for."""
    service = made(place, only=("hot",))
    await service.open()
    for first in range(0, jobs, CHUNK):
        await service.schedule_many(
            [JobRequest("HOT", {"number": number}, queue="hot")
             for number in range(first, min(first + CHUNK, jobs))]
        )  # fmt: skip
    began = time.perf_counter()
    await service.start()
    while not service.idle or service.attempts_ended < jobs:
        await asyncio.sleep(0.005)
    took = time.perf_counter() - began
    await service.stop()
    return {"rate": jobs / took}


async def _input_ends() -> None:
    await asyncio.to_thread(sys.stdin.read)


ROLES: Final = {role.__name__: role for role in (fill, hot, web, drain)}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(ROLES[sys.argv[1]](**json.loads(sys.argv[2])))), flush=True)
