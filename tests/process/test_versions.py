"""Old data is upgraded in the child process that runs its handler, as user code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backroom import FileJobStorage, JobFailedError, JobService, JobType
from backroom.job import JobInfo
from tests.process.versioned import MAIL, OLD_MAIL, First, Second, registry


@pytest.fixture
async def producer(tmp_path: Path) -> AsyncIterator[JobService]:
    """Of the version before."""
    service = JobService(FileJobStorage(tmp_path / "jobs"))
    yield service
    await service.stop()


@pytest.fixture
async def service(tmp_path: Path, producer: JobService) -> AsyncIterator[JobService]:
    service = JobService(
        FileJobStorage(tmp_path / "jobs"), concurrency=2, default_retry_delay=0,
        default_retry_limit=1,
    )  # fmt: skip
    service.include(registry)
    async with service:
        yield service


@pytest.mark.parametrize("name", ["MAIL", "LATER"])
async def test_old_data_is_upgraded_in_the_child(
    service: JobService, producer: JobService, name: str
) -> None:
    job_id = await producer.schedule(JobType(name, First), First("ada"))
    assert await service.result(job_id, timeout=30) == ["ada", True]


async def test_data_of_its_own_version_is_not(service: JobService) -> None:
    job_id = await service.schedule(MAIL, Second("ada"))
    assert await service.result(job_id, timeout=30) == ["ada", False]


async def failed(service: JobService, producer: JobService, to: str) -> JobInfo:
    job_id: Any = await producer.schedule(OLD_MAIL, First(to))
    with pytest.raises(JobFailedError):
        await service.result(job_id, timeout=30)
    return await service.get_job(job_id)


async def test_what_an_upgrade_does_is_its_attempt_s(
    service: JobService, producer: JobService
) -> None:
    nobody = await failed(service, producer, "nobody")
    assert nobody.attempt == 2
    assert [error.message for error in nobody.errors] == [
        "MAIL: the upgrade of its data from version 1 to 2 failed: LookupError: no such user"
    ] * 2
    never = await failed(service, producer, "never")
    assert (never.attempt, never.error) == (1, "never again")
    exits = await failed(service, producer, "exit")
    assert [error.kind for error in exits.errors] == ["SystemExit"] * 2
    crash = await failed(service, producer, "crash")
    assert (crash.attempt, crash.crashes) == (2, 2)
    assert crash.error == "its process ended with exit code 3"
