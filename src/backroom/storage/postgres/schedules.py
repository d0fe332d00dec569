"""Schedules, and what becomes of their ticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from backroom.ports import Wake
from backroom.schedule import Firing, ScheduleRecord, Tick
from backroom.storage.decided import Kept, Move
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.firing import Firings, columns
from backroom.storage.postgres.rows import from_row, to_row
from backroom.storage.postgres.texts import to_text

__all__ = ["Schedules"]

LATEST: Final = 2**63 - 1


class Schedules:
    """`Planning`, over `_base` and `_firings`."""

    _base: Base
    _firings: Firings

    # -- looks -----------------------------------------------------------------------------------

    async def schedule(self, name: str) -> ScheduleRecord | None:
        """See `Planning.schedule`."""
        rows = await self._base.fetch("schedule", to_text(name))
        return from_row(rows[0]) if rows else None

    async def schedules(self) -> list[ScheduleRecord]:
        """See `Planning.schedules`."""
        return [from_row(row) for row in await self._base.fetch("schedules")]

    async def due_schedules(self, now: int, limit: int) -> tuple[list[ScheduleRecord], int | None]:
        """See `Planning.due_schedules`."""
        rows = await self._base.fetch("schedules_due", now, limit)
        due = [from_row(row[1:]) for row in rows if row["name"] is not None]
        return due, rows[0]["following"]

    async def ticks(self, name: str, limit: int, before: int | None = None) -> list[Tick]:
        """See `Planning.ticks`."""
        before = LATEST if before is None else before
        rows = await self._base.fetch("ticks", to_text(name), before, limit)
        return [
            Tick(schedule=name, at=at, until=until, count=count, outcome=outcome,
                 job=None if job is None else str(job), decided_at=decided_at)
            for at, until, count, outcome, job, decided_at in rows
        ]  # fmt: skip

    # -- changes ---------------------------------------------------------------------------------

    async def put_schedule(self, record: ScheduleRecord) -> ScheduleRecord:
        """See `Planning.put_schedule`."""
        before = await self.schedule(record.name)
        if before is not None and before.revised(record) is before:
            return before  # As nine of ten processes that start find it: without a lock.

        async def put(link: Any) -> tuple[ScheduleRecord, bool]:
            text = self._base.statements
            row = await link.fetchrow(text["lock_schedule"], to_text(record.name))
            if row is not None:
                before = from_row(row[1:])
                return await self._revise(link, before, before.revised(record))
            if not await link.fetch(text["add_schedule"], *to_row(record)):
                raise asyncpg.SerializationError("somebody put it just now")  # Done again.
            return record, True

        return self._revised(await self._base.change(put))

    async def change_schedule(self, record: ScheduleRecord, revision: int) -> ScheduleRecord | None:
        """See `Planning.change_schedule`."""

        async def change(link: Any) -> tuple[ScheduleRecord, bool] | None:
            row = await link.fetchrow(self._base.statements["lock_schedule"], to_text(record.name))
            if row is None:
                return None
            before = from_row(row[1:])
            if before.revision != revision:
                return before, False
            return await self._revise(link, before, before.revised(record))

        answer = await self._base.change(change)
        return None if answer is None else self._revised(answer)

    async def pause_schedule(
        self,
        name: str,
        paused: bool,
        next_at: int | None,
        *,
        revision: int,
        tick: Tick | None = None,
    ) -> ScheduleRecord | None:
        """See `Planning.pause_schedule`."""

        async def pause(link: Any) -> tuple[ScheduleRecord, bool] | None:
            text = self._base.statements
            row = await link.fetchrow(text["lock_schedule"], to_text(name))
            if row is None:
                return None
            before = from_row(row[1:])
            answer = await self._revise(link, before, before.switched(paused, next_at, revision))
            if answer[1] and tick is not None:
                kept, move = Kept(row[0], tick, tick.job, None), Move(next_at, kept=1)
                await link.execute(text["move_on"], *columns([kept], {row[0]: move}))
            return answer

        answer = await self._base.change(pause)
        return None if answer is None else self._revised(answer)

    async def drop_schedule(self, name: str) -> bool:
        """See `Planning.drop_schedule`."""

        async def drop(link: Any) -> bool:
            text = self._base.statements
            row = await link.fetchrow(text["lock_schedule"], to_text(name))
            if row is not None:
                await link.execute(text["drop_schedules"], [row[0]])
            return row is not None

        dropped = await self._base.change(drop)
        if dropped:
            self._base.ring(Wake.CONTROL)
        return dropped

    async def _revise(
        self, link: Any, before: ScheduleRecord, now: ScheduleRecord
    ) -> tuple[ScheduleRecord, bool]:
        if now is not before:
            await link.execute(self._base.statements["change_schedule"], *to_row(now))
        return now, now is not before

    def _revised(self, answer: tuple[ScheduleRecord, bool]) -> ScheduleRecord:
        """It is committed: those who listen are told, if it changed anything."""
        record, changed = answer
        if changed:
            self._base.ring(Wake.CONTROL)
        return record

    # -- firing ----------------------------------------------------------------------------------

    async def fire(self, firings: Sequence[Firing], now: int) -> list[bool]:
        """See `Planning.fire`."""
        return await self._firings.fire(firings, now)
