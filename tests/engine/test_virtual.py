"""The ground these tests stand on: virtual time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.engine.world import World
from tests.virtual import Gate, Stuck, VirtualClock, VirtualLoop


async def test_an_hour_takes_no_time(world: World) -> None:
    began = time.monotonic()
    await asyncio.gather(*(asyncio.sleep(n) for n in (3600, 60, 86_400 * 3)))
    assert world.elapsed == 86_400 * 3
    assert time.monotonic() - began < 5


async def test_timers_ring_in_order_and_at_their_moment(world: World) -> None:
    rung: list[tuple[str, float]] = []

    async def ring(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        rung.append((name, world.elapsed))

    await asyncio.gather(ring("c", 3), ring("a", 1), ring("b", 2), ring("a too", 1))
    assert rung == [("a", 1), ("a too", 1), ("b", 2), ("c", 3)]


async def test_the_wall_clock_goes_along_and_may_be_set(world: World) -> None:
    clock = VirtualClock(world.loop)
    began = clock.wall
    await asyncio.sleep(60)
    assert clock.wall - began == timedelta(minutes=1)
    clock.step(-3600)
    assert clock.wall - began == timedelta(minutes=-59)
    assert clock.elapsed == 60
    assert clock.uptime() == world.loop.time()


async def test_time_stands_while_a_thread_is_waited_for(world: World) -> None:
    gate = Gate()
    thread = threading.Thread(target=gate.wait)
    timer = asyncio.create_task(asyncio.sleep(5))
    thread.start()
    await gate.reached()
    gate.open()
    await gate.left()
    thread.join()
    assert world.elapsed == 0
    await timer
    assert world.elapsed == 5


def test_a_wait_for_what_never_comes_is_an_error_and_no_hang() -> None:
    async def tick() -> None:
        ticking = asyncio.create_task(for_ever())
        await asyncio.Event().wait()
        await ticking

    async def for_ever() -> None:
        async for _ in seconds():
            pass

    async def seconds() -> AsyncIterator[float]:
        while True:
            await asyncio.sleep(1)
            yield 1

    loop = VirtualLoop(most_jumps=1000)
    with pytest.raises(Stuck, match="virtual seconds it still waits"):
        loop.run_until_complete(tick())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
