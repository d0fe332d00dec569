"""What is to be done about the ticks of a schedule that have come: pure decisions, no clock, no
chance of their own, no I/O.

Nothing here walks through all ticks of a long time: of a schedule that nobody served for a year,
with a tick each second, the last ones are found by bisection, and those before them are one range.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec

from backroom.cron import Cron
from backroom.job import SECOND, Hold, JobRecord, to_datetime
from backroom.schedule import CAUGHT_UP, Firing, Missed, ScheduleRecord, Tick, TickOutcome
from backroom.unique import OnConflict

__all__ = [
    "COUNTED",
    "GRACE",
    "Every",
    "Last",
    "Rule",
    "catch_up_from",
    "decide",
    "every",
    "first_tick",
    "is_interval",
    "job_of",
    "options_of",
    "read_rule",
    "resumed",
    "upcoming",
]

GRACE: Final = 60 * SECOND
"""A tick that is decided up to a minute after it came is late; after that it was missed."""
COUNTED: Final = 100
"""Ticks of a cron expression that are counted in one range; a range of more says so many."""
_EVERY: Final = "@every "


class Rule(Protocol):
    """When ticks come."""

    def next(self, after: int) -> int | None:
        """The first tick after this moment; None: there is none."""
        ...

    def explain(self) -> str:
        """In plain English."""
        ...


class Every(msgspec.Struct, frozen=True):
    """Ticks at fixed distances, in microseconds, from one that is known."""

    interval: int
    anchor: int

    def next(self, after: int) -> int:
        steps = (after - self.anchor) // self.interval + 1
        return self.anchor + max(0, steps) * self.interval

    def explain(self) -> str:
        unit, length = next(one for one in _UNITS if self.interval % one[1] == 0)
        count = self.interval / max(length, SECOND)
        return f"every {unit}" if count == 1 else f"every {count:,.15g} {unit}s"


_UNITS: Final = (
    ("day", 86_400 * SECOND), ("hour", 3600 * SECOND), ("minute", 60 * SECOND), ("second", 1)
)  # fmt: skip


class Last(msgspec.Struct, frozen=True):
    """How the job of the last tick that fired stands."""

    live: bool = False
    """It has not ended."""
    ended_at: int | None = None
    """When it did, if that is known."""


def every(interval: int) -> str:
    """The rule, as it is kept, of ticks that are so many microseconds apart."""
    return f"{_EVERY}{interval}"


def is_interval(rule: str) -> bool:
    """Whether it is one of `every`."""
    return rule.startswith(_EVERY)


def read_rule(record: ScheduleRecord) -> Rule:
    """The rule of a schedule.

    Raises:
        ValueError: this version cannot read it; the message says why.
    """
    if record.rule.startswith(_EVERY):
        text = record.rule.removeprefix(_EVERY)
        if not text.isascii() or not text.isdigit() or int(text) == 0:
            raise ValueError(f"{record.rule!r} is no whole number of microseconds")
        return Every(int(text), record.next_at or 0)
    return _cron(record.rule, record.tz)


class _Remembered:
    """A cron expression that remembers its last answers: each is asked for more than once, and
    many schedules have the same rule."""

    def __init__(self, text: str, tz: str) -> None:
        cron = Cron(text, tz)
        self.next = lru_cache(maxsize=4)(cron.next)
        self.explain = cron.explain


_cron: Final = lru_cache(maxsize=10_000)(_Remembered)


def first_tick(rule: str, tz: str, after: int) -> int | None:
    """The first tick of a schedule that is made at this moment, in microseconds; None: it has
    none."""
    if rule.startswith(_EVERY):
        return after + int(rule.removeprefix(_EVERY))
    return _cron(rule, tz).next(after)


def upcoming(record: ScheduleRecord, rule: Rule, now: int, count: int) -> list[int]:
    """The next ticks after now that nothing was decided of, `count` at most."""
    if record.next_at is None:
        return []
    moments = [record.next_at] if record.next_at > now else []
    while len(moments) < count:
        following = rule.next(moments[-1] if moments else now)
        if following is None:
            break
        moments.append(following)
    return moments


def decide(
    record: ScheduleRecord,
    rule: Rule,
    now: int,
    last: Last,
    make_id: Callable[[int], str],
    chance: Callable[[], float],
) -> Firing | None:
    """What becomes of the ticks that have come by now; None: nothing yet.

    Which of them fire: those that are at most `GRACE` old; of older ones, which were missed, none
    (`skip`), the latest if no later tick has come in time (`run_once`), or the last `CAUGHT_UP`
    (`run_all`). Where the job of the last tick has not ended, none fires (overlap `skip`), or
    they wait until it has (`queue`), when the latest of those that came meanwhile fires. Where
    jobs do not run beside each other, only the first of several fires. All others are
    written down: as `missed`, or as `overlap`.

    What is decided lies before `next_at`, which only grows: however the clock steps, no tick is
    decided twice.

    Args:
        last: how the job of the last tick stands; not asked where the overlap is allowed.
        make_id: the id of a job that is made at a moment.
        chance: a number from 0 to 1, for each job.
    """
    first = record.next_at
    if first is None or first > now:
        return None
    fired: list[int] = []
    reason: TickOutcome = "missed"
    if record.overlap != "allow" and last.live:
        if record.overlap == "queue":
            return None
        reason = "overlap"
    elif record.overlap == "queue" and last.ended_at is not None and first <= last.ended_at:
        fired, reason = _last_ticks(rule, first, min(last.ended_at, now), 1), "overlap"
    else:
        fired = catch_up_from(record.missed, rule, first, now)
        if record.overlap != "allow":
            del fired[1:]
    ticks: list[Tick] = []
    jobs: list[JobRecord] = []
    for at in fired:
        job = job_of(record, at, now, make_id, chance())
        ticks.append(_tick(record, at, "fired", now, job.id))
        jobs.append(job)
    if not fired or first < fired[0]:
        ticks.append(_range(record, rule, first, fired[0] - 1 if fired else now, reason, now))
    done = fired[-1] if fired else ticks[-1].until
    following = rule.next(done)
    if record.overlap != "queue" and following is not None and following <= now:
        ticks.append(_range(record, rule, following, now, "overlap", now))
        following = rule.next(ticks[-1].until)
    return Firing(
        schedule=record.name,
        revision=record.revision,
        expected=first,
        next_at=following,
        ticks=tuple(ticks),  # Those with a job first: by them one call is told from another.
        jobs=tuple(jobs),
    )


def catch_up_from(missed: Missed, rule: Rule, first: int, now: int) -> list[int]:
    """Of the ticks from `first` to now: those that fire if nothing else is in their way."""
    edge = now - GRACE
    in_time = first if first >= edge else rule.next(edge - 1)
    fresh = [] if in_time is None else _last_ticks(rule, in_time, now, CAUGHT_UP)
    if missed == "skip" or first >= edge:
        return fresh
    if missed == "run_all":
        return _last_ticks(rule, first, edge - 1, CAUGHT_UP) + fresh
    return fresh or _last_ticks(rule, first, edge - 1, 1)


def resumed(record: ScheduleRecord, rule: Rule, now: int) -> tuple[int | None, Tick | None]:
    """The tick with which a paused schedule goes on; and what is to be written down of those
    that came meanwhile."""
    first = record.next_at
    if first is None or first > now:
        return first, None
    tick = _range(record, rule, first, now, "paused", now)
    return rule.next(tick.until), tick


def job_of(
    record: ScheduleRecord,
    tick: int | None,
    now: int,
    make_id: Callable[[int], str],
    chance: float = 0.0,
) -> JobRecord:
    """The job of a tick; or, without one, a job that somebody asked for beside them.

    It is due at its tick, but not before now where that was missed, and up to `jitter` later.
    Its metadata names the schedule and the tick, where the schedule's own does not say `schedule`
    or `tick`.
    """
    at = now if tick is None or tick < now - GRACE else tick
    run_at = at + (0 if tick is None else int(chance * record.jitter))
    expires_in = record.expires_in
    said: dict[str, Any] = {} if record.options is None else _said.decode(record.options)
    key, hold = _key_of(said, now)
    metadata: dict[str, Any] = {"schedule": record.name}
    if tick is not None:
        metadata["tick"] = to_datetime(tick).isoformat().replace("+00:00", "Z")
    if "metadata" in said:
        metadata |= _said.decode(said["metadata"])
    return JobRecord(
        id=make_id(now),
        type=record.type,
        queue=record.queue,
        priority=record.priority,
        run_at=run_at,
        created_at=now,
        data=record.data,
        options=msgspec.json.encode({**said, "metadata": metadata}).decode(),
        unique_key=key,
        expires_at=None if expires_in is None else max(run_at, now) + expires_in,
        hold=hold,
    )


class _Unique(msgspec.Struct, omit_defaults=True):
    """Among the options of a schedule: the unique key of its jobs."""

    key: str
    until: int | None = None
    """As `Hold.until`; a moment in microseconds from when a job is made."""
    on_conflict: OnConflict = "existing"


def options_of(job: JobRecord) -> str | None:
    """The options of a schedule whose jobs are all as this one. They have its unique key too."""
    if job.unique_key is None:
        return job.options
    said: dict[str, Any] = {} if job.options is None else _said.decode(job.options)
    unique = _Unique(job.unique_key)
    if job.hold is not None:
        until = job.hold.until
        unique.until = until - job.created_at if until else until
        unique.on_conflict = job.hold.on_conflict
    said.pop("unique_key", None)
    return msgspec.json.encode({**said, "unique": unique}).decode()


def _key_of(said: dict[str, Any], now: int) -> tuple[str | None, Hold | None]:
    """The unique key of a job that is made now, out of the options of its schedule."""
    if "unique" not in said:
        return None, None
    unique = msgspec.json.decode(said.pop("unique"), type=_Unique)
    if unique.until is None and unique.on_conflict == "existing":
        return unique.key, None
    said["unique_key"] = unique.key  # A hold is a row of its own: people see it by this.
    until = now + unique.until if unique.until else unique.until
    return unique.key, Hold(until, unique.on_conflict)


_said: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _tick(
    record: ScheduleRecord, at: int, outcome: TickOutcome, now: int, job: str | None = None
) -> Tick:
    return Tick(schedule=record.name, at=at, until=at, outcome=outcome, job=job, decided_at=now)


def _range(
    record: ScheduleRecord, rule: Rule, first: int, until: int, outcome: TickOutcome, now: int
) -> Tick:
    """The ticks from `first`, which is one, to `until`, none of which fires."""
    [last] = _last_ticks(rule, first, until, 1)
    return Tick(
        schedule=record.name,
        at=first,
        until=last,
        count=_count(rule, first, last),
        outcome=outcome,
        decided_at=now,
    )


def _count(rule: Rule, first: int, last: int) -> int:
    """How many ticks there are from one to another; of a cron expression up to `COUNTED`."""
    if isinstance(rule, Every):
        return (last - first) // rule.interval + 1
    return len(_walk(rule, first, last, COUNTED))


def _walk(rule: Rule, first: int, until: int, most: int) -> list[int]:
    """The ticks from `first`, which is one, to `until`; the first `most` of them."""
    ticks: list[int] = []
    at: int | None = first
    while at is not None and at <= until and len(ticks) < most:
        ticks.append(at)
        at = rule.next(at)
    return ticks


def _last_ticks(rule: Rule, first: int, until: int, most: int) -> list[int]:
    """The last `most` ticks from `first`, which is one, to `until`, oldest first."""
    if isinstance(rule, Every):
        if first > until:
            return []
        last = first + (until - first) // rule.interval * rule.interval
        begin = max(first, last - (most - 1) * rule.interval)
        return list(range(begin, last + 1, rule.interval))
    few = 2 * most
    ticks = _walk(rule, first, until, few + 1)
    if len(ticks) <= few:
        return ticks[-most:]
    # They are many: looks for a moment behind which there are enough, and not too many.
    if most > 1:
        [until] = _last_ticks(rule, first, until, 1)
    short, span, long = 0, SECOND, 0
    while True:
        begun = rule.next(max(until - span, first) - 1)
        ticks = [] if begun is None else _walk(rule, begun, until, few + 1)
        if most <= len(ticks) <= few:
            return ticks[-most:]
        if len(ticks) < most:
            short = span
        else:
            long = span
        span = (short + long) // 2 if long else 2 * span
