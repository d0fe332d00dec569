"""Whatever is done in whatever order: limits are never exceeded, permits never left behind, and
nobody waits where there is room."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from backroom.job import JobRecord, JobStatus
from backroom.limit import LimitRecord, Need
from backroom.tie import tied
from backroom.transition import Claim, Transition
from tests.contract.parts import LEASE, Bench

QUEUES = ("default", "other")
PLACES = (("tenant", "a"), ("tenant", "b"), ("gpu", ""))


@dataclass
class Walk:
    """What a storage should hold, said without one."""

    bench: Bench
    chance: random.Random
    most: dict[str, int] = field(default_factory=lambda: {"tenant": 2, "gpu": 3})
    jobs: dict[str, tuple[JobRecord, list[Need]]] = field(default_factory=dict)
    held: dict[str, tuple[int, Claim]] = field(default_factory=dict)
    workers: list[int] = field(default_factory=list)
    paused: set[str] = field(default_factory=set)

    def used(self, place: tuple[str, str]) -> int:
        return sum(
            min(need.slots, self.at_grant[job, place])
            for job in self.held
            for need in self.jobs[job][1]
            if need.place == place
        )

    at_grant: dict[tuple[str, tuple[str, str]], int] = field(default_factory=dict)

    # -- what is done ------------------------------------------------------------------------------

    async def enlist(self) -> None:
        self.workers.append(await self.bench.enlist())

    async def add(self) -> None:
        names = self.chance.sample(PLACES, self.chance.choice((1, 1, 2)))
        needs = [
            Need(name, key, self.chance.choice((1, 1, 1, 2, 4)), self.most[name])
            for name, key in names
        ]
        record = self.bench.record(
            options=tied(None, limits=needs),
            priority=self.chance.choice((1, 2, 2)),
            queue=self.chance.choice(QUEUES),
            run_at=self.bench.later(self.chance.choice((-1, 0, 0, 5))),
        )
        await self.bench.insert([record])
        self.jobs[record.id] = record, needs

    async def claim(self) -> None:
        worker, room = self.chance.choice(self.workers), self.chance.choice((1, 3, 20))
        look = await self.bench.look(worker, room, queues=QUEUES, starts=self.chance.choice((0, 2)))
        for claim in look.claims:
            assert claim.id not in self.held
            assert claim.queue not in self.paused
            self.held[claim.id] = worker, claim
            for need in self.jobs[claim.id][1]:
                self.at_grant[claim.id, need.place] = self.most[need.name]
        for place in {need.place for c in look.claims for need in self.jobs[c.id][1]}:
            assert self.used(place) <= self.most[place[0]], "a limit is exceeded"

    async def end(self) -> None:
        ending = self.chance.sample(sorted(self.held), min(len(self.held), 2))
        by_worker: dict[int, list[Transition]] = {}
        for job in ending:
            worker, claim = self.held.pop(job)
            bench = self.bench
            outcome = self.chance.choice((
                bench.completed(claim), bench.failed(claim), bench.retried(claim, 3.0),
                bench.snoozed(claim, 2.0), Transition.released(claim), bench.cancelled(claim),
            ))  # fmt: skip
            by_worker.setdefault(worker, []).append(outcome)
        for worker, outcomes in by_worker.items():
            assert all(await self.bench.finish(worker, *outcomes))

    async def give_back(self) -> None:
        worker = self.chance.choice(self.workers)
        mine = [(job, claim) for job, (whose, claim) in self.held.items() if whose == worker]
        kept = {job for job, _ in mine if self.chance.random() < 0.5}
        await self.bench.storage.give_back(
            worker, [(claim.key, claim.token) for job, claim in mine if job in kept]
        )
        self.drop(job for job, _ in mine if job not in kept)

    async def crash(self) -> None:
        dead = self.chance.choice(self.workers)
        begun = [claim for whose, claim in self.held.values() if whose == dead]
        await self.bench.begin(dead, *begun[:1])
        await self.bench.end_leases(but=[one for one in self.workers if one != dead])
        await self.gone(dead)

    async def retire(self) -> None:
        leaving = self.chance.choice(self.workers)
        await self.bench.storage.retire(leaving)
        await self.gone(leaving)

    async def gone(self, worker: int) -> None:
        self.workers.remove(worker)
        self.drop([job for job, (whose, _) in self.held.items() if whose == worker])
        await self.enlist()

    async def cancel(self) -> None:
        if self.jobs:
            await self.bench.storage.cancel(self.chance.choice(sorted(self.jobs)), self.bench.now)

    async def delete(self) -> None:
        loose = sorted(self.jobs.keys() - self.held.keys())
        if loose:
            job = self.chance.choice(loose)
            await self.bench.storage.delete(job)
            del self.jobs[job]

    async def retry(self) -> None:
        loose = sorted(self.jobs.keys() - self.held.keys())
        if loose:
            await self.bench.storage.retry(self.chance.choice(loose), self.bench.now)

    async def pause(self) -> None:
        queue = self.chance.choice(QUEUES)
        self.paused ^= {queue}
        await self.bench.storage.pause(queue, queue in self.paused)

    async def change(self) -> None:
        name = self.chance.choice(("tenant", "gpu"))
        self.most[name] = self.chance.choice((1, 2, 3, 5))
        await self.bench.storage.put_limits([LimitRecord(name, self.most[name])])

    async def wait(self) -> None:
        self.bench.clock.advance(LEASE / 20)
        for worker in self.workers:
            await self.bench.storage.extend(worker)

    def drop(self, jobs: object) -> None:
        for job in list(jobs):  # type: ignore[call-overload]
            del self.held[job]

    # -- what holds --------------------------------------------------------------------------------

    async def check(self) -> None:
        known = {one.name: one for one in await self.bench.storage.limits()}
        for name in self.most:
            used = sum(self.used(place) for place in PLACES if place[0] == name)
            assert (known[name].used if name in known else 0) == used, "a permit was left behind"

    async def settle(self) -> None:
        """Everything ends, if it is only claimed and completed."""
        for queue in QUEUES:
            await self.bench.storage.pause(queue, False)
        self.paused.clear()
        for turn in range(300):
            self.bench.clock.advance(1)
            for worker in self.workers:
                await self.bench.storage.extend(worker)
            before = len(self.held)
            await self.claim()
            if len(self.held) == before:
                await self.bench.storage.free_up(self.bench.now)
            for job, (worker, claim) in list(self.held.items()):
                await self.bench.finish(worker, self.bench.completed(claim))
                del self.held[job]
            await self.check()
            if turn % 10 == 9:
                stats = (await self.bench.storage.stats(self.bench.now)).by_status
                if not any(stats[one] for one in JobStatus if not one.terminal):
                    return
        raise AssertionError(f"somebody waits for ever: {stats}")


STEPS = (
    *[Walk.add] * 6, *[Walk.claim] * 6, *[Walk.end] * 5, Walk.give_back, Walk.crash, Walk.retire,
    Walk.cancel, Walk.delete, Walk.retry, Walk.pause, Walk.change, Walk.wait,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
async def test_limits_hold_whatever_is_done(bench: Bench, seed: int) -> None:
    slow = bench.storage.url.startswith("postgres")
    chance = random.Random(seed)
    walk = Walk(bench, chance)
    await walk.enlist()
    await walk.enlist()
    for _ in range(60 if slow else 250):
        await chance.choice(STEPS)(walk)
        await walk.check()
    await walk.settle()


async def test_nobody_needs_to_look_for_those_who_wait(bench: Bench) -> None:
    """As long as nobody pauses, cancels or deletes: each change calls whom it makes room for."""
    walk = Walk(bench, random.Random(7))
    await walk.enlist()
    for _ in range(25):
        await walk.add()
    bench.clock.advance(6)
    for _ in range(60):
        for _ in range(20):  # Who is called while it is looked for others has the next claim.
            await walk.claim()
            if walk.held:
                break
        assert walk.held, "somebody waits, and nothing runs"
        for job, (worker, claim) in list(walk.held.items())[: walk.chance.choice((1, 2))]:
            assert await bench.finish(worker, bench.completed(claim)) == [True]
            del walk.held[job], walk.jobs[job]
        if not walk.jobs:
            return
    raise AssertionError("it did not come to an end")
