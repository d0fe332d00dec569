"""The example of an import: a fan-out of a thousand, found while it runs, and a fan-in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from backroom import WorkflowInfo, WorkflowStatus
from backroom.testing import Jobs, kit
from examples.import_in_flow import (
    FILES,
    READ,
    SUM_UP,
    TELL,
    Folder,
    Summary,
    service,
    start_import,
    unreadable,
)


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    unreadable.clear()
    async with kit(service) as jobs:
        yield jobs


async def result(info: WorkflowInfo, type_: str) -> object:
    [job] = [job for job in info.jobs if job.type == type_]
    return await service.result(job.id)


async def test_a_thousand_files_are_read_and_summed_up(jobs: Jobs) -> None:
    flow = await start_import(Folder("measurements"))
    await jobs.drain()
    info = await service.get_workflow(flow)
    assert (info.status, info.total, info.completed) == ("completed", FILES + 2, FILES + 2)
    assert await result(info, SUM_UP.name) == Summary(FILES, 12 * FILES)
    assert await result(info, TELL.name) == f"measurements: {FILES + 2:,} jobs completed, 0 failed"
    [total] = [job for job in info.jobs if job.type == SUM_UP.name]
    assert len(total.after) == FILES + 1


async def test_what_could_not_be_read_is_read_again_and_nothing_else(jobs: Jobs) -> None:
    unreadable.update((1, 2))
    flow = await start_import(Folder("measurements", 20))
    await jobs.drain()
    info = await service.get_workflow(flow)
    assert (info.status, info.failed, info.cancelled) == (WorkflowStatus.FAILED, 2, 1)
    assert await result(info, TELL.name) == "measurements: 19 jobs completed, 2 failed"
    unreadable.clear()
    assert await service.retry_workflow(flow) == 2
    await jobs.drain()
    info = await service.get_workflow(flow)
    assert info.status == WorkflowStatus.COMPLETED
    assert await result(info, SUM_UP.name) == Summary(20, 240)
    assert len([job for job in info.jobs if job.type == READ.name]) == 20
