"""What the tests of `job.transaction()` share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from backroom import (
    DatabaseJobStorage,
    JobInfo,
    JobService,
    JobType,
)
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace

__all__ = ["REPORT", "Report", "ended", "held_by", "order", "worker_service"]


@dataclass
class Report:
    total: int


REPORT = JobType("REPORT", dict[str, Any], result=Report)


def order(place: PostgresPlace, name: str) -> str:
    return f"INSERT INTO {place.schema}.orders VALUES ('{name}')"


async def ended(service: JobService, job_id: str) -> JobInfo:
    async def look() -> JobInfo | None:
        info = await service.get_job(job_id)
        return info if info.status.terminal else None

    return await eventually_async(look, "the job has ended")  # type: ignore[arg-type,return-value]


async def held_by(service: JobService) -> dict[int, Any]:
    """What the storage believes that workers of this process hold or have begun."""
    begun = service.storage._base.begun  # type: ignore[attr-defined]
    return {
        key: token for one in begun.values() for key, token in (one.claimed | one.marks).items()
    }


@pytest.fixture(name="service")
async def worker_service(place: PostgresPlace) -> AsyncIterator[JobService]:
    service = JobService(
        DatabaseJobStorage(place.url, schema=place.schema), poll_interval=0.2, concurrency=5,
        default_retry_delay=0.05,
    )  # fmt: skip
    service.declare("MAIL")
    yield service
    await service.stop(0)
