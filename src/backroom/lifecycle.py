"""Start and stop, written once for all loops."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

from backroom.errors import level_of

__all__ = ["Loop"]

log = logging.getLogger("backroom")


class Loop(ABC):
    """A task that looks, then waits for a signal or a moment, until it is stopped.

    `start` and `stop` are safe to call twice, and `stop` unstarted. A turn that raises is
    logged and tried again after a pause that grows to `MAX_PAUSE` seconds: a loop never dies
    silently.
    """

    MAX_PAUSE = 5.0

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._signal = asyncio.Event()
        self._stopping = False

    @abstractmethod
    async def turn(self) -> float | None:
        """One look. Returns how many seconds to wait at most; None: until the signal."""

    def start(self) -> None:
        if self._task is None:
            self._stopping = False
            self._task = asyncio.create_task(self._run(), name=f"backroom-{self._name}")

    def signal(self) -> None:
        """Ends the present wait."""
        self._signal.set()

    async def stop(self) -> None:
        """Lets the turn under way end."""
        self._stopping = True
        self._signal.set()
        task, self._task = self._task, None
        if task is not None:
            await task

    async def _run(self) -> None:
        pause = 0.1
        while not self._stopping:
            self._signal.clear()
            try:
                wait = await self.turn()
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                    raise  # Not a call that was cancelled, but this loop itself.
                log.log(
                    level_of(error, logging.ERROR), "the %s failed; it goes on in %.1f s",
                    self._name, pause, exc_info=True,
                )  # fmt: skip
                wait, pause = pause, min(pause * 2, self.MAX_PAUSE)
                await self._pause(wait)
                continue
            pause = 0.1
            if wait is None or wait > 0:
                await self._sleep(wait)

    async def _pause(self, seconds: float) -> None:
        """Like `_sleep`, but signals do not end it: what fails is not asked any sooner because
        more comes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._stopping and (left := until - loop.time()) > 0:
            self._signal.clear()
            await self._sleep(left)

    async def _sleep(self, seconds: float | None) -> None:
        if self._stopping or self._signal.is_set():
            return
        timer = None
        if seconds is not None:
            timer = asyncio.get_running_loop().call_later(seconds, self._signal.set)
        await self._signal.wait()
        if timer is not None:
            timer.cancel()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
