"""The smallest application: one job type, in the storage that the environment names."""

from __future__ import annotations

import os
from typing import Any

from backroom import Job, JobService

service = JobService(os.environ.get("BACKROOM_STORAGE", "file:./storage/jobs"), concurrency=20)


@service.handler("HELLO", retries=3, timeout=60)
async def hello(job: Job[dict[str, Any]]) -> str:
    job.log.info("hello %s", job.data.get("name", "world"))
    return "done"
