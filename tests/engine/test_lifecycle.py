"""Start and stop as every loop of a worker has them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from backroom.errors import StorageError
from backroom.lifecycle import Loop
from tests.engine.world import World


class Turns(Loop):
    """Counts its turns, and what the test says of them."""

    def __init__(self, world: World) -> None:
        super().__init__("test")
        self._world = world
        self.at: list[float] = []
        self.wait: float | None = 10
        self.fails = 0
        self.error: Exception = RuntimeError("injected")

    async def turn(self) -> float | None:
        self.at.append(self._world.elapsed)
        if self.fails:
            self.fails -= 1
            raise self.error
        return self.wait


async def test_a_loop_takes_its_turns_when_it_said(world: World) -> None:
    turns = Turns(world)
    turns.start()
    await asyncio.sleep(35)
    await turns.stop()
    assert turns.at == [0, 10, 20, 30]


async def test_a_signal_ends_a_wait_and_is_never_lost(world: World) -> None:
    turns = Turns(world)
    turns.wait = None
    turns.start()
    for _ in range(3):
        await asyncio.sleep(5)
        turns.signal()
    await asyncio.sleep(100)
    turns.signal()
    turns.signal()
    await asyncio.sleep(1)
    await turns.stop()
    assert turns.at == [0, 5, 10, 15, 115]


async def test_a_loop_is_safe_to_start_twice_and_to_stop_twice_or_unstarted(world: World) -> None:
    turns = Turns(world)
    await turns.stop()
    turns.start()
    turns.start()
    await asyncio.sleep(5)
    await turns.stop()
    await turns.stop()
    await asyncio.sleep(50)
    assert turns.at == [0]
    turns.start()
    await asyncio.sleep(5)
    await turns.stop()
    assert turns.at == [0, 55]


async def test_a_turn_that_fails_is_tried_again_ever_more_patiently(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    turns = Turns(world)
    turns.fails = 8
    turns.start()
    await asyncio.sleep(30)
    await turns.stop()
    waits = [round(b - a, 3) for a, b in zip(turns.at, turns.at[1:], strict=False)]
    assert waits[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    assert waits[8:] == [10]
    assert caplog.text.count("RuntimeError: injected") == 8


async def test_signals_do_not_drive_a_turn_that_fails(world: World) -> None:
    """A storage that is away would be asked in a busy loop, by everything that comes."""
    turns = Turns(world)
    turns.fails = 1000
    turns.start()
    for _ in range(500):
        turns.signal()
        await asyncio.sleep(0.01)
    assert len(turns.at) <= 7
    await turns.stop()


async def test_stop_does_not_wait_for_a_pause_to_end(world: World) -> None:
    turns = Turns(world)
    turns.fails = 1000
    turns.start()
    await asyncio.sleep(10)
    before = world.elapsed
    await turns.stop()
    assert world.elapsed == before


async def test_stop_lets_the_turn_under_way_end(world: World) -> None:
    ended: list[float] = []

    class Slow(Loop):
        async def turn(self) -> None:
            await asyncio.sleep(10)
            ended.append(world.elapsed)

    slow = Slow("slow")
    slow.start()
    await asyncio.sleep(1)
    await slow.stop()
    assert ended == [10]


async def test_a_minute_without_a_storage_is_few_turns_and_no_more_words_than_were_said(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    turns = Turns(world)
    error = StorageError("away")
    error.logged = True
    turns.fails, turns.error = 1000, error
    turns.start()
    await asyncio.sleep(60)
    turns.fails = 0
    await asyncio.sleep(Loop.MAX_PAUSE)
    assert turns.at[-1] >= 60, "it looks again within a pause of what it may be"
    await turns.stop()
    assert len(turns.at) < 25
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
