"""What keeps a store tidy: orphans back, ended jobs gone in time, nobody waits where room is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from backroom.lifecycle import Loop
from backroom.ports import Clock, Reclaimed, Store

__all__ = ["Upkeep"]

log = logging.getLogger("backroom")

SWEEP_EVERY: Final = 1.0
"""Seconds between two looks for dead workers, where the storage does not say."""
FOLD_EVERY: Final = 5.0
"""Seconds in which what changed is written down, until it is one number with all before."""
FREE_EVERY: Final = 5.0
"""Seconds between two looks whether somebody waits for room that is there."""
MANY: Final = 100
"""Where one look lets so many go on, there may be more."""
PRUNE_EVERY: Final = 30.0
MORE: Final = 0.05
"""Seconds until the next look where the last one has not come to the end."""
PAGE: Final = 500
"""How many jobs one transaction of retention removes."""


class Upkeep(Loop):
    """Every worker does it; that several do it at once changes nothing."""

    def __init__(
        self,
        storage: Store,
        clock: Clock,
        *,
        rescued: Callable[[Reclaimed], None] = lambda _: None,
        tended: Callable[[], None] = lambda: None,
    ) -> None:
        """`rescued` is called with what was taken back from dead workers; `tended` each time it
        has looked whether somebody waits for room."""
        super().__init__("upkeep")
        self._storage = storage
        self._clock = clock
        self._rescued = rescued
        self._tended = tended
        self._next_sweep = 0.0
        self._next_look = 0.0
        self._next_fold = 0.0
        self._next_prune = 0.0
        self.swept = False
        """It has looked, and is sure: what dead workers left can be claimed."""
        self.crashed = 0
        """Jobs taken back from dead workers that had started, so far."""
        self.untouched = 0

    async def turn(self) -> float | None:
        if self._clock.uptime() >= self._next_sweep:
            wait = await self._sweep()
            self._next_sweep = self._clock.uptime() + wait
        if self._clock.uptime() >= self._next_look:
            called = await self._storage.free_up(self._clock.now())
            self._tended()
            self._next_look = self._clock.uptime() + (FREE_EVERY if called < MANY else MORE)
        if self._clock.uptime() >= self._next_fold:
            await self._storage.fold(self._clock.now())
            self._next_fold = self._clock.uptime() + FOLD_EVERY
        if self._clock.uptime() >= self._next_prune:
            pruned = await self._storage.prune(self._clock.now(), PAGE)
            if pruned.more:
                return MORE
            self._next_prune = self._clock.uptime() + PRUNE_EVERY
        return max(0.0, min(self._next_sweep, self._next_look) - self._clock.uptime())

    async def _sweep(self) -> float:
        """Seconds until the next one."""
        reclaimed = await self._storage.reclaim(self._clock.now())
        if reclaimed.workers:
            self.crashed += reclaimed.crashed
            self.untouched += reclaimed.untouched
            self._rescued(reclaimed)
            log.warning(
                "took back the jobs of %s: %d had started, %d had not",
                ", ".join(reclaimed.workers), reclaimed.crashed, reclaimed.untouched,
            )  # fmt: skip
        self.swept = self.swept or not reclaimed.doubted
        return SWEEP_EVERY if reclaimed.again is None else reclaimed.again
