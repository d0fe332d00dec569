"""An embedded storage that keeps schedules, beside workflows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from backroom.schedule import Firing, ScheduleRecord, Tick
from backroom.storage.sqlite import schedules
from backroom.storage.woven import WovenStorage

__all__ = ["PlannedStorage"]

P = ParamSpec("P")
T = TypeVar("T")
Run: TypeAlias = Callable[..., Any]
"""`Connection.execute`."""


class PlannedStorage(WovenStorage):
    """`Planning`."""

    async def put_schedule(self, record: ScheduleRecord) -> ScheduleRecord:
        return await self._write(schedules.put, record)

    async def change_schedule(self, record: ScheduleRecord, revision: int) -> ScheduleRecord | None:
        return await self._write(schedules.change, record, revision)

    async def pause_schedule(
        self,
        name: str,
        paused: bool,
        next_at: int | None,
        *,
        revision: int,
        tick: Tick | None = None,
    ) -> ScheduleRecord | None:
        return await self._write(schedules.pause, name, paused, next_at, revision, tick)

    async def drop_schedule(self, name: str) -> bool:
        return await self._write(schedules.drop, name)

    async def schedule(self, name: str) -> ScheduleRecord | None:
        return await self._ask(schedules.kept, name)

    async def schedules(self) -> list[ScheduleRecord]:
        return await self._ask(schedules.every)

    async def due_schedules(self, now: int, limit: int) -> tuple[list[ScheduleRecord], int | None]:
        return await self._ask(schedules.due, now, limit)

    async def fire(self, firings: Sequence[Firing], now: int) -> list[bool]:
        return await self._write(schedules.fire, firings, now)

    async def ticks(self, name: str, limit: int, before: int | None = None) -> list[Tick]:
        return await self._ask(schedules.ticks, name, limit, before)

    async def _ask(
        self, look: Callable[Concatenate[Run, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._read(lambda jobs: look(jobs.connection.execute, *args, **kwargs))
