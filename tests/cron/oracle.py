"""The ticks of an expression by brute force: every minute, or second, is looked at.

It follows the clock of a zone from one moment to the next, and knows nothing of how `backroom.cron`
finds a tick; of `zoneinfo` it only asks what the clock shows at a moment.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from backroom.cron import Cron
from tests.cron.meaning import Meaning

__all__ = ["HOUR", "MINUTE", "Walk", "day_of", "shown", "ticks_of"]

SECOND = 1_000_000
MINUTE = 60
HOUR = 3600
DAY = 86_400


def shown(zone: ZoneInfo, moment: int) -> int:
    """What the clock shows at a moment, in seconds since it showed 1970-01-01."""
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    assert offset is not None
    return moment + offset // timedelta(seconds=1)


@lru_cache(maxsize=100_000)
def day_of(wall: int) -> date:
    return date(1970, 1, 1) + timedelta(days=wall // DAY)


class Walk:
    """What a clock shows from one moment to another, in steps of a minute or a second."""

    def __init__(self, zone: ZoneInfo, first: int, last: int, step: int = MINUTE) -> None:
        self.step = step
        self._whenever: defaultdict[int, list[tuple[int, date]]] = defaultdict(list)
        """The moments at which it shows a time of the day, and the day that it is then."""
        self._once: defaultdict[int, list[tuple[int, date]]] = defaultdict(list)
        """The moments from which on a time of the day is behind it: also one that it skips."""
        latest = shown(zone, first) - step
        for moment in range(first, last + 1, step):
            wall = shown(zone, moment)
            self._whenever[wall % DAY].append((moment, day_of(wall)))
            while latest < wall:
                latest += step
                self._once[latest % DAY].append((moment, day_of(latest)))

    def ticks(self, text: str) -> list[int]:
        """The moments at which an expression ticks."""
        meaning = Meaning(text)
        times = self._once if meaning.once else self._whenever
        return sorted(
            {
                moment
                for time in meaning.times()
                if time in times
                for moment, day in times[time]
                if meaning.on(day)
            }
        )


def ticks_of(cron: Cron, first: int, last: int) -> list[int]:
    """What `next` says they are, from the first moment to the last."""
    found = []
    tick = cron.next(first * SECOND - 1)
    while tick is not None and tick <= last * SECOND:
        assert tick % SECOND == 0
        found.append(tick // SECOND)
        tick = cron.next(tick)
    return found
