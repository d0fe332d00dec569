"""The words of Backroom as frozen values: what a job is, and what people see of it.

Inside, a moment is an `int`: microseconds since 1970 in UTC. People get aware `datetime`s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar

import msgspec

from backroom.errors import OptionError
from backroom.retry import CENTURY, Backoff
from backroom.unique import OnConflict, Unique

__all__ = [
    "FIRST",
    "MICROSECOND",
    "PRIORITIES",
    "SECOND",
    "AttemptError",
    "Cancel",
    "Hold",
    "JobId",
    "JobInfo",
    "JobOptions",
    "JobPage",
    "JobRecord",
    "JobStatus",
    "LogLine",
    "Priority",
    "SignalInfo",
    "Snooze",
    "State",
    "StepInfo",
    "duration",
    "microseconds",
    "moment",
    "status_of",
    "to_datetime",
]

R = TypeVar("R", covariant=True)

MICROSECOND: Final = 1
SECOND: Final = 1_000_000
"""How many units of a moment make a second."""

FIRST: Final = 1
"""The version of a job's data where nothing is said of it."""

LONGEST: Final = CENTURY
"""The longest duration that is taken, in seconds: a hundred years."""

Priority = Literal["critical", "high", "normal", "low"]
PRIORITIES: Final[tuple[Priority, ...]] = ("critical", "high", "normal", "low")
"""From the first to run to the last; a storage keeps the index into this tuple."""


class JobStatus(StrEnum):
    """The state of a job as users see it; a `str`, so `status == "failed"` works."""

    SCHEDULED = "scheduled"
    PENDING = "pending"
    BLOCKED = "blocked"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing more happens to the job unless an operator asks for it."""
        return self in {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}


class JobId(str, Generic[R]):
    """A job's id: a UUIDv7 as text, which remembers the type of the job's result."""

    __slots__ = ()


class JobOptions(TypedDict, total=False):
    """What can be said of one job when it is scheduled. Durations: seconds or `timedelta`."""

    priority: Priority
    """Which lane it waits in; default "normal"."""
    delay: float | timedelta
    """Not before this long from now; not together with `run_at`."""
    run_at: datetime
    """Not before this moment (aware)."""
    queue: str
    """The queue it waits in; default "default"."""
    retries: int
    """How many attempts after the first."""
    retry_delay: float | timedelta
    """The base of the backoff."""
    backoff: Backoff | Literal["fixed", "linear", "exponential"]
    """How the wait grows from one retry to the next."""
    timeout: float | timedelta
    """How long one attempt may take."""
    expires_in: float | timedelta
    """Cancelled if it has not started this long after it was scheduled."""
    unique_key: str
    """While a job of this type with this key is live, scheduling returns that job's id: short for
    `unique=Unique(key=...)`."""
    unique: Unique
    """What makes it the same as another one, for how long, and what becomes of the second."""
    tags: Sequence[str]
    """Words to find it by."""
    metadata: Mapping[str, Any]
    """A JSON object that travels with it."""


class Hold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a job holds its unique key, and what it does where another one has it."""

    until: int | None = None
    """None: until it ends. 0: until it starts, that is until its code may have begun. Else until
    this moment, whatever becomes of it."""
    on_conflict: OnConflict = "existing"


class JobRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A job as a storage is asked to keep it. Encodes as a JSON array in this order."""

    id: str
    type: str
    queue: str
    priority: int
    run_at: int
    created_at: int
    data: str
    options: str | None = None
    unique_key: str | None = None
    expires_at: int | None = None
    hold: Hold | None = None
    """None: as `Hold()`."""


class Snooze:
    """Returned by a handler: run the job again after `delay`, and count no attempt."""

    __slots__ = ("delay",)

    def __init__(self, delay: float | timedelta) -> None:
        self.delay = duration("delay", delay)

    def __repr__(self) -> str:
        return f"Snooze({self.delay:g})"


class Cancel:
    """Returned by a handler: the job is not needed any more; it ends as cancelled."""

    __slots__ = ("reason",)

    def __init__(self, reason: str = "cancelled by its handler") -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"Cancel({self.reason!r})"


class AttemptError(msgspec.Struct, frozen=True):
    """What went wrong in one attempt."""

    attempt: int
    at: datetime
    kind: str
    """The exception's class, or "timeout", "crash", "exhausted"."""
    message: str
    """At most 4 KiB."""
    traceback: str | None
    """At most 16 KiB: its head and its tail."""
    started_at: datetime | None = None
    """When its code began; None where nobody knows: it never did, its worker died before it told
    that, or it is of an earlier version of the tables."""


class LogLine(msgspec.Struct, frozen=True):
    """One line that a handler wrote with `job.log`."""

    at: datetime
    attempt: int
    level: str
    message: str


class StepInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a handler, as it is kept."""

    number: int
    """From 1 on, in the order of the handler's calls."""
    kind: Literal["step", "sleep", "signal"]
    name: str
    at: datetime
    """When it began."""
    done: bool
    """Whether a run of the handler goes past it at once."""
    took: float | None = None
    """Seconds from its begin until it was kept."""
    until: datetime | None = None
    """When a sleep ends, or the wait for a signal; None: no such moment."""
    timed_out: bool = False
    """No signal came in time."""
    result: Any = None
    """What it returned, or the value of the signal, as plain JSON values."""


class SignalInfo(msgspec.Struct, frozen=True):
    """A signal that nobody has taken yet."""

    name: str
    at: datetime
    value: Any


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What people see of a job at one moment."""

    id: JobId[Any]
    type: str
    queue: str
    priority: Priority
    status: JobStatus
    data: Any
    """As plain JSON values."""
    result: Any = None
    """As plain JSON values; None until the job completed."""
    error: str | None = None
    """The text of the last error, or the reason of a cancellation."""
    attempt: int = 0
    """Attempts charged so far, the running one included."""
    max_attempts: int | None = None
    """None where only a worker knows it, because the call did not say `retries`."""
    budget: int = 0
    """Attempts that do not count any more, as an operator has had it run again after them."""
    crashes: int = 0
    """How often a worker died under it."""
    version: int = FIRST
    """Of its data, as it was scheduled."""
    workflow: str | None = None
    """The id of the workflow or batch that it belongs to."""
    parked: bool = False
    """Pending, but no worker that looked at it knew its type, or so new a version of its data."""
    cancel_requested: bool = False
    created_at: datetime
    run_at: datetime
    expires_at: datetime | None = None
    started_at: datetime | None = None
    """The start of the last attempt that ended."""
    finished_at: datetime | None = None
    worker: str | None = None
    """Who runs it, as host:pid, while it is active."""
    blocked_by: str | None = None
    """Why it waits for others, where that is room in a limit."""
    unique_key: str | None = None
    progress: float | None = None
    progress_message: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The options that the call gave and a worker resolves: retries, timeout ..."""
    errors: tuple[AttemptError, ...] = ()
    """The last 50 failed attempts, oldest first; only from `get_job`."""
    log: tuple[LogLine, ...] = ()
    """The last 1,000 lines; only from `get_job`."""
    steps: tuple[StepInfo, ...] = ()
    """What is kept of the steps of its handler; only from `get_job`."""
    signals: tuple[SignalInfo, ...] = ()
    """Those that wait to be taken, oldest first; only from `get_job`."""
    waits_for: StepInfo | None = None
    """The sleep or the signal for which its handler was put aside; only from `get_job`."""


class JobPage(Sequence[JobInfo]):
    """Jobs, newest first. `cursor` asks for the next page; None on the last."""

    __slots__ = ("_jobs", "complete", "cursor", "looked_through")

    def __init__(
        self,
        jobs: Sequence[JobInfo],
        cursor: str | None = None,
        *,
        looked_through: int | None = None,
        complete: bool = True,
    ) -> None:
        self._jobs = tuple(jobs)
        self.cursor = cursor
        self.looked_through = looked_through
        """How many jobs were looked at for it; None: all that was needed."""
        self.complete = complete
        """It is full, or there are no more. Else there was no time for more: whoever wants to know
        of older jobs goes on from `cursor`, also where the page is empty."""

    def __iter__(self) -> Iterator[JobInfo]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    def __getitem__(self, index: Any) -> Any:
        return self._jobs[index]

    def __repr__(self) -> str:
        return f"JobPage({len(self._jobs)} jobs, cursor={self.cursor!r})"


def duration(name: str, value: object, *, zero: bool = True) -> float:
    """`value` in seconds, checked.

    Raises:
        OptionError: it is no number or `timedelta`, negative, endless, over a hundred years,
            or 0 where `zero` is false.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionError(f"{name} must be seconds or a timedelta, got {value!r}", name)
    if not 0 <= value <= LONGEST or (value == 0 and not zero):
        least = "0" if zero else "more than 0"
        raise OptionError(f"{name} must be {least} to {LONGEST:.0f} seconds, got {value!r}", name)
    return float(value)


def moment(name: str, value: object) -> int:
    """An aware `datetime` as microseconds since 1970.

    Raises:
        OptionError: it is no `datetime`, or a naive one.
    """
    if not isinstance(value, datetime):
        raise OptionError(f"{name} must be an aware datetime, got {value!r}", name)
    if value.utcoffset() is None:
        raise OptionError(
            f"{name} must be an aware datetime, got the naive {value.isoformat()}; "
            "say which zone it is in, for example datetime.now(timezone.utc)",
            name,
        )
    return microseconds(value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEP = timedelta(microseconds=1)


def microseconds(value: datetime) -> int:
    """Exactly, without a float on the way."""
    return (value - _EPOCH) // _STEP


def to_datetime(value: int) -> datetime:
    """The aware UTC `datetime` of a moment, clamped to what a `datetime` can say."""
    try:
        return _EPOCH + timedelta(microseconds=value)
    except OverflowError:
        return (datetime.max if value > 0 else datetime.min).replace(tzinfo=UTC)


class State(IntEnum):
    """The state of a job as a storage keeps it.

    `scheduled` and `pending` are both `WAITING`: they differ only by time. `PARKED` is shown
    as pending: a worker looked at the job and did not know its type, or not the version of its
    data.
    """

    WAITING = 0
    ACTIVE = 1
    COMPLETED = 2
    FAILED = 3
    CANCELLED = 4
    BLOCKED = 5
    PARKED = 6


def status_of(state: int, run_at: int, now: int) -> JobStatus:
    """What users call a state at a moment."""
    if state == State.WAITING:
        return JobStatus.SCHEDULED if run_at > now else JobStatus.PENDING
    return _STATUS[state]


_STATUS: Final[dict[int, JobStatus]] = {
    State.ACTIVE: JobStatus.ACTIVE,
    State.COMPLETED: JobStatus.COMPLETED,
    State.FAILED: JobStatus.FAILED,
    State.CANCELLED: JobStatus.CANCELLED,
    State.BLOCKED: JobStatus.BLOCKED,
    State.PARKED: JobStatus.PENDING,
}
