"""What failed, by what failed it."""

from __future__ import annotations

from typing import Any

import pytest

from backroom import FailJob, Job, JobFailedError, OptionError
from tests.engine.world import World, forever


async def test_failed_jobs_are_grouped_by_what_their_handlers_raised(world: World) -> None:
    service = world.service(default_retry_limit=0)

    @service.handler("MAIL", timeout=5)
    async def mail(job: Job[dict[str, str]]) -> None:
        if job.data["to"] == "nobody":
            raise FailJob("there is nobody")
        if job.data["to"] == "far":
            await forever(job)
        raise ConnectionRefusedError(f"no route to {job.data['to']}\nand more of it")

    async with service:
        ids = [
            await service.schedule("MAIL", {"to": to}) for to in ("a", "b", "nobody", "far", "c")
        ]
        for job_id in ids:
            with pytest.raises(JobFailedError):
                await service.result(job_id)
        groups = await service.get_failures()
        assert [(one.type, one.kind, one.jobs) for one in groups] == [
            ("MAIL", "ConnectionRefusedError", 3),
            ("MAIL", "FailJob", 1),
            ("MAIL", "timeout", 1),
        ]
        assert groups[0].message == "no route to c"
        assert groups[0].job_id == ids[-1]
        # What a group says is what finds its jobs.
        found = await service.get_jobs(status="failed", error="ConnectionRefusedError")
        assert {job.id for job in found} == {ids[0], ids[1], ids[4]}
        assert await service.retry_jobs(error="FailJob") == 1
        with pytest.raises(JobFailedError):
            await service.result(ids[2])
        assert len(await service.get_failures(limit=2)) == 2


@pytest.mark.parametrize("limit", [0, 1001, True, "all"])
async def test_a_limit_out_of_its_range_is_refused(world: World, limit: Any) -> None:
    service = world.service()
    async with service:
        with pytest.raises(OptionError, match=r"limit must be a whole number from 1 to 1000"):
            await service.get_failures(limit)
