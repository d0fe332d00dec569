"""Years of schedules in virtual time: workers that die in the middle of what they decide, or never
hear what became of it, wall clocks that are set, or are wrong on one machine, pauses, changes. Each
tick is accounted for exactly once (promise 7).

`tests/simulation/world.py` has whole workers, for seconds; here are their schedulers alone, for
years.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from backroom import Cron, JobService, MemoryJobStorage, Schedule, StorageError
from backroom.inspecting import Filter
from backroom.job import SECOND
from backroom.ports import Clock
from backroom.schedule import Missed, Overlap, ScheduleRecord, Tick
from backroom.scheduler import Scheduler
from backroom.ticking import COUNTED, Every, Rule, read_rule
from tests.contract.parts import SettableClock
from tests.simulation.simulate import Outcome

__all__ = ["DAY", "HOURLY_AND_DAILY", "MANY", "YEAR", "Years", "simulate_years"]

DAY: Final = 86_400.0
YEAR: Final = 365 * DAY
WORKERS: Final = 3
Rules = Mapping[str, Cron | float]
MANY: Final[Rules] = {
    "digest": Cron("0 9 * * MON-FRI", "Europe/Paris"),
    "sweep": Cron("*/20 * * * *", "America/New_York"),
    "night": Cron("30 2 * * *", "Australia/Lord_Howe"),
    "poll": 47 * 60.0,
    "bill": Cron("0 0 L * *"),
}
HOURLY_AND_DAILY: Final[Rules] = {
    "daily": Cron("30 2 * * *", "Europe/Paris"),  # Where clocks are set, it is not there, or twice.
    "evening": Cron("0 18 * * *", "America/New_York"),
    "hourly": Cron("0 * * * *", "Europe/Paris"),
}
SOON: Final = (60.0, 1800.0, 14_400.0)
"""Seconds that may pass between two looks."""
OFTEN: Final = 20
"""In a year each trouble befalls them more often than that."""
MISSED: Final[tuple[Missed, ...]] = ("skip", "run_once", "run_all")
OVERLAP: Final[tuple[Overlap, ...]] = ("allow", "skip", "queue")


class Died(Exception):
    """The worker's process is gone, in the middle of a call."""


class Way:
    """From one worker to the storage. Others have their turn in between; the worker may die on the
    way there, or back, or never hear whether it has come there."""

    def __init__(self, storage: MemoryJobStorage, chance: random.Random) -> None:
        self._storage = storage
        self._chance = chance

    def __getattr__(self, verb: str) -> Any:
        async def call(*arguments: Any) -> Any:
            fate = self._chance.random()
            await self._others()
            if fate < 0.02:
                raise Died
            if fate < 0.03:
                raise StorageError(f"{verb}: it never arrived")
            answer = await getattr(self._storage, verb)(*arguments)
            await self._others()
            if fate > 0.98:
                raise Died
            if fate > 0.96:
                raise StorageError(f"{verb}: its answer was lost")
            return answer

        return call

    async def _others(self) -> None:
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)


class WrongClock:
    """Of one machine, whose wall clock may be wrong."""

    def __init__(self, right: SettableClock) -> None:
        self._right = right
        self.wrong = 0.0
        """Seconds."""

    def now(self) -> int:
        return self._right.now() + round(self.wrong * SECOND)

    def uptime(self) -> float:
        return self._right.uptime()


class Years:
    """One store, some workers, and what happens to them."""

    def __init__(self, seed: int, rules: Rules, steps: Sequence[float] = SOON) -> None:
        """`steps`: seconds of which one, at most, passes between two looks."""
        self.chance = random.Random(seed)
        self.clock = SettableClock()
        self.clocks = [WrongClock(self.clock) for _ in range(WORKERS)]
        self.storage = MemoryJobStorage(clock=self.clock, retention=None)
        self.service = JobService(self.storage)
        self.service.declare("JOB")
        self.workers = [self._worker(clock) for clock in self.clocks]
        self.counts: Counter[str] = Counter()
        self._rules = rules
        self._steps = steps
        self._firsts: dict[str, int] = {}

    def _worker(self, clock: Clock) -> Scheduler:
        way: Any = Way(self.storage, self.chance)
        return Scheduler(way, way, clock, 1.0, chance=self.chance.random)

    async def run(self, years: float) -> None:
        """From the first schedule to the last look."""
        await self._begin()
        began = self.clock.uptime()
        while self.clock.uptime() < began + years * YEAR:
            await self._pass_on()
        for clock in self.clocks:
            clock.wrong = 0.0
        for _ in range(WORKERS):  # Where all die at the same time, others come.
            await self._all_look()

    async def _begin(self) -> None:
        await self.service.open()
        for number, (name, rule) in enumerate(self._rules.items()):
            schedule = Schedule(
                rule,
                name=name,
                missed=MISSED[number % 3],
                overlap=self.chance.choice(OVERLAP),
                jitter=self.chance.choice((0, 30)),
            )
            await self.service._put(schedule, "JOB", None, "call")
            record = await self._record(name)
            assert record.next_at is not None
            self._firsts[name] = record.next_at

    async def _record(self, name: str) -> ScheduleRecord:
        record = await self.storage.schedule(name)
        assert record is not None
        return record

    async def _pass_on(self) -> None:
        """Some time passes, something happens, and all look."""
        chance = self.chance.random()
        self.clock.advance(self.chance.choice(self._steps) * self.chance.random())
        if chance < 0.01:
            self.clock.advance(self.chance.uniform(0, 10 * DAY))
            self.counts["outages"] += 1
        elif chance < 0.03:
            self.clock.step(self.chance.choice((-1, 1)) * self.chance.uniform(1, 3 * 3600))
            self.counts["clocks set"] += 1
        elif chance < 0.05:
            clock = self.chance.choice(self.clocks)
            clock.wrong = 0.0 if clock.wrong else self.chance.uniform(-7200, 7200)
            self.counts["clocks wrong"] += 1
        elif chance < 0.07:
            name = self.chance.choice(list(self._rules))
            paused = (await self._record(name)).paused
            change = self.service.resume_schedule if paused else self.service.pause_schedule
            await change(name)
            self.counts["pauses"] += 1
        elif chance < 0.09:
            record = await self._record(self.chance.choice(list(self._rules)))
            await self.storage.put_schedule(
                msgspec.structs.replace(record, data=f"[{self.chance.random()}]")
            )
            self.counts["changes"] += 1
        elif chance < 0.5:
            await self._end_some_jobs()
        await self._all_look()

    async def _all_look(self) -> None:
        await asyncio.gather(*(self._look(n) for n in range(WORKERS)))

    async def _look(self, number: int) -> None:
        """One worker looks, until it has nothing to do; another one takes the place of one that
        dies."""
        worker = self.workers[number]
        try:
            for _ in range(50):
                worker._behind = 0.0  # Which nobody waits for here.
                try:
                    if await worker.turn() != 0.0 or not worker._looking:
                        return
                except StorageError:
                    self.counts["answers lost"] += 1
        except Died:
            self.counts["deaths"] += 1
            self.workers[number] = self._worker(self.clocks[number])
        else:
            raise AssertionError("it looks for ever")

    async def _end_some_jobs(self) -> None:
        now = self.clock.now()
        for name in self._rules:
            job = (await self._record(name)).last_job
            if job is not None and self.chance.random() < 0.7:
                await self.storage.cancel(job, now)

    # -- what became of it -----------------------------------------------------------------------

    async def wrong(self) -> str:
        """What was lost, doubled or told wrongly; nothing, if each tick was decided once. To be
        asked at the end; then the figures are whole."""
        jobs = await self._jobs()
        for name in self._rules:
            record = await self._record(name)
            rule = read_rule(msgspec.structs.replace(record, next_at=self._firsts[name]))
            expected: int | None = self._firsts[name]
            for tick in await self.ticks(name):
                if tick.at != expected:
                    return f"{name}: {tick.at} was decided where {expected} was to be"
                if not _is_told_rightly(tick, rule, jobs):
                    return f"{name}: of {tick.at} is said {tick}"
                self.counts[tick.outcome] += tick.count
                expected = rule.next(tick.until)
            if record.next_at is None or record.next_at != expected:
                return f"{name}: goes on with {record.next_at}, and {expected} follows"
            waits = record.paused or record.overlap == "queue"
            if record.next_at <= self.clock.now() and not waits:
                return f"{name}: stands still before {record.next_at}"
        return f"{len(jobs)} jobs belong to no tick" if jobs else ""

    async def ticks(self, name: str) -> list[Tick]:
        """Oldest first."""
        found: list[Tick] = []
        before = None
        while page := await self.storage.ticks(name, 1000, before):
            found += page
            before = page[-1].at
        return found[::-1]

    async def _jobs(self) -> set[str]:
        """The ids of all."""
        found: set[str] = set()
        cursor = None
        while True:
            page, cursor = await self.storage.page(Filter(), self.clock.now(), 1000, cursor)
            found.update(str(job.id) for job in page)
            if cursor is None:
                return found


def _is_told_rightly(tick: Tick, rule: Rule, jobs: set[str]) -> bool:
    """Its job is taken out of `jobs`."""
    if tick.outcome != "fired":
        return tick.job is None and _counted(rule, tick) == tick.count
    if tick.job not in jobs:
        return False
    jobs.remove(tick.job)
    return tick.at == tick.until


def _counted(rule: Rule, tick: Tick) -> int:
    """Of a cron expression, no more than so many are counted."""
    count, at = 1, tick.at
    while at < tick.until:
        following = rule.next(at)
        assert following is not None
        count, at = count + 1, following
    return count if isinstance(rule, Every) else min(count, COUNTED)


def simulate_years(seed: int, *, years: float) -> Outcome:
    """Runs a seed for so long, with all schedules."""
    return asyncio.run(_simulate(seed, years))


async def _simulate(seed: int, years: float) -> Outcome:
    rules = MANY | HOURLY_AND_DAILY
    world = Years(seed, rules)
    await world.run(years)
    wrong = await world.wrong()
    ticks = [tick for name in rules for tick in await world.ticks(name)]
    await world.service.stop()
    told = "\n".join(f"{one.schedule} {one.at} {one.until} {one.outcome}" for one in ticks)
    again = f"replay: python3 dev.py simulate --years {years:g} --seed {seed}"
    return Outcome(
        seed, "memory", Counter({"seeds": 1, **world.counts}),
        f"{years:g} years of {len(rules)} schedules, {WORKERS} workers",
        hashlib.sha256(told.encode()).hexdigest()[:16],
        f"seed {seed}: promise 7 is broken: {wrong}\n{again}" if wrong else "", told,
    )  # fmt: skip
