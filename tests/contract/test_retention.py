"""Retention and expiry: what has ended goes in time, what has not stays; what is late ends."""

import asyncio

import pytest

from backroom.job import JobStatus, to_datetime
from backroom.transition import Transition
from tests.contract.parts import DAY, LEASE, Bench, Place

ENDS = ["completed", "failed", "cancelled"]


async def ended(bench: Bench, how: str = "completed", **fields: object) -> str:
    job, worker, claim = await bench.running(**fields)
    assert await bench.finish(worker, getattr(bench, how)(claim)) == [True]
    return job


async def test_what_ended_is_kept_for_the_time_of_retention_and_then_removed(place: Place) -> None:
    bench = await place.open(retention=2 * DAY)
    jobs = [await ended(bench, how) for how in ENDS]

    bench.clock.advance(2 * DAY - 1)
    assert await bench.prune() == 0
    assert len((await bench.page())[0]) == len(jobs)

    bench.clock.advance(2)
    assert await bench.prune() == len(jobs)
    assert await bench.page() == ([], None)


async def test_retention_counts_from_the_end_of_a_job_not_from_its_beginning(place: Place) -> None:
    bench = await place.open(retention=DAY)
    old = await bench.add(delay=10 * DAY)
    bench.clock.advance(10 * DAY)
    worker = await bench.enlist()
    await bench.finish(worker, bench.completed(await bench.claim_one(worker)))

    bench.clock.advance(DAY - 1)
    await bench.prune()
    assert await bench.status(old) == JobStatus.COMPLETED
    bench.clock.advance(2)
    assert await bench.prune() == 1


async def test_a_page_of_jobs_that_must_stay_does_not_hide_those_that_go(place: Place) -> None:
    """Scheduled long ago and ended lately, they stand first in the order of insertion."""
    bench = await place.open(retention=DAY)
    late = await bench.add_many(25, delay=10 * DAY)
    early = await bench.add()
    worker = await bench.enlist()
    await bench.finish(worker, bench.completed(await bench.claim_one(worker)))
    bench.clock.advance(10 * DAY)
    await bench.storage.extend(worker)
    await bench.finish(worker, *[bench.completed(claim) for claim in await bench.claim(worker)])

    assert await bench.prune(limit=10) == 1

    assert sorted((await bench.page())[0]) == sorted(late)
    assert early not in late


async def test_what_has_not_ended_is_never_removed(place: Place) -> None:
    bench = await place.open(retention=0)
    parked, worker = await bench.add(), await bench.enlist()
    await bench.finish(worker, Transition.parked(await bench.claim_one(worker)))
    active = await bench.add()
    await bench.claim_one(worker)
    asked = await bench.add()
    await bench.claim_one(worker)
    await bench.storage.cancel(asked, bench.now)
    retry = await bench.add()
    await bench.finish(worker, bench.retried(await bench.claim_one(worker), delay=400 * DAY))
    waiting, scheduled = await bench.add(), await bench.add(delay=400 * DAY)
    live = [parked, active, asked, retry, waiting, scheduled]
    before = [await bench.info(job) for job in live]
    bench.clock.advance(LEASE / 2)

    for _ in range(3):
        assert await bench.prune() == 0

    assert [await bench.info(job) for job in live] == before
    bench.clock.advance(300 * DAY)
    await bench.prune()
    assert (await bench.page())[0] == live[::-1]


async def test_without_retention_everything_is_kept(place: Place) -> None:
    bench = await place.open(retention=None)
    jobs = [await ended(bench, how) for how in ENDS]
    bench.clock.advance(40_000 * DAY)
    assert await bench.prune() == 0
    assert (await bench.page())[0] == jobs[::-1]


async def test_a_retention_of_nought_removes_what_has_ended_at_the_next_look(place: Place) -> None:
    bench = await place.open(retention=0)
    for how in ENDS:
        await ended(bench, how)
    live = await bench.add()
    bench.clock.advance(0.001)
    assert await bench.prune() == 3
    assert (await bench.page())[0] == [live]


async def test_a_job_that_was_retried_in_time_is_not_removed(place: Place) -> None:
    bench = await place.open(retention=DAY)
    job = await ended(bench, "failed")
    bench.clock.advance(DAY - 1)
    await bench.storage.retry(job, bench.now)
    bench.clock.advance(DAY)
    assert await bench.prune() == 0
    assert await bench.status(job) == JobStatus.PENDING


async def test_a_removed_job_leaves_nothing_behind(place: Place) -> None:
    bench = await place.open(retention=0)
    job, worker, claim = await bench.running(unique_key="k")
    outcome = bench.failed(claim)
    outcome.log = [(bench.now, "info", "hello")]
    await bench.finish(worker, outcome)
    bench.clock.advance(1)
    await bench.prune()

    assert await bench.storage.find(job, bench.now) is None
    fresh = await bench.info(await bench.add(unique_key="k"))
    assert (fresh.errors, fresh.log) == ((), ())


async def test_one_call_removes_no_more_than_its_limit_and_the_next_ones_the_rest(
    place: Place,
) -> None:
    bench = await place.open(retention=0)
    for how in ENDS * 5:
        await ended(bench, how)
    live = await bench.add()
    bench.clock.advance(1)

    removed = [await bench.prune(limit=4) for _ in range(5)]

    assert all(count <= 4 for count in removed)
    assert sum(removed) == 15
    assert (await bench.page())[0] == [live]


async def test_a_page_of_jobs_that_must_stay_does_not_hide_one_that_may_go(place: Place) -> None:
    bench = await place.open(retention=DAY)
    ids, worker = await bench.add_many(11), await bench.enlist()
    *long, short = await bench.claim(worker)
    await bench.finish(worker, bench.completed(short))
    bench.clock.advance(DAY + 1)
    await bench.finish(worker, *map(bench.completed, long))

    assert sum([await bench.prune(limit=5) for _ in range(6)]) == 1
    assert (await bench.page())[0] == ids[:10][::-1]


async def test_who_calls_again_while_there_is_more_removes_all_that_may_go(place: Place) -> None:
    """However many must stay in between: a call that removed little says that it goes on."""
    bench = await place.open(retention=DAY)
    ids, worker = await bench.add_many(300), await bench.enlist()
    claims = await bench.claim(worker, 300)
    early = claims[::30] + claims[-1:]
    await bench.finish(worker, *map(bench.completed, early[:4]))
    await bench.finish(worker, *map(bench.failed, early[4:8]))
    await bench.finish(worker, *map(bench.cancelled, early[8:]))
    late = [claim for claim in claims if claim not in early]
    bench.clock.advance(DAY + 1)
    await bench.finish(worker, *map(bench.completed, late[::2]))
    await bench.finish(worker, *map(bench.failed, late[1::2]))

    assert await bench.prune_all(limit=3) == len(early)

    assert (await bench.page())[0] == [claim.id for claim in reversed(late)]
    assert len(ids) == len(early) + len(late)
    assert await bench.prune_all(limit=1) == 0


async def test_jobs_that_end_late_are_removed_in_their_time_though_they_came_early(
    place: Place,
) -> None:
    bench = await place.open(retention=DAY)
    _, slow = await bench.add(), await bench.enlist()
    claim = await bench.claim_one(slow)
    for _ in range(6):
        await ended(bench)
    bench.clock.advance(DAY + 1)
    assert await bench.prune(limit=2) == 2
    await bench.finish(slow, bench.completed(claim))
    bench.clock.advance(DAY + 1)
    for _ in range(5):
        await bench.prune(limit=2)
    assert await bench.page() == ([], None)


async def test_several_who_prune_at_once_remove_each_job_once(place: Place) -> None:
    benches = [await place.open(retention=0)]
    if benches[0].storage.capabilities.shared:
        benches.append(await place.open(retention=0))
    for _ in range(12):
        await ended(benches[0])
    benches[0].clock.advance(1)
    removed = await asyncio.gather(*[bench.prune(limit=5) for bench in benches * 4])
    assert sum(removed) == 12
    assert await benches[0].page() == ([], None)


# -- expiry ------------------------------------------------------------------------------------


async def test_a_job_that_did_not_start_in_time_ends_as_cancelled(bench: Bench) -> None:
    due = await bench.add(expires_at=bench.later(60))
    scheduled = await bench.add(delay=600, expires_at=bench.later(60))
    bench.clock.advance(59)
    assert await bench.prune() == 0

    bench.clock.advance(1)
    assert await bench.prune() == 2

    for job in (due, scheduled):
        info = await bench.info(job)
        assert (info.status, info.attempt) == (JobStatus.CANCELLED, 0)
        assert info.error == "expired before it started"
        assert info.finished_at == to_datetime(bench.now)
    assert await bench.claim(await bench.enlist()) == []


async def test_a_parked_job_expires_too(bench: Bench) -> None:
    job, worker = await bench.add(expires_at=bench.later(60)), await bench.enlist()
    await bench.finish(worker, Transition.parked(await bench.claim_one(worker)))
    bench.clock.advance(60)
    assert await bench.prune() == 1
    assert await bench.status(job) == JobStatus.CANCELLED
    assert await bench.claim(worker, types={"SEND_EMAIL": 1}) == []


async def test_a_job_that_runs_does_not_expire(bench: Bench) -> None:
    job, worker, claim = await bench.running(expires_at=bench.later(10))
    bench.clock.advance(20)
    assert await bench.prune() == 0
    assert await bench.finish(worker, bench.completed(claim)) == [True]
    assert await bench.status(job) == JobStatus.COMPLETED


@pytest.mark.parametrize("how", ["retried", "snoozed"])
async def test_a_job_that_started_in_time_does_not_expire_while_it_waits_to_go_on(
    bench: Bench, how: str
) -> None:
    job, worker, claim = await bench.running(expires_at=bench.later(60))
    await bench.finish(worker, getattr(bench, how)(claim, delay=600))
    bench.clock.advance(600)

    assert await bench.prune() == 0

    assert await bench.status(job) == JobStatus.PENDING
    again = await bench.claim_one(worker)
    assert again.expires_at is None or again.expires_at > bench.now


async def test_a_job_whose_worker_died_does_not_expire_if_it_had_started(bench: Bench) -> None:
    job, _, _ = await bench.running(expires_at=bench.later(10))
    await bench.end_leases()
    assert await bench.prune() == 0
    again = await bench.claim_one(await bench.enlist())
    assert again.id == job
    assert again.expires_at is None or again.expires_at > bench.now


async def test_a_job_that_was_given_back_unstarted_still_expires(bench: Bench) -> None:
    job, worker = await bench.add(expires_at=bench.later(10)), await bench.enlist()
    claim = await bench.claim_one(worker)
    assert claim.expires_at == bench.later(10)
    await bench.storage.give_back(worker, [])
    bench.clock.advance(10)
    assert await bench.prune() == 1
    assert await bench.status(job) == JobStatus.CANCELLED


async def test_a_worker_learns_that_a_job_has_expired(bench: Bench) -> None:
    expires = bench.later(10)
    job, worker = await bench.add(expires_at=expires), await bench.enlist()
    bench.clock.advance(20)
    claim = await bench.claim_one(worker)
    assert (claim.id, claim.expires_at) == (job, expires)


async def test_an_expired_job_is_removed_in_its_time(place: Place) -> None:
    bench = await place.open(retention=DAY)
    await bench.add(expires_at=bench.later(10))
    bench.clock.advance(11)
    assert await bench.prune() == 1
    bench.clock.advance(DAY - 1)
    assert await bench.prune() == 0
    bench.clock.advance(2)
    assert await bench.prune() == 1
    assert await bench.page() == ([], None)
