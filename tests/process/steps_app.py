"""A service whose handler does its work in steps, and notes what it does."""

from __future__ import annotations

import asyncio
from typing import Any

from backroom import Job, JobService
from tests.process.app import SETTINGS, journal, storage

service = JobService(storage(), **SETTINGS)


async def effect(job_id: str, number: int) -> int:
    journal.write("did", job_id, number)
    await asyncio.sleep(0.002)
    return number * number


@service.handler("ORDER", retries=5, retry_delay=0)
async def order(job: Job[Any]) -> list[int]:
    results = []
    for number in range(job.data["steps"]):
        results.append(await job.step(f"step {number}", effect, job.id, number))
        journal.write("kept", job.id, number)
    return results
