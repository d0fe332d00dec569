"""A copy of a job is what the job was, whoever makes it; on every storage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypedDict

import pytest

from backroom import JobNotFoundError, JobService, JobType
from backroom.job import JobInfo
from tests.contract.parts import Bench


class Charge(TypedDict):
    cents: int


def to_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"cents": data["euros"] * 100}


CHARGE: JobType[Charge, None] = JobType("CHARGE", Charge, version=2, upgrade={1: to_cents})


@pytest.fixture
async def bare(bench: Bench) -> AsyncIterator[JobService]:
    """One that knows no type of the application."""
    service = JobService(bench.storage)
    yield service
    await service.stop(0)


async def said(service: JobService, job_id: str) -> dict[str, Any]:
    """What a copy has of a job."""
    info: JobInfo = await service.get_job(job_id)
    lasts = None if info.expires_at is None else info.expires_at - info.created_at
    names = ("type", "queue", "priority", "data", "version", "tags", "metadata", "options",
             "max_attempts", "status")  # fmt: skip
    return {name: getattr(info, name) for name in names} | {"lasts": lasts}


async def test_a_copy_has_the_version_of_what_it_copies_whatever_is_known_here(
    bench: Bench, bare: JobService
) -> None:
    older, newer = JobService(bench.storage), JobService(bench.storage)
    older.declare("CHARGE")
    newer.declare(CHARGE)
    first = await older.schedule("CHARGE", {"euros": 5})
    second = await newer.schedule(CHARGE, {"cents": 500})
    for service in (older, newer, bare):
        for job_id, version in ((first, 1), (second, 2)):
            copy = await service.copy_job(job_id)
            assert copy != job_id
            assert await said(service, copy) == await said(service, job_id)
            assert (await service.get_job(copy)).version == version
    assert bare.known_types == JobService(bench.storage).known_types  # It declared none.


async def test_a_copy_has_all_options_but_its_key(bench: Bench, bare: JobService) -> None:
    service = JobService(bench.storage)
    service.declare("PAY")
    job_id = await service.schedule(
        "PAY", {"n": 2**70, "x": 0.1, "text": "\u202e"}, queue="mail", priority="high", retries=7,
        retry_delay=2.5, backoff="exponential", timeout=30, tags=["a", "b"],
        metadata={"order": 1}, expires_in=60, unique_key="only",
    )  # fmt: skip
    copy = await bare.copy_job(job_id)
    assert await said(bare, copy) == await said(bare, job_id)
    assert (await bare.get_job(copy)).unique_key is None


async def test_there_is_no_copy_of_no_job(bare: JobService) -> None:
    with pytest.raises(JobNotFoundError):
        await bare.copy_job("0190a000-0000-7000-8000-000000000000")
