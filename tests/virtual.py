"""Virtual time for the engine's own tests: what `backroom.testing` has, and what only they need."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, Final

from backroom.runner import Runner
from backroom.testing import virtual
from backroom.testing.virtual import MOST_JUMPS, PATIENCE, Stuck

__all__ = ["Gate", "Stuck", "VirtualClock", "VirtualLoop"]

WALL: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


class VirtualLoop(virtual.VirtualLoop):
    """Keeps what nobody caught, for the test to see that there is nothing."""

    def __init__(self, most_jumps: int = MOST_JUMPS) -> None:
        super().__init__(most_jumps)
        self.unhandled: list[dict[str, Any]] = []
        """What nobody caught: exceptions of callbacks and of forgotten tasks."""
        self.set_exception_handler(lambda _, context: self.unhandled.append(context))


class VirtualClock(virtual.VirtualClock):
    """Begins at the same moment in every test; the test may make its wall clock take steps."""

    def __init__(self, loop: VirtualLoop, wall: datetime = WALL) -> None:
        super().__init__(loop, wall)
        self._began = loop.time()
        self._of = loop

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock, forward or back."""
        self.move(seconds)

    @property
    def elapsed(self) -> float:
        """Seconds since this clock was made, whatever steps the wall clock took."""
        return self._of.time() - self._began


class Gate:
    """Where a real thread waits until the test lets it on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reached = asyncio.Event()
        self._left = asyncio.Event()
        self._opened = threading.Event()
        self._thread = 0

    def wait(self) -> None:
        """In the thread: says that it is here, and waits."""
        self._thread = threading.get_ident()
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
        """In the test: waits until the thread has gone on to the end of its handler, and the
        loop has heard so."""
        assert isinstance(self._loop, VirtualLoop)
        with self._loop.hold():
            await self._left.wait()
            while self._in_handler():
                await asyncio.to_thread(time.sleep, 0.001)

    def _in_handler(self) -> bool:
        frame = sys._current_frames().get(self._thread)
        while frame is not None:
            if frame.f_code is Runner._run_thread.__code__:
                return True
            frame = frame.f_back
        return False

    def open(self) -> None:
        """Lets the thread on, now or when it comes."""
        self._opened.set()
