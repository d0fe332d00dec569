"""From the storage to the lanes: claims ahead, counts starts, gives back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from backroom.errors import BackroomError, LeaseLostError
from backroom.job import SECOND
from backroom.lanes import Lanes
from backroom.lifecycle import Loop
from backroom.ports import Clock, JobStorage, Want
from backroom.transition import Claim

__all__ = ["Claimer"]

log = logging.getLogger("backroom")


class Claimer(Loop):
    """Fills one set of lanes. Sleeps until there is room and something may be due.

    `signal` means "look into the storage": a wake-up came. `refill` means only that slots
    became free. `poll_interval` is the fallback for a wake-up that was lost.
    """

    def __init__(
        self,
        storage: JobStorage,
        lanes: Lanes,
        clock: Clock,
        poll_interval: float,
        *,
        worker: Callable[[], int],
        keep: Callable[[], list[int]],
        pump: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        """`keep` names the claims the worker knows of; `pump` is called when jobs became
        ready; `lost` when the lease is gone."""
        super().__init__(f"claimer of {lanes.name}")
        self._storage = storage
        self._lanes = lanes
        self._clock = clock
        self._poll = poll_interval
        self._worker = worker
        self._keep = keep
        self._pump = pump
        self._lost = lost
        self._look = True
        self._next_look = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self.idle = False
        """The last look found nothing due."""

    def signal(self) -> None:
        self._look = True
        super().signal()

    def refill(self) -> None:
        """Slots became free: clears the next jobs, and claims more if more are there."""
        self._lanes.pace()
        self._clear()
        if self._look and not self._signal.is_set():
            self._signal.set()

    async def turn(self) -> float | None:
        if not self._look and self._clock.uptime() >= self._next_look:
            self._look = True
        if self._look:
            now = self._clock.now()
            want = self._lanes.want(now)
            if want is None:
                self.idle = False
                return self._poll
            self._look = False
            return await self._claim(want, now)
        return max(0.0, self._next_look - self._clock.uptime())

    async def _claim(self, want: Want, now: int) -> float:
        try:
            claimed = await self._storage.claim(self._worker(), want, now)
        except LeaseLostError:
            self._look = True
            self._lost()
            return self._poll
        except BackroomError:
            # Claims whose reply was lost are ours without our knowing: give them back.
            self._look = True
            await self.return_unknown()
            raise
        self._lanes.accept(claimed.claims, claimed.started)
        self.idle = not claimed.claims and not claimed.more
        if claimed.claims:
            self._pump()
            self._clear()
        if claimed.more:
            self._look = True
            return 0.0 if claimed.claims else self._poll
        wait = self._poll
        if claimed.next_due is not None:
            wait = min(wait, max(0.0, (claimed.next_due - self._clock.now()) / SECOND))
        self._next_look = self._clock.uptime() + wait
        return wait

    async def return_unknown(self) -> None:
        """Gives back claims that the storage may hold for us without our knowing: their reply
        was lost, or nobody waits for it any more."""
        self._lanes.closed += 1
        try:
            while self._lanes.coming:
                await asyncio.sleep(0.01)
            await self._storage.give_back(self._worker(), self._keep())
        except BackroomError as error:
            log.warning("claims whose reply was lost could not be given back: %s", error)
        finally:
            self._lanes.closed -= 1

    # -- starts ----------------------------------------------------------------------------------

    def _clear(self) -> None:
        """Counts the next jobs of the lanes as started, with the next group commit."""
        claims = self._lanes.clear(self._clock.now())
        if claims:
            task = asyncio.create_task(self._count(claims))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _count(self, claims: list[Claim]) -> None:
        try:
            await self._storage.start(self._worker(), [claim.key for claim in claims])
        except LeaseLostError:
            self._lanes.returned(claims)
            self._lost()
        except BackroomError:
            log.exception("%d starts could not be counted; those jobs go back", len(claims))
            self._lanes.returned(claims)
            self.signal()
        else:
            self._lanes.cleared(claims)
            self._pump()

    async def stop(self) -> None:
        await super().stop()
        if self._tasks:
            await asyncio.wait(self._tasks)
