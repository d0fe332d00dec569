"""A service with bulk handlers, which notes what they do."""

from __future__ import annotations

import asyncio
from typing import Any

from backroom import BulkJob, JobService
from tests.process.app import SETTINGS, journal, storage

service = JobService(storage(), **SETTINGS)


@service.handler("INDEX", batch=6, within=0.2, retries=1, retry_delay=0)
async def index(jobs: list[BulkJob[Any, Any]]) -> None:
    for job in jobs:
        journal.write("did", job.id, job.data["n"])
        if job.data["last"] and job.attempt == 1:
            await asyncio.Event().wait()
        job.succeed(len(jobs))


@service.handler("COMPANY", batch=100, within=3600, retries=0)
async def company(jobs: list[BulkJob[Any, Any]]) -> None:
    journal.write("did", jobs[0].id, -1)
