"""Every refusal of Backroom, and what a handler may raise.

::

    BackroomError
    ├── ConfigurationError (ValueError)      a setting of the service, a storage or a worker
    ├── OptionError (ValueError)             an option of one job: delay, priority, retries ...
    ├── JobTypeError (TypeError, ValueError) data or result that does not fit its type
    ├── UnknownJobTypeError (LookupError)    a job type nobody declared
    ├── UpgradeError (ValueError)            data of an older version could not be upgraded
    ├── PayloadTooLargeError (ValueError)    data over the limit
    ├── JobNotFoundError (LookupError)       no job with that id
    ├── ScheduleNotFoundError (LookupError)  no schedule with that name
    ├── WorkflowNotFoundError (LookupError)  no workflow, or batch, with that id
    ├── WorkerNotFoundError (LookupError)    no worker with that number, or not any more
    ├── JobStateError                        the job's status does not allow that
    ├── DuplicateJobError                    another job holds its unique key (on_conflict="raise")
    ├── ServiceError (RuntimeError)          the service cannot do that now
    │   └── ServiceStoppedError              it was stopped
    ├── JobFailedError                       `result`: the job failed
    ├── JobCancelledError                    `result`: the job was cancelled
    ├── SignalTimeoutError (TimeoutError)    `wait_for`: no signal came in time
    ├── StepsChangedError                    a handler does not call its steps as it did before
    ├── SignatureError (ValueError)          a webhook that was not sent by who has the secret
    ├── DeliveryError (OSError)              a webhook that could not be delivered
    ├── LeaseLostError                       this worker's right to its jobs has ended
    └── StorageError                         the storage could not answer
        ├── StorageClosedError               it is closed, or was opened before a fork
        ├── StorageFullError                 no room on the disk
        ├── StorageCorruptError              it is damaged or not ours
        └── StorageVersionError              it is of a version that this Backroom cannot use

A handler ends its attempt by raising `FailJob` (no retry) or `RetryJob` (retry, optionally
after a delay of its own); any other exception is a failed attempt that is retried with backoff.
"""

from __future__ import annotations

from datetime import timedelta

__all__ = [
    "BackroomError",
    "ConfigurationError",
    "DeliveryError",
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
    "SignatureError",
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
    "level_of",
    "no_cursor",
]


class BackroomError(Exception):
    """The root of everything that Backroom refuses."""

    option: str | None = None
    """Which argument it is about: "run_at"; or a place in one: "data.recipient"."""
    index: int | None = None
    """Which job of a `schedule_many` was refused, counted from 0; None elsewhere."""
    logged: bool = False
    """Whether the log has it already: a storage that is away says so once, and not whenever
    somebody finds it so."""


_DEBUG = 10
"""As `logging` has it, which is not worth importing for this."""


def no_cursor(value: object) -> OptionError:
    """What is said of a cursor that is none."""
    return OptionError(
        f"{value!r} is no cursor of this list; pass the one that a page of it came with, unchanged",
        "cursor",
    )


def level_of(error: BaseException, usual: int) -> int:
    """At which level a log tells of an error: what it has already is for those who look closely."""
    return _DEBUG if getattr(error, "logged", False) else usual


class ConfigurationError(BackroomError, ValueError):
    """A setting makes no sense; the message names it and the mend."""


class OptionError(BackroomError, ValueError):
    """An option of a job is out of its range; the message names it and the range."""

    def __init__(self, message: str = "", option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class JobTypeError(BackroomError, TypeError, ValueError):
    """Data or a result does not fit the job type; the message holds the path (`$.recipient`)."""

    def __init__(self, message: str = "", option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class UnknownJobTypeError(BackroomError, LookupError):
    """A job type was scheduled that no `JobType`, handler or `declare` made known."""

    option = "type"


class UpgradeError(BackroomError, ValueError):
    """Data of an older version could not be led up to the one of the code; the message names the
    step. The attempt failed, and is retried like any other."""


class PayloadTooLargeError(BackroomError, ValueError):
    """Encoded data or an encoded result is over the service's `max_payload` bytes."""

    option = "data"


class JobNotFoundError(BackroomError, LookupError):
    """No job has that id: it never existed, was deleted, or retention removed it."""


class ScheduleNotFoundError(BackroomError, LookupError):
    """No schedule has that name: it never existed, or was deleted."""


class WorkerNotFoundError(BackroomError, LookupError):
    """No worker has that number, or it has ended."""


class WorkflowNotFoundError(BackroomError, LookupError):
    """No workflow or batch has that id: it never existed, or retention removed it."""


class JobStateError(BackroomError):
    """The job's present status does not allow what was asked; nothing was changed."""


class DuplicateJobError(BackroomError):
    """Another job holds the unique key of one that was scheduled with `on_conflict="raise"`;
    nothing of the call was kept."""

    job_id: str
    """The id of the job that holds it."""

    def __init__(self, message: str, job_id: str = "", index: int | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.index = index

    def numbered(self) -> DuplicateJobError:
        """The same, as a `schedule_many` says it: which of its jobs it was."""
        at = self.index or 0
        return DuplicateJobError(f"job {at} of schedule_many: {self}", self.job_id, at)


class ServiceError(BackroomError, RuntimeError):
    """The service cannot do that now, or not from there."""


class ServiceStoppedError(ServiceError):
    """The service was stopped; `open` or `start` it before you schedule again."""


class JobFailedError(BackroomError):
    """The awaited job failed for good; the message is the text of its last error."""


class JobCancelledError(BackroomError):
    """The awaited job was cancelled, or expired before it started."""


class SignalTimeoutError(BackroomError, TimeoutError):
    """`job.wait_for`: no signal came within its timeout. That is kept like any step: who does
    not catch it fails the job without a retry, which would only find the same."""


class SignatureError(BackroomError, ValueError):
    """A message that claims to be a webhook was not sent by who has the secret, or too long ago."""


class DeliveryError(BackroomError, OSError):
    """A webhook could not be delivered, this time."""


class StepsChangedError(BackroomError):
    """A run of a handler came to another step than was kept under its number: its code was
    changed while the job was under way, or does not call its steps in the same order each time.
    The job fails without a retry; what is kept stays."""


class LeaseLostError(BackroomError):
    """This worker's lease has ended: its jobs belong to others and its writes are refused."""


class StorageError(BackroomError):
    """The storage could not carry out a call.

    After this error the outcome of the call is unknown unless the message says otherwise;
    calling again with the same job id is safe.
    """

    def __init__(self, message: str = "", *, unchanged: bool = False) -> None:
        super().__init__(message)
        self.unchanged = unchanged
        """The message says so: nothing of this call was kept."""


class StorageClosedError(StorageError):
    """The storage is closed, or belongs to the process before a fork."""


class StorageFullError(StorageError):
    """No room is left on the device: nothing of this call was kept."""


class StorageCorruptError(StorageError):
    """The file is damaged, empty where it should not be, or was not made by Backroom."""


class StorageVersionError(StorageError):
    """The store was written by a newer Backroom than this one; or by an older one, and may not be
    changed (`migrate=False`)."""


class FailJob(Exception):
    """Raised by a handler: fail this job now, whatever attempts are left."""


class RetryJob(Exception):
    """Raised by a handler: this attempt failed; retry it, after `delay` if one is given.

    `delay` is in seconds or a `timedelta`; without it the job's backoff decides. A retry
    consumes an attempt: out of attempts, the job fails.
    """

    def __init__(
        self,
        reason: str = "the handler asked for a retry",
        *,
        delay: float | timedelta | None = None,
    ) -> None:
        super().__init__(reason)
        self.delay = delay
