"""What a worker does beside its jobs: it keeps the store tidy, at a pace that is enough."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import cast

import pytest

from backroom.job import JobRecord
from backroom.ports import JobStorage, Pruned, Reclaimed, Want, WorkerSpec
from backroom.storage.sqlite import retention
from backroom.transition import Transition
from backroom.upkeep import Upkeep
from tests.engine.world import World

DAY = 86_400


async def test_what_may_go_is_gone_in_seconds_though_most_of_what_ended_must_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One job in twenty ended long ago; no look of retention removes a whole page."""
    monkeypatch.setattr(retention, "LOOKS", 1)
    storage, clock = world.storage, world.clock
    await storage.open()
    now = clock.now()
    for number in range(4000):
        queue = "early" if number % 20 == 0 else "late"
        await storage.insert([JobRecord(f"{number}", "T", queue, 2, now, now, "{}")], now)
    early = await _end_all(world, "early")
    await asyncio.sleep(8 * DAY)
    await _end_all(world, "late")
    assert early == 200

    upkeep = Upkeep(storage, clock)
    upkeep.start()
    began = world.elapsed
    while (await storage.stats(clock.now())).by_status["completed"] > 3800:
        await asyncio.sleep(0.1)
        assert world.elapsed < began + 5
    await upkeep.stop()


async def _end_all(world: World, queue: str) -> int:
    storage, now = world.storage, world.clock.now()
    worker = (await storage.enlist(WorkerSpec("host:1", 30))).worker
    claims = (await storage.claim(worker, Want((queue,), (), (4000,) * 4), now)).claims
    await storage.finish(worker, [Transition.completed(claim, now, now, "1") for claim in claims])
    await storage.retire(worker)
    return len(claims)


class Store:
    """Says how soon it is to be looked at again, and that retention is never done."""

    def __init__(self, world: World, *answers: Reclaimed) -> None:
        self._world = world
        self._answers = list(answers)
        self.looked: list[float] = []
        self.called: list[int] = []
        """What the next looks for those that wait find."""
        self.looked_for_room: list[float] = []
        self.pruned = 0

    async def reclaim(self, now: int) -> Reclaimed:
        self.looked.append(self._world.elapsed)
        return self._answers.pop(0) if self._answers else Reclaimed()

    async def fold(self, now: int) -> None:
        """Nothing is written down here."""

    async def free_up(self, now: int) -> int:
        self.looked_for_room.append(self._world.elapsed)
        return self.called.pop(0) if self.called else 0

    async def prune(self, now: int, limit: int) -> Pruned:
        self.pruned += 1
        return Pruned(touched=1, more=True)


async def test_the_storage_says_how_soon_it_is_looked_at_for_dead_workers_again(
    world: World,
) -> None:
    store = Store(world, Reclaimed(again=0.3), Reclaimed(again=5.0), Reclaimed())
    upkeep = Upkeep(cast(JobStorage, store), world.clock)
    upkeep.start()
    await asyncio.sleep(7)
    await upkeep.stop()
    waits = [after - before for before, after in pairwise(store.looked)]
    assert waits == pytest.approx([0.3, 5.0, 1.0], abs=0.06)
    assert store.pruned > 50  # A retention that is not done yet looks for nobody sooner.


async def test_while_somebody_may_be_dead_it_has_not_looked(world: World) -> None:
    """A worker that leaves when nothing is to be done waits for that."""
    store = Store(world, Reclaimed(doubted=True, again=0.5), Reclaimed(again=0.5))
    upkeep = Upkeep(cast(JobStorage, store), world.clock)
    upkeep.start()
    await asyncio.sleep(0.3)
    assert (len(store.looked), upkeep.swept) == (1, False)
    await asyncio.sleep(0.5)
    assert (len(store.looked), upkeep.swept) == (2, True)
    await upkeep.stop()


async def test_where_many_wait_for_a_look_the_next_one_comes_soon(world: World) -> None:
    store = Store(world)
    store.called = [1000, 100, 99]
    upkeep = Upkeep(cast(JobStorage, store), world.clock)
    upkeep.start()
    await asyncio.sleep(6)
    await upkeep.stop()
    waits = [after - before for before, after in pairwise(store.looked_for_room)]
    assert waits == pytest.approx([0.05, 0.05, 5.0], abs=0.06)
