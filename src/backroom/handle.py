"""What a handler gets: one attempt of one job, with what it may say and ask."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Generic, TypeAlias, TypeVar, overload

import msgspec

from backroom.errors import ServiceError
from backroom.job import PRIORITIES, JobId, Priority, to_datetime
from backroom.logs import of_job
from backroom.ports import Report
from backroom.stepper import Stepper
from backroom.steps import Steps
from backroom.transactions import Transaction
from backroom.transition import Claim, Policy, Transition

__all__ = ["Job", "JobLog", "spoken"]

C = TypeVar("C")
T = TypeVar("T")

Transact: TypeAlias = "Callable[[Job[Any], Claim, Any, Any], Transaction[Any]]"

MAX_LINES: Final = 1000
"""Lines kept of one attempt."""
MAX_LINE: Final = 8192
"""Characters kept of one line."""

logger = logging.getLogger("backroom.job")


class Job(Steps, Generic[T]):
    """One attempt of a job. Its values do not change; `cancelled` and `progress` live."""

    __slots__ = (
        "_blocks",
        "_changed",
        "_log",
        "_policy",
        "_progress",
        "_stop",
        "_transact",
        "_transaction",
        "data",
        "saw_stop",
        "started_at",
    )

    def __init__(
        self,
        claim: Claim,
        data: T,
        policy: Policy,
        started_at: int,
        now: Callable[[], int],
        changed: Callable[[Job[Any]], None],
        transact: Transact | None = None,
        stepper: Stepper | None = None,
    ) -> None:
        """`transact`: how this attempt may end within a transaction; None: it may not.
        `stepper`: where its steps are kept; None: it has none."""
        self.data = data
        self.started_at = started_at
        self._claim = claim
        self._policy = policy
        self._changed = changed
        self._transact = transact
        self._transaction: Transaction[Any] | None = None
        self._steps = stepper
        self._progress: tuple[float, str | None] | None = None
        self._log: JobLog | Callable[[], int] = now
        self._stop = False
        self._blocks = 0
        self.saw_stop = False
        """User code has looked at `cancelled`, and it was true."""

    @property
    def id(self) -> JobId[Any]:
        return JobId(self._claim.id)

    @property
    def type(self) -> str:
        return self._claim.type

    @property
    def attempt(self) -> int:
        """1 at the first run; goes on counting after an operator's retry."""
        return self._claim.attempt + 1

    @property
    def max_attempts(self) -> int:
        """The attempt after which a failure is final."""
        return self._claim.budget + self._policy.retries + 1

    @property
    def queue(self) -> str:
        return self._claim.queue

    @property
    def priority(self) -> Priority:
        return PRIORITIES[self._claim.priority]

    @property
    def run_at(self) -> datetime:
        """When it became due."""
        return to_datetime(self._claim.run_at)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the call that scheduled it gave."""
        metadata: Mapping[str, Any] = self._said("metadata", {})
        return metadata

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self._said("tags", ()))

    @property
    def trace(self) -> Mapping[str, str]:
        """The trace of the call that scheduled it, as "traceparent" and "tracestate" of W3C Trace
        Context; empty where that was not traced."""
        trace: Mapping[str, str] = self._said("trace", {})
        return trace

    @property
    def workflow(self) -> str | None:
        """The id of the workflow or batch that it belongs to."""
        workflow: str | None = self._said("workflow", None)
        return workflow

    def _said(self, name: str, default: Any) -> Any:
        options = self._claim.options
        return msgspec.json.decode(options).get(name, default) if options else default

    @property
    def cancelled(self) -> bool:
        """Whether to stop: cancelled, out of time, or its worker is leaving.

        An `async def` handler is interrupted by itself; a `def` handler in a thread should ask,
        and where this is true either return nothing or raise. When its worker is leaving, the
        job then runs again elsewhere and no attempt is charged; a handler that returns a result
        has done its work.
        """
        if self._stop:
            self.saw_stop = True
        return self._stop

    @property
    def deadline(self) -> datetime:
        """When this attempt is out of time (UTC)."""
        return to_datetime(self.started_at + round(self._policy.timeout * 1e6))

    @property
    def log(self) -> JobLog:
        """Lines written here are kept with the job, the last 1,000 of them."""
        log = self._log
        if not isinstance(log, JobLog):
            log = self._log = JobLog(self, log)
        return log

    def progress(self, fraction: float, message: str | None = None) -> None:
        """How far it is, 0 to 1, and what it does. Buffered: call it as often as you like,
        from the loop or a thread.

        Raises:
            ValueError: `fraction` is not within 0 to 1.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"progress must be 0 to 1, got {fraction!r}")
        text = None if message is None else _writable(spoken(message))
        self._progress = (float(fraction), text)
        self._changed(self)

    @overload
    def transaction(self, *, result: Any = None) -> Transaction[Any]: ...
    @overload
    def transaction(self, connection: C, *, result: Any = None) -> Transaction[C]: ...
    def transaction(self, connection: Any = None, *, result: Any = None) -> Transaction[Any]:
        """Completes the job with the handler's own writes: `async with job.transaction() as
        connection:` gives a connection of asyncpg, in a transaction, to the PostgreSQL of the
        jobs. At its end what was written there, the jobs that were scheduled with
        `connection=connection`, and the completion of this job are committed together, once. An
        exception rolls all back and fails the attempt.

        With a `connection` of the application's own that is in no transaction, as
        `JobService.schedule` takes it, that is used instead; a `def` handler writes `with`.

        What the job completes with is `result`, or what is set as the `result` of this
        transaction before its end. The commit is final, whatever the handler does after it.

        Raises, at the end of the block:
            LeaseLostError: the job belongs to another by now; nothing was written.
            JobTypeError, PayloadTooLargeError: the result does not fit; nothing was written.
        Raises, at its begin:
            ConfigurationError: the storage has no transactions; or the connection is in one, or
                leads to another database.
            ServiceError: it is the second one of an attempt, or runs in a child process.
        """
        if self._transact is None:
            raise ServiceError(
                "job.transaction() is for handlers that a worker runs in its own process: take"
                ' isolation="process" away, or let the handler commit by itself'
            )
        self._transaction = self._transact(self, self._claim, connection, result)
        return self._transaction

    # -- the engine's side -----------------------------------------------------------------------

    @property
    def claim(self) -> Claim:
        """By which it runs."""
        return self._claim

    def transaction_with(self, connection: object) -> Transaction[Any]:
        """Its transaction, whose block is being run with this connection.

        Raises:
            ServiceError: there is none.
        """
        transaction = self._transaction
        if transaction is None or not transaction.has(connection):
            raise ServiceError(
                f"{self!r}: extend_workflow(job, connection=...) is for the block of"
                " job.transaction(), with the connection that it gives; without a connection,"
                " jobs are added at once"
            )
        return transaction

    def next_block(self) -> int:
        """The number of the next block that adds jobs to its workflow in this attempt."""
        self._blocks += 1
        return self._blocks

    def stop(self) -> None:
        """From now on `cancelled` is true."""
        self._stop = True

    def report(self) -> Report | None:
        """Progress and lines since the last report; None if there are none."""
        progress, self._progress = self._progress, None
        lines = self._log.take() if isinstance(self._log, JobLog) else None
        if progress is None and not lines:
            return None
        fraction, message = progress or (None, None)
        claim = self._claim
        return Report(claim.key, claim.token, self.attempt, fraction, message, lines or None)

    def repeat(
        self, progress: float | None, message: str | None, lines: list[tuple[int, str, str]]
    ) -> None:
        """What the same job said in a child process."""
        if progress is not None:
            self._progress = (progress, message)
        if lines:
            self.log.repeat(lines)
        self._changed(self)

    def settle(self, transition: Transition) -> None:
        """The last progress and lines travel with what became of the job."""
        if self._progress is not None:
            transition.progress, transition.progress_message = self._progress
            self._progress = None
        if isinstance(self._log, JobLog):
            transition.log = self._log.take() or None

    def take_back(self, transition: Transition) -> None:
        """What was to travel with that, which was not written."""
        self.repeat(transition.progress, transition.progress_message, transition.log or [])

    def __repr__(self) -> str:
        return f"<Job {self.type} {self.id} attempt {self.attempt}>"


class JobLog:
    """Writes lines with a job; each also goes to the logger "backroom.job"."""

    __slots__ = ("_count", "_job", "_lines", "_now")

    def __init__(self, job: Job[Any], now: Callable[[], int]) -> None:
        self._job = job
        self._now = now
        self._lines: list[tuple[int, str, str]] = []
        self._count = 0

    def debug(self, message: str, *args: object) -> None:
        self._write(logging.DEBUG, message, args)

    def info(self, message: str, *args: object) -> None:
        self._write(logging.INFO, message, args)

    def warning(self, message: str, *args: object) -> None:
        self._write(logging.WARNING, message, args)

    def error(self, message: str, *args: object) -> None:
        self._write(logging.ERROR, message, args)

    def exception(self, message: str, *args: object) -> None:
        """An error with the traceback of the exception being handled."""
        self._write(logging.ERROR, message, args, "\n" + traceback.format_exc())

    def _write(self, level: int, message: str, args: tuple[object, ...], tail: str = "") -> None:
        text = spoken(message)
        if args:
            try:
                # As in `logging`, one mapping serves a line with names.
                text %= args[0] if len(args) == 1 and isinstance(args[0], Mapping) else args
            except Exception as error:
                # As in `logging`: a slip in a line is not worth an attempt.
                said = ", ".join(spoken(arg, repr) for arg in args)
                text = f"{text} (not formatted: {spoken(error)}; arguments {said})"
        text += tail
        job = self._job
        of = of_job(job.id, job.type, job.attempt, job.queue)
        logger.log(level, "%s %s: %s", job.type, job.id, text, extra=of)
        self._count += 1
        if self._count > MAX_LINES:
            return
        if self._count == MAX_LINES:
            text = f"(no more lines of this attempt are kept after {MAX_LINES})"
        line = (self._now(), logging.getLevelName(level).lower(), _writable(text))
        self._lines.append(line)
        job._changed(job)

    def repeat(self, lines: list[tuple[int, str, str]]) -> None:
        """Lines that were written, and logged, elsewhere."""
        self._lines += lines

    def take(self) -> list[tuple[int, str, str]]:
        """The lines since the last call."""
        lines, self._lines = self._lines, []
        return lines


def spoken(value: object, speak: Callable[[object], str] = str) -> str:
    """The text of anything; where its own `__str__` fails, what it is."""
    try:
        return speak(value)
    except Exception as error:
        return f"({type(value).__name__} whose text failed: {type(error).__name__})"


def _writable(text: str) -> str:
    """Bounded, and without halves of surrogate pairs, which no storage could write."""
    return text[:MAX_LINE].encode("utf-8", "replace").decode()
