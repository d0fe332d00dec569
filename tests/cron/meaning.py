"""What a cron expression means, said as simply as can be, and apart from the code under test."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, datetime
from functools import cache, lru_cache

__all__ = ["Meaning"]

MONTHS = ["", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


class Meaning:
    """Of one text: five fields or six, and no nickname."""

    def __init__(self, text: str) -> None:
        words = text.upper().split()
        if len(words) == 5:
            words.insert(0, "0")
        self.second, self.minute, self.hour, self.day, self.month, self.weekday = words
        for number, name in enumerate(MONTHS[1:], 1):
            self.month = self.month.replace(name, str(number))
        self.weekday = self.weekday.replace("-SUN", "-7")
        for number, name in enumerate(WEEKDAYS):
            self.weekday = self.weekday.replace(name, str(number))

    @property
    def once(self) -> bool:
        """Whether each time of the clock is meant once; else whenever the clock shows it."""
        return not self.hour.startswith("*")

    def matches(self, wall: datetime) -> bool:
        return (
            wall.second in _members(self.second, 0, 59)
            and wall.minute in _members(self.minute, 0, 59)
            and wall.hour in _members(self.hour, 0, 23)
            and self.on(wall.date())
        )

    def times(self) -> list[int]:
        """The times of a day that match, in seconds."""
        return [
            (hour * 60 + minute) * 60 + second
            for hour in _members(self.hour, 0, 23)
            for minute in _members(self.minute, 0, 59)
            for second in _members(self.second, 0, 59)
        ]

    def on(self, day: date) -> bool:
        return _on(self.day, self.month, self.weekday, day)


@cache
def _members(word: str, low: int, high: int) -> frozenset[int]:
    return frozenset(value for value in range(low, high + 1) if _among(value, word, low, high))


def _among(value: int, word: str, low: int, high: int) -> bool:
    for term in word.split(","):
        span, _, step = term.partition("/")
        ends = re.fullmatch(r"(\*|\?|\d+)(-(\d+))?", span)
        if ends is None:
            continue  # L or #: a matter of days
        first = low if ends[1] in "*?" else int(ends[1])
        last = int(ends[3]) if ends[3] else high if step or ends[1] in "*?" else first
        if value in range(first, last + 1)[:: int(step or 1)]:
            return True
    return False


@lru_cache(maxsize=100_000)
def _on(days: str, months: str, weekdays: str, day: date) -> bool:
    length = monthrange(day.year, day.month)[1]
    by_day = day.day in _members(days, 1, 31) or (day.day == length and "L" in days.split(","))
    by_weekday = any(_on_weekday(term, day, length) for term in weekdays.split(","))
    wild = days[0] in "*?" or weekdays[0] in "*?"
    return day.month in _members(months, 1, 12) and (
        (by_day and by_weekday) if wild else (by_day or by_weekday)
    )


def _on_weekday(term: str, day: date, length: int) -> bool:
    today = {day.isoweekday(), day.isoweekday() % 7}
    if "#" in term:
        weekday, number = map(int, term.split("#"))
        return weekday in today and (number - 1) * 7 < day.day <= number * 7
    if term.endswith("L"):
        return int(term[:-1]) in today and day.day > length - 7
    return not today.isdisjoint(_members(term, 0, 7))
