"""From the storage to the lanes: claims ahead, counts starts, gives back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from backroom.crowds import Item, claims_of
from backroom.errors import LeaseLostError, level_of
from backroom.job import SECOND
from backroom.lanes import Lanes
from backroom.lifecycle import Loop
from backroom.ports import Claimed, Clock, JobStorage, Want
from backroom.transition import Claim

__all__ = ["Claimer"]

log = logging.getLogger("backroom")

SHUT: Final = 0.05
"""Seconds until the next look while the lanes are closed."""


class Claimer(Loop):
    """Fills one set of lanes. Sleeps until there is room and something may be due.

    `signal` means "look into the storage": a wake-up came. `refill` means only that slots
    became free. `poll_interval` is the fallback for a wake-up that was lost.
    """

    MAX_PAUSE = 2.0
    """Jobs wait no longer for a storage that is back."""

    def __init__(
        self,
        storage: JobStorage,
        lanes: Lanes,
        clock: Clock,
        poll_interval: float,
        *,
        types: Callable[[], Mapping[str, int]],
        worker: Callable[[], int],
        stands_for: Callable[[int], bool],
        pump: Callable[[], None],
        unsaid: Callable[[Iterable[Claim]], Mapping[int, str]],
        restrict: Callable[[Claim, str], None],
        unwanted: Callable[[Claim], bool],
        release: Callable[[list[Claim]], None],
        return_unknown: Callable[[], Awaitable[None]],
        lost: Callable[[int], None],
    ) -> None:
        """`types` are those that have a handler here; `pump` is called when jobs became ready;
        `unsaid` says, by key, what jobs are to be kept with whose limits were not said when made,
        and `restrict` gives it back with that; `unwanted` says of a claim whether people paused its
        queue or cancelled it while it was being counted as started; `release` is called with claims
        that are not to be run; `return_unknown` when the storage may hold claims for this worker
        that it does not know of; `lost` when the lease of the worker with this number is gone."""
        super().__init__(f"claimer of {lanes.name}")
        self._storage = storage
        self._lanes = lanes
        self._clock = clock
        self._poll = poll_interval
        self._types = types
        self._worker = worker
        self._stands_for = stands_for
        self._pump = pump
        self._unsaid = unsaid
        self._restrict = restrict
        self._unwanted = unwanted
        self._release = release
        self._return_unknown = return_unknown
        self._lost = lost
        self._look = True
        self._next_look = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._bell: asyncio.TimerHandle | None = None
        """Rings when jobs have waited for company long enough."""
        self.claiming = False
        """A claim is on its way."""
        self.idle = False
        """The last look found nothing due."""

    def signal(self) -> None:
        self._look = True
        self.idle = False
        super().signal()

    def refill(self) -> None:
        """Slots became free: clears the next jobs, and claims more if more are there."""
        self._lanes.pace()
        self._pump()
        self._clear()
        if self._look and not self._signal.is_set():
            self._signal.set()

    async def turn(self) -> float | None:
        self._pump()  # What was ready while the lease did not stand, or too much was unrecorded.
        if self._lanes.drained:  # Who ends that rings.
            self.idle = True
            return None
        if not self._look and self._clock.uptime() >= self._next_look:
            self._look = True
        if self._look:
            # What is claimed without a lease only goes back, and wakes us to claim it again.
            if self._lanes.closed or not self._stands_for(self._worker()):
                self.idle = False
                return SHUT
            now = self._clock.now()
            want = self._lanes.want(now, self._types())
            surplus = self._lanes.trim()
            if surplus:
                self._release(surplus)
            if want is None:
                self.idle = False
                return self._poll
            self._look = False
            return await self._claim(want, now)
        return max(0.0, self._next_look - self._clock.uptime())

    async def _claim(self, want: Want, now: int) -> float:
        worker = self._worker()
        self.claiming = True
        began = self._clock.uptime()
        try:
            claimed = await self._storage.claim(worker, want, now)
            self._lanes.took(self._clock.uptime() - began)
        except LeaseLostError:
            self._look = True
            self._lost(worker)
            return self._poll
        except Exception:
            # Claims whose reply was lost are ours without our knowing: give them back.
            self._look = True
            self.claiming = False
            await self._return_unknown()
            raise
        finally:
            self.claiming = False
        if self._lanes.drained or not self._stands_for(worker):
            self._look = True
            self._release(claimed.claims)
            return self._poll
        self._accept(claimed)
        self.idle = not claimed.claims and not claimed.more
        if claimed.claims or self._lanes.until_crowded() is not None:
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

    def _accept(self, claimed: Claimed) -> None:
        """All that is to be run; what has to be counted first goes back, to be claimed again."""
        claims, started = claimed.claims, claimed.started
        owing = self._unsaid(claims)
        if owing:
            for claim in claims:
                if claim.key in owing:
                    self._restrict(claim, owing[claim.key])
            started -= sum(claim.key in owing for claim in claims[:started])
            claims = [claim for claim in claims if claim.key not in owing]
        self._lanes.accept(claims, started, more=claimed.more)

    # -- starts ----------------------------------------------------------------------------------

    def _clear(self) -> None:
        """Counts the next jobs of the lanes as started, with the next group commit."""
        items = self._lanes.clear(self._clock.now())
        if items:
            task = asyncio.create_task(self._count(items))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._set_bell()

    def _set_bell(self) -> None:
        if self._bell is not None:
            self._bell.cancel()
            self._bell = None
        wait = self._lanes.until_crowded()
        if wait is not None:
            self._bell = asyncio.get_running_loop().call_later(wait, self._clear)

    async def _count(self, items: list[Item]) -> None:
        claims = claims_of(items)
        worker = self._worker()
        began = self._clock.uptime()
        try:
            await self._storage.start(worker, [claim.key for claim in claims])
        except LeaseLostError:
            self._lanes.returned(claims)
            self._lost(worker)
        except Exception as error:
            log.log(
                level_of(error, logging.ERROR),
                "%d starts could not be counted; those jobs go back", len(claims), exc_info=True,
            )  # fmt: skip
            self._lanes.returned(claims)
            self._release(claims)
        else:
            self._lanes.counted(self._clock.uptime() - began)
            if self._stands_for(worker):
                unwanted = [claim for claim in claims if self._unwanted(claim)]
                if unwanted:
                    self._lanes.returned(unwanted)
                    self._release(unwanted)
                self._lanes.cleared(items)
                self._pump()
            else:
                self._lanes.returned(claims)
                self._release(claims)

    async def stop(self) -> None:
        await super().stop()
        if self._bell is not None:
            self._bell.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
