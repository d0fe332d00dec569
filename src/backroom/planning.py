"""The seam of schedules: what the engine asks of a storage that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backroom.schedule import Firing, ScheduleRecord, Tick

__all__ = ["Planning"]


class Planning(Protocol):
    """A storage that keeps schedules. As with `JobStorage`, every verb may raise `StorageError`,
    and may be called again with the same values where its outcome is unknown.

    Whatever changes schedules wakes the subscribers of `JobStorage.subscribe` with
    `Wake.CONTROL`, here and in other processes; `fire` wakes them as `insert` does.
    """

    async def put_schedule(self, record: ScheduleRecord) -> ScheduleRecord:
        """Keeps a schedule under its name, and returns what is kept then.

        One of this name that says the same (all but `created_at`, `revision`, `paused`,
        `next_at`, `last_at`, `last_job`) stays as it is: ten processes may say the same. Of one
        that says something else, what it says now holds from now on, with the next revision;
        it stays paused if it was, and keeps its `next_at` if `rule` and `tz` are the same.
        """
        ...

    async def change_schedule(self, record: ScheduleRecord, revision: int) -> ScheduleRecord | None:
        """As `put_schedule`, of one that is there and of that `revision`; of another one nothing
        is changed.

        Returns what is kept then; None: there is none of this name."""
        ...

    async def pause_schedule(
        self,
        name: str,
        paused: bool,
        next_at: int | None,
        *,
        revision: int,
        tick: Tick | None = None,
    ) -> ScheduleRecord | None:
        """Pauses it, where it stands, or resumes it, from the tick `next_at` on, with the next
        revision; `tick`, the ones that came while it was paused, is kept in the same change.
        Nothing is changed where it is so already, or is of another `revision` by now.

        Returns what is kept then; None: there is none of this name."""
        ...

    async def drop_schedule(self, name: str) -> bool:
        """Forgets a schedule and its ticks; its jobs stay. Whether there was one."""
        ...

    async def schedule(self, name: str) -> ScheduleRecord | None:
        """The one of this name."""
        ...

    async def schedules(self) -> list[ScheduleRecord]:
        """All, by name."""
        ...

    async def due_schedules(self, now: int, limit: int) -> tuple[list[ScheduleRecord], int | None]:
        """Those that are not paused and whose `next_at` has come, the longest due first, up to
        `limit` of them; and the `next_at` of the first one that is left, due or not."""
        ...

    async def fire(self, firings: Sequence[Firing], now: int) -> list[bool]:
        """Carries out each firing whose `revision` and `expected` still stand, and is not
        paused: keeps its ticks and its jobs, and moves the schedule on, in one change. Durable
        when it returns, as `insert` is.

        Returns, for each: whether it was carried out now, or by an earlier call of the same
        values whose reply was lost (its first tick is kept with the same job). One that cannot
        be kept fails alone: False, and a line in the log says why.

        A tick that was decided before, which comes again where a clock was set back and the rule
        changed, stays what it is, and its job is not made: the schedule moves on all the same.
        Of a job whose unique key a live one holds, the tick keeps the id of that one.
        """
        ...

    async def ticks(self, name: str, limit: int, before: int | None = None) -> list[Tick]:
        """What became of its ticks, newest first; those whose `at` is before that moment."""
        ...
