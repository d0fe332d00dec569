"""The contract of a service: what application code takes by injection, and tests fake."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, Unpack, overload
from uuid import UUID

from backroom.action import ActionPage
from backroom.audit import Recorded
from backroom.bulk import BulkJob, BulkResult
from backroom.crew import WorkerInfo
from backroom.cron import Cron
from backroom.events import EventStream
from backroom.filtering import JobFilter
from backroom.flow import OnFailure, WorkflowInfo, WorkflowPage
from backroom.handle import Job
from backroom.history import History, Totals
from backroom.inspecting import Progress
from backroom.job import Cancel, JobId, JobInfo, JobOptions, JobPage, JobStatus, Snooze
from backroom.limit import Concurrency, LimitInfo
from backroom.registry import JobType
from backroom.schedule import Missed, Overlap, ScheduleInfo, TickPage
from backroom.scheduling import JobRequest
from backroom.stats import Count, FailureGroup, JobStats
from backroom.timetable import TickOptions
from backroom.workflow import Workflow

__all__ = ["BulkDecorator", "HandlerDecorator", "JobScheduler", "JobServiceProtocol"]

T = TypeVar("T")
R = TypeVar("R")


class JobScheduler(Protocol):
    """The part of a service that schedules and looks up: what application code takes by
    injection, and what tests fake."""

    @overload
    async def schedule(
        self, type: JobType[T, R], data: T, /, *, connection: object = None,
        **options: Unpack[JobOptions],
    ) -> JobId[R]: ...  # fmt: skip
    @overload
    async def schedule(
        self, type: str, data: Mapping[str, Any] | None = None, /, *, connection: object = None,
        **options: Unpack[JobOptions],
    ) -> JobId[Any]: ...  # fmt: skip
    async def schedule_many(
        self, requests: Sequence[JobRequest[R]], *, connection: object = None
    ) -> list[JobId[R]]: ...
    async def result(self, job_id: JobId[R], *, timeout: float | timedelta | None = None) -> R: ...
    async def get_job(self, job_id: str | UUID) -> JobInfo: ...
    async def get_job_status(self, job_id: str | UUID) -> JobStatus: ...
    async def get_jobs(
        self, *, limit: int = 100, cursor: str | None = None, **which: Unpack[JobFilter]
    ) -> JobPage: ...
    async def get_stats(self) -> JobStats: ...


class JobServiceProtocol(JobScheduler, Protocol):
    """The whole contract of a service."""

    async def schedule_once(
        self, key: str, type: str, data: Mapping[str, Any] | None = None, /,
        **options: Unpack[JobOptions],
    ) -> tuple[JobId[Any], bool]: ...  # fmt: skip
    async def copy_job(self, job_id: str | UUID) -> JobId[Any]: ...
    async def search_jobs(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        within: float | timedelta = 0.03,
        **which: Unpack[JobFilter],
    ) -> JobPage: ...
    async def count_jobs(
        self, *, within: float | timedelta = 0.05, **which: Unpack[JobFilter]
    ) -> Count: ...
    async def get_failures(self, limit: int = 100) -> list[FailureGroup]: ...
    def recorded(
        self,
        actor: str,
        verb: str,
        target: str,
        *,
        role: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> AbstractAsyncContextManager[Recorded]: ...
    async def get_actions(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        actor: str | None = None,
        verb: str | None = None,
    ) -> ActionPage: ...
    async def get_limits(self) -> list[LimitInfo]: ...
    def limit(self, queue: str, limit: Concurrency) -> None: ...
    def on(self, name: str, listener: Callable[[Any], object], /) -> Callable[[], None]: ...
    def events(self, name: str = "*", /, *, buffer: int = 1000) -> EventStream[Any]: ...
    async def open(self) -> None: ...
    async def start(self) -> None: ...
    async def stop(self, grace: float | timedelta = 30) -> bool: ...
    async def cancel_job(self, job_id: str | UUID) -> JobStatus: ...
    async def retry_job(self, job_id: str | UUID, *, from_step: int | None = None) -> None: ...
    async def signal(self, job_id: str | UUID, name: str, value: Any = None) -> None: ...
    async def delete_job(self, job_id: str | UUID) -> None: ...
    async def retry_jobs(
        self, *, ids: Sequence[str | UUID] | None = None, progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int: ...  # fmt: skip
    async def cancel_jobs(
        self, *, ids: Sequence[str | UUID] | None = None, progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int: ...  # fmt: skip
    async def delete_jobs(
        self, *, ids: Sequence[str | UUID] | None = None, progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int: ...  # fmt: skip
    async def get_history(
        self,
        last: float | timedelta = 3600,
        *,
        queue: str | None = None,
        type: str | JobType[Any, Any] | None = None,
    ) -> History: ...
    async def get_totals(self) -> list[Totals]: ...
    async def get_workers(self) -> list[WorkerInfo]: ...
    async def drain_worker(self, worker: int, on: bool = True) -> None: ...
    async def reschedule_job(
        self,
        job_id: str | UUID,
        *,
        run_at: datetime | None = None,
        delay: float | timedelta | None = None,
    ) -> None: ...
    async def reschedule_jobs(
        self, *, run_at: datetime | None = None, delay: float | timedelta | None = None,
        ids: Sequence[str | UUID] | None = None, progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int: ...  # fmt: skip
    async def reprioritize_job(self, job_id: str | UUID, priority: str) -> None: ...
    async def reprioritize_jobs(
        self, priority: str, /, *, ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None, **which: Unpack[JobFilter],
    ) -> int: ...  # fmt: skip
    async def limit_queue(self, queue: str, most: int | None) -> None: ...
    async def pause_queue(self, queue: str) -> None: ...
    async def resume_queue(self, queue: str) -> None: ...
    @overload
    async def cron(
        self, expression: str | Cron, type: JobType[T, Any], data: T, /, *,
        name: str | None = None, tz: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    @overload
    async def cron(
        self, expression: str | Cron, type: str, data: Mapping[str, Any] | None = None, /, *,
        name: str | None = None, tz: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    @overload
    async def every(
        self, interval: float | timedelta, type: JobType[T, Any], data: T, /, *,
        name: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    @overload
    async def every(
        self, interval: float | timedelta, type: str, data: Mapping[str, Any] | None = None, /, *,
        name: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    async def get_schedules(self) -> list[ScheduleInfo]: ...
    async def get_schedule(self, name: str) -> ScheduleInfo: ...
    async def get_ticks(
        self, name: str, *, limit: int = 100, cursor: str | None = None
    ) -> TickPage: ...
    async def pause_schedule(self, name: str) -> ScheduleInfo: ...
    async def resume_schedule(self, name: str) -> ScheduleInfo: ...
    async def delete_schedule(self, name: str) -> None: ...
    async def change_schedule(
        self, name: str, *, cron: str | Cron | None = None,
        every: float | timedelta | None = None, tz: str | None = None,
        missed: Missed | None = None, overlap: Overlap | None = None,
        jitter: float | timedelta | None = None,
    ) -> ScheduleInfo: ...  # fmt: skip
    async def run_schedule(self, name: str) -> JobId[Any]: ...
    def workflow(
        self,
        name: str,
        *,
        on_failure: OnFailure = "stop",
        on_success: JobRequest[Any] | None = None,
        on_complete: JobRequest[Any] | None = None,
        connection: object = None,
    ) -> Workflow: ...
    def batch(
        self,
        name: str,
        *,
        on_success: JobRequest[Any] | None = None,
        on_complete: JobRequest[Any] | None = None,
        connection: object = None,
    ) -> Workflow: ...
    def extend_workflow(self, job: Job[Any], *, connection: object = None) -> Workflow: ...
    async def get_workflow(self, workflow_id: str | UUID) -> WorkflowInfo: ...
    async def get_workflows(
        self, *, limit: int = 100, cursor: str | None = None
    ) -> WorkflowPage: ...
    async def wait_for_workflow(
        self, workflow_id: str | UUID, *, timeout: float | timedelta | None = None
    ) -> WorkflowInfo: ...
    async def cancel_workflow(self, workflow_id: str | UUID) -> int: ...
    async def retry_workflow(self, workflow_id: str | UUID) -> int: ...


class HandlerDecorator(Protocol[T, R]):
    """What `service.handler(JOB_TYPE)` returns: takes a handler of that type, and returns it."""

    @overload
    def __call__(
        self, handler: Callable[[Job[T]], Awaitable[R | Snooze | Cancel]], /
    ) -> Callable[[Job[T]], Awaitable[R | Snooze | Cancel]]: ...
    @overload
    def __call__(
        self, handler: Callable[[Job[T]], R | Snooze | Cancel], /
    ) -> Callable[[Job[T]], R | Snooze | Cancel]: ...


class BulkDecorator(Protocol[T, R]):
    """The same of `service.handler(JOB_TYPE, batch=100)`, for a handler of many jobs."""

    @overload
    def __call__(
        self, handler: Callable[[list[BulkJob[T, R]]], Awaitable[BulkResult[R]]], /
    ) -> Callable[[list[BulkJob[T, R]]], Awaitable[BulkResult[R]]]: ...
    @overload
    def __call__(
        self, handler: Callable[[list[BulkJob[T, R]]], BulkResult[R]], /
    ) -> Callable[[list[BulkJob[T, R]]], BulkResult[R]]: ...
