"""Look-ups as one identity may see them. The API and the pages look through this, and never at
the service by themselves, so that what is hidden is hidden everywhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from backroom.job import JobInfo, JobStats
from backroom.schedule import ScheduleInfo
from backroom.service import JobService
from backroom.web.access import Identity
from backroom.web.redaction import HIDDEN, Redaction

__all__ = ["Looking", "Shown"]


class Shown(NamedTuple):
    """A page of jobs."""

    jobs: list[JobInfo]
    cursor: str | None
    """Asks for the next page; None on the last."""


class Looking:
    """What `who` sees."""

    def __init__(self, service: JobService, redaction: Redaction, who: Identity) -> None:
        self._service = service
        self._redaction = redaction
        self._who = who

    def shown(self, info: JobInfo) -> JobInfo:
        """A job that was looked up otherwise, as this one may see it."""
        return self._redaction.job(info, self._who)

    async def stats(self) -> JobStats:
        return await self._service.get_stats()

    async def job(self, job_id: str) -> JobInfo:
        """With its errors, log and steps.

        Raises:
            JobNotFoundError
        """
        return self.shown(await self._service.get_job(job_id))

    async def jobs(self, *, limit: int = 100, cursor: str | None = None, **which: Any) -> Shown:
        """Newest first."""
        page = await self._service.get_jobs(limit=limit, cursor=cursor, **which)
        return Shown([self.shown(info) for info in page], page.cursor)

    async def schedules(self) -> list[ScheduleInfo]:
        """By name."""
        return [self._schedule(one) for one in await self._service.get_schedules()]

    async def schedule(self, name: str) -> ScheduleInfo:
        """One of them.

        Raises:
            ScheduleNotFoundError
        """
        return self._schedule(await self._service.get_schedule(name))

    def _schedule(self, one: ScheduleInfo) -> ScheduleInfo:
        if not self._redaction.hides_data_from(self._who):
            return one
        return msgspec.structs.replace(one, data=HIDDEN)
