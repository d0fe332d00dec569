"""Calls from threads that have no event loop, handed over to one."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import selectors
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from backroom.errors import ServiceError

__all__ = ["Portal", "hand_over"]

T = TypeVar("T")

LOOK: Final = 1.0
"""Seconds between two looks whether the loop that is waited for still runs."""
LEAVE: Final = 1.0
"""Seconds that tasks have to end by themselves when their loop ends, and then again to end when
they are interrupted."""


class Portal:
    """One event loop in one daemon thread, from the first call until `close`; the next call
    begins anew. Any thread may call.

    A child of a fork has a loop and a thread of its own.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._entrance: Entrance
        _portals.add(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, while there is one."""
        return self._loop

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop, and returns what it returns; like `hand_over`."""
        # Under the lock, so that nothing is handed to a loop that is ending.
        with self._lock:
            loop, thread = self._loop, self._thread
            if thread is None or loop is None:
                loop, thread = self._begin()
            call = Call(coroutine, loop, thread.is_alive)
            call.post(self._entrance.take)
        return call.answer()

    def _begin(self) -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        entrance = Entrance()
        loop = asyncio.SelectorEventLoop(entrance)
        thread = threading.Thread(target=_run, args=(loop,), name=self._name, daemon=True)
        try:
            thread.start()
        except BaseException:
            loop.close()
            raise
        self._loop, self._thread, self._entrance = loop, thread, entrance
        return loop, thread

    def close(self) -> None:
        """Ends the loop and its thread; what still runs there is interrupted after a second.
        Safe to call twice, and before any call; not from the loop."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(lambda: loop.create_task(_wind_up(loop)))
            thread.join()

    def leave_to_parent(self) -> None:
        """In a forked child: the loop is the parent's, where it goes on."""
        self._lock = threading.Lock()
        if self._loop is not None:
            # Kept, since closing it would take its sockets out of the parent's selector.
            _of_the_parent.append(self._loop)
        self._loop = self._thread = None


def hand_over(coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """Runs a coroutine on a loop of another thread, and returns what it returns.

    A caller that is interrupted, as by Ctrl-C, does not wait on: the coroutine is cancelled.

    Raises:
        ServiceError: called on that loop, which would wait for itself; or the loop does not run.
    """
    call = Call(coroutine, loop, loop.is_running)
    if not loop.is_running():
        coroutine.close()
        raise ServiceError(
            "the event loop that this service is open on does not run: stop the service before"
            " its loop ends, or keep the loop running in its thread"
        )
    call.post(loop.call_soon_threadsafe)
    return call.answer()


class Entrance(selectors.DefaultSelector):
    """The selector of a portal's loop, through which calls come in.

    A task made as the loop looks for events takes its first step in that very turn; made by
    `call_soon_threadsafe` it would wait for the next one, a tenth of what a call costs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[Callable[[], object]] = deque()
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        self.register(self._inner, selectors.EVENT_READ)

    def take(self, function: Callable[[], object]) -> None:
        """Has the loop call this, soon. Any thread may call.

        Raises:
            OSError: the loop is closed.
        """
        self._waiting.append(function)
        with contextlib.suppress(BlockingIOError):  # Full of what wakes the loop anyway.
            self._outer.send(b"\0")

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(timeout)
        for place, (key, _) in enumerate(events):
            if key.fileobj is self._inner:
                del events[place]
                self._inner.recv(4096)
                break
        while self._waiting:
            self._waiting.popleft()()
        return events

    def close(self) -> None:
        super().close()
        self._inner.close()
        self._outer.close()


class Call(Generic[T]):
    """A coroutine on its way to a loop, and its answer on the way back.

    The same as `asyncio.run_coroutine_threadsafe` at less than half the price: one lock instead
    of a future with a condition, and the caller is told in the turn of the loop that ends the
    coroutine.
    """

    __slots__ = (
        "_alive",
        "_context",
        "_coroutine",
        "_ended",
        "_error",
        "_loop",
        "_result",
        "_task",
    )

    _result: T

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        loop: asyncio.AbstractEventLoop,
        alive: Callable[[], bool],
    ) -> None:
        """`alive` tells whether the loop runs."""
        self._coroutine = coroutine
        self._loop = loop
        self._alive = alive
        self._ended = threading.Lock()
        self._ended.acquire()
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None

    def post(self, to: Callable[[Callable[[], object]], object]) -> None:
        """Tells the loop, by what has it call a function. The coroutine runs in a copy of the
        caller's context.

        Raises:
            ServiceError: called on that loop.
        """
        if asyncio._get_running_loop() is self._loop:
            self._coroutine.close()
            raise ServiceError(
                "a blocking service was called on its own event loop, which would wait for"
                " itself: in async code, such as an async handler, await the async service"
                " instead (`await service.service.schedule(...)`)"
            )
        try:
            to(self._start)
        except (OSError, RuntimeError):
            self._coroutine.close()
            raise _gone() from None

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run(), context=self._context)

    async def _run(self) -> None:
        try:
            self._result = await self._coroutine
        except BaseException as error:
            self._error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._ended.release()

    def answer(self) -> T:
        """Waits for the end; returns or raises what the coroutine did."""
        try:
            while not self._ended.acquire(timeout=LOOK):
                if not self._alive():
                    raise _gone()
        except BaseException:
            with contextlib.suppress(RuntimeError):  # The loop has ended, and the call with it.
                self._loop.call_soon_threadsafe(self._cancel)
            raise
        error = self._error
        if error is None:
            return self._result
        if isinstance(error, asyncio.CancelledError):
            raise _gone() from None
        try:
            raise error
        finally:
            # Its traceback holds this frame: without this, nothing would be freed until the
            # next collection.
            del self._error, error

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _gone() -> ServiceError:
    return ServiceError(
        "the event loop of this service ended before the call did; whether it was carried out is"
        " not known"
    )


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """What came before ends, or is interrupted; then the loop stops."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, late = await asyncio.wait(others, timeout=LEAVE)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=LEAVE)
    loop.stop()


_portals: Final[weakref.WeakSet[Portal]] = weakref.WeakSet()
_of_the_parent: Final[list[asyncio.AbstractEventLoop]] = []


def _after_fork() -> None:
    for portal in list(_portals):
        portal.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
