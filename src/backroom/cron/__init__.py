"""Cron expressions, and their next tick after a moment. Pure: the moment is an argument.

Five fields, or six with the second first; or `@yearly`, `@annually`, `@monthly`, `@weekly`,
`@daily`, `@midnight`, `@hourly`::

    second        0-59
    minute        0-59
    hour          0-23
    day of month  1-31     L: the last one
    month         1-12     or JAN-DEC
    day of week   0-7      or SUN-SAT; 0 and 7 are Sunday; MON#2: the second Monday of a month;
                           FRIL or 5L: the last Friday

Each is `*`, a value, a range `9-17`, one of these with a step (`*/5`, `9-17/2`; `10/5` goes from 10
to the end), or a list of such, with commas. `?` is `*` in the fields of days. If both of these are
given a day matches that is in either; if one of them begins with `*`, one that is in both.

Where clocks are set forward or back there are two rules, and the field of the hour says which:

- It does not begin with `*`: each time of the clock that matches is one tick, at the first moment
  at which the clock shows that time or a later one. So a time that is skipped ticks as soon as the
  clock is set forward, all that are skipped at once tick once, and what is shown twice ticks the
  first time.
- It begins with `*`: there is a tick whenever the clock shows a time that matches. So what is
  shown twice ticks twice, what is skipped does not tick, and `*/15 * * * *` ticks every
  15 minutes, whatever the clock does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from backroom.cron.pattern import Pattern
from backroom.cron.zone import Zone
from backroom.errors import ConfigurationError

__all__ = ["Cron"]

_SECOND: Final = 1_000_000
"""How many units of a moment make a second."""
_FIRST: Final = -62_100_000_000
_LAST: Final = 253_300_000_000
"""The years 2 to 9996: a calendar ends, and an offset must not lead beyond."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression, read in a time zone.

    Args:
        text: the expression; the docstring of this module says what may stand in it.
        tz: the IANA name of the zone whose clocks are meant, such as "Europe/Paris".

    Raises:
        ConfigurationError: the text is no expression (the message says which field and which
            column), or there is no such zone.
    """

    text: str
    tz: str = "UTC"
    _pattern: Pattern = field(init=False, repr=False, compare=False)
    _zone: Zone = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ConfigurationError(f"a cron expression is text, got {self.text!r}")
        if not isinstance(self.tz, str):
            raise ConfigurationError(
                f"a time zone is given by its IANA name, such as 'Europe/Paris', got {self.tz!r}"
            )
        object.__setattr__(self, "_pattern", Pattern.read(self.text))
        object.__setattr__(self, "_zone", Zone.named(self.tz))

    def next(self, after: int) -> int | None:
        """The first tick later than a moment; both are microseconds since 1970 (UTC).

        None: there is none in the next 50 years, such as of 30 February.
        """
        now = max(after // _SECOND, _FIRST)
        if now > _LAST:
            return None
        tick = self._elapsed(now) if self._pattern.fields.hour.wild else self._fixed(now)
        return None if tick is None else tick * _SECOND

    def _fixed(self, now: int) -> int | None:
        """Each time of the clock once: the first moment at which it shows that or a later one."""
        zone = self._zone
        wall = zone.shown(now)
        first = zone.first(wall)
        if first < now:
            # It is shown again. All that was shown until the clock was set back has ticked.
            wall = zone.shown(zone.turn(first, now) - 1)
        match = self._pattern.after(wall)
        if match is None:
            return None
        first, second = zone.first(match), zone.second(match)
        return first if first <= second else zone.turn(second, first)

    def _elapsed(self, now: int) -> int | None:
        """Whenever the clock shows a time that matches."""
        zone = self._zone
        wall = zone.shown(now)
        second = zone.second(wall)
        # If this will be shown again: when the clock is set back for that.
        back = zone.turn(now, second) if now < second else None
        while (match := self._pattern.after(wall)) is not None:
            first, second = zone.first(match), zone.second(match)
            if first > second:  # Never shown: go on with what is, after it.
                wall = zone.shown(zone.turn(second, first)) - 1
            elif back is not None and first >= back:  # Something may match again before.
                now, wall, back = back - 1, zone.shown(back) - 1, None
            else:
                return first if first > now else second
        return None

    def explain(self) -> str:
        """What it says in plain English: "at 09:00, Monday to Friday (Europe/Paris)"."""
        from backroom.cron.words import explain

        return f"{explain(self._pattern.fields)} ({self.tz})"
