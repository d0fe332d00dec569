"""A worker with a bulk handler on each storage: what was said stands, what had begun is charged,
and who waited for company comes back untouched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from backroom import BulkJob, JobInfo, JobRequest, JobService, JobStatus
from tests.contract.parts import LEASE, Bench, Place

Many = Sequence[BulkJob[Any, Any]]


def numbered(count: int, type_: str = "INDEX", **options: Any) -> list[JobRequest[Any]]:
    return [JobRequest(type_, {"n": n}, **options) for n in range(count)]


def service_on(bench: Bench, **settings: Any) -> JobService:
    return JobService(bench.storage, lease=LEASE, poll_interval=0.05, **settings)


async def ended(service: JobService, ids: Sequence[str]) -> list[JobInfo]:
    """How these jobs stand when all of them have ended."""
    return await until(service, ids, lambda info: info.status.terminal)


async def until(
    service: JobService, ids: Sequence[str], stands: Callable[[JobInfo], bool]
) -> list[JobInfo]:
    async with asyncio.timeout(30):
        while True:
            infos = [await service.get_job(job_id) for job_id in ids]
            if all(map(stands, infos)):
                return infos
            await asyncio.sleep(0.005)


async def test_each_job_of_a_call_has_its_outcome(place: Place) -> None:
    service = service_on(await place.open())
    calls: list[int] = []

    @service.handler("INDEX", batch=50, within=0, retries=0)
    async def index(jobs: Many) -> list[Any]:
        calls.append(len(jobs))
        jobs[0].log.info("of %d", len(jobs))
        return [ValueError("odd") if job.data["n"] % 2 else job.data["n"] for job in jobs]

    ids = await service.schedule_many(numbered(120))
    async with service:
        infos = await ended(service, ids)
    assert sum(calls) == 120
    assert max(calls) == 50
    assert [info.result for info in infos[::2]] == list(range(0, 120, 2))
    assert {info.error for info in infos[1::2]} == {"odd"}
    assert {info.attempt for info in infos} == {1}
    assert [line.message for line in infos[0].log] == [f"of {calls[0]}"]


async def test_a_crash_in_the_middle_charges_what_had_begun_and_nothing_else(
    place: Place,
) -> None:
    first, second = await place.benches(2)
    dying, other = service_on(first, concurrency=1), service_on(second)
    called = asyncio.Event()

    @dying.handler("INDEX", batch=4, within=0, retries=1)
    async def dies(jobs: Many) -> None:
        jobs[0].succeed("before")
        jobs[1].fail("before", retry_in=0)
        called.set()
        await asyncio.Event().wait()

    @dying.handler("COMPANY", batch=100, within=3600, retries=0)
    async def never(jobs: Many) -> None:
        raise AssertionError("it still waits for company")

    @other.handler("INDEX", batch=4, within=0, retries=1)
    async def index(jobs: Many) -> list[str]:
        return ["after"] * len(jobs)

    @other.handler("COMPANY", batch=100, within=0, retries=0)
    async def company(jobs: Many) -> list[str]:
        return ["after"] * len(jobs)

    await dying.start()
    waiting = await dying.schedule_many(numbered(3, "COMPANY"))
    held = await until(dying, waiting, lambda info: info.status is JobStatus.ACTIVE)
    assert len(held) == 3
    ids = await dying.schedule_many(numbered(4))
    async with asyncio.timeout(30):
        await called.wait()
    await until(dying, ids[:1], lambda info: info.status is JobStatus.COMPLETED)
    await until(dying, ids[1:2], lambda info: info.attempt == 1)

    # Nobody hears of that worker any more.
    await second.end_leases()
    async with other:
        infos = await ended(other, [*ids, *waiting])
    await dying.stop(0)
    assert [(info.result, info.attempt, info.crashes) for info in infos] == [
        ("before", 1, 0),
        ("after", 2, 0),
        ("after", 2, 1),
        ("after", 2, 1),
        *[("after", 1, 0)] * 3,
    ]


async def test_who_waits_for_company_goes_back_when_its_worker_stops(place: Place) -> None:
    bench = await place.open()
    service = service_on(bench)

    @service.handler("COMPANY", batch=100, within=3600)
    async def company(jobs: Many) -> None:
        raise AssertionError("it still waits for company")

    async with service:
        ids = await service.schedule_many(numbered(3, "COMPANY"))
        await until(service, ids, lambda info: info.status is JobStatus.ACTIVE)
    bench = await place.open()
    viewer = service_on(bench)
    if bench.storage.capabilities.durable:
        infos = [await viewer.get_job(job_id) for job_id in ids]
        assert {(info.status, info.attempt) for info in infos} == {(JobStatus.PENDING, 0)}
