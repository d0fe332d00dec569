"""The part of a service that keeps schedules: made, looked up, paused, run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, Literal, TypeVar, Unpack, overload
from zoneinfo import ZoneInfo

import msgspec

from backroom.cron import Cron
from backroom.errors import OptionError, ScheduleNotFoundError, no_cursor
from backroom.identity import JobIds
from backroom.job import FIRST, PRIORITIES, SECOND, JobId, to_datetime
from backroom.limit import OURS
from backroom.ports import Clock, Store
from backroom.registry import JobType, Registry
from backroom.schedule import (
    Missed,
    Overlap,
    ScheduleInfo,
    ScheduleRecord,
    Tick,
    TickInfo,
    TickPage,
)
from backroom.scheduling import RecordMaker
from backroom.ticking import (
    first_tick,
    job_of,
    options_of,
    read_rule,
    resumed,
    upcoming,
)
from backroom.timetable import (
    Schedule,
    TickOptions,
    changed_rule,
    changed_schedule,
    check_schedule_name,
    planned,
)

__all__ = ["Recurring"]

T = TypeVar("T")

SHOWN: Final = 5
"""How many of the next runs an info tells."""


class Recurring:
    """Schedules over a storage that keeps them, and that `_ready` opens.

    Raises, from every verb: `ConfigurationError` where the storage keeps no schedules; and from
    those that take a name, `ScheduleNotFoundError` where there is none of it.
    """

    storage: Store
    _clock: Clock
    _registry: Registry
    _records: RecordMaker

    async def _ready(self) -> None:
        raise NotImplementedError

    # -- make ------------------------------------------------------------------------------------

    @overload
    async def cron(
        self, expression: str | Cron, type: JobType[T, Any], data: T, /, *,
        name: str | None = None, tz: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    @overload
    async def cron(
        self, expression: str | Cron, type: str, data: Mapping[str, Any] | None = None, /, *,
        name: str | None = None, tz: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    async def cron(
        self, expression: Any, type: Any, data: Any = None, /, *, tz: Any = None, **said: Any
    ) -> ScheduleInfo:
        """Keeps a schedule by a cron expression, under its name; when this returns, its ticks
        will fire, as long as some worker runs. One of this name that says the same stays as it
        is; else what is said now holds from now on.

        Args:
            name: None: that of the type.
            tz: the IANA name of the zone in which the expression is read; None: UTC.
            missed, overlap, jitter, and the options of its jobs: as for `Schedule`.

        Raises:
            ValueError: the expression or the zone makes no sense.
            UnknownJobTypeError, JobTypeError, OptionError, PayloadTooLargeError: nothing was
                kept; the message says what to mend.
        """
        if not isinstance(expression, Cron):
            expression = Cron(expression, "UTC" if tz is None else tz)
        elif tz is not None:
            raise OptionError("say the zone in the Cron, Cron(..., tz=...), not beside it")
        return await self._make(Schedule(expression, **said), type, data)

    @overload
    async def every(
        self, interval: float | timedelta, type: JobType[T, Any], data: T, /, *,
        name: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    @overload
    async def every(
        self, interval: float | timedelta, type: str, data: Mapping[str, Any] | None = None, /, *,
        name: str | None = None, missed: Missed = "run_once",
        overlap: Overlap = "allow", jitter: float | timedelta = 0, **options: Unpack[TickOptions],
    ) -> ScheduleInfo: ...  # fmt: skip
    async def every(
        self, interval: Any, type: Any, data: Any = None, /, **said: Any
    ) -> ScheduleInfo:
        """Keeps a schedule with ticks at fixed distances: the first comes one interval after it
        was made. Whoever says the same again does not disturb its rhythm. At least a second.

        All else as `cron`.
        """
        if isinstance(interval, Cron):
            raise OptionError("every takes seconds or a timedelta; a Cron goes to cron()")
        return await self._make(Schedule(interval, **said), type, data)

    async def _make(self, schedule: Schedule, type_: Any, data: Any) -> ScheduleInfo:
        if schedule.data is not None:
            raise OptionError("data stands behind the type, and not among the options")
        await self._ready()
        return self._info(await self._put(schedule, type_, data, "call"))

    async def _put_declared(self) -> None:
        """Keeps what the code of this process declares; ten processes may do so at once."""
        for type_, schedule in self._registry.schedules.values():
            data = schedule.data_for(self._registry.find(type_).given)
            await self._put(schedule, type_, data, "code")

    async def _put(
        self, schedule: Schedule, type_: Any, data: Any, origin: Literal["code", "call"]
    ) -> ScheduleRecord:
        planning = planned(self.storage)
        now = self._clock.now()
        job = self._records.make(type_, data, schedule.options, now, traced=False)
        name = schedule.name or check_schedule_name(job.type)
        first = first_tick(schedule.rule, schedule.tz, now)
        if first is None:
            raise OptionError(f"schedule {name!r}: {schedule.rule!r} never comes")
        return await planning.put_schedule(
            ScheduleRecord(
                name=name,
                rule=schedule.rule,
                tz=schedule.tz,
                type=job.type,
                queue=job.queue,
                priority=job.priority,
                data=job.data,
                options=options_of(job),
                expires_in=None if job.expires_at is None else job.expires_at - now,
                missed=schedule.missed,
                overlap=schedule.overlap,
                jitter=schedule.jitter,
                origin=origin,
                created_at=now,
                revision=now,  # No former schedule of this name ever had it.
                next_at=first,
            )
        )

    # -- look up ---------------------------------------------------------------------------------

    async def get_schedules(self) -> list[ScheduleInfo]:
        """All schedules, by name."""
        await self._ready()
        return [self._info(record) for record in await planned(self.storage).schedules()]

    async def get_schedule(self, name: str) -> ScheduleInfo:
        """The schedule of this name."""
        return self._info(await self._find(name))

    async def get_ticks(
        self, name: str, *, limit: int = 100, cursor: str | None = None
    ) -> TickPage:
        """What became of its ticks, newest first. `limit` is 1 to 1000; the page's `.cursor` asks
        for the next one.

        Raises:
            OptionError: a limit out of its range, or a cursor that is not ours.
        """
        _check_limit(limit)
        before = None if cursor is None else _before(cursor)
        await self._find(name)
        ticks = await planned(self.storage).ticks(name, limit, before)
        following = str(ticks[-1].at) if len(ticks) == limit else None
        return TickPage([_tick_info(tick) for tick in ticks], following)

    async def _find(self, name: str) -> ScheduleRecord:
        name = check_schedule_name(name)
        await self._ready()
        record = await planned(self.storage).schedule(name)
        if record is None:
            raise ScheduleNotFoundError(f"no schedule is called {name!r}")
        return record

    def _info(self, record: ScheduleRecord) -> ScheduleInfo:
        declared = self._registry.schedules
        return _info(
            record,
            self._clock.now(),
            orphaned=record.origin == "code"
            and record.name not in declared
            and bool(self._registry.handled),
        )

    # -- steer -----------------------------------------------------------------------------------

    async def change_schedule(
        self,
        name: str,
        *,
        cron: str | Cron | None = None,
        every: float | timedelta | None = None,
        tz: str | None = None,
        missed: Missed | None = None,
        overlap: Overlap | None = None,
        jitter: float | timedelta | None = None,
    ) -> ScheduleInfo:
        """Changes when a schedule ticks; what is not said stays as it is, paused too, and what its
        jobs get: to change that, say `cron` or `every` again under its name. One that stands in the
        code is again as the code says it with the next start of a process with that code.

        Args:
            cron, every: the new rule, one of them; `tz` is the zone of a cron expression, and may
                be changed alone.
            missed, overlap, jitter: as for `Schedule`.

        Raises:
            OptionError: the expression or the zone makes no sense; nothing is said, or what cannot
                go together. Nothing was changed.
        """
        while True:
            record = await self._find(name)
            changed = changed_schedule(
                record, self._clock.now(), changed_rule(record, cron, every, tz),
                {"missed": missed, "overlap": overlap, "jitter": jitter},
            )  # fmt: skip
            kept = await planned(self.storage).change_schedule(changed, record.revision)
            if kept is not None and kept.says(changed):
                return self._info(kept)
            # Somebody has said something else in between, or dropped it: looked at again.

    async def pause_schedule(self, name: str) -> ScheduleInfo:
        """None of its ticks fires until it is resumed. Jobs that it has made stay."""
        record = await self._find(name)
        while not record.paused:
            record = await self._switch(record, record.next_at, None)
        return self._info(record)

    async def resume_schedule(self, name: str) -> ScheduleInfo:
        """Ends a pause. The ticks that came meanwhile do not fire; they are written down as
        `paused`."""
        record = await self._find(name)
        while record.paused:
            next_at, tick = resumed(record, read_rule(record), self._clock.now())
            record = await self._switch(record, next_at, tick)
        return self._info(record)

    async def _switch(
        self, record: ScheduleRecord, next_at: int | None, tick: Tick | None
    ) -> ScheduleRecord:
        """As it is then: changed, unless somebody has changed it in between."""
        changed = await planned(self.storage).pause_schedule(
            record.name, not record.paused, next_at, revision=record.revision, tick=tick
        )
        if changed is None:
            raise ScheduleNotFoundError(f"no schedule is called {record.name!r}")
        return changed

    async def delete_schedule(self, name: str) -> None:
        """Forgets a schedule and its ticks; its jobs stay. One that stands in the code comes back
        with the next start of a process with that code."""
        name = check_schedule_name(name)
        await self._ready()
        if not await planned(self.storage).drop_schedule(name):
            raise ScheduleNotFoundError(f"no schedule is called {name!r}")

    async def run_schedule(self, name: str) -> JobId[Any]:
        """Makes a job of it now, beside its ticks: also while it is paused, and whatever its
        overlap. Returns its id."""
        record = await self._find(name)
        now = self._clock.now()
        [inserted] = await self.storage.insert([job_of(record, None, now, JobIds())], now)
        return JobId(inserted.id)


def _check_limit(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise OptionError(f"limit must be a whole number from 1 to 1000, got {value!r}", "limit")


def _before(cursor: object) -> int:
    if not isinstance(cursor, str) or not re.fullmatch("[0-9]{1,18}", cursor):
        raise no_cursor(cursor)
    return int(cursor)


def _info(record: ScheduleRecord, now: int, *, orphaned: bool) -> ScheduleInfo:
    zone = _zone(record.tz)
    options, version = _said(record.options)
    try:
        rule = read_rule(record)
    except ValueError as error:
        text, moments = f"this version cannot read it: {error}", []
    else:
        text = rule.explain()
        moments = [] if record.paused else upcoming(record, rule, now, SHOWN)
    return ScheduleInfo(
        name=record.name,
        type=record.type,
        rule=record.rule,
        text=text,
        tz=record.tz,
        next_runs=tuple(_in(zone, moment) for moment in moments),
        paused=record.paused,
        missed=record.missed,
        overlap=record.overlap,
        jitter=record.jitter / SECOND,
        origin=record.origin,
        orphaned=orphaned,
        last_at=None if record.last_at is None else _in(zone, record.last_at),
        last_job=None if record.last_job is None else JobId(record.last_job),
        queue=record.queue,
        priority=PRIORITIES[record.priority],
        data=msgspec.json.decode(record.data),
        options=options,
        version=version,
        expires_in=None if record.expires_in is None else record.expires_in / SECOND,
        created_at=to_datetime(record.created_at),
    )


def _zone(name: str) -> tzinfo | None:
    """None: this machine does not know it."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return ZoneInfo(name)
    return None


def _in(zone: tzinfo | None, at: int) -> datetime:
    moment = to_datetime(at)
    try:
        return moment if zone is None else moment.astimezone(zone)
    except OverflowError:  # At the end of all time.
        return moment


def _tick_info(tick: Tick) -> TickInfo:
    return TickInfo(
        at=to_datetime(tick.at),
        until=to_datetime(tick.until),
        count=tick.count,
        outcome=tick.outcome,
        job=None if tick.job is None else JobId(tick.job),
        decided_at=to_datetime(tick.decided_at),
    )


def _said(options: str | None) -> tuple[dict[str, Any], int]:
    """What was said of the jobs of a schedule, and the version of their data."""
    said: dict[str, Any] = {} if options is None else msgspec.json.decode(options)
    version = said.pop("version", FIRST)
    return {name: value for name, value in said.items() if name not in OURS}, version
