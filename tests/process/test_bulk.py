"""A worker that is killed in the middle of a call of a bulk handler."""

from __future__ import annotations

import pytest

from backroom import JobRequest, JobStatus
from tests.process.parts import Family, eventually, eventually_async, scheduling

APP = "tests.process.bulk_app:service"
MANY = 6


@pytest.mark.crash
@pytest.mark.parametrize("at", [0, 3])
async def test_what_was_said_stands_and_only_the_rest_of_the_call_runs_again(
    family: Family, at: int
) -> None:
    async with scheduling(family.jobs) as service:
        service.declare("INDEX")
        service.declare("COMPANY")
        waiting = await service.schedule_many([JobRequest("COMPANY", {"n": n}) for n in range(2)])
        ids = await service.schedule_many(
            [JobRequest("INDEX", {"n": n, "last": n == at}) for n in range(MANY)]
        )
        worker = family.ready(app=APP)

        async def gathers() -> bool:
            return (await service.get_job(waiting[0])).status is JobStatus.ACTIVE

        await eventually_async(gathers, "two wait for company")
        eventually(lambda: at in numbers(family), "the call is under way")
        for job in ids[:at]:
            await service.result(job, timeout=30)
        worker.kill()
        family.ready(app=APP)
        results = [await service.result(job, timeout=30) for job in ids]
        assert results == [MANY] * at + [MANY - at] * (MANY - at)
        for n, job in enumerate(ids):
            info = await service.get_job(job)
            assert (info.attempt, info.crashes) == ((1, 0) if n < at else (2, 1))
        for job in waiting:
            info = await service.get_job(job)
            assert (info.attempt, info.crashes, info.errors) == (0, 0, ())
        assert -1 not in numbers(family)


def numbers(family: Family) -> list[int | None]:
    return [entry.number for entry in family.entries("did")]
