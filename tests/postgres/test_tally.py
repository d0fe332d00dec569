"""What is told of how many jobs ended is what a count would find, whatever has happened."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from backroom.errors import JobStateError
from backroom.inspecting import Filter
from backroom.job import JobStatus
from backroom.storage.postgres import history
from backroom.transition import Transition
from tests.contract.parts import DAY, WEEK, Bench
from tests.postgres.yard import Yard, a_yard
from tests.servers.fixtures import PostgresPlace

ENDS = {2: "completed", 3: "failed", 4: "cancelled"}


async def told(bench: Bench) -> dict[str, int]:
    stats = await bench.storage.stats(bench.now)
    return {name: stats.by_status[name] for name in ENDS.values()}


async def counted(yard: Yard) -> dict[str, int]:
    rows = await yard.side.fetch("SELECT state, count(*) FROM background_jobs_ended GROUP BY state")
    return dict.fromkeys(ENDS.values(), 0) | {ENDS[state]: count for state, count in rows}


class Hands:
    """One process and its worker, which do one thing after the other, as chance has it."""

    def __init__(self, bench: Bench, chance: random.Random) -> None:
        self.bench = bench
        self.chance = chance
        self.worker = 0

    async def act(self, times: int) -> None:
        self.worker = await self.bench.enlist(lease=10**9)
        verbs: list[Callable[[], Awaitable[Any]]] = [
            self.add, self.add, self.work, self.work, self.work, self.prune, self.retry_all,
            self.cancel_all, self.delete_all, self.retry_one, self.cancel_one, self.delete_one,
            self.give_back,
        ]  # fmt: skip
        for _ in range(times):
            await self.chance.choice(verbs)()

    async def add(self) -> None:
        expires = self.chance.choice([None, None, self.bench.later(3600)])
        await self.bench.add_many(self.chance.randrange(1, 30), expires_at=expires)

    async def work(self) -> None:
        claims = await self.bench.claim(self.worker, self.chance.randrange(1, 30))
        hows = [self.bench.completed] * 4 + [self.bench.failed, self.bench.retried]
        hows += [self.bench.cancelled, self.bench.snoozed]
        said = [self.chance.choice(hows)(claim) for claim in claims]
        await self.bench.finish(self.worker, *said)
        if said:
            await self.bench.finish(self.worker, said[0])  # As after a lost answer.

    async def give_back(self) -> None:
        for claim in await self.bench.claim(self.worker, 5):
            await self.bench.storage.cancel(claim.id, self.bench.now)
        await self.bench.storage.give_back(self.worker, [])

    async def prune(self) -> None:
        for _ in range(3):
            await self.bench.prune(limit=20)

    async def retry_all(self) -> None:
        await self.bench.storage.retry(Filter(status=JobStatus.FAILED), self.bench.now)

    async def cancel_all(self) -> None:
        await self.bench.storage.cancel(Filter(status=JobStatus.PENDING), self.bench.now)

    async def delete_all(self) -> None:
        if self.chance.random() < 0.3:
            await self.bench.storage.delete(Filter(status=JobStatus.CANCELLED))

    async def _one(self) -> str | None:
        jobs, _ = await self.bench.page(limit=50)
        return self.chance.choice(jobs) if jobs else None

    async def retry_one(self) -> None:
        await self._to_one(lambda job: self.bench.storage.retry(job, self.bench.now))

    async def cancel_one(self) -> None:
        await self._to_one(lambda job: self.bench.storage.cancel(job, self.bench.now))

    async def delete_one(self) -> None:
        await self._to_one(self.bench.storage.delete)

    async def _to_one(self, verb: Callable[[str], Awaitable[Any]]) -> None:
        job = await self._one()
        if job is not None:
            with suppress(JobStateError, LookupError):  # It is active, or gone.
                await verb(job)


@pytest.mark.parametrize("seed", range(3))
async def test_it_is_exact_after_anything(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Two processes at once; time passes in between, and whole partitions go."""
    monkeypatch.setattr(history, "WHOLE", seed * 2000)
    async with a_yard(postgres_url, WEEK) as yard:
        chance = random.Random(seed)
        hands = [Hands(await yard.bench(), random.Random(chance.random())) for _ in range(2)]
        went = 0
        for _ in range(12):
            await asyncio.gather(*[one.act(12) for one in hands])
            assert await told(hands[0].bench) == await counted(yard)
            yard.clock.advance(DAY)
            went += await hands[1].bench.prune_all(limit=100)
            assert await told(hands[1].bench) == await counted(yard)
        assert went > 0
        assert any((await counted(yard)).values())


async def test_it_is_folded_to_a_row_for_each_state(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker = await bench.enlist()
        for how in (bench.completed, bench.failed, bench.cancelled) * 4:
            await bench.add()
            await bench.finish(worker, how(await bench.claim_one(worker)))
        rows = "SELECT count(*) FROM background_jobs_tally"
        assert await yard.ask(rows) == 12
        await bench.prune()
        assert await yard.ask(rows) == 3
        assert await told(bench) == {"completed": 4, "failed": 4, "cancelled": 4}


async def test_several_who_fold_at_once_lose_nothing(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        benches = [await yard.bench() for _ in range(3)]
        worker = await benches[0].enlist()

        async def work() -> None:
            for _ in range(20):
                await benches[0].add()
                claim = await benches[0].claim_one(worker)
                await benches[0].finish(worker, benches[0].completed(claim))

        async def fold(bench: Bench) -> None:
            for _ in range(20):
                await bench.prune()

        await asyncio.gather(work(), *map(fold, benches))
        assert await told(benches[0]) == {"completed": 20, "failed": 0, "cancelled": 0}


async def test_an_outcome_that_was_refused_is_not_counted(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        worker = await bench.enlist()
        await bench.add()
        claim = await bench.claim_one(worker)
        other = Transition.completed(claim, bench.now, bench.now, "null")
        other.token += 1
        assert await bench.finish(worker, other) == [False]
        assert await told(bench) == {"completed": 0, "failed": 0, "cancelled": 0}
        assert await yard.ask("SELECT count(*) FROM background_jobs_tally") == 0
