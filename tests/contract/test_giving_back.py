"""Giving back: what a worker holds but does not run is there for others, untouched."""

import asyncio

from backroom.job import JobStatus
from tests.contract.parts import Bench, Place


async def test_what_is_given_back_waits_again_as_if_it_had_not_been_claimed(bench: Bench) -> None:
    job, worker = await bench.add(delay=-3, options='{"retries":0}'), await bench.enlist()
    before = await bench.info(job)
    claim = await bench.claim_one(worker)

    assert await bench.storage.give_back(worker, []) == 1

    assert await bench.info(job) == before
    again = await bench.claim_one(await bench.enlist())
    assert (again.id, again.attempt, again.run_at) == (job, 0, claim.run_at)


async def test_what_is_given_back_keeps_its_place(bench: Bench) -> None:
    ids, worker = await bench.add_many(3), await bench.enlist()
    await bench.claim(worker, 2)
    await bench.storage.give_back(worker, [])
    assert [claim.id for claim in await bench.claim(worker)] == ids


async def test_what_is_kept_stays_with_its_worker(bench: Bench) -> None:
    ids, worker = await bench.add_many(4), await bench.enlist()
    claims = await bench.claim(worker)
    kept = [claims[1], claims[3]]

    assert await bench.storage.give_back(worker, [(claim.key, claim.token) for claim in kept]) == 2

    assert [await bench.status(job) for job in ids] == ["pending", "active"] * 2
    assert await bench.finish(worker, *map(bench.completed, kept)) == [True, True]


async def test_claims_whose_reply_was_lost_are_given_back_too(bench: Bench) -> None:
    ids, worker = await bench.add_many(3), await bench.enlist()
    known = await bench.claim_one(worker)
    await bench.claim(worker)  # The worker never hears of these.

    assert await bench.storage.give_back(worker, [(known.key, known.token)]) == 2

    assert [claim.id for claim in await bench.claim(await bench.enlist())] == ids[1:]


async def test_a_second_claim_of_a_job_is_given_back_though_the_first_one_is_kept(
    bench: Bench,
) -> None:
    """The outcome of the first was written, but its reply was lost; so was that of the second."""
    job, worker, first = await bench.running()
    await bench.finish(worker, bench.snoozed(first, delay=0))
    await bench.claim(worker)  # The worker never hears of it.

    assert await bench.storage.give_back(worker, [(first.key, first.token)]) == 1

    assert (await bench.claim_one(await bench.enlist())).id == job
    assert (await bench.end_leases()).crashed == 0


async def test_a_worker_gives_back_only_what_is_its_own(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    other = await bench.enlist("host:2")
    assert await bench.storage.give_back(other, []) == 0
    assert await bench.storage.give_back(other, [(claim.key, claim.token)]) == 0
    assert await bench.status(job) == JobStatus.ACTIVE
    assert await bench.finish(worker, bench.completed(claim)) == [True]


async def test_giving_back_does_not_touch_what_has_ended_or_waits(bench: Bench) -> None:
    ids, worker = await bench.add_many(3), await bench.enlist()
    first, second, third = await bench.claim(worker)
    await bench.finish(worker, bench.completed(first), bench.retried(second, delay=9))
    assert await bench.storage.give_back(worker, []) == 1
    assert [await bench.status(job) for job in ids] == ["completed", "scheduled", "pending"]
    assert third.id == ids[2]


async def test_a_start_that_was_given_back_is_not_charged_when_its_worker_dies_later(
    bench: Bench,
) -> None:
    job, worker, _ = await bench.running()
    await bench.storage.give_back(worker, [])
    await bench.claim_one(worker)  # The same job again; it does not begin this time.

    reclaimed = await bench.end_leases()

    assert (reclaimed.crashed, reclaimed.untouched) == (0, 1)
    info = await bench.info(job)
    assert (info.attempt, info.crashes) == (0, 0)


async def test_a_start_that_was_kept_is_charged_when_its_worker_dies_later(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.storage.give_back(worker, [(claim.key, claim.token)])
    assert (await bench.end_leases()).crashed == 1
    assert (await bench.info(job)).attempt == 1


async def test_a_job_that_was_cancelled_ends_when_it_is_given_back(bench: Bench) -> None:
    job, worker = await bench.add(), await bench.enlist()
    await bench.claim_one(worker)
    await bench.storage.cancel(job, bench.now)

    await bench.storage.give_back(worker, [])

    info = await bench.info(job)
    assert (info.status, info.error) == (JobStatus.CANCELLED, "cancelled by request")
    assert (info.cancel_requested, info.attempt) == (False, 0)
    assert info.finished_at is not None
    assert await bench.claim(worker) == []


async def test_giving_back_many_at_once_loses_none(place: Place) -> None:
    benches = await place.benches(2)
    ids = await benches[0].add_many(60)

    async def hesitate(bench: Bench) -> None:
        worker = await bench.enlist()
        for _ in range(4):
            await bench.claim(worker, 10)
            await bench.storage.give_back(worker, [])
        await bench.storage.retire(worker)

    await asyncio.gather(*[hesitate(bench) for bench in benches * 2])

    claims = await benches[0].claim(await benches[0].enlist())
    assert [claim.id for claim in claims] == ids
    assert {claim.attempt for claim in claims} == {0}


async def test_an_insert_that_nobody_waits_for_any_more_is_found_by_a_later_give_back(
    bench: Bench,
) -> None:
    worker = await bench.enlist()
    for attempt in range(30):
        before = asyncio.ensure_future(bench.insert([bench.record(queue="elsewhere")]))
        await asyncio.sleep(0)  # It is on its way: what comes now waits for it, and is joined.
        job = bench.record(queue=f"queue {attempt}")
        going = asyncio.ensure_future(bench.insert([job], worker=worker, start=True))
        await asyncio.sleep(0)
        going.cancel()

        await bench.storage.give_back(worker, [])

        await before
        info = await bench.storage.find(job.id, bench.now)
        assert info is None or info.status is JobStatus.PENDING


async def test_giving_back_does_not_wait_for_those_who_insert_without_end(bench: Bench) -> None:
    worker = await bench.enlist()

    async def insert_on() -> None:
        while True:
            await bench.add()
            await asyncio.sleep(0)  # In memory nothing waits.

    producers = [asyncio.create_task(insert_on()) for _ in range(4)]
    try:
        async with asyncio.timeout(10):
            for _ in range(5):
                await bench.storage.give_back(worker, [])
                await asyncio.sleep(0)
    finally:
        for producer in producers:
            producer.cancel()
        await asyncio.gather(*producers, return_exceptions=True)
