"""What was counted here, and what this worker does, told to the storage every few seconds."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from backroom.counting import Counts
from backroom.crew import WorkerReport
from backroom.errors import BackroomError, StorageError, level_of
from backroom.figure import Figures
from backroom.history import FINE, begin_of
from backroom.lifecycle import Loop
from backroom.ports import Clock
from backroom.watching import Watching

__all__ = ["Reporter", "Teller"]

log = logging.getLogger("backroom")

EVERY: Final = 5.0
"""Seconds between two tellings, on average."""
SPREAD: Final = 0.2
"""The part of that by which they differ, so that workers which began together do not tell
together."""
QUIET: Final = 30.0
"""The same of a worker that has nothing new to tell."""
MOST_UNTOLD: Final = 60
"""Tellings that wait for a storage that is away: five minutes. Then the oldest become one."""


class _Telling(NamedTuple):
    worker: int | None
    number: int
    figures: list[Figures]


class Teller:
    """Tells what was counted. What the storage could not take is told the next time, as it was: it
    may have been taken, and its reply be lost."""

    def __init__(self, storage: Watching, clock: Clock, counts: Counts) -> None:
        self._storage = storage
        self._clock = clock
        self._counts = counts
        self._untold: deque[_Telling] = deque()
        self._number = 0
        self._told = True
        """The last telling came to its end."""
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that it belongs to."""
        self._task: asyncio.Task[None] | None = None

    @property
    def news(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._counts) or bool(self._untold)

    async def tell(self, worker: int | None, report: WorkerReport | None) -> None:
        """Tells all that was counted so far; as this worker, or as none.

        Raises:
            StorageError: something is left to tell.
        """
        self._told = False
        if self._counts or (report is not None and not self._untold):
            at = begin_of(self._clock.now(), FINE)
            self._number += 1
            self._untold.append(_Telling(worker, self._number, self._counts.take(at)))
            self._fold()
        while self._untold:
            telling = self._untold[0]
            said = report if telling.worker == worker else None
            await self._storage.tell(telling.worker, telling.number, said, telling.figures)
            if self._untold and self._untold[0] is telling:
                self._untold.popleft()
        self._told = True

    # -- where no worker tells -------------------------------------------------------------------

    def soon(self) -> None:
        """Tells within some seconds, as no worker."""
        loop = asyncio.get_running_loop()
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(EVERY, self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._task = loop.create_task(self._tell_alone())

    async def _tell_alone(self) -> None:
        try:
            await self.tell(None, None)
        except Exception as error:
            _wait(error)
            self.soon()

    async def settle(self) -> None:
        """Another one tells from now on, or nobody; what is on its way arrives."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([task])
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def tell_last(self, worker: int | None, within: float) -> None:
        """Tells what is left, as nobody will later; if the storage takes it in time. One that did
        not take the last telling is not asked again. Whatever it raises, who ends goes on."""
        try:
            async with asyncio.timeout(within):
                await self.settle()
                if self.news and self._told:
                    await self.tell(worker, None)
        except Exception as error:
            log.info(
                "what was counted last is not part of the statistics: %r", error,
                exc_info=not isinstance(error, (BackroomError, TimeoutError)),
            )  # fmt: skip
        else:
            if self.news:
                log.info(
                    "what was counted last is not part of the statistics: the storage did not take"
                    " what came before"
                )

    def _fold(self) -> None:
        """The first one stays as it is, since it was tried."""
        if len(self._untold) <= MOST_UNTOLD:
            return
        older, newer = self._untold[1], self._untold[2]
        sums = {(one.queue, one.type): one for one in newer.figures}
        for one in older.figures:
            there = sums.get((one.queue, one.type))
            if there is None:
                newer.figures.append(one)
            else:
                there.add(one)
        del self._untold[1]


def _wait(error: Exception) -> None:
    """Who runs jobs says it louder."""
    odd = not isinstance(error, StorageError)
    level = level_of(error, logging.ERROR if odd else logging.INFO)
    said = "figures wait to be told until the storage answers: %r"
    log.log(level, said, error, exc_info=odd)


class Reporter(Loop):
    """Tells for one worker, from `start` to `stop`; and has the depth of queues looked at."""

    def __init__(
        self,
        storage: Watching,
        clock: Clock,
        teller: Teller,
        *,
        worker: Callable[[], int],
        report: Callable[[], WorkerReport],
        chance: Callable[[], float],
    ) -> None:
        super().__init__("reporter")
        self._storage = storage
        self._clock = clock
        self._teller = teller
        self._worker = worker
        self._report = report
        self._chance = chance
        self._said: object = None
        """What was running, as of the last report."""
        self._next_report = 0.0
        self._sampled = 0
        """When the stretch began of which depths were last looked at."""

    async def leave(self, within: float) -> None:
        """`stop`; a telling that is not answered in time is given up."""
        try:
            await asyncio.wait_for(self.stop(), within)
        except TimeoutError:
            log.debug("a telling is given up: no answer within %g s", within)

    async def turn(self) -> float | None:
        try:
            await self._tell()
            await self._sample()
        except StorageError as error:
            _wait(error)
        return EVERY * (1 + SPREAD * (self._chance() - 0.5))

    async def _tell(self) -> None:
        worker, report = self._worker(), self._report()
        said = (worker, report.running, report.active, report.ahead, report.queues)
        now = self._clock.uptime()
        if said != self._said or now >= self._next_report or self._teller.news:
            await self._teller.tell(worker, report)
            self._said, self._next_report = said, now + QUIET

    async def _sample(self) -> None:
        now = self._clock.now()
        at = begin_of(now, FINE)
        if at != self._sampled:
            await self._storage.sample(now)
            self._sampled = at
