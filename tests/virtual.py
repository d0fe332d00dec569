"""Virtual time: an event loop whose clock jumps to the next timer when nothing is ready.

An hour of waiting takes no time, and every run is the same. Real threads fit in by being waited
for with `hold`: while it is held, time stands, so that no timeout passes while a thread works.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["Gate", "Stuck", "VirtualClock", "VirtualLoop"]

START: Final = 1000.0
"""The loop's time when it is new."""
MOST_JUMPS: Final = 200_000
"""A test that waits for what never comes would jump from heartbeat to heartbeat for ever."""
PATIENCE: Final = 5.0
"""Real seconds in which a thread that is waited for must say something."""


class Stuck(BaseException):
    """The test waits for something that will never happen. No `except Exception` hides it."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """`asyncio.sleep(3600)` returns at once, and an hour later."""

    def __init__(self, most_jumps: int = MOST_JUMPS) -> None:
        self._virtual_now = START
        self._holders = 0
        self._jumps_left = most_jumps
        self.unhandled: list[dict[str, Any]] = []
        """What nobody caught: exceptions of callbacks and of forgotten tasks."""
        super().__init__(_Jumping(self))
        self.set_exception_handler(lambda _, context: self.unhandled.append(context))

    def time(self) -> float:
        return self._virtual_now

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

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None and not self._loop.held:
            self._loop.jump(timeout)
            return []
        ready = super().select(PATIENCE)
        if not ready:
            self._loop.release()
            raise Stuck("nothing is ready, no timer is set, and no thread says anything")
        return ready


class VirtualClock:
    """The engine's clock on a virtual loop: uptime is the loop's time, and the wall clock goes
    along with it, but for the steps that a test makes it take."""

    virtual = True

    def __init__(
        self, loop: VirtualLoop, wall: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)
    ) -> None:
        self._loop = loop
        self._since = loop.time()
        self._wall = round(wall.timestamp() * 1_000_000)

    def now(self) -> int:
        return self._wall + round(self.elapsed * 1_000_000)

    def uptime(self) -> float:
        return self._loop.time()

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock, forward or back."""
        self._wall += round(seconds * 1_000_000)

    @property
    def elapsed(self) -> float:
        """Seconds since this clock was made, whatever steps the wall clock took."""
        return self._loop.time() - self._since

    @property
    def wall(self) -> datetime:
        """The wall clock as people read it."""
        return datetime.fromtimestamp(self.now() / 1_000_000, UTC)


class Gate:
    """Where a real thread waits until the test lets it on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reached = asyncio.Event()
        self._left = asyncio.Event()
        self._opened = threading.Event()

    def wait(self) -> None:
        """In the thread: says that it is here, and waits."""
        self._loop.call_soon_threadsafe(self._reached.set)
        if not self._opened.wait(PATIENCE):
            raise Stuck("nobody opened the gate")
        self._loop.call_soon_threadsafe(self._left.set)

    async def reached(self) -> None:
        """In the test: waits for the thread, while virtual time stands."""
        assert isinstance(self._loop, VirtualLoop)
        with self._loop.hold():
            await self._reached.wait()

    async def left(self) -> None:
        """In the test: waits until the thread has gone on, and its loop has heard so."""
        assert isinstance(self._loop, VirtualLoop)
        with self._loop.hold():
            await self._left.wait()

    def open(self) -> None:
        """Lets the thread on, now or when it comes."""
        self._opened.set()
