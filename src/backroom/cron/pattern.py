"""Which times of the clock on the wall an expression matches.

A wall time is a number of seconds: what a clock shows, counted from its midnight of 1970-01-01 as
if no clock were ever set forward or back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import isleap
from datetime import MAXYEAR, date
from functools import lru_cache
from typing import Final

from backroom.cron.fields import LAST, Fields

__all__ = ["Pattern"]

YEARS: Final = 50
"""How far a match is looked for. Those that are farthest apart, 40 years, are such as a Sunday that
is 29 February."""

_EPOCH: Final = date(1970, 1, 1).toordinal()
_WEEKDAY: Final = 4
"""Of that day: Thursday."""
_LENGTHS: Final = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAY: Final = 86_400


class Pattern:
    """An expression, ready to be looked through."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self._seconds = fields.second.values
        self._minutes = fields.minute.values
        self._hours = fields.hour.values
        self._months = frozenset(fields.month.values)
        self._first = (self._hours[0] * 60 + self._minutes[0]) * 60 + self._seconds[0]
        self._days: dict[tuple[int, int], tuple[int, ...]] = {}

    @staticmethod
    @lru_cache(maxsize=4096)
    def read(text: str) -> Pattern:
        """Of equal texts there is one.

        Raises:
            ConfigurationError: it is no cron expression.
        """
        return Pattern(Fields.read(text))

    def after(self, wall: int) -> int | None:
        """The first match later than a wall time; None: there is none within 50 years."""
        today, second = divmod(wall, _DAY)
        later = self._later(second)
        civil = date.fromordinal(_EPOCH + today)
        year, month, day = civil.year, civil.month, civil.day
        start = today - day  # The day before the first of the month.
        if later is None:
            day += 1
        for _ in range(YEARS * 12):
            length = 29 if month == 2 and isleap(year) else _LENGTHS[month]
            if month in self._months:
                days = self._days_of((start + _WEEKDAY) % 7, length)
                index = bisect_left(days, day)
                if index < len(days):
                    found = start + days[index]
                    time = self._first if later is None or found > today else later
                    return found * _DAY + time
            start += length
            day = 1
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
            if year == MAXYEAR:
                break
        return None

    def _days_of(self, before: int, length: int) -> tuple[int, ...]:
        """The days that match of a month of so many days, whose first comes after that weekday
        (Sunday is 0). There are no more than 28 different months."""
        shape = before, length
        if shape not in self._days:
            self._days[shape] = tuple(
                day for day in range(1, length + 1) if self._matches(day, before + day, length)
            )
        return self._days[shape]

    def _matches(self, day: int, weekday: int, length: int) -> bool:
        """Whether a day matches; Sunday is weekday 0, 7 and so on."""
        days, weekdays = self.fields.day, self.fields.weekday
        by_day = day in days.values or (day == length and LAST in days.values)
        weekday %= 7
        by_weekday = (
            weekday in weekdays.values
            or (weekday, (day + 6) // 7) in weekdays.numbered
            or (day + 7 > length and (weekday, LAST) in weekdays.numbered)
        )
        if days.wild or weekdays.wild:
            return by_day and by_weekday
        return by_day or by_weekday

    def _later(self, second: int) -> int | None:
        """The first time of a day that matches and is later, in seconds from its midnight."""
        minute, second = divmod(second, 60)
        hour, minute = divmod(minute, 60)
        if hour in self._hours:
            if minute in self._minutes:
                index = bisect_right(self._seconds, second)
                if index < len(self._seconds):
                    return (hour * 60 + minute) * 60 + self._seconds[index]
            index = bisect_right(self._minutes, minute)
            if index < len(self._minutes):
                return (hour * 60 + self._minutes[index]) * 60 + self._seconds[0]
        index = bisect_right(self._hours, hour)
        if index < len(self._hours):
            return (self._hours[index] * 60 + self._minutes[0]) * 60 + self._seconds[0]
        return None
