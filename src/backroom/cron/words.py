"""A cron expression in plain English: all that it says, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from backroom.cron.fields import LAST, Field, Fields

__all__ = ["explain"]

CLOCKS: Final = 6
"""How many times of the clock are told one by one."""
RUN: Final = 3
"""Values in a row from which on only the first and the last are told."""

WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
NUMBERS: Final = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", LAST: "last"}
EVERY_DAY: Final = tuple(range(1, 32))

Values = Sequence[int]


def explain(fields: Fields) -> str:
    """When it ticks, without the zone."""
    time, days, months = _time(fields), _days(fields), _months(fields.month.values)
    if re.match(r"at \d", time) and not days:
        days = "every day"
    return ", ".join(part for part in (time, days, months) if part)


# --- the time of the day ------------------------------------------------------------------------


def _time(fields: Fields) -> str:
    seconds, minutes, hours = fields.second.values, fields.minute.values, fields.hour.values
    if len(seconds) * len(minutes) * len(hours) <= CLOCKS:
        return "at " + _joined([_clock(h, m, s) for h in hours for m in minutes for s in seconds])
    if seconds != (0,):
        part = _part(seconds, "second")
        if not (part.startswith("every ") and len(minutes) == 60):
            part += _of(minutes, "minute", 60)
        return part + _in(hours)
    return _span(minutes, hours) or _minutes(minutes, hours)


def _span(minutes: Values, hours: Values) -> str:
    """Of times that are equally far apart from the first to the last; else it is empty."""
    gap = 60 if len(minutes) == 1 else _gap(minutes)
    whole = gap * len(minutes) == 60 and (_gap(hours) == 1 or len(hours) == 1)
    if not gap or not (whole or len(hours) == 1):
        return ""
    every = "every hour" if gap == 60 else _every(gap, "minute")
    if len(hours) == 24 and len(minutes) == 1:
        return f"{every} at minute {minutes[0]}" if minutes[0] else every
    if len(hours) == 24 and minutes[0] == 0:
        return every
    return f"{every} from {_clock(hours[0], minutes[0])} to {_clock(hours[-1], minutes[-1])}"


def _minutes(minutes: Values, hours: Values) -> str:
    step = _step(hours, 24)
    if len(minutes) == 1 and step:
        at = f" at minute {minutes[0]}" if minutes[0] else ""
        return _every(step, "hour") + at
    part = _part(minutes, "minute")
    return f"{part} of every hour" if len(hours) == 24 else part + _in(hours)


def _part(values: Values, unit: str) -> str:
    """ "every 5 minutes", "at minute 7", "at seconds 0, 7 and 10 to 20"."""
    step = _step(values, 60)
    return _every(step, unit) if step else f"at {_named(values, unit)}"


def _of(values: Values, unit: str, size: int) -> str:
    """Which ones of a unit the smaller unit before is counted in."""
    step = _step(values, size)
    if step == 1:
        return f" of every {unit}"
    return f" of every {_ordinal(step)} {unit}" if step else f" of {_named(values, unit)}"


def _in(hours: Values) -> str:
    if len(hours) == 24:
        return ""
    step = _step(hours, 24)
    return f", in every {_ordinal(step)} hour" if step else f", in the {_named(hours, 'hour')}"


def _named(values: Values, unit: str) -> str:
    return f"{unit}{'s' if len(values) > 1 else ''} {_series(values, str)}"


def _every(step: int, unit: str) -> str:
    return f"every {unit}" if step == 1 else f"every {step} {unit}s"


def _step(values: Values, size: int) -> int:
    """The step of values that go evenly round a unit of that size, from 0 on; else 0."""
    step = _gap(values)
    return step if step and values[0] == 0 and step * len(values) == size else 0


def _gap(values: Values) -> int:
    """How far values are apart, if that is the same for all of them; else 0."""
    gaps = {later - earlier for earlier, later in pairwise(values)}
    return gaps.pop() if len(gaps) == 1 else 0


def _clock(hour: int, minute: int, second: int = 0) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


# --- days and months ----------------------------------------------------------------------------


def _days(fields: Fields) -> str:
    day, weekday = fields.day, fields.weekday
    every_day, every_weekday = day.values[-31:] == EVERY_DAY, len(weekday.values) == 7
    if not (day.wild or weekday.wild):
        if every_day or every_weekday:
            return ""
        return f"on {_day(day)}, and also {_on(_weekday(weekday))}"
    if every_weekday:
        return "" if every_day else f"on {_day(day)}"
    if every_day:
        return _on(_weekday(weekday))
    return f"on {_day(day)}, if that is {_weekday(weekday, 'or')}"


def _on(weekdays: str) -> str:
    return weekdays if " to " in weekdays and "," not in weekdays else f"on {weekdays}"


def _day(field: Field) -> str:
    step = _gap(field.values)
    if step > 1 and field.values == tuple(range(1, 32, step)):
        return f"every {_ordinal(step)} day of the month from the 1st"
    values = [value for value in field.values if value != LAST]
    words = _runs(values, lambda value: f"the {_ordinal(value)}")
    return _joined([*words, *["the last day of the month"] * (LAST in field.values)])


def _weekday(field: Field, last: str = "and") -> str:
    values = sorted(value or 7 for value in field.values)  # A week that ends with Sunday.
    words = _runs(values, lambda value: WEEKDAYS[value % 7])
    numbered = sorted(field.numbered, key=lambda pair: (pair[1] % 6, pair[0] or 7))
    words += [f"the {NUMBERS[number]} {WEEKDAYS[day]} of the month" for day, number in numbered]
    return _joined(words, last)


def _months(values: Values) -> str:
    if len(values) == 12:
        return ""
    words = _runs(values, lambda value: MONTHS[value - 1])
    return f"{'from' if len(words) == 1 < len(values) else 'in'} {_joined(words)}"


def _ordinal(value: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(value % 10 if value // 10 != 1 else 0, "th")
    return f"{value}{ending}"


# --- lists --------------------------------------------------------------------------------------


def _series(values: Values, name: Callable[[int], str]) -> str:
    return _joined(_runs(values, name))


def _runs(values: Values, name: Callable[[int], str]) -> list[str]:
    """Their names; of three and more in a row the first and the last."""
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    words: list[str] = []
    for run in runs:
        if len(run) >= RUN:
            words.append(f"{name(run[0])} to {name(run[-1])}")
        else:
            words += map(name, run)
    return words


def _joined(words: Sequence[str], last: str = "and") -> str:
    *others, final = words
    return f"{', '.join(others)} {last} {final}" if others else final
