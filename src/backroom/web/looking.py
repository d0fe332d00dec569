"""Look-ups as one identity may see them. The API and the pages look through this, and never at
the service by themselves, so that what is hidden is hidden everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from backroom.action import ActionInfo
from backroom.flow import WorkflowInfo
from backroom.job import JobInfo
from backroom.limit import LimitInfo
from backroom.schedule import ScheduleInfo, TickInfo
from backroom.service import JobService
from backroom.stats import Count, FailureGroup, JobStats
from backroom.web.access import Identity
from backroom.web.problem import Problem
from backroom.web.redaction import Redaction

__all__ = ["ActionList", "JobList", "Looking", "TickList", "WorkflowList"]


class JobList(msgspec.Struct, frozen=True):
    """A page of jobs."""

    jobs: tuple[JobInfo, ...]
    """Newest first; errors, log and steps stand only with one job by itself."""
    cursor: str | None
    """Asks for the next page; null on the last."""
    complete: bool = True
    """The page is full, or there are no more. Else there was no time for more: `cursor` goes on
    from there, also where the page is empty."""
    looked_through: int | None = None
    """How many jobs were looked at for it."""


class ActionList(msgspec.Struct, frozen=True):
    """A page of the audit record."""

    actions: tuple[ActionInfo, ...]
    """Newest first."""
    cursor: str | None


class TickList(msgspec.Struct, frozen=True):
    """A page of ticks."""

    ticks: tuple[TickInfo, ...]
    """Newest first."""
    cursor: str | None


class WorkflowList(msgspec.Struct, frozen=True):
    """A page of workflows and batches."""

    workflows: tuple[WorkflowInfo, ...]
    """Newest first, without their jobs."""
    cursor: str | None


class Looking:
    """What `who` sees. Each raises what the verb of the service does."""

    def __init__(self, service: JobService, redaction: Redaction, who: Identity) -> None:
        self._service = service
        self._redaction = redaction
        self._who = who

    def shown(self, info: JobInfo) -> JobInfo:
        """A job that was looked up otherwise, as this one may see it."""
        return self._redaction.job(info, self._who)

    async def stats(self) -> JobStats:
        return await self._service.get_stats()

    async def failures(self, limit: int = 100) -> tuple[FailureGroup, ...]:
        """The failed jobs by type and kind of error, the most first."""
        return tuple(map(self._redaction.failures, await self._service.get_failures(limit)))

    async def actions(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        actor: str | None = None,
        verb: str | None = None,
    ) -> ActionList:
        """What operators did, newest first."""
        page = await self._service.get_actions(limit=limit, cursor=cursor, actor=actor, verb=verb)
        shown = tuple(self._redaction.action(info, self._who) for info in page)
        return ActionList(shown, page.cursor)

    async def limits(self) -> tuple[LimitInfo, ...]:
        return tuple(await self._service.get_limits())

    async def job(self, job_id: str) -> JobInfo:
        """With its errors, log and steps."""
        return self.shown(await self._service.get_job(job_id))

    async def jobs(self, *, limit: int = 100, cursor: str | None = None, **which: Any) -> JobList:
        """Newest first, those that are found in time."""
        page = await self._service.search_jobs(limit=limit, cursor=cursor, **self._seen(which))
        jobs = tuple(map(self.shown, page))
        return JobList(jobs, page.cursor, page.complete, page.looked_through)

    async def count(self, **which: Any) -> Count:
        """How many jobs match, as far as that can be told in time."""
        return await self._service.count_jobs(**self._seen(which))

    def _seen(self, which: Mapping[str, Any]) -> dict[str, Any]:
        """Whoever is not shown the data of jobs learns nothing of it by asking what is in it.

        Raises:
            Problem
        """
        if which.get("text") is not None and self._redaction.hides_data_from(self._who):
            raise Problem(
                403, "role", f"the data of jobs is hidden from {self._who.name}, so they cannot be"
                " searched for a text", at="query.text",
            )  # fmt: skip
        return self._redaction.narrowed(which, self._service.known_types)

    async def schedules(self) -> tuple[ScheduleInfo, ...]:
        """By name."""
        found = await self._service.get_schedules()
        return tuple(self._redaction.schedule(info, self._who) for info in found)

    async def schedule(self, name: str) -> ScheduleInfo:
        return self._redaction.schedule(await self._service.get_schedule(name), self._who)

    async def ticks(self, name: str, *, limit: int = 100, cursor: str | None = None) -> TickList:
        """Newest first."""
        page = await self._service.get_ticks(name, limit=limit, cursor=cursor)
        return TickList(tuple(page), page.cursor)

    async def workflows(self, *, limit: int = 100, cursor: str | None = None) -> WorkflowList:
        """Newest first, without their jobs."""
        page = await self._service.get_workflows(limit=limit, cursor=cursor)
        return WorkflowList(tuple(page), page.cursor)

    async def workflow(self, workflow_id: str) -> WorkflowInfo:
        """With its jobs, and what each of them waits for."""
        return self._redaction.workflow(await self._service.get_workflow(workflow_id))
