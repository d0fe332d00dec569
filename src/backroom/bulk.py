"""What a bulk handler gets: jobs that it runs together, of each of which it says what becomes."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Generic, NoReturn, TypeAlias, TypeVar, get_origin, overload

from backroom.errors import ConfigurationError, FailJob, OptionError, RetryJob, ServiceError
from backroom.handle import Job
from backroom.job import Cancel, Snooze, duration
from backroom.replay import Replay
from backroom.transactions import Transaction

__all__ = [
    "BulkHandler",
    "BulkJob",
    "BulkResult",
    "check_bulk_handler",
    "check_single_handler",
]

T = TypeVar("T")
R = TypeVar("R")

MANY: Final = ("Sequence", "list", "List", "tuple", "Iterable", "Collection")
"""How annotations say that a function takes many."""

Hear: TypeAlias = Callable[[Any, float | None], None]
"""Takes what a handler of one job would return, or raise, and the seconds until a retry."""


class BulkJob(Job[T], Generic[T, R]):
    """One of the jobs that a bulk handler runs together: an attempt of its own, with its own
    progress, log, retries and time limit.

    What is said of it by `succeed`, `fail`, `snooze` or `cancel`, from the loop or any thread, is
    recorded at once: a crash later in the call does not run it again. It is said once.
    """

    __slots__ = ("_hear", "said")

    _hear: Hear
    """Set by the runner."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.said: str | None = None
        """What was said of it, for people; None: nothing yet."""

    @overload
    def succeed(self: BulkJob[T, None]) -> None: ...
    @overload
    def succeed(self, result: R) -> None: ...
    def succeed(self, result: Any = None) -> None:
        """It is completed, with this result. One that does not fit the job type fails the job
        without a retry, as where a handler returns it.

        Raises:
            ServiceError: something was said of it already.
        """
        self._say("succeed", result)

    def fail(
        self, error: BaseException | str, *, retry_in: float | timedelta | None = None
    ) -> None:
        """This attempt failed, as if a handler had raised the error, or `RetryJob` with that text:
        it is retried by its backoff, or after `retry_in` (seconds or `timedelta`), until it is out
        of attempts; a `FailJob` is not retried.

        Raises:
            ServiceError: something was said of it already.
            OptionError: this is no error; or `retry_in` is no duration, or stands with `FailJob`.
        """
        seconds = None if retry_in is None else duration("retry_in", retry_in)
        if isinstance(error, str):
            error = RetryJob(error)
        if not isinstance(error, BaseException):
            raise OptionError(f"job.fail takes an exception or a text, got {error!r}")
        if seconds is not None and isinstance(error, FailJob):
            raise OptionError("a FailJob is not retried: leave retry_in out, or fail otherwise")
        self._say("fail", error, seconds)

    def snooze(self, delay: float | timedelta) -> None:
        """It is run again after `delay`, and no attempt is counted.

        Raises:
            ServiceError: something was said of it already. OptionError: no duration.
        """
        self._say("snooze", Snooze(delay))

    def cancel(self, reason: str = "cancelled by its handler") -> None:
        """It is not needed any more, and ends as cancelled.

        Raises:
            ServiceError: something was said of it already.
        """
        self._say("cancel", Cancel(reason))

    def _say(self, what: str, answer: Any, delay: float | None = None) -> None:
        if self.said is not None:
            raise ServiceError(
                f"{self!r}: job.{what}() after job.{self.said}(): what becomes of a job is said"
                " once"
            )
        self.said = what
        self._hear(answer, delay)

    # -- what goes with one job a call -----------------------------------------------------------

    def transaction(self, *args: Any, **kwargs: Any) -> Transaction[Any]:
        """Not in a bulk handler.

        Raises: ServiceError.
        """
        self._refuse("job.transaction() completes one job with what its handler writes")

    def _run(self) -> Replay:
        self._refuse("durable steps are those of one job")

    def _refuse(self, what: str) -> NoReturn:
        raise ServiceError(
            f"{self.type}: {what}, and this is a bulk handler: give what needs it to a job type"
            " of its own, whose handler has no batch="
        )


BulkResult: TypeAlias = Sequence[R | Snooze | Cancel | BaseException] | Snooze | Cancel | None
"""A result for each job, in their order, or an exception in its place; or one word for all."""

BulkHandler: TypeAlias = (
    Callable[[list[BulkJob[T, R]]], Awaitable[BulkResult[R]]]
    | Callable[[list[BulkJob[T, R]]], BulkResult[R]]
)
"""What runs jobs together: `async def` on the loop, `def` in a thread."""


def check_bulk_handler(name: str, handler: Callable[..., Any]) -> None:
    """Whether a function can be called with a list of jobs.

    Raises:
        ConfigurationError: it takes another number of arguments, or a single `Job`.
    """
    shape = (
        f"a bulk handler is called with a list of jobs: def {_name_of(handler)}(jobs:"
        " Sequence[BulkJob[Data, Result]])"
    )
    try:
        inspect.signature(handler).bind(())
    except TypeError as error:
        raise ConfigurationError(
            f"{name}: {_name_of(handler)} cannot be called with one argument ({error}); {shape}"
        ) from None
    except ValueError:  # Written in C.
        return
    if _taken(handler) == "Job":
        raise ConfigurationError(
            f"{name}: {_name_of(handler)} takes a single Job, and batch= gives it many; {shape},"
            " or leave batch= out"
        )


def check_single_handler(name: str, handler: Callable[..., Any]) -> None:
    """Whether a function is said to take many jobs.

    Raises:
        ConfigurationError: it is.
    """
    if _taken(handler) in MANY:
        raise ConfigurationError(
            f"{name}: {_name_of(handler)} takes many jobs, and a handler gets a single one: say"
            " how many it takes at once, @service.handler(..., batch=100, within=0.2), or let it"
            " take a Job"
        )


def _taken(handler: Callable[..., Any]) -> str:
    """The name of what the first parameter is annotated with, which need not be importable."""
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):  # Written in C.
        return ""
    said = parameters[0].annotation if parameters else ""
    if isinstance(said, str):
        return said.partition("[")[0].rpartition(".")[2]
    return str(getattr(get_origin(said) or said, "__name__", ""))


def _name_of(handler: Callable[..., Any]) -> str:
    return getattr(handler, "__name__", type(handler).__name__)
