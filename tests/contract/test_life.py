"""Opening and closing: what is kept over it, and what a closed storage answers."""

import asyncio

import pytest

from backroom.errors import StorageClosedError
from backroom.job import JobStatus
from tests.contract.parts import Bench, Place


async def test_opening_and_closing_twice_is_safe(bench: Bench) -> None:
    job = await bench.add()
    await bench.storage.open()
    assert await bench.status(job) == JobStatus.PENDING
    await bench.storage.close()
    await bench.storage.close()


async def test_what_several_share_is_open_until_the_last_of_them_closes_it(bench: Bench) -> None:
    for _ in range(2):
        await bench.storage.open()
    job = await bench.add()
    for _ in range(2):
        await bench.storage.close()
        assert await bench.status(job) == JobStatus.PENDING
    await bench.storage.close()
    with pytest.raises(StorageClosedError):
        await bench.add()
    await bench.storage.open()
    await bench.add()
    await bench.storage.close()
    with pytest.raises(StorageClosedError):
        await bench.add()


async def test_opening_and_closing_at_once_leaves_it_open_for_whoever_has_not_closed_it(
    bench: Bench,
) -> None:
    for _ in range(20):
        await asyncio.gather(bench.storage.open(), bench.storage.close())
        await bench.add()


async def test_a_closed_storage_says_so(bench: Bench) -> None:
    worker = await bench.enlist()
    await bench.storage.close()
    for call in (
        bench.insert([bench.record()]),
        bench.claim(worker),
        bench.storage.extend(worker),
        bench.storage.finish(worker, []),
        bench.reclaim(),
        bench.page(),
        bench.storage.pause("default", True),
    ):
        with pytest.raises(StorageClosedError):
            await call


async def test_what_was_acknowledged_is_there_after_opening_anew_if_the_storage_is_durable(
    place: Place,
) -> None:
    bench = await place.open()
    waiting = await bench.add(unique_key="k", options='{"retries":2}', delay=60)
    done, worker, claim = await bench.running()
    outcome = bench.completed(claim, "[1,2]")
    outcome.log = [(bench.now, "info", "hello")]
    await bench.finish(worker, outcome)
    failing, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim, delay=60))
    asked, _, _ = await bench.running()
    await bench.storage.cancel(asked, bench.now)
    await bench.storage.pause("other", True)
    jobs = [waiting, done, failing, asked]
    before = [await bench.info(job) for job in jobs]
    stats = await bench.storage.stats(bench.now)

    await bench.storage.close()
    bench = await place.open()

    if bench.storage.capabilities.durable:
        assert [await bench.info(job) for job in jobs] == before
        assert await bench.storage.stats(bench.now) == stats
        assert await bench.storage.queues() == {"default": False, "other": True}
    else:
        assert await bench.page() == ([], None)


async def test_a_worker_that_went_without_a_word_leaves_its_jobs_to_others(place: Place) -> None:
    first = await place.open()
    if not first.storage.capabilities.durable:
        return
    started, _, _ = await first.running(delay=-1)
    waiting, worker = await first.add(), await first.enlist()
    old = await first.claim_one(worker)

    await first.storage.close()
    second = await place.open()
    reclaimed = await second.end_leases()

    assert (reclaimed.crashed, reclaimed.untouched) == (1, 1)
    claims = await second.claim(await second.enlist("host:2"))
    assert [(claim.id, claim.attempt, claim.crashes) for claim in claims] == [
        (started, 1, 1), (waiting, 0, 0),
    ]  # fmt: skip
    assert claims[1].token > old.token
    assert await second.finish(worker, second.completed(old)) == [False]


async def test_tokens_and_worker_numbers_go_on_growing_after_opening_anew(place: Place) -> None:
    first = await place.open()
    if not first.storage.capabilities.durable:
        return
    _, worker, claim = await first.running()
    await first.finish(worker, first.completed(claim))
    await first.storage.retire(worker)
    await first.storage.close()

    second = await place.open()
    _, later_worker, later_claim = await second.running()
    assert later_worker > worker
    assert later_claim.token > claim.token


async def test_what_one_writes_all_others_see_at_once(place: Place) -> None:
    benches = await place.benches(3)
    for bench in benches:
        job = await bench.add()
        for other in benches:
            assert await other.status(job) == JobStatus.PENDING
    worker = await benches[0].enlist()
    claims = await benches[0].claim(worker)
    await benches[0].finish(worker, *map(benches[0].completed, claims))
    for bench in benches:
        stats = await bench.storage.stats(bench.now)
        assert stats.by_status["completed"] == 3


async def test_closing_one_does_not_close_the_others(place: Place) -> None:
    first, second = await place.benches(2)
    if first is second:
        return
    job, worker, claim = await second.running()
    await first.storage.close()
    assert (await second.reclaim()).workers == ()
    assert await second.finish(worker, second.completed(claim)) == [True]
    assert await second.status(job) == JobStatus.COMPLETED


async def test_many_callers_in_one_moment_are_all_answered(bench: Bench) -> None:
    records = bench.records(200)
    answers = await asyncio.gather(*[bench.insert([record]) for record in records])
    assert [one.id for [one] in answers] == [record.id for record in records]
    worker = await bench.enlist()
    claims = await bench.claim(worker, 200)
    assert (
        await asyncio.gather(*[bench.finish(worker, bench.completed(claim)) for claim in claims])
        == [[True]] * 200
    )


async def test_what_was_asked_before_closing_is_carried_out(place: Place) -> None:
    bench = await place.open()
    if not bench.storage.capabilities.durable:
        return
    records = bench.records(20)
    asked = [asyncio.create_task(bench.insert([record])) for record in records]
    await asyncio.sleep(0)
    await bench.storage.close()
    answers = await asyncio.gather(*asked)

    assert [one.id for [one] in answers] == [record.id for record in records]
    assert len((await (await place.open()).page())[0]) == 20


async def test_a_caller_that_gives_up_spoils_nothing(bench: Bench) -> None:
    records = bench.records(10)
    asked = [asyncio.create_task(bench.insert([record])) for record in records]
    await asyncio.sleep(0)
    for task in asked[::2]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)

    kept, _ = await bench.page()
    for record, answer in zip(records, answers, strict=True):
        if not isinstance(answer, asyncio.CancelledError):
            assert record.id in kept
    again = await bench.insert(records)
    assert [one.created for one in again] == [record.id not in kept for record in records]


async def test_the_url_of_a_storage_is_for_people(bench: Bench) -> None:
    assert ":" in bench.storage.url
