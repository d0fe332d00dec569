"""What many callers ask at once travels together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

from backroom.storage.groups import Group

Item: TypeAlias = tuple[int, ...]


class Carrier:
    """Carries out batches when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[Item]] = []
        self._answers: list[asyncio.Future[None]] = []

    async def carry_out(self, items: Sequence[Item]) -> Sequence[int | BaseException]:
        self.batches.append(list(items))
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        await answer
        return [sum(item) for item in items]

    def land(self) -> None:
        """The oldest one."""
        self._answers.pop(0).set_result(None)


def group_of(carrier: Carrier) -> Group[Item, int]:
    return Group(carrier.carry_out, len, most=10, flights=2, enough=3)


async def turns() -> None:
    """All that can be done without waiting."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_is_alone_travels_at_once() -> None:
    carrier = Carrier()
    answer = group_of(carrier).add((1,))
    await turns()
    assert carrier.batches == [[(1,)]]
    carrier.land()
    assert await answer == 1


async def test_little_waits_for_those_on_their_way_and_much_does_not() -> None:
    carrier = Carrier()
    group = group_of(carrier)
    first = group.add((1,))
    await turns()
    little = group.add((2,))
    await turns()
    assert len(carrier.batches) == 1
    much = group.add((3, 4))
    await turns()
    assert [len(batch) for batch in carrier.batches] == [1, 2]
    carrier.land()
    carrier.land()
    assert [await first, await little, await much] == [1, 2, 7]


async def test_little_lets_others_come_for_as_long_as_the_last_ones_were_on_their_way() -> None:
    carrier = Carrier()
    group = group_of(carrier)
    loop = asyncio.get_running_loop()
    first = group.add((1,))
    began = loop.time()
    while loop.time() - began < 0.005:  # So long it is on its way.
        await asyncio.sleep(0)
    carrier.land()
    await first
    landed = loop.time()
    _ = group.add((2,)), group.add((3,))
    while len(carrier.batches) == 1:
        await asyncio.sleep(0)
    assert loop.time() - landed > 0.0045
    assert len(carrier.batches[1]) == 2
    carrier.land()
    await group.settled()


async def test_nobody_who_wants_all_carried_out_waits_for_others() -> None:
    carrier = Carrier()
    group = group_of(carrier)
    _ = group.add((1,))
    await turns()
    group._rested_at = asyncio.get_running_loop().time() + 60  # As after a long way.
    carrier.land()
    await turns()
    group._rested_at = asyncio.get_running_loop().time() + 60
    late = group.add((2,))
    await turns()
    assert len(carrier.batches) == 1
    ending = asyncio.create_task(group.settled())
    await turns()
    assert len(carrier.batches) == 2
    carrier.land()
    await ending
    assert await late == 2
