"""Wake-ups: who subscribed hears of what may concern it. They may come for nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from backroom.inspecting import Filter
from backroom.ports import Wake
from backroom.transition import Transition
from tests.contract.parts import Bench, Place

SOON = 5.0
"""Seconds after which a wake-up that has not come is taken for lost."""


class Ear:
    """Subscribes; each kind of wake-up can be awaited."""

    def __init__(self, bench: Bench) -> None:
        self._heard = {wake: asyncio.Event() for wake in Wake}
        self.end = bench.storage.subscribe(lambda wake: self._heard[wake].set())

    async def hears(self, *wakes: Wake, of: Awaitable[Any]) -> None:
        """These wake-ups come from that act, or the test fails."""
        for _ in range(5):  # What an earlier act sent is on its way through the loop.
            await asyncio.sleep(0)
        for event in self._heard.values():
            event.clear()
        await of
        async with asyncio.timeout(SOON):
            for wake in wakes:
                await self._heard[wake].wait()

    def heard(self, wake: Wake) -> bool:
        return self._heard[wake].is_set()


@pytest.fixture
async def pair(place: Place) -> tuple[Bench, Ear]:
    """Who acts, and who listens: at two storages, if the jobs can be shared."""
    listening, acting = await place.benches(2)
    return acting, Ear(listening)


async def test_who_waits_for_work_hears_of_a_new_job(pair: tuple[Bench, Ear]) -> None:
    bench, ear = pair
    await ear.hears(Wake.JOBS, of=bench.add())


async def test_who_waits_for_work_hears_of_what_comes_back(pair: tuple[Bench, Ear]) -> None:
    bench, ear = pair
    _, worker, claim = await bench.running()
    await ear.hears(Wake.JOBS, of=bench.finish(worker, bench.retried(claim)))
    claim = await bench.claim_one(worker)
    await ear.hears(Wake.JOBS, of=bench.finish(worker, Transition.released(claim)))
    await bench.claim_one(worker)
    await ear.hears(Wake.JOBS, of=bench.storage.give_back(worker, []))
    await bench.claim_one(worker)
    await ear.hears(Wake.JOBS, of=bench.storage.retire(worker))
    worker = await bench.enlist()
    await bench.claim_one(worker)
    await ear.hears(Wake.JOBS, of=bench.end_leases())
    worker = await bench.enlist()
    await bench.begin(worker, await bench.claim_one(worker))
    await ear.hears(Wake.JOBS, of=bench.end_leases())
    worker = await bench.enlist()
    parked = Transition.parked(await bench.claim_one(worker))
    await ear.hears(Wake.JOBS, of=bench.finish(worker, parked))  # Another may know its type.


async def test_who_waits_for_work_hears_of_a_retry_by_people(pair: tuple[Bench, Ear]) -> None:
    bench, ear = pair
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.failed(claim))
    await ear.hears(Wake.JOBS, of=bench.storage.retry(job, bench.now))
    await bench.finish(worker, bench.failed(await bench.claim_one(worker)))
    await ear.hears(Wake.JOBS, of=bench.storage.retry(Filter(), bench.now))


async def test_workers_hear_that_a_queue_was_paused_or_resumed(pair: tuple[Bench, Ear]) -> None:
    bench, ear = pair
    await ear.hears(Wake.CONTROL, of=bench.storage.pause("default", True))
    await ear.hears(Wake.CONTROL, Wake.JOBS, of=bench.storage.pause("default", False))


async def test_workers_hear_that_people_cancelled_what_runs(pair: tuple[Bench, Ear]) -> None:
    bench, ear = pair
    job, _, _ = await bench.running()
    await ear.hears(Wake.CONTROL, of=bench.storage.cancel(job, bench.now))
    await bench.running()
    await ear.hears(Wake.CONTROL, of=bench.storage.cancel(Filter(), bench.now))


async def finish(bench: Bench, how: str) -> Awaitable[Any]:
    _, worker, claim = await bench.running()
    return bench.finish(worker, getattr(bench, how)(claim))


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
async def test_who_waits_for_a_result_hears_that_a_job_ended(
    pair: tuple[Bench, Ear], how: str
) -> None:
    bench, ear = pair
    await ear.hears(Wake.FINISHED, of=await finish(bench, how))


async def cancel(bench: Bench) -> Awaitable[Any]:
    return bench.storage.cancel(await bench.add(), bench.now)


async def cancel_then_retry(bench: Bench) -> Awaitable[Any]:
    job, worker, claim = await bench.running()
    await bench.storage.cancel(job, bench.now)
    return bench.finish(worker, bench.retried(claim))


async def cancel_then_park(bench: Bench) -> Awaitable[Any]:
    job, worker, claim = await bench.running()
    await bench.storage.cancel(job, bench.now)
    return bench.finish(worker, Transition.parked(claim))


async def cancel_then_give_back(bench: Bench) -> Awaitable[Any]:
    job, worker, _ = await bench.running()
    await bench.storage.cancel(job, bench.now)
    return bench.storage.give_back(worker, [])


async def cancel_then_die(bench: Bench) -> Awaitable[Any]:
    job, _, _ = await bench.running()
    await bench.storage.cancel(job, bench.now)
    return bench.end_leases()


async def expire(bench: Bench) -> Awaitable[Any]:
    await bench.add(expires_at=bench.now)
    return bench.prune()


@pytest.mark.parametrize(
    "prepare",
    [cancel, cancel_then_retry, cancel_then_park, cancel_then_give_back, cancel_then_die, expire],
    ids=lambda prepare: prepare.__name__,
)
async def test_who_waits_for_a_result_hears_of_every_other_end_too(
    pair: tuple[Bench, Ear], prepare: Callable[[Bench], Awaitable[Awaitable[Any]]]
) -> None:
    bench, ear = pair
    await ear.hears(Wake.FINISHED, of=await prepare(bench))


async def test_every_subscriber_hears(place: Place) -> None:
    benches = await place.benches(2)
    ears = [Ear(bench) for bench in benches * 2]
    await benches[0].add()
    for ear in ears:
        await ear.hears(Wake.JOBS, of=benches[1].add())


async def test_who_unsubscribed_hears_no_more(place: Place) -> None:
    listening, acting = await place.benches(2)
    gone, there = Ear(listening), Ear(listening)
    gone.end()
    gone.end()
    await there.hears(Wake.JOBS, of=acting.add())
    assert not gone.heard(Wake.JOBS)


async def test_a_subscriber_whose_loop_has_ended_bothers_nobody(place: Place) -> None:
    listening, acting = await place.benches(2)
    loop = asyncio.new_event_loop()

    async def subscribe() -> None:
        listening.storage.subscribe(lambda wake: None)

    await asyncio.to_thread(loop.run_until_complete, subscribe())
    loop.close()

    await Ear(listening).hears(Wake.JOBS, of=acting.add())
