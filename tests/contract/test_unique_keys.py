"""Unique keys: the same key, one live job, and whoever asks again gets its id."""

import asyncio
from typing import Any

import pytest

from backroom.errors import JobStateError
from backroom.inspecting import Filter
from backroom.job import JobRecord, JobStatus
from backroom.transition import Transition
from tests.contract.parts import Bench, Place


async def ask_again(bench: Bench, **fields: Any) -> str:
    """Inserts a new job with the key; returns the id of who answers for it, if not itself."""
    record = bench.record(**{"unique_key": "k", **fields})
    [inserted] = await bench.insert([record])
    assert inserted.created == (inserted.id == record.id)
    if inserted.created:
        await bench.storage.delete(record.id)
        return "itself"
    assert await bench.storage.find(record.id, bench.now) is None
    return inserted.id


async def test_a_second_job_with_the_key_of_a_live_one_is_that_job(bench: Bench) -> None:
    first = await bench.add(unique_key="k")
    assert await ask_again(bench, data='{"other":1}', priority=0, queue="other") == first
    assert len(await bench.claim(await bench.enlist(), queues=None)) == 1


async def test_jobs_without_a_key_or_with_other_keys_are_apart(bench: Bench) -> None:
    ids = {await bench.add(unique_key=key) for key in (None, None, "a", "b", "", "A")}
    assert len(ids) == 6


async def test_a_key_is_of_its_type(bench: Bench) -> None:
    await bench.add(unique_key="k", type="SEND_EMAIL")
    assert await ask_again(bench, type="GENERATE_REPORT") == "itself"


async def test_a_key_is_taken_while_its_job_is_scheduled_pending_active_parked_or_waits_for_a_retry(
    bench: Bench,
) -> None:
    job = await bench.add(unique_key="k", delay=10)
    assert await ask_again(bench) == job
    bench.clock.advance(10)
    assert await ask_again(bench) == job
    worker = await bench.enlist()
    claim = await bench.claim_one(worker)
    assert await ask_again(bench) == job
    await bench.begin(worker, claim)
    assert await ask_again(bench) == job
    await bench.finish(worker, bench.retried(claim, delay=60))
    assert await ask_again(bench) == job
    await bench.storage.retry(job, bench.now)
    claim = await bench.claim_one(worker)
    await bench.finish(worker, Transition.parked(claim))
    assert await ask_again(bench) == job
    assert (await bench.page())[0] == [job]


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
async def test_a_key_is_free_again_once_its_job_has_ended(bench: Bench, how: str) -> None:
    _, worker, claim = await bench.running(unique_key="k")
    await bench.finish(worker, getattr(bench, how)(claim))
    assert await ask_again(bench) == "itself"


async def test_a_key_is_free_again_once_its_job_was_cancelled_deleted_or_has_expired(
    bench: Bench,
) -> None:
    await bench.storage.cancel(await bench.add(unique_key="k"), bench.now)
    assert await ask_again(bench) == "itself"
    await bench.storage.delete(await bench.add(unique_key="k"))
    assert await ask_again(bench) == "itself"
    await bench.add(unique_key="k", expires_at=bench.now)
    await bench.prune()
    assert await ask_again(bench) == "itself"


async def test_a_key_stays_taken_when_its_worker_dies(bench: Bench) -> None:
    job, _, _ = await bench.running(unique_key="k")
    await bench.end_leases()
    assert await ask_again(bench) == job


async def test_one_key_twice_in_a_batch_is_one_job(bench: Bench) -> None:
    first, twin, other = [bench.record(unique_key=key) for key in ("k", "k", "other")]

    answers = await bench.insert([first, twin, other])

    assert [answer.id for answer in answers] == [first.id, first.id, other.id]
    assert [answer.created for answer in answers] == [True, False, True]
    assert (await bench.page())[0] == [other.id, first.id]


async def test_one_key_of_two_types_in_a_batch_is_two_jobs(bench: Bench) -> None:
    records = [bench.record(unique_key="k", type=name) for name in ("SEND_EMAIL", "REPORT")]

    answers = await bench.insert(records)

    assert [answer.id for answer in answers] == [record.id for record in records]
    assert [answer.created for answer in answers] == [True, True]


async def test_a_key_that_is_taken_does_not_hold_up_the_rest_of_a_batch(bench: Bench) -> None:
    live = await bench.add(unique_key="k")
    records = [bench.record(unique_key=key) for key in ("a", "k", "b", None)]

    answers = await bench.insert(records)

    assert [answer.id for answer in answers] == [
        records[0].id, live, records[2].id, records[3].id,
    ]  # fmt: skip
    assert [answer.created for answer in answers] == [True, False, True, True]


async def test_one_key_asked_for_by_many_at_once_is_one_job(place: Place) -> None:
    benches = await place.benches(3)
    workers = [await bench.enlist() for bench in benches]

    answers = await asyncio.gather(
        *[
            bench.insert([bench.record(unique_key="k")], worker=worker if direct else None)
            for direct in (False, True, False, True)
            for bench, worker in zip(benches, workers, strict=True)
        ]
    )

    assert len({one.id for [one] in answers}) == 1
    assert sum(one.created for [one] in answers) == 1
    assert len((await benches[0].page())[0]) == 1


async def test_a_job_with_a_key_may_go_straight_to_a_worker_once(bench: Bench) -> None:
    worker = await bench.enlist()
    first, twin = bench.records(2, unique_key="k")
    answers = await bench.insert([first, twin], worker=worker)
    assert [answer.id for answer in answers] == [first.id] * 2
    assert [answer.claim is not None for answer in answers] == [True, False]


# -- the same id and the same key --------------------------------------------------------------


async def completed(bench: Bench, record: JobRecord) -> None:
    await bench.insert([record])
    worker = await bench.enlist()
    await bench.finish(worker, bench.completed(await bench.claim_one(worker)))


async def test_a_job_with_a_key_that_is_inserted_again_is_the_same_job(bench: Bench) -> None:
    record = bench.record(unique_key="k")
    await completed(bench, record)
    [again] = await bench.insert([record])
    assert (again.id, again.created) == (record.id, False)
    assert await bench.status(record.id) == JobStatus.COMPLETED


async def test_a_job_that_is_inserted_again_is_the_same_job_though_its_key_has_a_new_holder(
    bench: Bench,
) -> None:
    record = bench.record(unique_key="k")
    await completed(bench, record)
    holder = await bench.add(unique_key="k")

    [again] = await bench.insert([record])

    assert (again.id, again.created) == (record.id, False)
    assert await ask_again(bench) == holder


async def test_a_job_that_has_ended_does_not_answer_for_a_new_one_in_the_same_batch(
    bench: Bench,
) -> None:
    ended, fresh = bench.records(2, unique_key="k")
    await completed(bench, ended)

    answers = await bench.insert([ended, fresh])

    assert [answer.id for answer in answers] == [ended.id, fresh.id]
    assert [answer.created for answer in answers] == [False, True]
    assert await bench.status(fresh.id) == JobStatus.PENDING


# -- coming back to life -----------------------------------------------------------------------


async def test_a_job_whose_key_has_a_new_holder_cannot_be_retried(bench: Bench) -> None:
    record = bench.record(unique_key="k")
    await completed(bench, record)
    await bench.add(unique_key="k")
    before = await bench.info(record.id)

    with pytest.raises(JobStateError, match="unique key"):
        await bench.storage.retry(record.id, bench.now)

    assert await bench.info(record.id) == before


async def test_of_many_retried_jobs_with_one_key_one_comes_back(bench: Bench) -> None:
    ended = bench.records(3, unique_key="k")
    for record in ended:
        await completed(bench, record)
    other = bench.record()
    await completed(bench, other)

    assert await bench.storage.retry(Filter(status=JobStatus.COMPLETED), bench.now) == 2

    live, _ = await bench.page(status=JobStatus.PENDING)
    assert len(live) == 2
    assert other.id in live


async def test_a_retried_job_takes_its_key_again(bench: Bench) -> None:
    record = bench.record(unique_key="k")
    await completed(bench, record)
    await bench.storage.retry(record.id, bench.now)
    assert await ask_again(bench) == record.id
