"""Inserting: all or nothing, and the same id is the same job, however often it is sent."""

import asyncio

import pytest

from backroom.errors import StorageError
from backroom.job import JobStatus
from tests.contract.parts import Bench, Place


async def test_an_inserted_job_is_there_as_it_was_said(bench: Bench) -> None:
    record = bench.record(
        priority=0,
        delay=60,
        data='{"to":["ada@example.com"],"n":1.5,"deep":{"x":null}}',
        options='{"retries":2,"timeout":9.5,"tags":["a","b"],"metadata":{"trace":"00-1"}}',
        unique_key="k",
        expires_at=bench.later(600),
    )

    [inserted] = await bench.insert([record])

    assert (inserted.id, inserted.created, inserted.claim) == (record.id, True, None)
    info = await bench.info(record.id)
    assert (info.type, info.queue, info.priority) == ("SEND_EMAIL", "default", "critical")
    assert info.status == JobStatus.SCHEDULED
    assert info.data == {"to": ["ada@example.com"], "n": 1.5, "deep": {"x": None}}
    assert info.options == {"retries": 2, "timeout": 9.5}
    assert (info.tags, info.metadata) == (("a", "b"), {"trace": "00-1"})
    assert (info.attempt, info.max_attempts, info.crashes) == (0, 3, 0)
    assert (info.unique_key, info.result, info.error) == ("k", None, None)
    assert (info.started_at, info.finished_at, info.worker) == (None, None, None)
    assert (info.run_at - info.created_at).total_seconds() == 60
    assert info.expires_at is not None
    assert (info.expires_at - info.created_at).total_seconds() == 600


async def test_inserting_nothing_is_no_error(bench: Bench) -> None:
    assert await bench.insert([]) == []


async def test_a_large_batch_is_kept_whole_and_in_order(bench: Bench) -> None:
    ids = await bench.add_many(1000)
    found, _ = await bench.page(1000)
    assert found == ids[::-1]


async def test_texts_come_back_as_they_were(bench: Bench) -> None:
    strange = "née \N{SNOWMAN} \N{PILE OF POO} ' \" \\ ; -- %s $1 {} \n\t\x7f"
    record = bench.record(
        type=f"T {strange}", queue=f"Q {strange}", unique_key=f"K {strange}", data='"\\u0000"'
    )
    await bench.insert([record])
    info = await bench.info(record.id)
    assert (info.type, info.queue, info.unique_key) == (
        record.type, record.queue, record.unique_key,
    )  # fmt: skip
    assert info.data == "\0"
    claim = await bench.claim_one(await bench.enlist(), queues=(record.queue,))
    assert (claim.type, claim.queue, claim.data) == (record.type, record.queue, record.data)


async def test_a_payload_of_a_megabyte_is_kept(bench: Bench) -> None:
    record = bench.record(data=f'"{"x" * 1_000_000}"')
    await bench.insert([record])
    assert (await bench.claim_one(await bench.enlist())).data == record.data


# -- the same id ------------------------------------------------------------------------------


async def test_an_id_given_twice_in_one_batch_is_made_once(bench: Bench) -> None:
    record, other = bench.record(), bench.record()
    answers = await bench.insert([record, other, record])
    assert [(one.id, one.created) for one in answers] == [
        (record.id, True), (other.id, True), (record.id, False),
    ]  # fmt: skip
    assert len((await bench.page())[0]) == 2


async def test_a_job_that_is_inserted_again_is_the_same_job(bench: Bench) -> None:
    record = bench.record()
    await bench.insert([record])

    [again] = await bench.insert([record])

    assert (again.id, again.created, again.claim) == (record.id, False, None)
    assert await bench.page() == ([record.id], None)
    assert len(await bench.claim(await bench.enlist())) == 1


async def test_inserting_again_changes_nothing_whatever_has_become_of_the_job(bench: Bench) -> None:
    record, worker = bench.record(), await bench.enlist()
    await bench.insert([record])

    async def insert_again() -> None:
        before = await bench.info(record.id)
        for options in ({}, {"worker": worker, "start": True}):
            [again] = await bench.insert([record], **options)
            assert (again.id, again.created, again.claim) == (record.id, False, None)
        assert await bench.info(record.id) == before

    await insert_again()
    claim = await bench.claim_one(worker)
    await insert_again()
    await bench.begin(worker, claim)
    await insert_again()
    await bench.finish(worker, bench.retried(claim, delay=60))
    await insert_again()
    await bench.storage.retry(record.id, bench.now)
    claim = await bench.claim_one(worker)
    await bench.finish(worker, bench.completed(claim))
    await insert_again()


async def test_an_id_that_stands_twice_in_a_batch_is_one_job(bench: Bench) -> None:
    record, other = bench.record(), bench.record()

    answers = await bench.insert([record, other, record])

    assert [answer.id for answer in answers] == [record.id, other.id, record.id]
    assert [answer.created for answer in answers][:2] == [True, True]
    assert await bench.page() == ([other.id, record.id], None)
    assert len(await bench.claim(await bench.enlist())) == 2


async def test_an_id_that_stands_twice_in_a_batch_for_a_worker_is_claimed_once(
    bench: Bench,
) -> None:
    record, worker = bench.record(), await bench.enlist()
    answers = await bench.insert([record, record], worker=worker, start=True)
    assert [answer.id for answer in answers] == [record.id] * 2
    assert [answer.claim is not None for answer in answers] == [True, False]
    assert await bench.claim(worker) == []


async def test_a_batch_that_is_sent_again_with_more_jobs_adds_only_the_new_ones(
    bench: Bench,
) -> None:
    known, new = bench.records(3), bench.records(2)
    await bench.insert(known)
    answers = await bench.insert([known[0], new[0], known[1], new[1], known[2]])
    assert [answer.created for answer in answers] == [False, True, False, True, False]
    assert len((await bench.page())[0]) == 5


async def test_a_large_batch_that_is_sent_again_with_more_jobs_adds_only_the_new_ones(
    bench: Bench,
) -> None:
    first = bench.records(2500, type="MAIL\0", expires_at=bench.later(60))
    assert [one.created for one in await bench.insert(first)] == [True] * 2500
    new = bench.records(2, type="MAIL\0")
    answers = await bench.insert([*first, new[0], new[1], new[0]])
    assert [one.created for one in answers] == [False] * 2500 + [True, True, False]
    assert [one.id for one in answers[-3:]] == [new[0].id, new[1].id, new[0].id]
    claims = await bench.claim(await bench.enlist(), 3000)
    assert {claim.id for claim in claims} <= {record.id for record in (*first, *new)}
    assert {claim.type for claim in claims} == {"MAIL\0"}
    stats = await bench.storage.stats(bench.now)
    assert stats.by_status["pending"] + stats.by_status["active"] == 2502


async def test_the_same_job_sent_by_many_at_once_is_one_job(place: Place) -> None:
    benches = await place.benches(3)
    records = benches[0].records(5)

    answers = await asyncio.gather(*[bench.insert(records) for bench in benches * 4])

    assert [[one.id for one in answer] for answer in answers] == [
        [record.id for record in records]
    ] * 12
    assert len((await benches[0].page())[0]) == 5


async def test_a_job_that_was_deleted_may_be_inserted_again(bench: Bench) -> None:
    record = bench.record()
    await bench.insert([record])
    await bench.storage.delete(record.id)
    [again] = await bench.insert([record])
    assert again.created


# -- all or nothing ---------------------------------------------------------------------------


async def test_a_batch_with_a_job_that_cannot_be_kept_is_refused_whole(bench: Bench) -> None:
    kept = await bench.add()
    good, bad = bench.records(2, queue="new queue"), bench.record(type="\ud800")

    with pytest.raises((StorageError, ValueError)):
        await bench.insert([good[0], bad, good[1]])

    assert await bench.page() == ([kept], None)
    assert await bench.storage.queues() == {"default": False}
    await bench.insert(good)
    assert len(await bench.claim(await bench.enlist(), queues=("new queue",))) == 2


async def test_a_job_that_cannot_be_kept_does_not_spoil_what_others_insert_with_it(
    bench: Bench,
) -> None:
    good = bench.records(10)
    bad = bench.record(type="\ud800")
    worker = await bench.enlist()

    answers = await asyncio.gather(
        *[bench.insert([record]) for record in good[:5]],
        bench.insert([bad]),
        *[bench.insert([record], worker=worker) for record in good[5:]],
        return_exceptions=True,
    )

    assert isinstance(answers[5], (StorageError, ValueError))
    inserted = [
        one.id for answer in answers if not isinstance(answer, BaseException) for one in answer
    ]
    assert inserted == [record.id for record in good]
    assert len((await bench.page())[0]) == 10
