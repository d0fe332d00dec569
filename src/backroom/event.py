"""What happened, as values that an application can listen for."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final, Literal, TypeAlias

import msgspec

from backroom.job import JobId

__all__ = [
    "EVENTS",
    "Event",
    "EventName",
    "JobCancelled",
    "JobCompleted",
    "JobEvent",
    "JobFailed",
    "JobRetrying",
    "JobScheduled",
    "JobSnoozed",
    "JobStarted",
    "JobsRescued",
    "QueuePaused",
    "QueueResumed",
    "ScheduleFired",
    "WorkerStarted",
    "WorkerStopped",
    "matches",
]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in this process."""

    name: ClassVar[str] = ""
    """As it is listened for: "job.failed"."""

    at: datetime
    """When, by this process' clock (UTC)."""


class JobEvent(Event, frozen=True, kw_only=True):
    """Something that happened to one job."""

    job_id: JobId[Any]
    type: str
    queue: str


class JobScheduled(JobEvent, frozen=True, kw_only=True):
    """It is kept, by this process."""

    name: ClassVar[str] = "job.scheduled"

    run_at: datetime


class JobStarted(JobEvent, frozen=True, kw_only=True):
    """The code of an attempt begins."""

    name: ClassVar[str] = "job.started"

    attempt: int
    waited: float
    """Seconds since it was due."""


class JobCompleted(JobEvent, frozen=True, kw_only=True):
    """It has completed, and that is kept."""

    name: ClassVar[str] = "job.completed"

    attempt: int
    duration: float
    """Seconds that this attempt took."""


class JobFailed(JobEvent, frozen=True, kw_only=True):
    """It is out of retries, and that is kept."""

    name: ClassVar[str] = "job.failed"

    attempt: int
    duration: float
    """Seconds that the last attempt took; 0 if its code never began."""
    kind: str
    """The exception's class, or "timeout", "crash", "exhausted"."""
    message: str


class JobRetrying(JobEvent, frozen=True, kw_only=True):
    """An attempt failed, and the job waits for its retry."""

    name: ClassVar[str] = "job.retrying"

    attempt: int
    duration: float
    kind: str
    message: str
    run_at: datetime
    """When it is tried again."""


class JobCancelled(JobEvent, frozen=True, kw_only=True):
    """It ended as cancelled: stopped by a person or its handler, or it expired."""

    name: ClassVar[str] = "job.cancelled"

    attempt: int
    reason: str


class JobSnoozed(JobEvent, frozen=True, kw_only=True):
    """Its handler put it off: it snoozes, sleeps, or waits for a signal."""

    name: ClassVar[str] = "job.snoozed"

    run_at: datetime | None
    """When it is run again; None: when its signal comes."""


class JobsRescued(Event, frozen=True, kw_only=True):
    """This worker took back the jobs of others that had died."""

    name: ClassVar[str] = "jobs.rescued"

    workers: tuple[str, ...]
    """The names of the dead."""
    started: int
    """Jobs that may have started: each was charged an attempt."""
    untouched: int


class QueuePaused(Event, frozen=True, kw_only=True):
    """This process paused a queue."""

    name: ClassVar[str] = "queue.paused"

    queue: str


class QueueResumed(Event, frozen=True, kw_only=True):
    """This process let a queue go on."""

    name: ClassVar[str] = "queue.resumed"

    queue: str


class WorkerStarted(Event, frozen=True, kw_only=True):
    """The worker of this process began."""

    name: ClassVar[str] = "worker.started"


class WorkerStopped(Event, frozen=True, kw_only=True):
    """The worker of this process has stopped."""

    name: ClassVar[str] = "worker.stopped"


class ScheduleFired(Event, frozen=True, kw_only=True):
    """This process was the one that made the jobs of a schedule that had come."""

    name: ClassVar[str] = "schedule.fired"

    schedule: str
    jobs: tuple[JobId[Any], ...]
    """Empty where the ticks were skipped."""


EventName: TypeAlias = Literal[
    "job.scheduled", "job.started", "job.completed", "job.failed", "job.retrying",
    "job.cancelled", "job.snoozed", "jobs.rescued", "queue.paused", "queue.resumed",
    "worker.started", "worker.stopped", "schedule.fired",
]  # fmt: skip

EVENTS: Final[dict[str, type[Event]]] = {
    kind.name: kind
    for kind in (
        JobScheduled, JobStarted, JobCompleted, JobFailed, JobRetrying, JobCancelled, JobSnoozed,
        JobsRescued, QueuePaused, QueueResumed, WorkerStarted, WorkerStopped, ScheduleFired,
    )
}  # fmt: skip
"""Every event, by its name."""


def matches(pattern: str) -> frozenset[str]:
    """The names that a pattern means: a name, "*", or a beginning as in "job.*"; empty if none."""
    if pattern.endswith("*"):
        return frozenset(name for name in EVENTS if name.startswith(pattern[:-1]))
    return frozenset({pattern} & EVENTS.keys())
