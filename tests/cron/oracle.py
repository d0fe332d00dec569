"""The ticks of an expression by brute force: every minute, or second, is looked at.

It follows the clock of a zone from one moment to the next, and knows nothing of how `backroom.cron`
finds a tick; of `zoneinfo` it only asks what the clock shows at a moment.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from backroom.cron import Cron
from tests.cron.meaning import Meaning

__all__ = ["HOUR", "MINUTE", "Walk", "day_of", "shown", "ticks_of"]

SECOND = 1_000_000
MINUTE = 60
HOUR = 3600
DAY = 86_400


class _Seconds(dict[timedelta | None, int]):
    """Of offsets; there are few, and they are asked for a million times."""

    def __missing__(self, offset: timedelta | None) -> int:
        assert offset is not None
        return self.setdefault(offset, offset // timedelta(seconds=1))


_seconds = _Seconds()


def shown(zone: ZoneInfo, moment: int) -> int:
    """What the clock shows at a moment, in seconds since it showed 1970-01-01."""
    return moment + _seconds[datetime.fromtimestamp(moment, zone).utcoffset()]


def day_of(wall: int) -> date:
    return _days(wall // DAY)


@cache
def _days(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=number)


class Walk:
    """What a clock shows from one moment to another, in steps of a minute or a second."""

    def __init__(self, zone: ZoneInfo, first: int, last: int, step: int = MINUTE) -> None:
        self._whenever: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        """For each time of a day: the moments at which it is shown, each with what is shown."""
        self._once: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        """The moments from which on it is behind: shown for the first time, or skipped."""
        latest = shown(zone, first) - step
        for moment in range(first, last + 1, step):
            wall = shown(zone, moment)
            self._whenever[wall % DAY].append((moment, wall))
            while latest < wall:
                latest += step
                self._once[latest % DAY].append((moment, latest))

    def ticks(self, text: str, first: int, last: int) -> list[int]:
        """The moments at which an expression ticks, from the first to the last of these two."""
        meaning = Meaning(text)
        times = self._once if meaning.once else self._whenever
        found = set()
        for time in meaning.times():
            for moment, wall in times.get(time, ()):
                if first <= moment <= last and meaning.on(day_of(wall)):
                    found.add(moment)
        return sorted(found)


def ticks_of(cron: Cron, first: int, last: int) -> list[int]:
    """What `next` says they are, from the first moment to the last."""
    found = []
    moment = first * SECOND - 1
    while (tick := cron.next(moment)) is not None and tick <= last * SECOND:
        assert tick > moment, "it has to be later, or this never ends"
        assert tick % SECOND == 0
        found.append(tick // SECOND)
        moment = tick
    return found
