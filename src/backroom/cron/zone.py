"""What the clocks of a time zone show, and when they are set forward or back.

A moment is in whole seconds since 1970 (UTC). A wall time is what the clock shows, in seconds, as
`pattern.py` counts them.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from backroom.errors import ConfigurationError

__all__ = ["Zone"]


class Zone:
    """A time zone."""

    __slots__ = ("_epoch", "_zone")

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._epoch = datetime(1970, 1, 1, tzinfo=zone)

    @staticmethod
    @lru_cache(maxsize=1024)
    def named(name: str) -> Zone:
        """The zone of an IANA name. There is one of each: its file is read once.

        Raises:
            ConfigurationError: there is none.
        """
        try:
            return Zone(ZoneInfo(name))
        except (LookupError, ValueError, OSError):  # OSError: the name of a folder of them
            raise ConfigurationError(
                f"there is no time zone {name!r}{_near(name)} (IANA names are taken, such as"
                " 'Europe/Paris' or 'UTC')"
            ) from None

    def shown(self, moment: int) -> int:
        """The wall time at a moment."""
        return moment + _offset(datetime.fromtimestamp(moment, self._zone))

    def first(self, wall: int) -> int:
        """When a wall time is shown; if that is twice, the first time."""
        local = self._epoch + timedelta(seconds=wall)
        return wall - _offset(local)

    def second(self, wall: int) -> int:
        """When a wall time is shown; if that is twice, the second time.

        If it is never shown, since the clock is set forward over it, this is before the clock is
        set forward, and `first` after it, or just then: only then `first` is the later one.
        """
        local = (self._epoch + timedelta(seconds=wall)).replace(fold=1)
        return wall - _offset(local)

    def turn(self, before: int, after: int) -> int:
        """The moment in between, or the second one itself, from which on the clock is set
        otherwise than it was at the first."""
        offset = self.shown(before) - before
        moments = range(before, after + 1)
        return moments[bisect_left(moments, True, key=lambda at: self.shown(at) - at != offset)]


def _offset(local: datetime) -> int:
    """By how much its clock is ahead of UTC, in seconds."""
    offset = local.utcoffset() or timedelta()
    return offset.days * 86_400 + offset.seconds


def _near(name: str) -> str:
    """A hint at the zone whose name, or whose city, looks most like a wrong name."""
    import difflib

    known: dict[str, str] = {}
    for zone in sorted(available_timezones()):
        if not zone.startswith("Etc/GMT"):  # Their signs are the other way round than one thinks.
            known[zone.lower()] = zone
            known.setdefault(zone.rpartition("/")[2].lower(), zone)
    close = difflib.get_close_matches(name.lower().replace(" ", "_"), known, 1)
    return f"; did you mean {known[close[0]]!r}?" if close else ""
