"""An event loop for a whole world: seeded, in virtual time, for many processes at once.

Everything that is ready runs in an order that only the seed knows, also where asyncio would keep
the order of registration: what works here works in any order. What runs belongs to the process
whose context it was made in. A process that crashes stops dead: nothing of it is ever resumed,
no `finally` is run, no task is cancelled. One that stands still (SIGSTOP) goes on later, where it
was; one whose loop is blocked by its own code still has its lease extended, as that has a thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import logging
import random
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any, Final, NamedTuple, TypeVar

__all__ = ["Endless", "Machine", "SimLoop", "no_garbage"]

T = TypeVar("T")

MOST_STEPS: Final = 1_500_000
MOST_STEPS_AT_ONCE: Final = 20_000
"""Steps between two timers, beyond which code runs in a circle."""
STEP: Final = 20e-6
"""Seconds that one step takes at most."""
LEASE_THREAD: Final = "Lease._keep"
"""The coroutine that a real worker runs in a thread of its own."""


class Endless(Exception):
    """The world does not come to its end: it waits for nothing, or runs in a circle."""


class Machine:
    """One process of the world."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.stopped_until = 0.0
        """It stands still, all of its threads."""
        self.blocked_until = 0.0
        """Its loop stands still; the thread that keeps its lease does not."""
        self.context = Context()
        self.context.run(_machine.set, self)
        self.held: list[_Ready] = []

    def stands_until(self, beside: bool) -> float:
        return self.stopped_until if beside else max(self.stopped_until, self.blocked_until)


_machine: ContextVar[Machine | None] = ContextVar("machine", default=None)
_beside: ContextVar[bool] = ContextVar("beside", default=False)
"""In the lease's thread."""


class _Ready(NamedTuple):
    handle: asyncio.Handle
    context: Context


class SimLoop(asyncio.AbstractEventLoop):
    """Runs one world, by `run`."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random
        self._now = 0.0
        self._ready: list[_Ready] = []
        self._timers: list[tuple[float, int, _Ready]] = []
        self._count = 0
        self._steps = 0
        self._steps_at_once = 0
        self._over = False
        self._graves: list[Any] = []
        """What dead processes leave; were it collected, their `finally` would run."""
        self.unhandled: list[str] = []
        """What nobody caught."""

    # -- what asyncio asks -----------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        context = contextvars.copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        if not self._over:
            self._ready.append(_Ready(handle, context))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        context = contextvars.copy_context() if context is None else context
        if context.get(_beside):
            context.run(_beside.set, False)
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        context = contextvars.copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._over:
            self._count += 1
            heapq.heappush(self._timers, (when, self._count, _Ready(handle, context)))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asyncio says so; its turn will come."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        if getattr(coro, "__qualname__", "") == LEASE_THREAD:
            context = contextvars.copy_context()
            context.run(_beside.set, True)
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_task_factory(self) -> None:
        return None

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._over

    def is_closed(self) -> bool:
        return self._over

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.unhandled.append(f"{context.get('message')}: {error!r}")

    # -- the world -------------------------------------------------------------------------------

    def spawn(self, machine: Machine | None, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Runs a coroutine in a process, or (None) outside of all."""
        context = Context() if machine is None else machine.context.copy()
        return self.create_task(main, context=context)

    def crash(self, machine: Machine) -> None:
        """Nothing of this process is ever resumed."""
        machine.alive = False
        self._graves.append((machine.held, asyncio.all_tasks(self)))

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Runs until this coroutine has ended.

        Raises:
            Endless: it will not.
        """
        asyncio._set_running_loop(self)
        try:
            task = self.spawn(None, main)
            while not task.done():
                self._step()
            return task.result()
        finally:
            asyncio._set_running_loop(None)
            self._end()

    def _step(self) -> None:
        self._steps += 1
        self._steps_at_once += 1
        if self._steps > MOST_STEPS or self._steps_at_once > MOST_STEPS_AT_ONCE:
            raise Endless(f"at {self._now:.3f} s code runs in a circle")
        ready = self._ready
        if not ready or (self._timers and self._timers[0][0] <= self._now):
            self._ring()
        place = int(self._random() * len(ready))
        ready[place], ready[-1] = ready[-1], ready[place]
        handle, context = one = ready.pop()
        if handle.cancelled():
            return
        machine = context.get(_machine)
        if machine is not None:
            if not machine.alive:
                self._graves.append(one)
                return
            until = machine.stands_until(context.get(_beside, False))
            if until > self._now:
                self._hold(machine, one, until)
                return
        self._now += self._random() * STEP
        handle._run()

    def _ring(self) -> None:
        """Timers that are due are ready; where nothing is, time goes on to the next one."""
        timers = self._timers
        while timers and timers[0][2].handle.cancelled():
            heapq.heappop(timers)
        if not self._ready:
            if not timers:
                raise Endless(f"at {self._now:.3f} s everybody waits, for nothing")
            self._now = max(self._now, timers[0][0])
            self._steps_at_once = 0
        while timers and timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(timers)[2])

    def _hold(self, machine: Machine, one: _Ready, until: float) -> None:
        def resume() -> None:
            held, machine.held = machine.held, []
            self._ready.extend(held)

        if not machine.held:
            self.call_at(until, resume, context=Context())
        machine.held.append(one)

    def _end(self) -> None:
        self._over = True
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            self._graves.append(task)
        self._graves += [self._ready, self._timers]


@contextmanager
def no_garbage() -> Iterator[None]:
    """Python collects garbage when it likes; in a world that would run code of the dead at a
    moment that no seed knows. So it waits until the world has ended; what is said by the remains
    then, nobody hears."""
    was = gc.isenabled()
    gc.disable()
    gc.freeze()  # What was there before is not looked through each time.
    try:
        yield
    finally:
        told, sys.unraisablehook = sys.unraisablehook, lambda _: None
        logging.disable()
        nowhere = SimLoop(0)
        nowhere._over = True
        asyncio._set_running_loop(nowhere)  # Else asyncio would make a loop for their last words.
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                while gc.collect():
                    pass
        finally:
            asyncio._set_running_loop(None)
            logging.disable(logging.NOTSET)
            sys.unraisablehook = told
            gc.unfreeze()
            if was:
                gc.enable()
