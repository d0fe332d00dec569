"""Virtual time: an event loop whose clock jumps to the next timer when nothing is ready.

A day of waiting takes no time, and every run is the same. A thread cannot be hurried: while one
is at work the loop gives it the real time that its timers say, and goes on at once when it is
done. What comes from outside by a socket or a pipe is seen, but time does not wait for it.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, ParamSpec, TypeVar

from backroom.clock import SystemClock
from backroom.job import SECOND, moment, to_datetime

__all__ = ["Stuck", "VirtualClock", "VirtualLoop", "run_virtual", "virtual_time"]

P = ParamSpec("P")
T = TypeVar("T")

START: Final = 1000.0
"""The loop's time when it is new."""
MOST_JUMPS: Final = 200_000
"""A test that waits for what never comes would jump from timer to timer for ever."""
PATIENCE: Final = 5.0
"""Real seconds in which, where no timer is set, a thread must say something."""


class Stuck(BaseException):
    """The test waits for something that will never happen. No `except Exception` hides it."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """`asyncio.sleep(3600)` returns at once, and an hour later."""

    def __init__(self, most_jumps: int = MOST_JUMPS) -> None:
        self._virtual_now = START
        self._holders = 0
        self._executing = 0
        self._jumps_left = most_jumps
        self._busy: list[Callable[[], bool]] = []
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._virtual_now

    # -- threads ---------------------------------------------------------------------------------

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Time stands: whoever is awaited in here is a real thread."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders = max(0, self._holders - 1)

    @property
    def held(self) -> bool:
        return self._holders > 0

    def release(self) -> None:
        """Nobody is awaited any more: the test has failed, and is to be cleaned up."""
        self._holders = 0

    def watch(self, busy: Callable[[], bool]) -> None:
        """While `busy` says so, threads are at work: timers take their real time."""
        self._busy.append(busy)

    @property
    def busy(self) -> bool:
        return self._executing > 0 or any(busy() for busy in self._busy)

    def run_in_executor(  # type: ignore[override]  # typeshed says that it is a coroutine, too
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._executing += 1
        future.add_done_callback(self._executed)
        return future

    def _executed(self, _: object) -> None:
        self._executing -= 1

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        with self.hold():
            await super().shutdown_default_executor(*args, **kwargs)

    # -- time ------------------------------------------------------------------------------------

    def jump(self, seconds: float) -> None:
        """Time goes on, without anybody having waited."""
        self._jumps_left -= 1
        if self._jumps_left == 0:
            raise Stuck(f"after {self._virtual_now - START:.0f} virtual seconds it still waits")
        self._virtual_now += seconds


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._waited = 0.0
        """Real seconds that threads have had of the time to the next timer."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None and not self._loop.held:
            if self._loop.busy:
                began = time.monotonic()
                ready = super().select(max(0.0, timeout - self._waited))
                if ready:
                    self._waited += time.monotonic() - began
                    return ready
            self._waited = 0.0
            self._loop.jump(timeout)
            return []
        ready = super().select(PATIENCE)
        while not ready and self._loop.busy and not self._loop.held:
            ready = super().select(PATIENCE)
        if not ready:
            self._loop.release()
            raise Stuck("nothing is ready, no timer is set, and no thread says anything")
        return ready


class VirtualClock:
    """The clock of a service under test.

    On a `VirtualLoop` it goes with the loop. On any other loop it goes with the machine's
    clock, or from `start` on not at all, but for what `move` adds; and it stands while it is
    held, so that what is due does not depend on how fast the test runs.
    """

    virtual = True

    def __init__(self, loop: VirtualLoop | None = None, start: datetime | None = None) -> None:
        """`start`: what it shows at first (aware); None: what the machine's clock shows.

        Raises:
            OptionError: `start` is naive.
        """
        self._system = SystemClock()
        self._follows = start is None
        self._wall = self._system.now() if start is None else moment("start", start)
        self._uptime = self._system.uptime()
        self._moved = 0
        self._held = 0
        self._loop: VirtualLoop | None = None
        self._since = 0.0
        self._busy: Callable[[], bool] = lambda: False
        if loop is not None:
            self._go_with(loop)

    def now(self) -> int:
        loop = self._find_loop()
        if loop is not None:
            return self._wall + round((loop.time() - self._since) * SECOND)
        if self._follows and not self._held:
            self._wall = max(self._wall, self._system.now() + self._moved)
        return self._wall

    def uptime(self) -> float:
        loop = self._find_loop()
        if loop is not None:
            return loop.time()
        if not self._held:
            self._uptime = self._system.uptime()
        return self._uptime

    @property
    def wall(self) -> datetime:
        """The wall clock as people read it."""
        return to_datetime(self.now())

    def move(self, seconds: float) -> None:
        """The wall clock shows so much more, or less, and nobody has waited."""
        step = round(seconds * SECOND)
        self._wall += step
        self._moved += step

    @contextmanager
    def hold(self) -> Iterator[None]:
        """It stands, but for `move`. Changes nothing on a virtual loop."""
        self.now()
        self.uptime()
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def watch(self, busy: Callable[[], bool]) -> None:
        """While `busy` says so, threads are at work, and its virtual loop lets them."""
        self._busy = busy

    def _find_loop(self) -> VirtualLoop | None:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:  # In a thread of a handler, or between two loops.
            return self._loop
        if running is not self._loop:
            if self._loop is not None:
                self._wall += round((self._loop.time() - self._since) * SECOND)
                self._moved = self._wall - self._system.now()
                self._loop = None
            if isinstance(running, VirtualLoop):
                self._go_with(running)
        return self._loop

    def _go_with(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._since = loop.time()
        loop.watch(lambda: self._busy())


def run_virtual(main: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """`asyncio.run(main(*args, **kwargs))` on a `VirtualLoop`.

    Raises:
        Stuck: it waits for something that will never happen.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main(*args, **kwargs))


def virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Decorates an `async def` test: it is a plain test then, which runs by `run_virtual`.

    Needs no plugin for async tests, and minds none. Its fixtures may not be async ones that
    live on a loop of their own.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_virtual(test, *args, **kwargs)

    return run
