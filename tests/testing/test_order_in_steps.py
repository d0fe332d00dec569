"""The example of an order that takes days, through every way it can go, in milliseconds."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from backroom.testing import Jobs, kit
from examples.order_in_steps import ORDER, Approval, Order, World, give, service, world

TEA = Order(7, "tea", 250)
DAY = 86_400


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    world.__dict__.update(World().__dict__)
    async with kit(service) as jobs:
        yield jobs


async def test_an_approved_order_is_shipped_a_day_later(jobs: Jobs) -> None:
    job_id = await service.schedule(ORDER, TEA)
    await jobs.advance(2 * DAY)
    assert world.calls == ["reserve tea"]
    await service.signal(job_id, "approved", Approval("Ada", True))
    await jobs.advance(DAY - 60)
    assert world.calls == ["reserve tea", "charge 250"]
    await jobs.advance(120)
    assert await service.result(job_id) == "parcel from shelf 7"
    assert world.calls == ["reserve tea", "charge 250", "ship from shelf 7"]
    assert (await service.get_job(job_id)).attempt == 1


async def test_an_order_that_nobody_approves_is_taken_back(jobs: Jobs) -> None:
    job_id = await service.schedule(ORDER, TEA)
    await jobs.advance(3 * DAY + 1)
    assert await service.result(job_id) == "refused by nobody"
    assert world.calls == ["reserve tea", "release shelf 7"]


async def test_a_refused_order_is_taken_back_at_once(jobs: Jobs) -> None:
    job_id = await service.schedule(ORDER, TEA)
    await service.signal(job_id, "approved", Approval("Ada", False))
    await jobs.advance(1)
    assert await service.result(job_id) == "refused by Ada"
    assert world.calls == ["reserve tea", "release shelf 7"]


async def test_a_card_that_is_declined_is_declined_in_every_run(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the warehouse is away at first, and the card is good again meanwhile."""
    world.declines.add(7)
    ask = world.ask

    async def away(key: str, what: str) -> None:
        if what.startswith("release") and 7 in world.declines:
            world.declines.clear()
            raise ConnectionError("the warehouse is away")
        await ask(key, what)

    monkeypatch.setattr(world, "ask", away)
    job_id = await service.schedule(ORDER, TEA)
    await service.signal(job_id, "approved", Approval("Ada", True))
    await jobs.advance(600)
    assert await service.result(job_id) == "the card was declined"
    assert world.calls == ["reserve tea", "charge 250", "release shelf 7"]
    assert (await service.get_job(job_id)).attempt == 2


async def test_a_gift_of_which_one_part_cannot_be_had_is_sent_back_the_last_part_first(
    jobs: Jobs,
) -> None:
    world.declines.add(3)
    flow = await give(Order(1, "tea", 250), Order(2, "cup", 900), Order(3, "pot", 4000))
    await jobs.drain()
    assert (await service.get_workflow(flow)).status == "failed"
    assert world.calls[-3:] == [
        "release shelf 3", "send back parcel from shelf 2", "send back parcel from shelf 1"
    ]  # fmt: skip


async def test_a_gift_that_can_be_had_is_kept(jobs: Jobs) -> None:
    flow = await give(Order(1, "tea", 250), Order(2, "cup", 900))
    await jobs.drain()
    assert (await service.get_workflow(flow)).status == "completed"
    assert world.calls[-1] == "ship from shelf 2"
    assert not any(call.startswith("send back") for call in world.calls)
