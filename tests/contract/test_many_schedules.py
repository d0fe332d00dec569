"""Schedules in thousands: what is due together is fired together."""

from __future__ import annotations

import asyncio

from tests.contract.parts import Bench
from tests.contract.plans import Plans


async def test_ten_thousand_schedules_that_are_due_at_once(bench: Bench) -> None:
    plans = Plans(bench)
    count = 10_000
    for at in range(0, count, 1000):
        await asyncio.gather(*[plans.put(f"s{n:05}") for n in range(at, at + 1000)])
    due, following = await plans.storage.due_schedules(plans.bench.now, count)
    assert (len(due), following) == (count, None)
    firings = [plans.firing(record) for record in due]
    assert await plans.fire(*firings) == [True] * count
    assert await plans.due() == ([], plans.later(60))
    stats = await plans.bench.storage.stats(plans.bench.now)
    assert stats.by_status["pending"] == count
    assert await plans.fire(*firings) == [True] * count
    assert (await plans.bench.storage.stats(plans.bench.now)).by_status["pending"] == count
