"""Bulk handlers in a test's hands: they are called with what is there, and nobody waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from backroom import BulkJob, ConfigurationError, JobRequest, JobService, JobStatus
from backroom.testing import assert_safe_to_rerun, inline, kit, virtual_time

Many = Sequence[BulkJob[Any, Any]]


class Index:
    """A service with a bulk handler, and what that was called with."""

    def __init__(self) -> None:
        self.service = JobService("file:/nowhere/that/is/ever/opened", concurrency=2)
        self.calls: list[list[int]] = []
        self.service.register_handler("INDEX", self.run, batch=10, within=3600, retry_delay=60)

    async def run(self, jobs: Many) -> list[int]:
        self.calls.append([job.data["n"] for job in jobs])
        return [job.data["n"] * 2 for job in jobs]

    async def schedule(self, count: int) -> list[Any]:
        requests = [JobRequest("INDEX", {"n": n}) for n in range(count)]
        return await self.service.schedule_many(requests)


async def test_a_drain_calls_it_with_all_that_is_there_and_waits_for_nobody() -> None:
    index = Index()
    async with kit(index.service) as jobs:
        await index.schedule(23)
        ran = await jobs.drain()
        assert [job.result for job in ran] == [2 * n for n in range(23)]
    assert [len(call) for call in index.calls] == [10, 10, 3]


def test_the_same_in_virtual_time() -> None:
    @virtual_time
    async def test() -> None:
        index = Index()
        async with kit(index.service) as jobs:
            await index.schedule(7)
            before = jobs.now
            assert len(await jobs.drain()) == 7
            assert (jobs.now - before).total_seconds() < 1
        assert index.calls == [list(range(7))]

    test()


async def test_a_started_service_waits_for_nobody_in_a_kit() -> None:
    index = Index()
    async with kit(index.service) as jobs, index.service:
        ids = await index.schedule(3)
        await jobs.drain()
        assert await index.service.result(ids[2], timeout=5) == 4


async def test_inline_and_a_single_run_call_it_with_one() -> None:
    index = Index()
    async with inline(index.service):
        job_id = await index.service.schedule("INDEX", {"n": 5})
        assert (await index.service.get_job(job_id)).result == 10
    async with kit(index.service) as jobs:
        ids = await index.schedule(2)
        assert (await jobs.run(ids[1])).result == 2
    assert index.calls == [[5], [1]]


async def test_a_planned_error_fails_the_whole_call_as_it_would() -> None:
    index = Index()
    async with kit(index.service) as jobs:
        await index.schedule(3)
        jobs.fail("INDEX", error=OSError("down"), when="after")
        ran = await jobs.drain(raise_errors=True)
        assert [(job.status, job.error) for job in ran] == [(JobStatus.SCHEDULED, "down")] * 3
        await jobs.advance(100)
        assert {job.attempt for job in await jobs.service.get_jobs(type="INDEX")} == {2}
    assert index.calls == [[0, 1, 2]] * 2


async def test_a_worker_that_dies_takes_the_call_with_it_and_not_what_was_said_before() -> None:
    index = Index()

    @index.service.handler("SAID", batch=10)
    async def said(jobs: Many) -> None:
        index.calls.append([job.data["n"] for job in jobs])
        jobs[0].succeed("before")

    async with kit(index.service) as jobs:
        requests = [JobRequest("SAID", {"n": n}) for n in range(3)]
        ids = await index.service.schedule_many(requests)
        jobs.kill("SAID", when="after")
        await jobs.drain()
        infos = [await index.service.get_job(job_id) for job_id in ids]
    assert index.calls == [[0, 1, 2], [1, 2]]
    assert [(info.crashes, info.attempt, info.result) for info in infos] == [
        (0, 1, "before"), (1, 2, "before"), (1, 2, None)
    ]  # fmt: skip


def test_a_crash_test_is_one_of_single_jobs() -> None:
    with pytest.raises(ConfigurationError, match="INDEX has a bulk handler, and a crash test"):
        assert_safe_to_rerun(Index().service, "INDEX", {"n": 1})
