"""Schedules, and what is decided of their ticks, as the tests of the contract say it."""

from __future__ import annotations

from typing import Any, cast

from backroom.job import SECOND
from backroom.planning import Planning
from backroom.schedule import Firing, ScheduleRecord, Tick
from tests.contract.parts import Bench

__all__ = ["Plans"]


class Plans:
    """A bench that plans: a schedule that is due each minute, unless it is said otherwise."""

    def __init__(self, bench: Bench) -> None:
        assert bench.storage.capabilities.planning
        self.bench = bench
        self.storage = cast(Planning, bench.storage)

    def later(self, seconds: float) -> int:
        return self.bench.later(seconds)

    def schedule(
        self, name: str = "digest", *, due_in: float = 0.0, **fields: Any
    ) -> ScheduleRecord:
        said = {
            "rule": "* * * * *",
            "tz": "Europe/Paris",
            "type": "SEND_DIGEST",
            "queue": "default",
            "priority": 2,
            "data": "{}",
            "created_at": self.bench.now,
            "next_at": self.later(due_in),
        }
        return ScheduleRecord(name=name, **{**said, **fields})

    async def put(self, name: str = "digest", **fields: Any) -> ScheduleRecord:
        return await self.storage.put_schedule(self.schedule(name, **fields))

    async def kept(self, name: str = "digest") -> ScheduleRecord:
        record = await self.storage.schedule(name)
        assert record is not None, f"{name} is gone"
        return record

    def firing(self, record: ScheduleRecord, *, next_in: float = 60.0, **job: Any) -> Firing:
        """Of the tick that is next; the one after it so many seconds later."""
        assert record.next_at is not None
        made = self.bench.record(type=record.type, queue=record.queue, data=record.data, **job)
        return Firing(
            schedule=record.name,
            revision=record.revision,
            expected=record.next_at,
            next_at=record.next_at + round(next_in * SECOND),
            ticks=(self.tick(record.name, record.next_at, job=made.id),),
            jobs=(made,),
        )

    def tick(self, schedule: str, at: int, **fields: Any) -> Tick:
        said = {"until": at, "outcome": "fired", "decided_at": self.bench.now}
        return Tick(schedule=schedule, at=at, **{**said, **fields})

    def skipping(self, record: ScheduleRecord, count: int = 1, **fields: Any) -> Firing:
        """So many ticks in a row that nobody was there for, a minute apart; one row."""
        assert record.next_at is not None
        until = record.next_at + (count - 1) * 60 * SECOND
        tick = self.tick(
            record.name, record.next_at, until=until, count=count, outcome="missed", **fields
        )
        return Firing(
            schedule=record.name, revision=record.revision, expected=record.next_at,
            next_at=until + 60 * SECOND, ticks=(tick,),
        )  # fmt: skip

    async def fire(self, *firings: Firing) -> list[bool]:
        return await self.storage.fire(firings, self.bench.now)

    async def ticks(self, name: str = "digest", limit: int = 100) -> list[Tick]:
        return await self.storage.ticks(name, limit)

    async def jobs(self) -> list[str]:
        """The ids of all jobs."""
        ids, _ = await self.bench.page()
        return ids

    async def due(self, limit: int = 100) -> tuple[list[str], int | None]:
        records, following = await self.storage.due_schedules(self.bench.now, limit)
        return [record.name for record in records], following
