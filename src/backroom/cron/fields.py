"""The text of a cron expression, read field by field; what is wrong is told with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from backroom.errors import ConfigurationError

__all__ = ["DAY", "HOUR", "LAST", "MINUTE", "MONTH", "SECOND", "WEEKDAY", "Field", "Fields", "Kind"]

LAST: Final = -1
"""Among days of the month: the last one. As the number of a weekday: the last of its month."""
LONGEST: Final = 1000
"""Characters that a text may have: all values of all fields are fewer."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What may stand in a field."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """Of the values, from the lowest on."""

    @property
    def allowed(self) -> str:
        values = f"{self.low} to {self.high}"
        return f"{values} or {self.names[0]} to {self.names[-1]}" if self.names else values


MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN")
MONTHS_ON: Final = ("JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

SECOND: Final = Kind("second", 0, 59)
MINUTE: Final = Kind("minute", 0, 59)
HOUR: Final = Kind("hour", 0, 23)
DAY: Final = Kind("day of month", 1, 31)
MONTH: Final = Kind("month", 1, 12, MONTHS + MONTHS_ON)
WEEKDAY: Final = Kind("day of week", 0, 7, WEEKDAYS)
KINDS: Final = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)

NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class Field(NamedTuple):
    """The values that match, each once, in order."""

    values: tuple[int, ...]
    """Sunday is 0. Of the days of a month, `LAST` comes first."""
    wild: bool
    """Whether it begins with `*`, or is `?`."""
    numbered: frozenset[tuple[int, int]] = frozenset()
    """Weekdays, each with which one of its month it is: 1 to 5, or `LAST`."""


class Fields(NamedTuple):
    """An expression that was read."""

    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @classmethod
    def read(cls, text: str) -> Fields:
        """Reads five fields, six with seconds first, or a name such as `@daily`.

        Raises:
            ConfigurationError: it is none; the message says which field, and at which column
                (the first is 1) of the text, and what is allowed there.
        """
        if len(text) > LONGEST:
            raise ConfigurationError(
                f"a cron expression has at most {LONGEST} characters, got {len(text)}"
            )
        words = [(found.group(), found.start()) for found in re.finditer(r"\S+", text)]
        if words and words[0][0].startswith("@"):
            return cls.read(_meant(text, words))
        if len(words) not in (5, 6):
            raise _miscounted(text, words)
        kinds = KINDS[-len(words) :]
        fields = [_Reader(text, kind).field(*word) for kind, word in zip(kinds, words, strict=True)]
        return cls(*fields) if len(fields) == len(KINDS) else cls(Field((0,), False), *fields)


def _meant(text: str, words: Sequence[tuple[str, int]]) -> str:
    """What a text with a name stands for."""
    (name, at), *others = words
    if name.lower() not in NICKNAMES:
        more = ""
        if name.lower() == "@reboot":
            more = " (a schedule outlives every start; run what belongs to a start at that start)"
        elif name.lower() == "@every":
            more = " (for an interval use `every`, with a timedelta)"
        known = tuple(NICKNAMES)
        hint = more or _near(name.lower(), known)
        raise _refusal(
            text, "name", at, f"{name!r} is unknown{hint}; allowed are {', '.join(known)}"
        )
    if others:
        raise _refusal(text, "name", others[0][1], f"nothing may follow {name}")
    return NICKNAMES[name.lower()]


def _miscounted(text: str, words: Sequence[tuple[str, int]]) -> ConfigurationError:
    order = "minute, hour, day of month, month, day of week"
    wanted = f"needs five fields ({order}), or six with the second first"
    if not words:
        return _refusal(text, "text", 0, f"it is empty; a cron expression {wanted}")
    if len(words) > len(KINDS):
        return _refusal(
            text, "seventh field", words[6][1], f"there is one too many: a cron expression {wanted}"
        )
    missing = KINDS[1 + len(words)].name
    return _refusal(text, missing, len(text), f"it is missing: a cron expression {wanted}")


def _refusal(text: str, field: str, at: int, why: str) -> ConfigurationError:
    return ConfigurationError(f"cron {text!r}: {field}, column {at + 1}: {why}")


def _near(name: str, known: Sequence[str]) -> str:
    """A hint at the known name that looks most like a wrong one."""
    import difflib

    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


class _Reader:
    """Reads one field. `at` is always the index in the text where a word stands."""

    def __init__(self, text: str, kind: Kind) -> None:
        self._text = text
        self._kind = kind

    def field(self, word: str, at: int) -> Field:
        kind = self._kind
        if word == "?":
            if kind not in (DAY, WEEKDAY):
                raise self._refuse(at, "'?' is for days only; write '*' for every value")
            return Field(tuple(sorted(self._range(kind.low, kind.high, 1))), True)
        values: set[int] = set()
        numbered: set[tuple[int, int]] = set()
        for term, where in _terms(word, at):
            name = term.upper()
            if kind is WEEKDAY and ("#" in name or re.fullmatch(r".+L", name)):
                numbered.add(self._numbered(term, where))
            elif kind is DAY and name.startswith("L"):
                values.add(self._last(term, where))
            else:
                values.update(self._term(term, where))
        return Field(tuple(sorted(values)), word.startswith("*"), frozenset(numbered))

    def _term(self, term: str, at: int) -> tuple[int, ...]:
        """`*`, a value or a range; and each of them with a step."""
        kind = self._kind
        body, slash, step_text = term.partition("/")
        step = self._step(step_text, at + len(body) + 1) if slash else 1
        if body == "*":
            return self._range(kind.low, kind.high, step)
        first, dash, last = body.partition("-")
        low = self._value(first, at)
        if not dash:
            return self._range(low, kind.high if slash else low, step)
        high = self._value(last, at + len(first) + 1)
        if kind is WEEKDAY and high < low:  # Sunday ends a week, or begins one.
            low, high = (0, high) if low == 7 else (low, 7 if high == 0 else high)
        if high < low:
            raise self._refuse(
                at, f"{body!r} runs backwards; write '{first}-{kind.high},{kind.low}-{last}'"
            )
        return self._range(low, high, step)

    def _range(self, low: int, high: int, step: int) -> tuple[int, ...]:
        values = range(low, high + 1, step)
        return tuple({value % 7 for value in values}) if self._kind is WEEKDAY else tuple(values)

    def _step(self, step: str, at: int) -> int:
        most = len(self._kind.names) or self._kind.high - self._kind.low + 1
        if not re.fullmatch("[0-9]{1,9}", step) or not 1 <= int(step) <= most:
            raise self._refuse(
                at,
                f"a step is a whole number from 1 to {most}, got {step!r}"
                " (a step begins anew with each field; for a longer interval use `every`)",
            )
        return int(step)

    def _last(self, term: str, at: int) -> int:
        if len(term) > 1:
            raise self._refuse(
                at + 1, f"'L' is the last day of a month and stands alone, got {term!r}"
            )
        return LAST

    def _numbered(self, term: str, at: int) -> tuple[int, int]:
        """`MON#2`, `5#1`, `FRIL`, `5L`: a weekday, and which one of its month."""
        if "#" not in term:
            return self._value(term[:-1], at) % 7, LAST
        day, _, number = term.partition("#")
        weekday = self._value(day, at) % 7
        if not re.fullmatch("[1-5]", number):
            raise self._refuse(
                at + len(day) + 1,
                f"a weekday is the first to the fifth of its month, got {number!r};"
                f" write '{day}#1' to '{day}#5', or '{day}L' for the last",
            )
        return weekday, int(number)

    def _value(self, word: str, at: int) -> int:
        kind = self._kind
        if word.upper() in kind.names:
            return kind.low + kind.names.index(word.upper())
        if re.fullmatch("[0-9]{1,9}", word) and kind.low <= int(word) <= kind.high:
            return int(word)
        found = f"got {word!r}" if word else "got nothing"
        hint = _near(word.upper(), kind.names) if word else ""
        if word.upper() == "L" and kind is WEEKDAY:
            hint = "; the last Friday of a month is '5L' or 'FRIL'"
        elif word.upper().endswith("W") and kind is DAY:
            hint = "; 'W' is not supported: say which weekdays in the field of the day of week"
        raise self._refuse(at, f"allowed is {kind.allowed}, {found}{hint}")

    def _refuse(self, at: int, why: str) -> ConfigurationError:
        return _refusal(self._text, self._kind.name, at, why)


def _terms(word: str, at: int) -> Iterator[tuple[str, int]]:
    """The terms of a list, each with where it begins."""
    for term in word.split(","):
        yield term, at
        at += len(term) + 1
