"""Schedules that leave this store for another one, or come from there."""

from __future__ import annotations

from typing import Any

import asyncpg

from backroom.baggage import Parcel, encode_schedules, fitting
from backroom.ports import Wake
from backroom.schedule import ScheduleRecord
from backroom.storage.arriving import arrived, mark_of
from backroom.storage.postgres.base import Base
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
            schedules = [from_row(row[1:]) for row in rows]
            await link.execute(text["drop_schedules"], [row["id"] for row in rows])
            packed = encode_schedules(schedules)
            number = await link.fetchval(text["add_parcel"], target, label, packed)
            return Parcel(number, target, label, (), schedules)

        parcel = await self._base.change(pack)
        if parcel is not None:
            self._base.ring(Wake.CONTROL)
        return parcel

    async def unpack_schedules(self, source: int, parcel: Parcel) -> int:
        """See `Movable.unpack_schedules`."""

        async def unpack(link: Any) -> int:
            text = self._base.statements
            if not await link.fetch(text["mark_parcel"], mark_of(source), parcel.number):
                return 0
            for comes in sorted(parcel.schedules, key=lambda one: one.name):
                row = await link.fetchrow(text["lock_schedule"], to_text(comes.name))
                here: ScheduleRecord | None = None if row is None else from_row(row[1:])
                values = to_row(arrived(here, comes))
                if here is not None:
                    await link.execute(text["change_schedule"], *values)
                elif not await link.fetch(text["add_schedule"], *values):
                    raise asyncpg.SerializationError("somebody put it just now")  # Done again.
            return len(parcel.schedules)

        count = await self._base.change(unpack)
        if count:
            self._base.ring(Wake.CONTROL)
        return count


def _size(row: Any) -> int:
    return len(row["data"].encode()) + len((row["options"] or "").encode())
