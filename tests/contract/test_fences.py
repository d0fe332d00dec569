"""Fences: every claim has a token that only grows, and a write with an older one is refused."""

import asyncio
import gc

import pytest

from backroom import LeaseLostError
from backroom.job import JobStatus
from backroom.ports import Report
from backroom.transition import Claim, Transition
from tests.contract.parts import Bench, Place


async def test_every_claim_of_a_job_has_a_greater_token_than_the_one_before(bench: Bench) -> None:
    await bench.add()
    worker = await bench.enlist()
    tokens = []
    for _ in range(4):
        claim = await bench.claim_one(worker)
        tokens.append(claim.token)
        await bench.storage.give_back(worker, [])
    claim = await bench.claim_one(worker)
    await bench.finish(worker, bench.retried(claim))
    claim_after_retry = await bench.claim_one(worker)
    tokens += [claim.token, claim_after_retry.token]
    await bench.end_leases()
    tokens.append((await bench.claim_one(await bench.enlist())).token)

    assert tokens == sorted(set(tokens))


async def test_the_token_grows_over_a_retry_by_people_and_over_deleted_jobs(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.completed(claim))
    await bench.storage.retry(job, bench.now)
    again = await bench.claim_one(worker)
    await bench.finish(worker, bench.completed(again))
    await bench.storage.delete(job)
    await bench.add()
    fresh = await bench.claim_one(worker)
    assert claim.token < again.token < fresh.token


async def test_a_job_that_changes_hands_in_one_moment_changes_its_token(bench: Bench) -> None:
    job, first, second = await bench.add(), await bench.enlist(), await bench.enlist("host:2")

    async def at_once() -> list[list[Claim]]:
        old, _, new = await asyncio.gather(
            bench.claim(first), bench.storage.give_back(first, []), bench.claim(second)
        )
        return [old, new]

    while not (answer := await at_once())[0]:  # What is asked at once has no order.
        await bench.storage.give_back(second, [])
    [old], claims = answer
    if not claims:  # It was not given back yet, or not taken.
        await bench.storage.give_back(first, [])
        claims = await bench.claim(second)

    [new] = claims
    assert (old.id, new.id) == (job, job)
    assert old.token < new.token
    assert await bench.finish(first, bench.completed(old)) == [False]
    assert await bench.status(job) == JobStatus.ACTIVE


async def test_a_worker_that_lost_its_lease_cannot_finish_a_job(bench: Bench) -> None:
    job, stale, claim = await bench.running()
    await bench.end_leases()
    before = await bench.info(job)

    assert await bench.finish(stale, bench.completed(claim, '"mine"')) == [False]

    assert await bench.info(job) == before


async def test_a_worker_that_lost_its_lease_cannot_finish_what_another_runs(bench: Bench) -> None:
    job, stale, claim = await bench.running()
    await bench.end_leases()
    worker = await bench.enlist("host:2")
    current = await bench.claim_one(worker)
    await bench.begin(worker, current)
    before = await bench.info(job)

    for transition in outcomes(bench, claim):
        assert await bench.finish(stale, transition) == [False]
        assert await bench.info(job) == before

    assert await bench.finish(worker, bench.completed(current)) == [True]


async def test_a_worker_that_lost_its_lease_cannot_change_what_another_finished(
    bench: Bench,
) -> None:
    job, stale, claim = await bench.running()
    await bench.end_leases()
    worker = await bench.enlist("host:2")
    current = await bench.claim_one(worker)
    await bench.finish(worker, bench.completed(current, '"the result"'))
    before = await bench.info(job)

    for transition in outcomes(bench, claim):
        assert await bench.finish(stale, transition) == [False]
        assert await bench.info(job) == before


async def test_a_claim_that_was_given_back_cannot_be_finished(bench: Bench) -> None:
    job, worker = await bench.add(), await bench.enlist()
    claim = await bench.claim_one(worker)
    await bench.storage.give_back(worker, [])
    before = await bench.info(job)

    for transition in outcomes(bench, claim):
        assert await bench.finish(worker, transition) == [False]
        assert await bench.info(job) == before


async def test_an_outcome_stands_no_more_once_a_later_claim_was_given_back(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    waits = bench.snoozed(claim, delay=0)
    assert await bench.finish(worker, waits) == [True]
    await bench.claim_one(worker)
    await bench.storage.give_back(worker, [])
    before = await bench.info(job)
    assert await bench.finish(worker, waits) == [False]
    assert await bench.info(job) == before


async def test_a_claim_of_a_worker_that_retired_cannot_be_finished(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.storage.retire(worker)
    assert await bench.finish(worker, bench.completed(claim)) == [False]
    assert await bench.status(job) == JobStatus.PENDING


async def test_a_stale_outcome_changes_nothing_for_the_newer_claim_of_the_same_worker(
    bench: Bench,
) -> None:
    job, worker = await bench.add(), await bench.enlist()
    old = await bench.claim_one(worker)
    await bench.storage.give_back(worker, [])
    new = await bench.claim_one(worker)
    await bench.begin(worker, new)
    before = await bench.info(job)

    assert await bench.finish(worker, bench.completed(old)) == [False]

    assert await bench.info(job) == before
    reclaimed = await bench.end_leases()
    assert (reclaimed.crashed, reclaimed.untouched) == (1, 0)


async def test_an_outcome_of_a_deleted_job_is_refused(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.storage.give_back(worker, [])
    await bench.storage.delete(job)
    assert await bench.finish(worker, bench.completed(claim)) == [False]


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
async def test_a_job_that_has_ended_stays_as_it_ended(bench: Bench, how: str) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, getattr(bench, how)(claim))
    before = await bench.info(job)

    for transition in outcomes(bench, claim):
        await bench.finish(worker, transition)
        assert await bench.info(job) == before
    await bench.end_leases()
    await bench.storage.cancel(job, bench.now)

    assert await bench.info(job) == before


async def test_an_outcome_sent_again_after_a_lost_reply_stands_and_changes_nothing(
    bench: Bench,
) -> None:
    for send in (bench.completed, bench.retried, bench.failed, bench.snoozed, bench.cancelled):
        job, worker, claim = await bench.running()
        outcome = send(claim)
        assert await bench.finish(worker, outcome) == [True]
        before = await bench.info(job)

        assert await bench.finish(worker, outcome) == [True]

        assert await bench.info(job) == before
        await bench.storage.cancel(job, bench.now)


async def test_an_outcome_sent_twice_at_once_is_applied_once(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    outcome = bench.retried(claim, delay=60)

    answers = await asyncio.gather(bench.finish(worker, outcome), bench.finish(worker, outcome))

    assert list(answers) == [[True], [True]]
    info = await bench.info(job)
    assert (info.attempt, len(info.errors)) == (1, 1)


async def test_progress_and_log_lines_of_a_stale_claim_are_dropped(bench: Bench) -> None:
    job, stale, claim = await bench.running()
    await bench.end_leases()
    worker = await bench.enlist("host:2")
    current = await bench.claim_one(worker)
    await bench.begin(worker, current)
    before = await bench.info(job)

    def report(token: int) -> Report:
        return Report(claim.key, token, 1, 0.9, "nearly", [(bench.now, "info", "hello")])

    await bench.storage.report(stale, [report(claim.token)])
    assert await bench.info(job) == before

    await bench.storage.report(worker, [report(current.token)])
    info = await bench.info(job)
    assert (info.progress, info.progress_message, len(info.log)) == (0.9, "nearly", 1)


async def test_log_lines_and_errors_of_a_refused_outcome_are_dropped(bench: Bench) -> None:
    job, stale, claim = await bench.running()
    outcome = bench.retried(claim)
    outcome.log = [(bench.now, "info", "hello")]
    await bench.end_leases()
    before = await bench.info(job)

    assert await bench.finish(stale, outcome) == [False]

    assert await bench.info(job) == before


async def test_progress_of_a_job_that_has_ended_is_dropped(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.completed(claim))
    before = await bench.info(job)
    late = Report(claim.key, claim.token, 1, 0.5, "half", [(bench.now, "info", "late")])
    await bench.storage.report(worker, [late])
    assert await bench.info(job) == before


async def test_one_stale_outcome_among_five_hundred_is_the_only_one_refused(bench: Bench) -> None:
    ids, worker = await bench.add_many(500), await bench.enlist()
    claims = await bench.claim(worker, 500)
    stale = claims[250]
    others = [(claim.key, claim.token) for claim in claims if claim is not stale]
    await bench.storage.give_back(worker, others)
    kinds = (bench.completed, bench.retried, bench.failed, bench.snoozed, bench.cancelled)

    answers = await bench.finish(
        worker, *[kinds[i % len(kinds)](claim) for i, claim in enumerate(claims)]
    )

    assert [i for i, stands in enumerate(answers) if not stands] == [250]
    wanted = ["completed", "pending", "failed", "scheduled", "cancelled"] * 100
    wanted[250] = "pending"
    jobs, _ = await bench.page()
    assert jobs == ids[::-1]
    for status in set(wanted):
        of_status, _ = await bench.page(status=JobStatus(status))
        assert of_status[::-1] == [
            job for job, its in zip(ids, wanted, strict=True) if its == status
        ]
    assert (await bench.info(ids[250])).attempt == 0


async def test_of_two_that_finish_a_job_only_the_owner_is_believed(place: Place) -> None:
    first, second = await place.benches(2)
    job, stale, old = await first.running()
    await second.end_leases()
    worker = await second.enlist("host:2")
    new = await second.claim_one(worker)

    answers = await asyncio.gather(
        first.finish(stale, first.completed(old, '"old"')),
        second.finish(worker, second.completed(new, '"new"')),
        first.finish(stale, first.failed(old)),
    )

    assert list(answers) == [[False], [True], [False]]
    assert (await first.info(job)).result == "new"


def outcomes(bench: Bench, claim: Claim) -> list[Transition]:
    """Every way in which an attempt can end."""
    return [
        bench.completed(claim, '"late"'),
        bench.retried(claim),
        bench.failed(claim),
        bench.snoozed(claim),
        bench.cancelled(claim),
        Transition.released(claim),
        Transition.parked(claim),
    ]


async def test_the_first_outcome_of_a_claim_is_the_last(bench: Bench) -> None:
    """Said twice, it stands; what is said after it changes nothing."""
    job, worker, claim = await bench.running()
    first = bench.completed(claim, result="1")
    await bench.finish(worker, first)
    assert await bench.finish(worker, first) == [True]
    await bench.finish(worker, bench.completed(claim, result="2"))
    await bench.finish(worker, bench.failed(claim))
    info = await bench.info(job)
    assert (info.status, info.result, info.errors) == (JobStatus.COMPLETED, 1, ())


async def test_refusals_leave_nothing_in_memory(bench: Bench) -> None:
    """Their errors know the frames that raised them, and these what was asked: a ring that must
    not be kept from the garbage collector."""
    for _ in range(50):
        with pytest.raises(LeaseLostError):
            await bench.storage.extend(10**9)
    gc.collect()
    left = sum(type(one) is LeaseLostError for one in gc.get_objects())
    assert left <= 2  # The last ones may still be in somebody's hands.
