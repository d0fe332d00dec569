"""When attempts are out of time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Attempts with the same timeout, in the order they end: one timer for all of them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout: float,
        late: Callable[[T], None],
        emptied: Callable[[], object],
    ) -> None:
        """`emptied` is called when no attempt has this timeout any more."""
        self._loop = loop
        self._timeout = timeout
        self._late = late
        self._emptied = emptied
        self._ends: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, running: T, uptime: float) -> None:
        end = uptime + self._timeout
        self._ends[running] = end
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._ring)

    def remove(self, running: T) -> None:
        self._ends.pop(running, None)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._ends:
            running, end = next(iter(self._ends.items()))
            if end > now:
                self._timer = self._loop.call_at(end, self._ring)
                return
            del self._ends[running]
            self._late(running)
        self._emptied()

    @property
    def empty(self) -> bool:
        """No attempt has this timeout now."""
        return not self._ends

    def close(self) -> None:
        """Forgets the timer of an empty group."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._emptied()
