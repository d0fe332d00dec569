"""Limits as frozen values: what people say of them, and what a job is kept with.

A limit has a name and, where it is by key, as many places as there are keys: what is counted is
counted for each name and key by itself. The key is a text that is read from the data when the job
is made. The number of a limit is the storage's, by its name, so that all workers agree; a job is
kept with the number that was known when it was made, which counts until somebody says another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, TypeAlias

import msgspec

from backroom.errors import OptionError
from backroom.job import SECOND, duration
from backroom.keypath import KeyPath

__all__ = [
    "FAIR",
    "LEAD",
    "MARK",
    "OURS",
    "QUEUE",
    "UNLIMITED",
    "UNSAID",
    "Concurrency",
    "Limit",
    "LimitInfo",
    "LimitRecord",
    "Need",
    "Rate",
    "check_most",
    "check_slots",
    "full",
    "limits_of",
    "name_of",
    "read_limits",
    "turn_of",
]

MOST_SLOTS: Final = 10_000
MOST_PER: Final = 1_000_000
"""Starts that a rate allows in its time, at most."""
MOST_LIMITS: Final = 8
"""Of one job."""
MAX_LIMIT_NAME: Final = 200

QUEUE: Final = "queue "
"""The name of the limit of a queue is this and the name of the queue."""
UNLIMITED: Final = 100_000
"""Slots of a queue of which code says nothing, and no operator does any more: more than run at
once."""

OURS: Final = ("limits", "fair", "tied")
"""What is kept among the options of a job, and was not said as one."""
LATE: Final = SECOND // 10
"""Microseconds that a worker may be late and keep the pace of a rate, where nothing is said."""
UNSAID: Final = 0
"""In the place of a burst: nothing is said of it."""
MARK: Final = '"limits":'
"""No job whose options lack this text is limited."""
LEAD: Final = SECOND
"""Microseconds: where nobody waits, the first turn is so long ago, and a million more are due."""
FAIR: Final = '"fair":'
"""No job whose options lack this text takes turns."""


class Concurrency:
    """At most so many jobs at once, across all workers; or at most so many slots of them.

    Args:
        most: 1 to 10,000.
        key: where in the data the key stands, "data.tenant_id": each key has its own `most`.
            None: all jobs share it.
        name: types whose limits have one name share one limit. None: the name of the type.
        slots: how many of the slots a job of this type takes.

    Raises:
        OptionError: a number out of its range, a path that is none.
    """

    __slots__ = ("key", "most", "name", "slots")

    def __init__(
        self, most: int, *, key: str | None = None, name: str | None = None, slots: int = 1
    ) -> None:
        self.most = _whole("Concurrency", most, MOST_SLOTS)
        self.key = None if key is None else KeyPath(key)
        self.name = None if name is None else _named(name)
        self.slots = _whole("slots", slots, MOST_SLOTS)
        if self.slots > self.most:
            raise OptionError(
                f"slots={slots} of Concurrency({most}): such a job would never have room; give it"
                " fewer, or the limit more"
            )

    def record(self, name: str) -> LimitRecord:
        return LimitRecord(name, self.most)

    def need(self, name: str, key: str) -> Need:
        return Need(name, key, self.slots, self.most)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Concurrency) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        more = "" if self.slots == 1 else f", slots={self.slots}"
        return f"Concurrency({self.most}{_rest(self)}{more})"


class Rate:
    """So many starts in `per` seconds, across all workers, evenly spread: one each `per / most`
    seconds. So many as `burst` may start at once after a quiet time: any `per` seconds see at most
    `most + burst - 1` starts, with `burst=1` never more than `most`. A job starts when its worker
    claims it, before the first line of its handler.

    Args:
        most: 1 to 1,000,000.
        per: seconds or a `timedelta`.
        key, name: as for `Concurrency`.
        burst: 1 to `most`. None: a start may come a tenth of a second before its moment, so that
            a worker that is a little late keeps the pace; any `per` seconds see as many more starts
            as come in a tenth of a second, rounded up. With 1, time in which a worker was late is
            lost.

    Raises:
        OptionError: a number out of its range, a path that is none.
    """

    __slots__ = ("burst", "key", "most", "name", "per")

    def __init__(
        self,
        most: int,
        *,
        per: float | timedelta,
        key: str | None = None,
        name: str | None = None,
        burst: int | None = None,
    ) -> None:
        self.most = _whole("Rate", most, MOST_PER)
        self.per = duration("per", per, zero=False)
        self.key = None if key is None else KeyPath(key)
        self.name = None if name is None else _named(name)
        self.burst = None if burst is None else _whole("burst", burst, self.most)
        if self.per * SECOND < self.most:
            raise OptionError(
                f"Rate({most}, per={self.per:g}) is more than one a microsecond, which is no limit"
            )

    def record(self, name: str) -> LimitRecord:
        return LimitRecord(name, self.most, round(self.per * SECOND), self.burst or UNSAID)

    def need(self, name: str, key: str) -> Need:
        return Need(name, key, 1, self.most, round(self.per * SECOND), self.burst or UNSAID)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rate) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        more = "" if self.burst is None else f", burst={self.burst}"
        return f"Rate({self.most}, per={self.per:g}{_rest(self)}{more})"


Limit: TypeAlias = Concurrency | Rate


class LimitRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The numbers of a limit, as a storage keeps them under its name."""

    name: str
    most: int
    """Slots; of a rate, starts."""
    per: int = 0
    """Microseconds in which a rate allows so many; 0: it is no rate."""
    burst: int = 1
    """Of a rate, starts at once after a quiet time; or `UNSAID`."""

    @property
    def step(self) -> int:
        """Of a rate, the microseconds from one start to the next."""
        return -(-self.per // self.most)

    @property
    def slack(self) -> int:
        """Of a rate, the microseconds by which a start may come before its moment."""
        return LATE if self.burst == UNSAID else (self.burst - 1) * self.step

    @property
    def at_once(self) -> int:
        """How many may start at once after a quiet time."""
        return 1 + self.slack // self.step if self.per else 1


class Need(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a job needs of one limit before it may run. Encodes as a JSON array in this order."""

    name: str
    key: str
    """"" where the limit is by no key."""
    slots: int
    most: int
    per: int = 0
    burst: int = 1

    @property
    def place(self) -> tuple[str, str]:
        """What is counted by itself."""
        return self.name, self.key

    @property
    def record(self) -> LimitRecord:
        """The limit, as it was when the job was made."""
        return LimitRecord(self.name, self.most, self.per, self.burst)


class LimitInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What people see of a limit at one moment."""

    name: str
    most: int
    per: float | None
    """Seconds in which a rate allows so many; None: it is a concurrency."""
    burst: int
    """Of a rate, starts at once after a quiet time; else 1."""
    used: int
    """Slots that running jobs hold, of all keys together; 0 for a rate."""
    blocked: int
    """Jobs that wait for room."""
    own: int | None = None
    """What an operator said of the limit of a queue (`limit_queue`): it is `most` until it is taken
    away, whatever code says."""

    @property
    def queue(self) -> str | None:
        """Of which queue it is the limit; None: of none."""
        return self.name.removeprefix(QUEUE) if self.name.startswith(QUEUE) else None


class _Said(msgspec.Struct):
    limits: list[Need] = []
    fair: str | None = None


_decoder: Final = msgspec.json.Decoder(_Said)


def limits_of(options: str | None) -> Sequence[Need]:
    """What a job with these options needs: of one place once, however often it was said, since it
    is counted there once."""
    if options is None or MARK not in options:
        return ()
    return list({need.place: need for need in _decoder.decode(options).limits}.values())


def check_most(most: object) -> int:
    """How many jobs of a queue may run at once.

    Raises:
        OptionError: it is no whole number from 1 to 10,000.
    """
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST_SLOTS:
        raise OptionError(
            f"most must be a whole number from 1 to {MOST_SLOTS:,}, or None for no limit of an"
            f" operator's, got {most!r}; pause_queue lets none run"
        )
    return most


def name_of(type_: str, limit: Limit) -> str:
    """The name of a limit that stands at a type."""
    if limit.name is not None:
        return limit.name
    what = " rate" if isinstance(limit, Rate) else ""
    return f"{type_}{what}" + ("" if limit.key is None else f" by {limit.key}")


def full(name: str, key: str) -> str:
    """Why a job waits that has no room, for people."""
    return f"the limit {name!r} is full" + (f" for {key!r}" if key else "")


def turn_of(options: str | None) -> str | None:
    """The key by which a job with these options takes turns with others of its queue; None: it
    takes none."""
    if options is None or FAIR not in options:
        return None
    return _decoder.decode(options).fair


def read_limits(value: object) -> tuple[Limit, ...]:
    """What stands as `limit=`.

    Raises:
        OptionError: it is neither a limit nor a list of some.
    """
    limits = (value,) if isinstance(value, Concurrency | Rate) else value
    if isinstance(limits, str) or not isinstance(limits, Sequence):
        raise OptionError(
            f"limit must be Concurrency(...), Rate(...), or a list of these, got {value!r}"
        )
    if len(limits) > MOST_LIMITS:
        raise OptionError(f"at most {MOST_LIMITS} limits, got {len(limits)}")
    for one in limits:
        if not isinstance(one, Concurrency | Rate):
            raise OptionError(f"a limit is Concurrency(...) or Rate(...), got {one!r}")
    return tuple(limits)


def check_slots(value: object) -> int:
    """How many slots of its queue's limit a job takes: 1 to 10,000.

    Raises:
        OptionError: it is not.
    """
    return _whole("slots", value, MOST_SLOTS)


def _whole(what: str, value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise OptionError(f"{what} must be a whole number from 1 to {most:,}, got {value!r}", what)
    return int(value)


def _named(name: object) -> str:
    text = str.__str__(name) if isinstance(name, str) else ""
    if not 0 < len(text) <= MAX_LIMIT_NAME or not text.isprintable():
        raise OptionError(
            f"the name of a limit is a text of 1 to {MAX_LIMIT_NAME} printable characters,"
            f" got {name!r}"
        )
    return text


def _rest(limit: Limit) -> str:
    key = "" if limit.key is None else f', key="{limit.key}"'
    return key + ("" if limit.name is None else f", name={limit.name!r}")
