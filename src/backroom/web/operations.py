"""What an operator does, written down: the API and the pages change things through this alone."""

from __future__ import annotations

import logging
from typing import Any

from backroom.job import JobId, JobStatus
from backroom.service import JobService
from backroom.web.access import Identity

__all__ = ["Operations"]

log = logging.getLogger("backroom.web")


class Operations:
    """Changes in the name of `who`. Each raises what the verb of the service does; nothing was
    changed then."""

    def __init__(self, service: JobService, who: Identity) -> None:
        self._service = service
        self._who = who

    async def retry_job(self, job_id: str, *, from_step: int | None = None) -> None:
        await self._service.retry_job(job_id, from_step=from_step)

    async def cancel_job(self, job_id: str) -> JobStatus:
        return await self._service.cancel_job(job_id)

    async def delete_job(self, job_id: str) -> None:
        await self._service.delete_job(job_id)

    async def pause_queue(self, queue: str) -> None:
        await self._service.pause_queue(queue)

    async def resume_queue(self, queue: str) -> None:
        await self._service.resume_queue(queue)

    async def run_schedule(self, name: str) -> JobId[Any]:
        return await self._service.run_schedule(name)

    async def pause_schedule(self, name: str) -> None:
        await self._service.pause_schedule(name)

    async def resume_schedule(self, name: str) -> None:
        await self._service.resume_schedule(name)

    async def delete_schedule(self, name: str) -> None:
        await self._service.delete_schedule(name)

    async def cancel_workflow(self, workflow_id: str) -> int:
        return await self._service.cancel_workflow(workflow_id)

    async def retry_workflow(self, workflow_id: str) -> int:
        return await self._service.retry_workflow(workflow_id)
