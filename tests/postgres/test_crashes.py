"""A worker that dies around the commit of `job.transaction()`."""

from __future__ import annotations

from typing import Any

import pytest

from backroom import JobService
from tests.postgres.clients import orders
from tests.process.fixtures import family
from tests.process.parts import Family, eventually_async
from tests.servers.fixtures import PostgresPlace

__all__ = ["family"]


MOMENTS = [("inside", 2, 1), ("before the commit", 2, 1), ("after the commit", 1, 0)]


@pytest.mark.crash
@pytest.mark.parametrize(("moment", "attempt", "crashes"), MOMENTS)
async def test_a_crash_leaves_all_or_nothing(
    place: PostgresPlace,
    service: JobService,
    family: Family,
    moment: str,
    attempt: int,
    crashes: int,
) -> None:
    """After the commit the job is not run again, and charged nothing."""
    service.declare("ORDER")
    job_id = await service.schedule("ORDER", {})
    await _die_and_go_on(place, service, family, moment, 1)
    info = await service.get_job(job_id)
    assert (info.attempt, info.crashes, info.result) == (attempt, crashes, attempt)
    assert await orders(place) == [f"tea of attempt {attempt}"]


@pytest.mark.crash
@pytest.mark.parametrize(("moment", "attempt", "crashes"), MOMENTS)
async def test_a_crash_leaves_all_or_nothing_of_what_is_added_to_a_workflow(
    place: PostgresPlace,
    service: JobService,
    family: Family,
    moment: str,
    attempt: int,
    crashes: int,
) -> None:
    """What waits for the job runs behind what it has added, once."""
    service.declare("LIST")
    service.declare("FETCH")
    async with service.workflow("import") as flow:
        listing = flow.add("LIST")
        flow.add("FETCH", after=listing)
    await _die_and_go_on(place, service, family, moment, 4)
    info = await service.get_job(listing.id)
    assert (info.attempt, info.crashes, info.result) == (attempt, crashes, attempt)
    done = await service.get_workflow(flow.id)
    assert (done.status, done.completed, done.total) == ("completed", 4, 4)
    assert await orders(place) == [f"tea of attempt {attempt}"]


async def _die_and_go_on(
    place: PostgresPlace, service: JobService, family: Family, moment: str, jobs: int
) -> None:
    """One worker dies, and another one goes on, until so many jobs have completed."""
    where: dict[str, Any] = {"url": place.url, "schema": place.schema}
    first = family.worker(app="tests.postgres.app:service", moment=moment, **where)
    await eventually_async(lambda: first.code is not None, "the worker has died", 30)
    assert first.code == -9, first.text
    second = family.ready(app="tests.postgres.app:service", moment="never", **where)

    async def alone() -> bool:
        """The dead one is known to be dead, and its job has ended."""
        assert second.code is None, second.text
        stats = await service.get_stats()
        return len(stats.workers) == 1 and stats.by_status["completed"] == jobs

    await eventually_async(alone, "the other worker has looked after it", 30)
