"""Inserting straight to a worker: only where nobody who waits is overtaken."""

import asyncio

import pytest

from backroom.job import JobStatus
from tests.contract.parts import Bench, Place

CRITICAL, HIGH, NORMAL, LOW = range(4)


async def test_a_due_job_goes_straight_to_the_worker_that_inserts_it(bench: Bench) -> None:
    worker = await bench.enlist()
    record = bench.record(options='{"retries":1}', expires_at=bench.later(60))

    [inserted] = await bench.insert([record], worker=worker)

    claim = inserted.claim
    assert inserted.created
    assert claim is not None
    said = (claim.id, claim.type, claim.data, claim.options, claim.expires_at, claim.run_at)
    assert said == (
        record.id, record.type, record.data, record.options, record.expires_at, record.run_at,
    )  # fmt: skip
    assert (claim.attempt, claim.crashes, claim.budget) == (0, 0, 0)
    assert await bench.status(record.id) == JobStatus.ACTIVE
    assert await bench.claim(await bench.enlist()) == []
    assert await bench.finish(worker, bench.completed(claim)) == [True]
    assert await bench.status(record.id) == JobStatus.COMPLETED


@pytest.mark.parametrize(("start", "attempt"), [(False, 0), (True, 1)])
async def test_only_what_starts_at_once_counts_as_started(
    bench: Bench, start: bool, attempt: int
) -> None:
    worker = await bench.enlist()
    [inserted] = await bench.insert([bench.record()], worker=worker, start=start)
    assert inserted.claim is not None
    assert (await bench.info(inserted.id)).attempt == attempt
    if start:
        bench.storage.note_start(worker, inserted.claim)

    reclaimed = await bench.end_leases()

    assert (reclaimed.crashed, reclaimed.untouched) == (attempt, 1 - attempt)


async def test_a_job_whose_time_has_not_come_waits(bench: Bench) -> None:
    worker = await bench.enlist()
    [inserted] = await bench.insert([bench.record(delay=1)], worker=worker, start=True)
    assert inserted.claim is None
    assert await bench.status(inserted.id) == JobStatus.SCHEDULED


async def test_a_job_of_a_paused_queue_waits(bench: Bench) -> None:
    worker = await bench.enlist()
    await bench.storage.pause("default", True)
    [inserted] = await bench.insert([bench.record()], worker=worker)
    assert (inserted.created, inserted.claim) == (True, None)
    assert await bench.claim(worker) == []


@pytest.mark.parametrize("waiting", [CRITICAL, HIGH, NORMAL])
async def test_a_job_does_not_overtake_one_of_equal_or_higher_priority(
    bench: Bench, waiting: int
) -> None:
    first, worker = await bench.add(priority=waiting), await bench.enlist()
    [inserted] = await bench.insert([bench.record(priority=NORMAL)], worker=worker)
    assert inserted.claim is None
    assert [claim.id for claim in await bench.claim(worker)] == [first, inserted.id]


async def test_a_job_overtakes_those_of_lower_priority(bench: Bench) -> None:
    await bench.add(priority=LOW)
    [inserted] = await bench.insert([bench.record(priority=NORMAL)], worker=await bench.enlist())
    assert inserted.claim is not None


async def test_jobs_that_are_not_due_or_wait_elsewhere_are_not_overtaken(bench: Bench) -> None:
    await bench.add(priority=CRITICAL, delay=1)
    await bench.add(priority=CRITICAL, queue="other")
    [inserted] = await bench.insert([bench.record()], worker=await bench.enlist())
    assert inserted.claim is not None


async def test_a_retry_that_is_due_is_not_overtaken(bench: Bench) -> None:
    _, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim, delay=5))
    bench.clock.advance(5)
    [inserted] = await bench.insert([bench.record()], worker=worker)
    assert inserted.claim is None


async def test_jobs_of_one_batch_go_to_the_worker_in_their_order(bench: Bench) -> None:
    worker = await bench.enlist()
    answers = await bench.insert(bench.records(3), worker=worker)
    claims = [answer.claim for answer in answers if answer.claim is not None]
    assert [claim.id for claim in claims] == [answer.id for answer in answers]
    assert [claim.key for claim in claims] == sorted(claim.key for claim in claims)


async def test_a_job_for_a_worker_that_is_gone_is_kept_for_the_others(bench: Bench) -> None:
    worker = await bench.enlist()
    await bench.end_leases()
    [inserted] = await bench.insert([bench.record()], worker=worker, start=True)
    assert (inserted.created, inserted.claim) == (True, None)
    assert (await bench.claim_one(await bench.enlist())).id == inserted.id


async def test_a_job_that_went_straight_to_a_worker_comes_back_when_it_dies(bench: Bench) -> None:
    worker = await bench.enlist()
    [inserted] = await bench.insert([bench.record()], worker=worker)
    await bench.end_leases()
    again = await bench.claim_one(await bench.enlist())
    assert inserted.claim is not None
    assert (again.id, again.attempt) == (inserted.id, 0)
    assert again.token > inserted.claim.token


async def test_many_that_insert_for_their_workers_at_once_each_get_their_own_job(
    place: Place,
) -> None:
    benches = await place.benches(2)
    workers = [await bench.enlist() for bench in benches]
    records = benches[0].records(40)

    answers = await asyncio.gather(
        *[benches[i % 2].insert([r], worker=workers[i % 2]) for i, r in enumerate(records)]
    )
    taken = [claim.id for i in (0, 1) for claim in await benches[i].claim(workers[i])]

    claimed = [one.claim.id for [one] in answers if one.claim is not None]
    assert sorted([*claimed, *taken]) == sorted(record.id for record in records)
    for i, [inserted] in enumerate(answers):
        if inserted.claim is not None:
            bench, worker = benches[i % 2], workers[i % 2]
            assert await bench.finish(worker, bench.completed(inserted.claim)) == [True]
