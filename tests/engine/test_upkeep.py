"""What a worker does beside its jobs: it keeps the store tidy, at a pace that is enough."""

from __future__ import annotations

import asyncio

import pytest

from backroom.job import JobRecord
from backroom.ports import Want, WorkerSpec
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
