"""What the clocks of a time zone show, and when they are set forward or back.

A moment is in whole seconds since 1970 (UTC). A wall time is what the clock shows, in seconds, as
`pattern.py` counts them.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from backroom.errors import ConfigurationError

__all__ = ["Zone"]

_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


class Zone:
    """A time zone.

    Raises:
        ConfigurationError: there is none of this name.
    """

    __slots__ = ("_zone",)

    def __init__(self, name: object) -> None:
        if not isinstance(name, str):
            raise ConfigurationError(
                f"a time zone is given by its IANA name, such as 'Europe/Paris', got {name!r}"
            )
        try:
            self._zone = ZoneInfo(name)
        except (LookupError, ValueError, OSError):  # OSError: the name of a folder of them
            raise ConfigurationError(
                f"there is no time zone {name!r}{_near(name)} (IANA names are taken, such as"
                " 'Europe/Paris' or 'UTC')"
            ) from None

    def shown(self, moment: int) -> int:
        """The wall time at a moment."""
        local = (_EPOCH_UTC + timedelta(seconds=moment)).astimezone(self._zone)
        return (local.replace(tzinfo=None) - _EPOCH) // _SECOND

    def moments(self, wall: int) -> tuple[int, int]:
        """When a wall time is shown, the first time and the second; mostly they are the same.

        If it is never shown, since the clock is set forward over it, the first is later than the
        second, and it is set forward after the second and not after the first.
        """
        local = (_EPOCH + timedelta(seconds=wall)).replace(tzinfo=self._zone)
        return int(local.timestamp()), int(local.replace(fold=1).timestamp())

    def turn(self, before: int, after: int) -> int:
        """The moment in between, or the second one itself, from which on the clock is set
        otherwise than it was at the first."""
        offset = self.shown(before) - before
        moments = range(before, after + 1)
        return moments[bisect_left(moments, True, key=lambda at: self.shown(at) - at != offset)]


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
