"""Ticks of schedules to jobs, once each. No worker leads: the storage carries out what was decided
first, and nothing of what others decided of the same tick."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Final

from backroom.errors import level_of
from backroom.identity import JobIds
from backroom.inspecting import Inspection
from backroom.job import SECOND, microseconds
from backroom.lifecycle import Loop
from backroom.planning import Planning
from backroom.ports import Clock
from backroom.schedule import Firing, ScheduleRecord
from backroom.ticking import Last, decide, read_rule

__all__ = ["Scheduler"]

log = logging.getLogger("backroom")

BATCH: Final = 200
"""Schedules that are decided and fired in one change."""
TURN: Final = 0.005
"""Seconds of one turn of the event loop in which schedules are decided."""
ALONE: Final = 10
"""Where there is no schedule at all, it looks so many times as seldom."""
SET_ASIDE: Final = 60.0
"""Seconds until a schedule is tried again that could not be decided or fired."""
BEHIND: Final = 0.02
"""Seconds by which it comes later where other workers were always first: so several do not do
the same work at each tick, and if the first one is gone, another one soon is."""
AFTER: Final = 0.05
"""Seconds from the end of a job to a look whether a tick has waited for it: one for all that ends
meanwhile."""


class Scheduler(Loop):
    """Every worker does it, for all schedules. Sleeps until the next tick, or until somebody
    changes a schedule; `poll_interval` is the fallback for a wake-up that was lost, and for a
    wall clock that was set forward."""

    MAX_PAUSE = 2.0

    def __init__(
        self,
        planning: Planning,
        inspection: Inspection,
        clock: Clock,
        poll_interval: float,
        *,
        fired: Callable[[Sequence[Firing]], None] = lambda _: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Both seams are of one storage. `fired` is called with what stands of what was decided
        here."""
        super().__init__("scheduler")
        self._planning = planning
        self._inspection = inspection
        self._clock = clock
        self._poll = poll_interval
        self._fired = fired
        self._chance = chance
        self._make_id = JobIds()
        self._aside: dict[str, tuple[int, float]] = {}
        """Schedules that are left alone: their revision, and until when, in uptime."""
        self._waiting = 0
        """Schedules whose ticks wait for the job of an earlier one, as of the last look."""
        self._called: asyncio.TimerHandle | None = None
        self._refused: dict[str, int] = {}
        """Those that could not be fired, and at which tick."""
        self._behind = 0.0
        self._next = 0
        """The moment before which nothing comes, as of the last look."""
        self._looking = True

    @property
    def idle(self) -> bool:
        """It has looked, and nothing has come since."""
        return not self._looking and self._clock.now() < self._next

    def signal(self) -> None:
        self._looking = True
        super().signal()

    def finished(self) -> None:
        """Some job has ended: perhaps one that a tick has waited for."""
        if self._waiting and self._called is None:
            self._looking = True
            self._called = asyncio.get_running_loop().call_later(AFTER, self._call)

    def _call(self) -> None:
        self._called = None
        self.signal()

    async def stop(self) -> None:
        if self._called is not None:
            self._called.cancel()
        await super().stop()

    async def turn(self) -> float | None:
        self._looking = True
        if self._behind:
            await asyncio.sleep(self._behind)
        now = self._clock.now()
        self._forget_aside()
        limit = BATCH + len(self._aside) + self._waiting
        found, following = await self._planning.due_schedules(now, limit)
        due = [record for record in found if not self._is_aside(record)]
        self._waiting = await self._decide(due, now) if due else 0
        if self._waiting < len(due):
            return 0.0  # More may have come, or be left.
        self._next = now + round(self._poll * SECOND * (1 if found or following else ALONE))
        if following is not None:
            self._next = min(self._next, following)
        self._looking = self._called is not None
        return max(0.0, (self._next - self._clock.now()) / SECOND)

    async def _decide(self, due: Sequence[ScheduleRecord], now: int) -> int:
        """Returns how many of them wait for the job of an earlier tick."""
        lasts = await self._lasts(due, now)
        firings: list[Firing] = []
        waiting = 0
        turn = self._clock.uptime() + TURN
        for record in due:
            if self._clock.uptime() > turn:
                await asyncio.sleep(0)
                turn = self._clock.uptime() + TURN
            try:
                last = lasts.get(record.name, Last())
                rule = read_rule(record)
                firing = decide(record, rule, now, last, self._make_id, self._chance)
            except Exception as error:
                self._set_aside(record, f"cannot be decided: {error}", error)
                continue
            if firing is None:
                waiting += 1
            else:
                firings.append(firing)
        if firings:
            await self._fire(due, firings)
        return waiting

    async def _fire(self, due: Sequence[ScheduleRecord], firings: list[Firing]) -> None:
        stands = await self._planning.fire(firings, self._clock.now())
        by_name = {record.name: record for record in due}
        for firing, stood in zip(firings, stands, strict=True):
            name = firing.schedule
            if stood:
                self._refused.pop(name, None)
            elif self._refused.get(name) == firing.expected:
                del self._refused[name]
                self._set_aside(by_name[name], "could not be fired; see above", None)
            else:
                self._refused[name] = firing.expected
        self._behind = 0.0 if any(stands) else BEHIND
        if any(stands):
            pairs = zip(firings, stands, strict=True)
            self._fired([firing for firing, stood in pairs if stood])

    async def _lasts(self, due: Sequence[ScheduleRecord], now: int) -> dict[str, Last]:
        """How the last jobs of those stand that do not want them to run beside each other."""
        asked = {
            record.name: record.last_job
            for record in due
            if record.overlap != "allow" and record.last_job is not None
        }
        if not asked:
            return {}
        outlooks = await self._inspection.outlook(list(asked.values()), now)
        lasts = {
            name: Last(live=not outlooks[job].status.terminal)
            for name, job in asked.items()
            if job in outlooks
        }
        for record in due:
            last = lasts.get(record.name)
            if record.overlap == "queue" and last is not None and not last.live:
                info = await self._inspection.find(asked[record.name], now)
                if info is not None and info.finished_at is not None:
                    lasts[record.name] = Last(ended_at=microseconds(info.finished_at))
        return lasts

    # -- what is left alone ----------------------------------------------------------------------

    def _is_aside(self, record: ScheduleRecord) -> bool:
        aside = self._aside.get(record.name)
        return aside is not None and aside[0] == record.revision

    def _set_aside(self, record: ScheduleRecord, why: str, error: Exception | None) -> None:
        log.log(
            logging.ERROR if error is None else level_of(error, logging.ERROR),
            "schedule %r (%s) %s; it is tried again in %.0f s, and the others go on",
            record.name, record.rule, why, SET_ASIDE,
        )  # fmt: skip
        self._aside[record.name] = (record.revision, self._clock.uptime() + SET_ASIDE)

    def _forget_aside(self) -> None:
        now = self._clock.uptime()
        for name in [name for name, (_, until) in self._aside.items() if until <= now]:
            del self._aside[name]
