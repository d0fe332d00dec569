"""The part of a service for those who want to know what happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, overload

from backroom.errors import OptionError
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
from backroom.events import MOST_WAITING, Events, EventStream, names_of

__all__ = ["Listeners", "Listening"]


class Listeners:
    """Functions that are called with events.

    Events tell what this process did: the jobs that it scheduled, the attempts that its worker
    ran, once their outcome is kept. What others do, and what a storage does by itself (a job that
    is cancelled while it waits), is seen with `get_jobs`, `get_stats` and `get_history`. Events
    are kept nowhere: what must not be lost when a process dies belongs into a job.
    """

    _events: Events

    # fmt: off
    @overload
    def on(
        self, name: Literal["job.scheduled"], listener: Callable[[JobScheduled], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["job.started"], listener: Callable[[JobStarted], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["job.completed"], listener: Callable[[JobCompleted], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["job.failed"], listener: Callable[[JobFailed], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["job.retrying"], listener: Callable[[JobRetrying], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["job.cancelled"], listener: Callable[[JobCancelled], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["job.snoozed"], listener: Callable[[JobSnoozed], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["jobs.rescued"], listener: Callable[[JobsRescued], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["queue.paused"], listener: Callable[[QueuePaused], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["queue.resumed"], listener: Callable[[QueueResumed], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["worker.started"], listener: Callable[[WorkerStarted], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["worker.stopped"], listener: Callable[[WorkerStopped], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["schedule.fired"], listener: Callable[[ScheduleFired], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, name: Literal["job.*"], listener: Callable[[JobEvent], object], /
    ) -> Callable[[], None]: ...
    @overload
    def on(self, name: str, listener: Callable[[Event], object], /) -> Callable[[], None]: ...
    # fmt: on
    def on(self, name: str, listener: Callable[[Any], object], /) -> Callable[[], None]:
        """Calls `listener` with each event of this name; "job.*" means all that begin so, "*"
        every one. Returns what takes it off again.

        It is called with one event at a time, in their order: `async def` on the loop, `def` in a
        thread. It may be slow, and it may raise, which is logged: no job waits for it, nor any
        other listener. While 1,000 events wait for it, newer ones are dropped, and the log says
        how many. Where nobody listens, events cost nothing.

        Raises:
            OptionError: there is no such event, or `listener` cannot be called.
        """
        names = names_of(name)
        if not callable(listener):
            raise OptionError(f"what listens for {name} cannot be called: {listener!r}")
        return self._events.listen(names, listener)


class Listening(Listeners):
    """The same, and streams of them."""

    # fmt: off
    @overload
    def events(
        self, name: Literal["job.scheduled"], /, *, buffer: int = ...
    ) -> EventStream[JobScheduled]: ...
    @overload
    def events(
        self, name: Literal["job.started"], /, *, buffer: int = ...
    ) -> EventStream[JobStarted]: ...
    @overload
    def events(
        self, name: Literal["job.completed"], /, *, buffer: int = ...
    ) -> EventStream[JobCompleted]: ...
    @overload
    def events(
        self, name: Literal["job.failed"], /, *, buffer: int = ...
    ) -> EventStream[JobFailed]: ...
    @overload
    def events(
        self, name: Literal["job.retrying"], /, *, buffer: int = ...
    ) -> EventStream[JobRetrying]: ...
    @overload
    def events(
        self, name: Literal["job.cancelled"], /, *, buffer: int = ...
    ) -> EventStream[JobCancelled]: ...
    @overload
    def events(
        self, name: Literal["job.snoozed"], /, *, buffer: int = ...
    ) -> EventStream[JobSnoozed]: ...
    @overload
    def events(
        self, name: Literal["jobs.rescued"], /, *, buffer: int = ...
    ) -> EventStream[JobsRescued]: ...
    @overload
    def events(
        self, name: Literal["queue.paused"], /, *, buffer: int = ...
    ) -> EventStream[QueuePaused]: ...
    @overload
    def events(
        self, name: Literal["queue.resumed"], /, *, buffer: int = ...
    ) -> EventStream[QueueResumed]: ...
    @overload
    def events(
        self, name: Literal["worker.started"], /, *, buffer: int = ...
    ) -> EventStream[WorkerStarted]: ...
    @overload
    def events(
        self, name: Literal["worker.stopped"], /, *, buffer: int = ...
    ) -> EventStream[WorkerStopped]: ...
    @overload
    def events(
        self, name: Literal["schedule.fired"], /, *, buffer: int = ...
    ) -> EventStream[ScheduleFired]: ...
    @overload
    def events(
        self, name: Literal["job.*"], /, *, buffer: int = ...
    ) -> EventStream[JobEvent]: ...
    @overload
    def events(self, name: str = ..., /, *, buffer: int = ...) -> EventStream[Event]: ...
    # fmt: on
    def events(self, name: str = "*", /, *, buffer: int = MOST_WAITING) -> EventStream[Any]:
        """`async for event in service.events("job.*")`: what happens from this call on, until the
        service is stopped. On the service's event loop.

        While `buffer` events wait to be taken, the oldest one is dropped for each that comes;
        `.missed` of the stream says how many were.

        Raises:
            OptionError: there is no such event, or `buffer` is not 1 to 100,000.
        """
        names = names_of(name)
        if not 1 <= buffer <= 100_000:
            raise OptionError(f"buffer must be a whole number from 1 to 100,000, got {buffer!r}")
        return self._events.stream(names, buffer)
