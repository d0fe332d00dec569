"""What an application says of a schedule, checked: in a call, or beside a handler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal, TypedDict, Unpack, cast, get_args

import msgspec

from backroom.codec import Codec
from backroom.cron import Cron
from backroom.errors import ConfigurationError, JobTypeError, OptionError
from backroom.job import SECOND, Priority, duration
from backroom.options import HandlerOptions, check_name, near
from backroom.planning import Planning
from backroom.ports import Store
from backroom.retry import Backoff
from backroom.schedule import Missed, Overlap, ScheduleRecord
from backroom.ticking import every, first_tick, is_interval

__all__ = [
    "HandlerSchedules",
    "Schedule",
    "TickOptions",
    "changed_rule",
    "changed_schedule",
    "check_schedule_name",
    "planned",
    "split_schedules",
]

SHORTEST: Final = 1.0
"""Seconds between two ticks, at least."""


class TickOptions(TypedDict, total=False):
    """What can be said of the jobs of a schedule: as `JobOptions`, but for what says when they
    are due, or that they are one."""

    priority: Priority
    queue: str
    retries: int
    retry_delay: float | timedelta
    backoff: Backoff | Literal["fixed", "linear", "exponential"]
    timeout: float | timedelta
    expires_in: float | timedelta
    """Cancelled if it has not started this long after its tick."""
    tags: Sequence[str]
    metadata: Mapping[str, Any]


class Schedule:
    """Ticks of which each has a job of the type whose handler it stands beside.

    `@service.handler(DIGEST, schedules=[Schedule(Cron("0 9 * * *"), data=Digest("sales"))])`

    Args:
        rule: a `Cron`; or seconds, or a `timedelta`, from one tick to the next: the first comes so
            long after it was made.
        data: what its jobs get; None: `{}`, or what the type makes of that.
        name: by which it is known; None: that of its type.
        missed: what becomes of ticks that nobody was there for: "skip", "run_once" (the latest
            one runs), "run_all" (the last 100 run).
        overlap: what becomes of a tick while the job of an earlier one has not ended: "allow" (it
            runs beside it), "skip", "queue" (it waits; of several, the latest).
        jitter: each job comes up to so much later than its tick, by chance. Seconds or `timedelta`.

    Raises:
        OptionError: one of these makes no sense.
    """

    __slots__ = ("data", "jitter", "missed", "name", "options", "overlap", "rule", "tz")

    def __init__(
        self,
        rule: Cron | float | timedelta,
        *,
        data: Any = None,
        name: str | None = None,
        missed: Missed = "run_once",
        overlap: Overlap = "allow",
        jitter: float | timedelta = 0,
        **options: Unpack[TickOptions],
    ) -> None:
        if isinstance(rule, Cron):
            self.rule, self.tz = rule.text, rule.tz
        else:
            self.rule, self.tz = every(_interval(rule)), "UTC"
        self.data = data
        self.name = None if name is None else check_schedule_name(name)
        self.missed = _one_of("missed", missed, Missed)
        self.overlap = _one_of("overlap", overlap, Overlap)
        self.jitter = round(duration("jitter", jitter) * SECOND)
        self.options = options
        known = TickOptions.__annotations__
        for option in options:
            if option not in known:
                raise OptionError(
                    f"a schedule has no option {option!r}{near(option, known)}; its jobs take"
                    f" {', '.join(known)}"
                )

    def data_for(self, codec: Codec[Any]) -> Any:
        """What its jobs get, where this says how data is encoded.

        Raises:
            JobTypeError: it does not fit.
        """
        if self.data is None:
            try:
                codec.encode(None)
            except JobTypeError:
                codec.encode({})
                return {}
        return self.data

    def __repr__(self) -> str:
        return f"Schedule({self.rule!r}, tz={self.tz!r}, name={self.name!r})"


class HandlerSchedules(HandlerOptions, total=False):
    """Options of a handler, and when it runs by itself."""

    cron: Cron
    """One schedule, by a cron expression."""
    every: float | timedelta
    """One schedule, with ticks so far apart."""
    schedules: Sequence[Schedule]
    """Schedules with all that can be said of one."""


def split_schedules(
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], tuple[Schedule, ...]]:
    """The options of a handler apart from its schedules.

    Raises:
        ConfigurationError, OptionError: what stands where a schedule is expected is none.
    """
    rest = dict(options)
    cron, interval = rest.pop("cron", None), rest.pop("every", None)
    schedules = rest.pop("schedules", None) or ()
    if cron is not None and not isinstance(cron, Cron):
        raise ConfigurationError(f'cron must be a Cron("0 9 * * *"), got {cron!r}')
    if isinstance(schedules, Schedule) or not all(isinstance(one, Schedule) for one in schedules):
        raise ConfigurationError(f"schedules must be a list of Schedules, got {schedules!r}")
    short = [Schedule(rule) for rule in (cron, interval) if rule is not None]
    return rest, (*short, *schedules)


def check_schedule_name(value: object) -> str:
    """A name of a schedule, as a plain `str`.

    Raises:
        OptionError: it is no text of 1 to 200 printable characters.
    """
    try:
        return check_name("schedule", value)
    except ConfigurationError as error:
        raise OptionError(str(error), "name") from None


def changed_schedule(
    record: ScheduleRecord, now: int, rule: Schedule | None, options: Mapping[str, Any]
) -> ScheduleRecord:
    """With this rule and these options, where they are given."""
    said = {option: value for option, value in options.items() if value is not None}
    if rule is None and not said:
        raise OptionError(
            f"schedule {record.name!r}: say what is to change: cron, every, tz, missed, overlap"
            " or jitter"
        )
    checked = Schedule(1, **said)
    changes = {option: getattr(checked, option) for option in said}
    if rule is not None:
        changes.update(rule=rule.rule, tz=rule.tz)
    changed = msgspec.structs.replace(record, **changes)
    first = first_tick(changed.rule, changed.tz, now)
    if first is None:
        raise OptionError(f"schedule {record.name!r}: {changed.rule!r} never comes", "cron")
    return msgspec.structs.replace(changed, next_at=first)


def changed_rule(
    record: ScheduleRecord,
    cron: str | Cron | None,
    every: float | timedelta | None,
    tz: str | None,
) -> Schedule | None:
    """What says when it ticks from now on; None: as before."""
    if every is not None:
        if cron is not None or tz is not None:
            raise OptionError("say cron or every, not both; and a zone with a cron alone", "every")
        return Schedule(every)
    if isinstance(cron, Cron):
        if tz is not None:
            raise OptionError("say the zone in the Cron, Cron(..., tz=...), not beside it")
        return Schedule(cron)
    if cron is not None:
        return Schedule(_cron(cron, record.tz if tz is None else tz))
    if tz is None:
        return None
    if is_interval(record.rule):
        raise OptionError(
            f"schedule {record.name!r} ticks at fixed distances, which no zone changes",
            "tz",
        )
    return Schedule(_cron(record.rule, tz))


def _cron(text: str, tz: str | None) -> Cron:
    """
    Raises:
        OptionError: the expression or the zone makes no sense.
    """
    option = "cron"
    try:
        Cron(text)
        option = "tz"
        return Cron(text, "UTC" if tz is None else tz)
    except ConfigurationError as error:
        raise OptionError(str(error), option) from None


def planned(storage: Store) -> Planning:
    """The same storage, as one that keeps schedules.

    Raises:
        ConfigurationError: it does not.
    """
    if not storage.capabilities.planning:
        raise ConfigurationError(
            f"{storage.url} keeps no schedules; MemoryJobStorage, FileJobStorage and"
            " DatabaseJobStorage do"
        )
    return cast("Planning", storage)


def _interval(value: object) -> int:
    if not isinstance(value, (int, float, timedelta)):
        raise OptionError(f"a schedule ticks by a Cron, seconds or a timedelta, got {value!r}")
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds < SHORTEST:
        raise OptionError(f"every must be at least {SHORTEST:g} second, got {value!r}", "every")
    seconds = duration("every", value)
    return round(seconds * SECOND)


def _one_of(name: str, value: object, known: Any) -> Any:
    if value not in get_args(known):
        raise OptionError(
            f"{name} must be one of {', '.join(get_args(known))}, got {value!r}", name
        )
    return value
