"""Schedules and their ticks as frozen values.

A tick is one due time of a schedule, a moment in microseconds since 1970 (UTC). It fires one job,
or is skipped, and either way is written down once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from backroom.job import FIRST, JobId, JobRecord, Priority

__all__ = [
    "CAUGHT_UP",
    "Firing",
    "Missed",
    "Overlap",
    "ScheduleInfo",
    "ScheduleRecord",
    "Tick",
    "TickInfo",
    "TickOutcome",
    "TickPage",
]

Missed: TypeAlias = Literal["skip", "run_once", "run_all"]
"""What becomes of ticks that nobody was there for: none of them runs, the latest one, or all."""
Overlap: TypeAlias = Literal["allow", "skip", "queue"]
"""What becomes of a tick while a job of an earlier one has not ended: it runs beside it, not at
all, or behind it, where at most one waits."""
TickOutcome: TypeAlias = Literal["fired", "missed", "overlap", "paused"]
"""A job was made of it, or why not."""

CAUGHT_UP: Final = 100
"""How many ticks that were missed `run_all` makes up for at most; older ones are skipped."""


class ScheduleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it is kept."""

    name: str
    rule: str
    """A cron expression; or `@every` and a whole number of microseconds."""
    tz: str
    """The IANA name of the zone in which the rule is read."""
    type: str
    queue: str
    priority: int
    data: str
    """JSON, as the jobs get it."""
    options: str | None = None
    """As `JobRecord.options`; and `unique`, where its jobs have a unique key."""
    expires_in: int | None = None
    """Microseconds, as the jobs get it."""
    missed: Missed = "run_once"
    overlap: Overlap = "allow"
    jitter: int = 0
    """Each job comes up to so many microseconds after its tick, by chance."""
    origin: Literal["code", "call"] = "call"
    """It stands in the code of an application; or somebody made it while that ran."""
    paused: bool = False
    created_at: int
    revision: int = 1
    """One more with each change of any of the above: what was decided of an earlier one is not
    carried out. A service begins it with `created_at`: one that is made anew under the name of a
    schedule that was dropped has none of the revisions that the former one had."""
    next_at: int | None
    """The next tick that nothing was decided of; None: there is none."""
    last_at: int | None = None
    """The last tick that fired."""
    last_job: str | None = None
    """The id of its job."""

    def revised(self, said: ScheduleRecord) -> ScheduleRecord:
        """What is kept once that is said of a schedule of this name: this very record, if it
        says the same; see `Planning.put_schedule`."""
        same_rule = (self.rule, self.tz) == (said.rule, said.tz)
        now = msgspec.structs.replace(
            said, created_at=self.created_at, revision=self.revision, paused=self.paused,
            next_at=self.next_at if same_rule else said.next_at, last_at=self.last_at,
            last_job=self.last_job,
        )  # fmt: skip
        if same_rule and now == self:
            return self
        return msgspec.structs.replace(now, revision=self.revision + 1)

    def says(self, said: ScheduleRecord) -> bool:
        """Whether that is no news of it."""
        return self.revised(said) is self

    def joined(self, other: ScheduleRecord) -> ScheduleRecord:
        """What is kept of two that say the same, once their storages become one: the earlier of
        their next ticks, the later of their last ones; and paused it is if one of them was."""
        last = max(self, other, key=lambda one: one.last_at or 0)
        moments = [one.next_at for one in (self, other) if one.next_at is not None]
        return msgspec.structs.replace(
            self, paused=self.paused or other.paused, next_at=min(moments, default=None),
            revision=max(self.revision, other.revision) + 1, last_at=last.last_at,
            last_job=last.last_job,
        )  # fmt: skip

    def switched(self, paused: bool, next_at: int | None, revision: int) -> ScheduleRecord:
        """What is kept once it is paused, where it stands, or resumed at that tick: this very
        record, if it is so already, or is not of that revision any more; see
        `Planning.pause_schedule`."""
        if paused == self.paused or revision != self.revision:
            return self
        if paused:
            next_at = self.next_at  # A tick may have fired since the caller looked.
        return msgspec.structs.replace(
            self, paused=paused, next_at=next_at, revision=self.revision + 1
        )


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a tick; or of several in a row that were all skipped for the same reason."""

    schedule: str
    at: int
    until: int
    """The last of them; the same moment where it is one."""
    count: int = 1
    outcome: TickOutcome
    job: str | None = None
    """The id of the job that it fired."""
    decided_at: int


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done about the ticks of one schedule that have come: one change, done by
    whoever is first, and by nobody else."""

    schedule: str
    revision: int
    expected: int
    """The `next_at` that it was decided on: if that is another one by now, somebody else was
    first, and nothing is done."""
    next_at: int | None
    ticks: tuple[Tick, ...]
    jobs: tuple[JobRecord, ...] = ()

    @property
    def witness(self) -> Tick:
        """The one of its ticks that tells whether a kept one is of this very firing."""
        return next((tick for tick in self.ticks if tick.job is not None), self.ticks[0])


class ScheduleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What people see of a schedule at one moment."""

    name: str
    type: str
    rule: str
    """The cron expression; or `@every` and a whole number of microseconds."""
    text: str
    """The rule in plain English; or why this version cannot read it."""
    tz: str
    """The zone in which the rule is read, and `next_runs` is told."""
    next_runs: tuple[datetime, ...]
    """The next ticks that nothing was decided of; none while it is paused."""
    paused: bool
    missed: Missed
    overlap: Overlap
    jitter: float
    """Seconds."""
    origin: Literal["code", "call"]
    """It stands beside a handler; or somebody made it by a call."""
    orphaned: bool = False
    """It once stood beside a handler, and in the code of this process it does no more: it goes on
    until somebody deletes it."""
    last_at: datetime | None = None
    """The last tick that fired."""
    last_job: JobId[Any] | None = None
    """Its job."""
    queue: str
    priority: Priority
    data: Any
    """What its jobs get, as plain JSON values."""
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The options that were said and a worker resolves: retries, timeout ..."""
    version: int = FIRST
    """Of the data of its jobs, as who said it last had it."""
    expires_in: float | None = None
    """Seconds."""
    created_at: datetime


class TickInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a tick; or of several in a row that were all skipped for the same reason."""

    at: datetime
    until: datetime
    """The last of them; the same moment where it is one."""
    count: int
    """How many. Of a cron expression at most 100 are counted: then there may be more."""
    outcome: TickOutcome
    job: JobId[Any] | None
    """The job that it fired, which may have been removed since."""
    decided_at: datetime


class TickPage(Sequence[TickInfo]):
    """Ticks, newest first. `cursor` asks for the next page; None on the last."""

    __slots__ = ("_ticks", "cursor")

    def __init__(self, ticks: Sequence[TickInfo], cursor: str | None = None) -> None:
        self._ticks = tuple(ticks)
        self.cursor = cursor

    def __iter__(self) -> Iterator[TickInfo]:
        return iter(self._ticks)

    def __len__(self) -> int:
        return len(self._ticks)

    def __getitem__(self, index: Any) -> Any:
        return self._ticks[index]

    def __repr__(self) -> str:
        return f"TickPage({len(self._ticks)} ticks, cursor={self.cursor!r})"
