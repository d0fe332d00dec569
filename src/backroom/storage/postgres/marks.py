"""From where a claim looks, while rows that are gone cannot be cleared away.

A row that was claimed stays in the index until nobody can see it any more. While some session
holds a snapshot open, a backup or a report, that is not before it ends: each claim would pass over
all that was claimed since. So whoever finds that it does so begins where it last stopped. Order is
kept among what comes after; what has come before, such as a job that was given back in another
process, is found at the next look from the beginning, which comes within two seconds, or within ten
times what such a look takes, if that is longer.
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
SLOW: Final = 0.01
"""Seconds that a claim takes for nothing else."""
SLOW_EACH: Final = 0.00004
"""The same for each job of it."""
STALE: Final = 2.0
"""Seconds until the next look from the beginning, at least."""
SHARE: Final = 10
"""How many times as long as such a look it is at least."""
BEHIND: Final = SECOND
"""Microseconds that jobs may come late: where a claim had all there was, it stopped so long ago."""

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
        self._taken = 0

    @property
    def left(self) -> int:
        """Microseconds until the next look from the beginning; 0: that is the next one."""
        return max(0, round((self._until - self._clock()) * SECOND)) if self._marks else 0

    def columns(self) -> list[list[Any]]:
        """From where the next claim looks: queues, priorities, moments, ids."""
        if not self.left:
            self._marks.clear()
        marks = list(self._marks.items())
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
        self._lanes.update((claim.queue, claim.priority) for claim in claims)
        if not self.left:  # It was one from the beginning.
            if seconds < SLOW + SLOW_EACH * len(claims):
                self._taken = 0
            if self._taken < MANY:
                return
            self._until = self._clock() + max(STALE, SHARE * seconds)
        late = (now - BEHIND, 0)
        for claim in claims:
            lane, at = (claim.queue, claim.priority), (claim.run_at, claim.key)
            self._marks[lane] = min(late, max(at, self._marks.get(lane, at)))
        for lane in self._lanes:
            if not cut and _had_all(lane, want, claims):
                self._marks[lane] = late

    def lower(self, run_at: int) -> None:
        """A job waits from this moment on: who stopped behind it begins anew."""
        for lane, (moment, _) in list(self._marks.items()):
            if run_at <= moment:
                self._marks.pop(lane, None)

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
