"""The connections of one loop: those that idle, and how many are in use."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import asyncpg

from backroom.storage.postgres.mishaps import Mishap

__all__ = ["MOST", "OfLoop"]

log = logging.getLogger("backroom.storage")

MOST: Final = 6
"""Connections a loop has open at most, beside the one that listens."""
CLOSE: Final = 1.0
"""Seconds that a connection may take to say good-bye."""


class OfLoop:
    """The connections of one loop."""

    def __init__(self, most: int) -> None:
        self.idle: list[asyncpg.Connection] = []
        self.lent: set[asyncpg.Connection] = set()
        """Those that are in use."""
        self._wanted = False
        """The next one that comes back is for another loop."""
        self.back = asyncio.Event()
        """One of them is not any more."""
        self.room = asyncio.Semaphore(most)
        self.working: set[asyncio.Task[Any]] = set()
        self.minding = asyncio.get_running_loop().create_task(self._mind())

    def has_run(self, task: asyncio.Task[Any]) -> None:
        """Work has come to its end. Where its caller has left meanwhile, nobody asks how."""
        self.working.discard(task)
        if not task.cancelled():
            task.exception()

    def take(self) -> asyncpg.Connection | None:
        """One that idles."""
        while self.idle:
            link = self.idle.pop()
            if not link.is_closed():
                return link
        return None

    def keep(self, link: asyncpg.Connection) -> None:
        """It is as good as before."""
        if self._wanted:
            self._wanted = False
            link.terminate()
        else:
            self.idle.append(link)

    def spare_some(self) -> None:
        """Another loop has none: what idles goes, or else the next one that comes back."""
        self._wanted = not self.idle and bool(self.lent)
        self.drop_idle()

    def put_back(self, link: asyncpg.Connection, mishap: Mishap) -> None:
        """After something went wrong on it."""
        if mishap in (Mishap.REFUSED, Mishap.AGAIN):
            self.keep(link)
            return
        link.terminate()
        if mishap is not Mishap.ODD:
            self.drop_idle()

    def drop_idle(self) -> None:
        """What befell another one befell them, too."""
        for link in self.idle:
            link.terminate()
        self.idle.clear()

    def give_up(self) -> None:
        """Those that are in use answer no more."""
        for link in self.lent:
            link.terminate()

    async def close(self) -> None:
        """When all that runs has ended."""
        if self.working:
            await asyncio.wait(self.working)
        idle, self.idle = self.idle, []
        await asyncio.gather(*map(_close, idle))
        self.minding.cancel()
        await asyncio.wait([self.minding])

    async def _mind(self) -> None:
        """Who runs a loop to its end cancels what is left on it: then these end, too."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.drop_idle()
            await asyncio.sleep(0)  # The sockets are closed in the loop's next turn.


async def _close(link: asyncpg.Connection) -> None:
    try:
        await link.close(timeout=CLOSE)
    except Exception as error:  # It is gone all the same: asyncpg aborts what does not answer.
        log.debug("a connection did not say good-bye: %r", error)
