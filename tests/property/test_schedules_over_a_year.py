"""A year of schedules in virtual time: workers that die in the middle of what they decide, wall
clocks that are set, pauses, changes. Each tick is accounted for exactly once (promise 7)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any, Final

import msgspec
import pytest

from backroom import Cron, JobService, MemoryJobStorage, Schedule
from backroom.ports import Filter
from backroom.schedule import Missed, Overlap, ScheduleRecord, Tick
from backroom.scheduler import Scheduler
from backroom.ticking import COUNTED, Every, Rule, read_rule
from tests.contract.parts import SettableClock

DAY: Final = 86_400.0
YEAR: Final = 365 * DAY
WORKERS: Final = 3
RULES: Final[dict[str, Cron | float]] = {
    "digest": Cron("0 9 * * MON-FRI", "Europe/Paris"),
    "sweep": Cron("*/20 * * * *", "America/New_York"),
    "night": Cron("30 2 * * *", "Australia/Lord_Howe"),
    "poll": 47 * 60.0,
    "bill": Cron("0 0 L * *"),
}
MISSED: Final[tuple[Missed, ...]] = ("skip", "run_once", "run_all")
OVERLAP: Final[tuple[Overlap, ...]] = ("allow", "skip", "queue")


class Died(Exception):
    """The worker's process is gone, in the middle of a call."""


class Way:
    """From one worker to the storage. Others have their turn in between, and the worker may die on
    the way there, or back."""

    def __init__(self, storage: MemoryJobStorage, chance: random.Random) -> None:
        self._storage = storage
        self._chance = chance

    def __getattr__(self, verb: str) -> Any:
        async def call(*arguments: Any) -> Any:
            fate = self._chance.random()
            await self._others()
            if fate < 0.02:
                raise Died
            answer = await getattr(self._storage, verb)(*arguments)
            await self._others()
            if fate > 0.98:
                raise Died
            return answer

        return call

    async def _others(self) -> None:
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)


class Year:
    """One store, some workers, and what happens to them."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = SettableClock()
        self.storage = MemoryJobStorage(clock=self.clock, retention=None)
        self.service = JobService(self.storage)
        self.service.declare("JOB")
        self.workers = [self.worker() for _ in range(WORKERS)]
        self.counts: Counter[str] = Counter()
        self.firsts: dict[str, int] = {}

    def worker(self) -> Scheduler:
        way: Any = Way(self.storage, self.chance)
        return Scheduler(way, way, self.clock, 1.0, chance=self.chance.random)

    async def begin(self) -> None:
        await self.service.open()
        for number, (name, rule) in enumerate(RULES.items()):
            schedule = Schedule(
                rule,
                name=name,
                missed=MISSED[number % 3],
                overlap=self.chance.choice(OVERLAP),
                jitter=self.chance.choice((0, 30)),
            )
            await self.service._put(schedule, "JOB", None, "call")
            record = await self.record(name)
            assert record.next_at is not None
            self.firsts[name] = record.next_at

    async def record(self, name: str) -> ScheduleRecord:
        record = await self.storage.schedule(name)
        assert record is not None
        return record

    async def pass_on(self) -> None:
        """Some time passes, something happens, and all look."""
        chance = self.chance.random()
        self.clock.advance(self.chance.choice((60, 1800, 14_400)) * self.chance.random())
        if chance < 0.01:
            self.clock.advance(self.chance.uniform(0, 10 * DAY))
            self.counts["outages"] += 1
        elif chance < 0.03:
            self.clock.step(self.chance.choice((-1, 1)) * self.chance.uniform(1, 3 * 3600))
            self.counts["steps"] += 1
        elif chance < 0.05:
            name = self.chance.choice(list(RULES))
            paused = (await self.record(name)).paused
            change = self.service.resume_schedule if paused else self.service.pause_schedule
            await change(name)
            self.counts["pauses"] += 1
        elif chance < 0.07:
            record = await self.record(self.chance.choice(list(RULES)))
            await self.storage.put_schedule(
                msgspec.structs.replace(record, data=f"[{self.chance.random()}]")
            )
            self.counts["changes"] += 1
        elif chance < 0.5:
            await self.end_some_jobs()
        await asyncio.gather(*(self.look(n) for n in range(WORKERS)))

    async def look(self, number: int) -> None:
        """One worker looks, until it has nothing to do; another one takes the place of one that
        dies."""
        worker = self.workers[number]
        worker._behind = 0.0
        try:
            for _ in range(50):
                if await worker.turn() != 0.0 or not worker._looking:
                    return
        except Died:
            self.counts["deaths"] += 1
            self.workers[number] = self.worker()
        else:
            raise AssertionError("it looks for ever")

    async def end_some_jobs(self) -> None:
        now = self.clock.now()
        for name in RULES:
            job = (await self.record(name)).last_job
            if job is not None and self.chance.random() < 0.7:
                await self.storage.cancel(job, now)

    async def ticks(self, name: str) -> list[Tick]:
        """Oldest first."""
        found: list[Tick] = []
        before = None
        while page := await self.storage.ticks(name, 1000, before):
            found += page
            before = page[-1].at
        return found[::-1]

    async def jobs(self) -> Counter[str]:
        """How many of each id."""
        found: Counter[str] = Counter()
        cursor = None
        while True:
            page, cursor = await self.storage.page(Filter(), self.clock.now(), 1000, cursor)
            found.update(str(job.id) for job in page)
            if cursor is None:
                return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_over_a_year_each_tick_is_decided_exactly_once(seed: int) -> None:
    year = Year(seed)
    await year.begin()
    began = year.clock.uptime()
    while year.clock.uptime() < began + YEAR:
        await year.pass_on()

    jobs = await year.jobs()
    for name in RULES:
        record = await year.record(name)
        rule = read_rule(msgspec.structs.replace(record, next_at=year.firsts[name]))
        expected: int | None = year.firsts[name]
        for tick in await year.ticks(name):
            assert tick.at == expected, f"{name}: a tick was lost, or decided twice"
            year.counts[tick.outcome] += 1
            if tick.outcome == "fired":
                assert jobs.pop(tick.job or "") == 1
                assert tick.at == tick.until
            else:
                assert tick.job is None
                assert _counted(rule, tick) == tick.count
            expected = rule.next(tick.until)
        assert record.next_at == expected, f"{name}: what comes next is not what follows"
    assert not jobs, "jobs that belong to no tick"
    assert all(year.counts[what] > 20 for what in ("deaths", "steps", "pauses", "changes"))
    assert all(year.counts[what] > 10 for what in ("fired", "missed", "overlap", "paused"))
    await year.service.stop()


def _counted(rule: Rule, tick: Tick) -> int:
    """Of a cron expression, no more than so many are counted."""
    count, at = 1, tick.at
    while at < tick.until:
        following = rule.next(at)
        assert following is not None
        count, at = count + 1, following
    return count if isinstance(rule, Every) else min(count, COUNTED)
