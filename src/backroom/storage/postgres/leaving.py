"""Schedules that leave this store for another one, or come from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from backroom.baggage import TICK_BYTES, Freight, Parcel, PastTick, encode_freight, fitting
from backroom.ports import Wake
from backroom.schedule import ScheduleRecord, Tick
from backroom.storage.arriving import arrived, mark_of, new_ticks
from backroom.storage.decided import Kept, Move
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.firing import columns
from backroom.storage.postgres.looking import identity
from backroom.storage.postgres.rows import from_row, to_row
from backroom.storage.postgres.texts import to_text

__all__ = ["Leaving"]


class Leaving:
    """What `Movable` says of schedules, over `_base`."""

    _base: Base

    async def pack_schedules(self, limit: int, target: int, label: str) -> Parcel | None:
        """See `Movable.pack_schedules`."""
        if not await self._base.fetch("schedules_after", 0, 1):
            return None
        await self._base.fetch("make_parcels")

        async def pack(link: Any) -> Parcel | None:
            text = self._base.statements
            # Whoever fires one of them is waited for, and its ticks are seen by what follows.
            rows = await link.fetch(text["first_schedules"], limit)
            if not rows:
                return None
            rows = rows[: fitting([(row["id"], _size(row)) for row in rows])]
            schedules = [from_row(row[2:]) for row in rows]
            past = await self._past(link, [row["id"] for row in rows])
            ticks = {
                one.name: tuple(past.get(row["id"], ()))
                for one, row in zip(schedules, rows, strict=True)
            }
            await link.execute(text["drop_schedules"], [row["id"] for row in rows])
            freight = Freight(tuple(schedules), ticks)
            number = await link.fetchval(text["add_parcel"], target, label, encode_freight(freight))
            return Parcel(number, target, label, (), freight)

        parcel = await self._base.change(pack)
        if parcel is not None:
            self._base.ring(Wake.CONTROL)
        return parcel

    async def _past(self, link: Any, keys: Sequence[int]) -> dict[int, list[PastTick]]:
        found: dict[int, list[PastTick]] = {}
        for key, at, until, count, outcome, job, asked, decided_at in await link.fetch(
            self._base.statements["ticks_of"], keys
        ):
            tick = PastTick(at, until, count, outcome, _name(job), _name(asked), decided_at)
            found.setdefault(key, []).append(tick)
        return found

    async def _keep_ticks(
        self, link: Any, key: int, record: ScheduleRecord, come: Sequence[PastTick]
    ) -> None:
        """Of a schedule that is locked, or is new."""
        here = (await self._past(link, [key])).get(key, [])
        rows = [
            Kept(
                key,
                Tick(
                    schedule=record.name, at=one.at, until=one.until, count=one.count,
                    outcome=one.outcome, decided_at=one.decided_at,
                ),
                _possible(one.job), _possible(one.asked),
            )
            for one in new_ticks([(tick.at, tick.until) for tick in here], come)
        ]  # fmt: skip
        move = Move(record.next_at, kept=len(rows))
        await link.execute(self._base.statements["move_on"], *columns(rows, {key: move}))

    async def unpack_schedules(self, source: int, parcel: Parcel) -> int:
        """See `Movable.unpack_schedules`."""
        ticks = {} if parcel.freight is None else parcel.freight.ticks

        async def unpack(link: Any) -> int:
            text = self._base.statements
            if not await link.fetch(text["mark_parcel"], mark_of(source), parcel.number):
                return 0
            for comes in sorted(parcel.schedules, key=lambda one: one.name):
                row = await link.fetchrow(text["lock_schedule"], to_text(comes.name))
                here: ScheduleRecord | None = None if row is None else from_row(row[1:])
                record = arrived(here, comes)
                if row is not None:
                    await link.execute(text["change_schedule"], *to_row(record))
                else:
                    row = await link.fetchrow(text["add_schedule"], *to_row(record))
                    if row is None:
                        raise asyncpg.SerializationError("somebody put it just now")  # Done again.
                await self._keep_ticks(link, row["id"], record, ticks.get(comes.name, ()))
            return len(parcel.schedules)

        count = await self._base.change(unpack)
        if count:
            self._base.ring(Wake.CONTROL)
        return count


def _size(row: Any) -> int:
    said = len(row["data"].encode()) + len((row["options"] or "").encode())
    return said + int(row["kept"]) * TICK_BYTES


def _name(job: Any) -> str | None:
    return None if job is None else str(job)


def _possible(job: str | None) -> str | None:
    """An id that is none here names a job that cannot come here either."""
    return None if job is None or identity(job) is None else job
