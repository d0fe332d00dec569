"""From what happens in this process to those who listen.

Everyone who listens has a bounded queue of their own, so a listener that is slow, or raises, is
nobody's matter but its own: what does not fit is dropped, counted, and said in the log.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from backroom.errors import OptionError
from backroom.event import (
    EVENTS,
    Event,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobRetrying,
    JobSnoozed,
    matches,
)
from backroom.job import SECOND, JobId, State, to_datetime
from backroom.options import near
from backroom.step import FOREVER
from backroom.threads import Threads
from backroom.transition import Claim, Transition

__all__ = ["MOST_WAITING", "EventStream", "Events", "event_of", "names_of"]

E = TypeVar("E", bound=Event, covariant=True)

log = logging.getLogger("backroom")

MOST_WAITING: Final = 1000
"""Events that wait for one listener; what comes then is dropped."""
OUTCOMES: Final = frozenset(
    {"job.completed", "job.failed", "job.retrying", "job.cancelled", "job.snoozed"}
)
PATIENCE: Final = 2.0
"""Seconds that listeners have, when a service stops, for what waits for them."""


class Events:
    """Who listens in one service. What happens is told on the loop, or from any thread."""

    def __init__(self) -> None:
        self._ears: list[_Ear] = []
        self._streams: weakref.WeakSet[EventStream[Any]] = weakref.WeakSet()
        self._threads = Threads("backroom-listener")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted: frozenset[str] = frozenset()
        self.starts = False
        """Somebody wants to know of every start: looked at for each of them."""
        self.schedules = False
        self.outcomes = False
        """Somebody wants to know what becomes of attempts."""

    def wants(self, name: str) -> bool:
        """Whether anybody listens for this."""
        return name in self._wanted

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop on which events are handed on, from now on."""
        self._loop = loop

    def listen(
        self, names: frozenset[str], listener: Callable[[Any], object]
    ) -> Callable[[], None]:
        """`listener` is called with each event of these names. Returns what ends that; safe to
        call twice."""
        ear = _Ear(names, listener, self._threads)
        self._ears.append(ear)
        self._look()

        def off() -> None:
            if ear in self._ears:
                self._ears.remove(ear)
                ear.close()
                self._look()

        return off

    def stream(self, names: frozenset[str], most: int) -> EventStream[Any]:
        """Those of these names, one by one. Nobody need close it: what is dropped is gone."""
        stream: EventStream[Any] = EventStream(names, most, self._look)
        self._streams.add(stream)
        self._look()
        return stream

    def _look(self) -> None:
        wanted: frozenset[str] = frozenset()
        wanted = wanted.union(*(ear.names for ear in self._ears))
        wanted = wanted.union(*(stream.names for stream in self._streams))
        self._wanted = wanted
        self.starts = "job.started" in wanted
        self.schedules = "job.scheduled" in wanted
        self.outcomes = bool(OUTCOMES & wanted)

    # -- what happens ----------------------------------------------------------------------------

    def tell(self, events: Sequence[Event]) -> None:
        """On the loop."""
        for ear in self._ears:
            ear.take(events)
        for stream in list(self._streams):
            if stream.closed:
                self._streams.discard(stream)
            else:
                stream.take(events)
        if not self._ears and not self._streams and self._wanted:
            self._look()  # A stream was thrown away.

    def tell_from_anywhere(self, event: Event) -> None:
        """In any thread."""
        loop = self._loop
        if loop is None or not self.wants(event.name):
            return
        if asyncio._get_running_loop() is loop:
            self.tell([event])
            return
        try:
            loop.call_soon_threadsafe(self.tell, [event])
        except RuntimeError:  # A thread that outlived the loop.
            log.debug("an event came after its loop had ended")

    def ended(self, outcomes: Sequence[tuple[Claim, Transition]], now: int) -> None:
        """What became of attempts, which stands."""
        events = [
            event
            for claim, transition in outcomes
            if (event := event_of(claim, transition, now)) is not None
            and event.name in self._wanted
        ]
        if events:
            self.tell(events)

    async def close(self) -> None:
        """Listeners get what waits for them, if they take it soon; streams end. What comes later is
        told all the same, should the service begin anew."""
        for stream in list(self._streams):
            stream.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while any(ear.busy for ear in self._ears) and loop.time() < until:
            await asyncio.sleep(0.01)
        for ear in self._ears:
            ear.close()


class _Ear:
    """One listener with what waits for it; called with one event at a time, in order."""

    def __init__(
        self, names: frozenset[str], listener: Callable[[Any], object], threads: Threads
    ) -> None:
        self.names = names
        self._listener = listener
        self._is_async = _is_async(listener)
        self._threads = threads
        self._waiting: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self._in_thread = False
        self._dropped = 0

    @property
    def busy(self) -> bool:
        """Something waits for it, or it is being called."""
        return bool(self._waiting) or self._in_thread or self._task is not None

    def take(self, events: Sequence[Event]) -> None:
        """On the loop."""
        for event in events:
            if event.name not in self.names:
                continue
            if len(self._waiting) >= MOST_WAITING:
                if not self._dropped:
                    log.warning(
                        "%s is behind: %s events wait for it, newer ones are dropped",
                        _name(self._listener), f"{MOST_WAITING:,}",
                    )  # fmt: skip
                self._dropped += 1
            else:
                self._waiting.append(event)
        if not self._waiting or self._in_thread or self._task is not None:
            return
        loop = asyncio.get_running_loop()
        if self._is_async:
            self._task = loop.create_task(self._serve(), name="backroom-listener")
        else:
            self._in_thread = True
            self._threads.submit(lambda: self._serve_in_thread(loop))

    def close(self) -> None:
        """What waits for it is dropped; a coroutine that hangs is cancelled."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        try:
            while self._waiting:
                event = self._waiting.popleft()
                try:
                    await self._listener(event)  # type: ignore[misc]  # it is a coroutine function
                except Exception:
                    self._failed(event)
        finally:
            self._task = None
            self._caught_up()

    def _serve_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            try:
                event = self._waiting.popleft()
            except IndexError:
                break
            try:
                self._listener(event)
            except Exception:
                self._failed(event)
        try:
            loop.call_soon_threadsafe(self._thread_ended)
        except RuntimeError:  # The loop has ended meanwhile.
            self._in_thread = False

    def _thread_ended(self) -> None:
        self._in_thread = False
        self._caught_up()
        self.take(())  # What came between its last look and now.

    def _caught_up(self) -> None:
        if self._dropped and not self._waiting:
            log.warning(
                "%s has caught up; it missed %d events", _name(self._listener), self._dropped
            )
            self._dropped = 0

    def _failed(self, event: Event) -> None:
        log.exception("%s failed at %s; it is called again at the next event",
                      _name(self._listener), event.name)  # fmt: skip


class EventStream(Generic[E]):
    """`async for event in service.events("job.*")`: what happens from now on, until the service
    is stopped. `missed` counts what was dropped because this loop was too slow for it."""

    def __init__(self, names: frozenset[str], most: int, changed: Callable[[], None]) -> None:
        self.names = names
        self.missed = 0
        """Events that were dropped, so far."""
        self.closed = False
        self._most = most
        self._changed = changed
        self._waiting: deque[E] = deque()
        self._more = asyncio.Event()

    def take(self, events: Sequence[Any]) -> None:
        """On the loop."""
        for event in events:
            if event.name in self.names:
                if len(self._waiting) >= self._most:
                    self._waiting.popleft()
                    self.missed += 1
                self._waiting.append(event)
        if self._waiting:
            self._more.set()

    def close(self) -> None:
        """Nothing more comes; what waits may still be taken. Safe to call twice."""
        if not self.closed:
            self.closed = True
            self.names = frozenset()
            self._more.set()
            self._changed()

    def __aiter__(self) -> EventStream[E]:
        return self

    async def __anext__(self) -> E:
        while not self._waiting:
            if self.closed:
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        return self._waiting.popleft()

    async def __aenter__(self) -> EventStream[E]:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()


def event_of(claim: Claim, transition: Transition, now: int) -> Event | None:
    """What became of an attempt, as an event; None: its job waits again as if it had not been."""
    job: dict[str, Any] = {"job_id": JobId(claim.id), "type": claim.type, "queue": claim.queue}
    failure, state = transition.failure, transition.state
    started = transition.started_at
    if state == State.COMPLETED:
        at = transition.finished_at or now
        took = (at - (started or at)) / SECOND
        return JobCompleted(at=to_datetime(at), attempt=transition.attempt, duration=took, **job)
    if failure is not None and state in (State.FAILED, State.WAITING):
        told: dict[str, Any] = {
            "at": to_datetime(failure.at),
            "attempt": transition.attempt,
            "duration": 0.0 if started is None else (failure.at - started) / SECOND,
            "kind": failure.kind,
            "message": failure.message,
        }
        if state == State.FAILED:
            return JobFailed(**told, **job)
        return JobRetrying(**told, run_at=to_datetime(transition.run_at or now), **job)
    if state == State.CANCELLED:
        at = transition.finished_at or now
        return JobCancelled(
            at=to_datetime(at), attempt=transition.attempt, reason=transition.reason or "", **job
        )
    if state == State.WAITING and transition.run_at is not None:
        until = None if transition.run_at >= FOREVER else to_datetime(transition.run_at)
        return JobSnoozed(at=to_datetime(now), run_at=until, **job)
    return None


def names_of(pattern: object) -> frozenset[str]:
    """The events that somebody means.

    Raises:
        OptionError: there are none.
    """
    found = matches(pattern) if isinstance(pattern, str) else frozenset()
    if not found:
        raise OptionError(
            f"there is no event {pattern!r}{near(pattern, EVENTS)}; known are {', '.join(EVENTS)},"
            ' and a beginning, as in "job.*", or "*"'
        )
    return found


def _is_async(listener: Callable[..., Any]) -> bool:
    call = getattr(type(listener), "__call__", None)  # noqa: B004 - not whether, but which
    return inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(call)


def _name(listener: Callable[..., Any]) -> str:
    name = getattr(listener, "__qualname__", None) or repr(listener)
    return f"the listener {getattr(listener, '__module__', '?')}.{name}"
