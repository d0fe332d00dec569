"""Jobs that an outcome brings about: they are there if, and only if, the outcome stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from backroom.job import JobStatus
from backroom.ports import Wake
from backroom.transition import Claim, Transition
from tests.contract.parts import Bench

OUTCOMES: dict[str, Callable[[Bench, Claim], Transition]] = {
    "completed": Bench.completed,
    "failed": Bench.failed,
    "retried": Bench.retried,
    "cancelled": Bench.cancelled,
}


@pytest.mark.parametrize("kind", OUTCOMES)
async def test_a_job_that_follows_an_outcome_is_made_with_it(bench: Bench, kind: str) -> None:
    _, worker, claim = await bench.running()
    outcome = OUTCOMES[kind](bench, claim)
    follows = [bench.record(queue="webhooks", data='{"n":1}'), bench.record(queue="webhooks")]
    outcome.follows = follows
    assert await bench.finish(worker, outcome) == [True]
    assert [await bench.status(job.id) for job in follows] == [JobStatus.PENDING] * 2
    assert (await bench.info(follows[0].id)).data == {"n": 1}
    claimed = await bench.claim(worker, queues=("webhooks",))
    assert {one.id for one in claimed} >= {job.id for job in follows}


async def test_an_outcome_that_is_refused_brings_nothing_about(bench: Bench) -> None:
    _, worker, claim = await bench.running()
    await bench.end_leases()
    stale = bench.failed(claim)
    stale.follows = [bench.record()]
    assert await bench.finish(worker, stale) == [False]
    assert await bench.storage.find(stale.follows[0].id, bench.now) is None


async def test_of_outcomes_that_are_written_together_each_brings_its_own_about(
    bench: Bench,
) -> None:
    _, worker, good = await bench.running()
    _, _, stale = await bench.running()
    await bench.end_leases(but=[worker])
    outcomes = [bench.completed(good), bench.completed(stale)]
    for outcome in outcomes:
        outcome.follows = [bench.record()]
    assert await bench.finish(worker, *outcomes) == [True, False]
    found = [await bench.storage.find((one.follows or [])[0].id, bench.now) for one in outcomes]
    assert [one is not None for one in found] == [True, False]


async def test_an_outcome_that_is_said_again_brings_its_jobs_about_once(bench: Bench) -> None:
    _, worker, claim = await bench.running()
    outcome = bench.failed(claim)
    outcome.follows = [bench.record(queue="webhooks")]
    assert await bench.finish(worker, outcome) == [True]
    assert await bench.finish(worker, outcome) == [True]
    jobs, _ = await bench.page(queue="webhooks")
    assert len(jobs) == 1


async def test_who_waits_for_jobs_is_woken_by_those_that_follow(bench: Bench) -> None:
    woken: list[Wake] = []
    _, worker, claim = await bench.running()
    off = bench.storage.subscribe(woken.append)
    outcome = bench.completed(claim)
    outcome.follows = [bench.record()]
    await bench.finish(worker, outcome)

    async with asyncio.timeout(10):
        while Wake.JOBS not in woken:
            await asyncio.sleep(0.001)
    off()


async def test_what_cannot_follow_fails_its_job_alone(bench: Bench) -> None:
    first, worker, claim = await bench.running()
    [second] = await bench.add_many(1)
    other = await bench.claim_one(worker)
    await bench.begin(worker, other)
    bad, good = bench.completed(claim), bench.completed(other)
    bad.follows = [bench.record(data="{}", type="no\ud800surrogate")]
    assert await bench.finish(worker, bad, good) == [False, True]
    assert await bench.status(first) is JobStatus.FAILED
    assert await bench.status(second) is JobStatus.COMPLETED
