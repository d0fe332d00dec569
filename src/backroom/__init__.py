"""Backroom: background jobs for Python that start with nothing and lose nothing.

Each name is imported from its room when it is first asked for: a command line that prints its
help, or a process that needs one of them, does not wait for all the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backroom.action import ActionInfo, ActionPage
    from backroom.bulk import BulkHandler, BulkJob
    from backroom.crew import RunningJob, WorkerInfo, WorkerReport
    from backroom.cron import Cron
    from backroom.declaring import JobRegistry
    from backroom.describing import TypeInfo
    from backroom.errors import (
        BackroomError,
        ConfigurationError,
        DuplicateJobError,
        FailJob,
        JobCancelledError,
        JobFailedError,
        JobNotFoundError,
        JobStateError,
        JobTypeError,
        LeaseLostError,
        OptionError,
        PayloadTooLargeError,
        RetryJob,
        ScheduleNotFoundError,
        ServiceError,
        ServiceStoppedError,
        SignalTimeoutError,
        StepsChangedError,
        StorageClosedError,
        StorageCorruptError,
        StorageError,
        StorageFullError,
        StorageVersionError,
        UnknownJobTypeError,
        UpgradeError,
        WorkerNotFoundError,
        WorkflowNotFoundError,
    )
    from backroom.event import (
        Event,
        JobCancelled,
        JobCompleted,
        JobEvent,
        JobFailed,
        JobRetrying,
        JobScheduled,
        JobSnoozed,
        JobsRescued,
        JobStarted,
        QueuePaused,
        QueueResumed,
        ScheduleFired,
        WorkerStarted,
        WorkerStopped,
    )
    from backroom.events import EventStream
    from backroom.figure import Histogram, Percentiles
    from backroom.filtering import JobFilter
    from backroom.flow import (
        Predecessor,
        WorkflowInfo,
        WorkflowJob,
        WorkflowPage,
        WorkflowStatus,
    )
    from backroom.handle import Job
    from backroom.handlers import JobHandler
    from backroom.history import Depth, ErrorCount, History, HistoryPoint, Totals
    from backroom.inspecting import BulkProgress
    from backroom.job import (
        AttemptError,
        Cancel,
        JobId,
        JobInfo,
        JobOptions,
        JobPage,
        JobStatus,
        LogLine,
        Priority,
        SignalInfo,
        Snooze,
        StepInfo,
    )
    from backroom.limit import Concurrency, LimitInfo, Rate
    from backroom.options import HandlerOptions
    from backroom.protocols import JobScheduler, JobServiceProtocol
    from backroom.registry import JobType
    from backroom.retry import Backoff, exponential, fixed, linear
    from backroom.schedule import ScheduleInfo, TickInfo, TickPage
    from backroom.scheduling import JobRequest
    from backroom.secret import Secret
    from backroom.service import JobService
    from backroom.stats import Count, FailureGroup, JobStats, ParkedStats, QueueStats, WorkerStats
    from backroom.storage import DatabaseJobStorage, FileJobStorage, MemoryJobStorage
    from backroom.tasks import Task, current_job
    from backroom.timetable import HandlerSchedules, Schedule
    from backroom.unique import Unique
    from backroom.workflow import FlowJob, Workflow

__version__ = "0.1.0"

__all__ = [
    "ActionInfo",
    "ActionPage",
    "AttemptError",
    "Backoff",
    "BackroomError",
    "BulkHandler",
    "BulkJob",
    "BulkProgress",
    "Cancel",
    "Concurrency",
    "ConfigurationError",
    "Count",
    "Cron",
    "DatabaseJobStorage",
    "Depth",
    "DuplicateJobError",
    "ErrorCount",
    "Event",
    "EventStream",
    "FailJob",
    "FailureGroup",
    "FileJobStorage",
    "FlowJob",
    "HandlerOptions",
    "HandlerSchedules",
    "Histogram",
    "History",
    "HistoryPoint",
    "Job",
    "JobCancelled",
    "JobCancelledError",
    "JobCompleted",
    "JobEvent",
    "JobFailed",
    "JobFailedError",
    "JobFilter",
    "JobHandler",
    "JobId",
    "JobInfo",
    "JobNotFoundError",
    "JobOptions",
    "JobPage",
    "JobRegistry",
    "JobRequest",
    "JobRetrying",
    "JobScheduled",
    "JobScheduler",
    "JobService",
    "JobServiceProtocol",
    "JobSnoozed",
    "JobStarted",
    "JobStateError",
    "JobStats",
    "JobStatus",
    "JobType",
    "JobTypeError",
    "JobsRescued",
    "LeaseLostError",
    "LimitInfo",
    "LogLine",
    "MemoryJobStorage",
    "OptionError",
    "ParkedStats",
    "PayloadTooLargeError",
    "Percentiles",
    "Predecessor",
    "Priority",
    "QueuePaused",
    "QueueResumed",
    "QueueStats",
    "Rate",
    "RetryJob",
    "RunningJob",
    "Schedule",
    "ScheduleFired",
    "ScheduleInfo",
    "ScheduleNotFoundError",
    "Secret",
    "ServiceError",
    "ServiceStoppedError",
    "SignalInfo",
    "SignalTimeoutError",
    "Snooze",
    "StepInfo",
    "StepsChangedError",
    "StorageClosedError",
    "StorageCorruptError",
    "StorageError",
    "StorageFullError",
    "StorageVersionError",
    "Task",
    "TickInfo",
    "TickPage",
    "Totals",
    "TypeInfo",
    "Unique",
    "UnknownJobTypeError",
    "UpgradeError",
    "WorkerInfo",
    "WorkerNotFoundError",
    "WorkerReport",
    "WorkerStarted",
    "WorkerStats",
    "WorkerStopped",
    "Workflow",
    "WorkflowInfo",
    "WorkflowJob",
    "WorkflowNotFoundError",
    "WorkflowPage",
    "WorkflowStatus",
    "__version__",
    "current_job",
    "exponential",
    "fixed",
    "linear",
]

_ROOMS = {
    "action": ("ActionInfo", "ActionPage"),
    "bulk": ("BulkHandler", "BulkJob"),
    "crew": ("RunningJob", "WorkerInfo", "WorkerReport"),
    "cron": ("Cron",),
    "declaring": ("JobRegistry",),
    "describing": ("TypeInfo",),
    "errors": (
        "BackroomError",
        "ConfigurationError",
        "DuplicateJobError",
        "FailJob",
        "JobCancelledError",
        "JobFailedError",
        "JobNotFoundError",
        "JobStateError",
        "JobTypeError",
        "LeaseLostError",
        "OptionError",
        "PayloadTooLargeError",
        "RetryJob",
        "ScheduleNotFoundError",
        "ServiceError",
        "ServiceStoppedError",
        "SignalTimeoutError",
        "StepsChangedError",
        "StorageClosedError",
        "StorageCorruptError",
        "StorageError",
        "StorageFullError",
        "StorageVersionError",
        "UnknownJobTypeError",
        "UpgradeError",
        "WorkerNotFoundError",
        "WorkflowNotFoundError",
    ),
    "event": (
        "Event",
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
    ),
    "events": ("EventStream",),
    "figure": ("Histogram", "Percentiles"),
    "filtering": ("JobFilter",),
    "flow": (
        "Predecessor",
        "WorkflowInfo",
        "WorkflowJob",
        "WorkflowPage",
        "WorkflowStatus",
    ),
    "handle": ("Job",),
    "handlers": ("JobHandler",),
    "history": ("Depth", "ErrorCount", "History", "HistoryPoint", "Totals"),
    "inspecting": ("BulkProgress",),
    "job": (
        "AttemptError",
        "Cancel",
        "JobId",
        "JobInfo",
        "JobOptions",
        "JobPage",
        "JobStatus",
        "LogLine",
        "Priority",
        "SignalInfo",
        "Snooze",
        "StepInfo",
    ),
    "limit": ("Concurrency", "LimitInfo", "Rate"),
    "options": ("HandlerOptions",),
    "protocols": (
        "JobScheduler",
        "JobServiceProtocol",
    ),
    "registry": ("JobType",),
    "retry": (
        "Backoff",
        "exponential",
        "fixed",
        "linear",
    ),
    "schedule": (
        "ScheduleInfo",
        "TickInfo",
        "TickPage",
    ),
    "scheduling": ("JobRequest",),
    "secret": ("Secret",),
    "service": ("JobService",),
    "stats": (
        "Count",
        "FailureGroup",
        "JobStats",
        "ParkedStats",
        "QueueStats",
        "WorkerStats",
    ),
    "storage": (
        "DatabaseJobStorage",
        "FileJobStorage",
        "MemoryJobStorage",
    ),
    "tasks": (
        "Task",
        "current_job",
    ),
    "timetable": (
        "HandlerSchedules",
        "Schedule",
    ),
    "unique": ("Unique",),
    "workflow": (
        "FlowJob",
        "Workflow",
    ),
}

if not TYPE_CHECKING:  # A type checker would take every name for one of these.
    _PLACES = {name: room for room, names in _ROOMS.items() for name in names}

    def __getattr__(name):
        if name not in _PLACES:
            raise AttributeError(f"module 'backroom' has no attribute {name!r}")
        value = getattr(import_module(f"backroom.{_PLACES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
