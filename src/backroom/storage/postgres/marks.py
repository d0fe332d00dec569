"""From where a claim looks, while rows that are gone cannot be cleared away.

A row that was claimed stays in the index until nobody can see it any more. While some session
holds a snapshot open, a backup or a report, that is not before it ends: each claim would pass over
all that was claimed since. So whoever finds that it does so begins where it last stopped. Order is
kept among what comes after. What has come before is found by looks that begin sooner: four times a
second a second sooner, for jobs of a machine whose clock is behind or whose transaction took long;
and at the beginning, for a job that was given back in another process, say, within two seconds, or
within twenty times what such a look takes, if that is longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from backroom.job import SECOND
from backroom.ports import Want
from backroom.storage.postgres.texts import to_id, to_text
from backroom.transition import Claim

__all__ = ["Marks"]

MANY: Final = 2000
"""Jobs that this process has claimed before it may be slow for that."""
SLOW: Final = 0.005
"""Seconds that a claim takes for nothing else."""
SLOW_EACH: Final = 0.00002
"""The same for each job of it."""
STALE: Final = 2.0
"""Seconds until the next look from the beginning, at least."""
SHARE: Final = 20
"""How many times as long as such a look it is at least."""
BEHIND: Final = SECOND // 10
"""Microseconds that jobs may come late: where a claim had all there was, it stopped so long ago."""
LATE: Final = SECOND
"""Microseconds that a claim begins sooner now and then, for those that come later than that."""
GLANCE: Final = 0.25
"""Seconds between two that do."""

Lane = tuple[str, int]


class Marks:
    """By queue and priority: no job that waits is known to be before this moment and key."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: dict[Lane, tuple[int, int]] = {}
        self._lanes: set[Lane] = set()
        """Those from which this process has claimed."""
        self._until = 0.0
        """When the next look from the beginning is."""
        self._glance = 0.0
        """When the next claim begins a little sooner."""
        self._taken = 0

    @property
    def left(self) -> int:
        """Microseconds until the next look that begins sooner; 0: that is the next one."""
        if not self._stand:
            return 0
        return max(0, round((min(self._until, self._glance) - self._clock()) * SECOND))

    @property
    def _stand(self) -> bool:
        return bool(self._marks) and self._clock() < self._until

    def columns(self, *, claiming: bool = False) -> list[list[Any]]:
        """From where the next claim looks, or who wants to know of it: queues, priorities,
        moments, ids."""
        if not self._stand:
            self._marks.clear()
        marks = list(self._marks.items())
        if claiming and self._clock() >= self._glance:
            self._glance = self._clock() + GLANCE
            marks = [(lane, (run_at - LATE, 0)) for lane, (run_at, _) in marks]
        return [
            [to_text(queue) for (queue, _), _ in marks],
            [priority for (_, priority), _ in marks],
            [run_at for _, (run_at, _) in marks],
            [to_id(key) for _, (_, key) in marks],
        ]

    def took(
        self, want: Want, claims: Sequence[Claim], seconds: float, now: int, cut: bool
    ) -> None:
        """A claim took the server so long. `cut`: there were more than could be carried."""
        self._taken += len(claims)
        # In the order of their lane: what stays of each is its last one.
        last = {(claim.queue, claim.priority): (claim.run_at, claim.key) for claim in claims}
        self._lanes.update(last)
        if not self._stand:  # It was one from the beginning.
            # One that was quick proves little: it may have looked for what is critical alone.
            if self._taken < MANY or seconds < SLOW + SLOW_EACH * len(claims):
                return
            self._until = self._clock() + max(STALE, SHARE * seconds)
            self._glance = self._clock() + GLANCE
        late = (now - BEHIND, 0)
        for lane, at in last.items():
            self._marks[lane] = min(late, max(at, self._marks.get(lane, at)))
        for lane in self._lanes:
            if not cut and _had_all(lane, want, claims):
                self._marks[lane] = late

    def lower(self, run_at: int) -> None:
        """A job waits from this moment on: who stopped behind it goes back to it."""
        for lane, mark in list(self._marks.items()):
            self._marks[lane] = min(mark, (run_at, 0))

    def forget(self) -> None:
        """Jobs have come back."""
        self._marks.clear()


def _had_all(lane: Lane, want: Want, claims: Sequence[Claim]) -> bool:
    """Whether a claim that wanted more has had all of a lane that was due."""
    queue, priority = lane
    if queue in want.but or (want.queues is not None and queue not in want.queues):
        return False
    better = sum(claim.priority <= priority for claim in claims)
    return better + want.starving < want.rooms[priority]
