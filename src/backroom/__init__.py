"""Backroom: background jobs for Python that start with nothing and lose nothing."""

from __future__ import annotations

from backroom.declaring import JobRegistry
from backroom.errors import (
    BackroomError,
    ConfigurationError,
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
    ServiceError,
    ServiceStoppedError,
    StorageClosedError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageVersionError,
    UnknownJobTypeError,
)
from backroom.handle import Job
from backroom.job import (
    AttemptError,
    Cancel,
    JobId,
    JobInfo,
    JobOptions,
    JobPage,
    JobStats,
    JobStatus,
    LogLine,
    Priority,
    QueueStats,
    Snooze,
    WorkerStats,
)
from backroom.protocols import JobScheduler, JobServiceProtocol
from backroom.registry import HandlerOptions, JobHandler, JobType
from backroom.retry import Backoff, exponential, fixed, linear
from backroom.scheduling import JobRequest
from backroom.service import JobService
from backroom.storage import FileJobStorage, MemoryJobStorage
from backroom.tasks import Task, current_job

__version__ = "0.1.0"

__all__ = [
    "AttemptError",
    "Backoff",
    "BackroomError",
    "Cancel",
    "ConfigurationError",
    "FailJob",
    "FileJobStorage",
    "HandlerOptions",
    "Job",
    "JobCancelledError",
    "JobFailedError",
    "JobHandler",
    "JobId",
    "JobInfo",
    "JobNotFoundError",
    "JobOptions",
    "JobPage",
    "JobRegistry",
    "JobRequest",
    "JobScheduler",
    "JobService",
    "JobServiceProtocol",
    "JobStateError",
    "JobStats",
    "JobStatus",
    "JobType",
    "JobTypeError",
    "LeaseLostError",
    "LogLine",
    "MemoryJobStorage",
    "OptionError",
    "PayloadTooLargeError",
    "Priority",
    "QueueStats",
    "RetryJob",
    "ServiceError",
    "ServiceStoppedError",
    "Snooze",
    "StorageClosedError",
    "StorageCorruptError",
    "StorageError",
    "StorageFullError",
    "StorageVersionError",
    "Task",
    "UnknownJobTypeError",
    "WorkerStats",
    "__version__",
    "current_job",
    "exponential",
    "fixed",
    "linear",
]
