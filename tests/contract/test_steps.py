"""Steps and signals: fenced as outcomes are, and neither of two who come at once is lost."""

from __future__ import annotations

import asyncio

import pytest

from backroom.errors import JobNotFoundError, JobStateError, LeaseLostError
from backroom.identity import JobIds
from backroom.job import JobStatus
from backroom.step import FOREVER, MAX_SIGNALS, SignalRecord, StepKind, StepRecord
from backroom.transition import Claim, Transition
from tests.contract.parts import WEEK, Bench, Place

_ids = JobIds()


def done(bench: Bench, number: int = 1, name: str = "quote", result: str = "1") -> StepRecord:
    return StepRecord(number, StepKind.STEP, name, bench.now, None, bench.now, result)


def wait(bench: Bench, seconds: float | None = 60.0, name: str = "approved") -> StepRecord:
    until = FOREVER if seconds is None else bench.later(seconds)
    return StepRecord(1, StepKind.SIGNAL, name, bench.now, until)


def signal(bench: Bench, name: str = "approved", value: str = '"yes"') -> SignalRecord:
    return SignalRecord(_ids(bench.now), name, value, bench.now)


async def send(bench: Bench, job: str, name: str = "approved", value: str = '"yes"') -> None:
    await bench.storage.send_signal(job, signal(bench, name, value), bench.now)


async def put_aside(bench: Bench, worker: int, claim: Claim, step: StepRecord) -> None:
    transition = Transition.waiting(claim, bench.now, step)
    assert await bench.finish(worker, transition) == [True]


# -- steps ---------------------------------------------------------------------------------------


async def test_a_job_has_no_steps_until_one_is_kept(bench: Bench) -> None:
    job, _, claim = await bench.running()
    assert await bench.storage.steps_of(claim.key) == []
    info = await bench.info(job)
    assert (info.steps, info.signals, info.waits_for) == ((), (), None)


async def test_what_was_kept_is_read_again_in_order(bench: Bench) -> None:
    job, _, claim = await bench.running()
    second = done(bench, 2, "Zürich ☕", '{"a": "\\u0000"}')
    await bench.storage.keep_step(claim.key, claim.token, second)
    first = done(bench)
    await bench.storage.keep_step(claim.key, claim.token, first)
    assert await bench.storage.steps_of(claim.key) == [first, second]
    info = await bench.info(job)
    assert [(one.number, one.name, one.result) for one in info.steps] == [
        (1, "quote", 1), (2, "Zürich ☕", {"a": "\0"})
    ]  # fmt: skip


async def test_the_same_step_kept_twice_is_kept_once(bench: Bench) -> None:
    _, _, claim = await bench.running()
    for _ in range(2):
        await bench.storage.keep_step(claim.key, claim.token, done(bench))
    assert await bench.storage.steps_of(claim.key) == [done(bench)]


async def test_steps_outlive_the_attempt_and_the_job(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.storage.keep_step(claim.key, claim.token, done(bench))
    await bench.finish(worker, bench.retried(claim))
    again = await bench.claim_one(worker)
    assert await bench.storage.steps_of(again.key) == [done(bench)]
    await bench.finish(worker, bench.failed(again))
    assert len((await bench.info(job)).steps) == 1
    await bench.storage.retry(job, bench.now)
    last = await bench.claim_one(worker)
    assert await bench.storage.steps_of(last.key) == [done(bench)]


async def test_a_stale_worker_keeps_no_step(bench: Bench) -> None:
    _, _, claim = await bench.running()
    await bench.end_leases()
    with pytest.raises(LeaseLostError):
        await bench.storage.keep_step(claim.key, claim.token, done(bench))
    other = await bench.enlist()
    now = await bench.claim_one(other)
    assert now.key == claim.key
    with pytest.raises(LeaseLostError):
        await bench.storage.keep_step(claim.key, claim.token, done(bench))
    assert await bench.storage.steps_of(claim.key) == []
    await bench.storage.keep_step(now.key, now.token, done(bench))


async def test_an_attempt_that_has_ended_keeps_no_step(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.completed(claim))
    with pytest.raises(LeaseLostError):
        await bench.storage.keep_step(claim.key, claim.token, done(bench))
    with pytest.raises(LeaseLostError):
        await bench.storage.take_signal(claim.key, claim.token, wait(bench), bench.now)
    assert (await bench.info(job)).steps == ()


async def test_steps_of_many_jobs_at_once_are_each_kept_under_their_own_claim(bench: Bench) -> None:
    running = [await bench.running() for _ in range(12)]
    claims = [claim for _, _, claim in running]
    ended = {claim.key for claim in claims[::3]}
    for _, worker, claim in running:
        if claim.key in ended:
            await bench.finish(worker, bench.completed(claim))
    kept = await asyncio.gather(
        *(
            bench.storage.keep_step(claim.key, claim.token, done(bench, name=f"step {n}"))
            for n, claim in enumerate(claims)
        ),
        return_exceptions=True,
    )
    assert [isinstance(one, LeaseLostError) for one in kept] == [one.key in ended for one in claims]
    steps = await asyncio.gather(*(bench.storage.steps_of(claim.key) for claim in claims))
    assert steps == [
        [] if claim.key in ended else [done(bench, name=f"step {n}")]
        for n, claim in enumerate(claims)
    ]


async def test_steps_from_a_number_on_are_forgotten(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    for number in (1, 2, 3):
        await bench.storage.keep_step(claim.key, claim.token, done(bench, number))
    with pytest.raises(JobStateError, match="is active"):
        await bench.storage.retry(job, bench.now, 2)
    assert len(await bench.storage.steps_of(claim.key)) == 3
    await bench.finish(worker, bench.failed(claim))
    await bench.storage.retry(job, bench.now, 2)
    assert await bench.storage.steps_of(claim.key) == [done(bench)]
    assert await bench.status(job) is JobStatus.PENDING
    await bench.storage.retry(job, bench.now, 1)  # It waits, and runs now.
    assert await bench.storage.steps_of(claim.key) == []
    with pytest.raises(JobNotFoundError):
        await bench.storage.retry(_ids(bench.now), bench.now, 1)
    with pytest.raises(JobNotFoundError):
        await bench.storage.retry("no id at all", bench.now, 1)


async def test_a_retry_that_is_refused_forgets_no_step(bench: Bench) -> None:
    job, worker, claim = await bench.running(unique_key="order-7")
    await bench.storage.keep_step(claim.key, claim.token, done(bench, name="charge"))
    await bench.finish(worker, bench.failed(claim))
    await bench.add(unique_key="order-7")
    with pytest.raises(JobStateError, match="unique key"):
        await bench.storage.retry(job, bench.now, 1)
    assert await bench.storage.steps_of(claim.key) == [done(bench, name="charge")]


async def test_steps_and_signals_go_with_their_job(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    other, _, its = await bench.running()
    for one in (claim, its):
        await bench.storage.keep_step(one.key, one.token, done(bench))
    await send(bench, job)
    await bench.finish(worker, bench.completed(claim))
    await bench.storage.delete(job)
    assert await bench.storage.steps_of(claim.key) == []
    assert len((await bench.info(other)).steps) == 1


async def test_retention_takes_steps_and_signals_with_their_job(place: Place) -> None:
    bench = await place.open(retention=WEEK)
    job, worker, claim = await bench.running()
    await bench.storage.keep_step(claim.key, claim.token, done(bench))
    await send(bench, job)
    await bench.finish(worker, bench.completed(claim))
    bench.clock.advance(2 * WEEK)
    await bench.prune_all()
    assert await bench.storage.find(job, bench.now) is None
    assert await bench.storage.steps_of(claim.key) == []


# -- signals -------------------------------------------------------------------------------------


async def test_a_job_is_put_aside_until_its_moment(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    sleep = StepRecord(1, StepKind.SLEEP, "sleep", bench.now, bench.later(60))
    await put_aside(bench, worker, claim, sleep)
    info = await bench.info(job)
    assert (info.status, info.attempt) == (JobStatus.SCHEDULED, 0)
    assert info.waits_for is not None
    assert info.waits_for.kind == "sleep"
    assert await bench.claim(worker) == []
    await send(bench, job, "sleep")  # Not what it waits for.
    assert await bench.claim(worker) == []
    bench.clock.advance(60)
    again = await bench.claim_one(worker)
    assert (again.id, again.attempt) == (job, 0)
    assert await bench.storage.steps_of(again.key) == [sleep]
    assert (await bench.info(job)).waits_for is None


async def test_a_signal_wakes_the_job_that_waits_for_it(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await put_aside(bench, worker, claim, wait(bench, None))
    assert (await bench.info(job)).status is JobStatus.SCHEDULED
    bench.clock.advance(1)
    await send(bench, job, "another")
    assert await bench.claim(worker) == []
    await send(bench, job)
    again = await bench.claim_one(worker)
    assert (again.id, again.attempt, again.run_at) == (job, 0, bench.now)
    taken = await bench.storage.take_signal(again.key, again.token, wait(bench), bench.now)
    assert taken is not None
    assert (taken.result, taken.ended_at) == ('"yes"', bench.now)
    assert [one.name for one in (await bench.info(job)).signals] == ["another"]


async def test_a_signal_wakes_the_workers(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await put_aside(bench, worker, claim, wait(bench))
    woken = asyncio.Event()
    unsubscribe = bench.storage.subscribe(lambda wake: woken.set())
    await asyncio.sleep(0)
    woken.clear()
    await send(bench, job)
    await asyncio.wait_for(woken.wait(), 5)
    unsubscribe()


async def test_a_signal_that_was_there_before_the_job_is_put_aside_keeps_it_going(
    bench: Bench,
) -> None:
    """It came between the handler's look and the outcome."""
    job, worker, claim = await bench.running()
    step = wait(bench)
    assert await bench.storage.take_signal(claim.key, claim.token, step, bench.now) is None
    await send(bench, job)
    await put_aside(bench, worker, claim, step)
    assert (await bench.info(job)).status is JobStatus.PENDING
    again = await bench.claim_one(worker)
    taken = await bench.storage.take_signal(again.key, again.token, step, bench.now)
    assert taken is not None
    assert taken.result == '"yes"'


async def test_a_signal_of_another_name_that_was_there_before_does_not(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await send(bench, job, "another")
    await put_aside(bench, worker, claim, wait(bench))
    assert await bench.claim(worker) == []


async def test_signals_are_taken_in_order_and_once(bench: Bench) -> None:
    job, _, claim = await bench.running()
    for value in ("1", "2"):
        await send(bench, job, value=value)
    first = wait(bench)
    for _ in range(2):  # The answer to the first call was lost.
        taken = await bench.storage.take_signal(claim.key, claim.token, first, bench.now)
        assert taken is not None
        assert taken.result == "1"
    second = StepRecord(2, StepKind.SIGNAL, "approved", bench.now, bench.later(60))
    taken = await bench.storage.take_signal(claim.key, claim.token, second, bench.now)
    assert taken is not None
    assert taken.result == "2"
    third = StepRecord(3, StepKind.SIGNAL, "approved", bench.now, bench.later(60))
    assert await bench.storage.take_signal(claim.key, claim.token, third, bench.now) is None
    assert (await bench.info(job)).signals == ()


async def test_a_signal_that_is_sent_again_is_kept_once(bench: Bench) -> None:
    job, _, claim = await bench.running()
    one = signal(bench)
    for _ in range(2):
        await bench.storage.send_signal(job, one, bench.now)
    assert len((await bench.info(job)).signals) == 1
    assert await bench.storage.take_signal(claim.key, claim.token, wait(bench), bench.now)
    await bench.storage.send_signal(job, one, bench.now)
    assert (await bench.info(job)).signals == ()


async def test_a_wait_times_out_at_its_moment_and_not_before(bench: Bench) -> None:
    job, _, claim = await bench.running()
    step = wait(bench, 60)
    bench.clock.advance(59.9)
    assert await bench.storage.take_signal(claim.key, claim.token, step, bench.now) is None
    assert await bench.storage.steps_of(claim.key) == []
    bench.clock.advance(0.1)
    taken = await bench.storage.take_signal(claim.key, claim.token, step, bench.now)
    assert taken is not None
    assert (taken.result, taken.ended_at) == (None, bench.now)
    await send(bench, job)
    assert await bench.storage.take_signal(claim.key, claim.token, step, bench.now) == taken
    info = await bench.info(job)
    assert info.steps[0].timed_out
    assert len(info.signals) == 1


async def test_a_signal_that_is_there_at_the_last_moment_counts(bench: Bench) -> None:
    job, _, claim = await bench.running()
    step = wait(bench, 60)
    bench.clock.advance(60)
    await send(bench, job)
    taken = await bench.storage.take_signal(claim.key, claim.token, step, bench.now)
    assert taken is not None
    assert taken.result == '"yes"'


async def test_a_stale_worker_takes_no_signal(bench: Bench) -> None:
    job, _, claim = await bench.running()
    await send(bench, job)
    await bench.end_leases()
    with pytest.raises(LeaseLostError):
        await bench.storage.take_signal(claim.key, claim.token, wait(bench), bench.now)
    assert len((await bench.info(job)).signals) == 1


async def test_a_stale_outcome_puts_nothing_aside(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.end_leases()
    other = await bench.enlist()
    await bench.claim_one(other)
    transition = Transition.waiting(claim, bench.now, wait(bench))
    assert await bench.finish(worker, transition) == [False]
    assert await bench.storage.steps_of(claim.key) == []
    assert (await bench.info(job)).status is JobStatus.ACTIVE


async def test_a_retry_that_waits_is_not_woken_by_a_signal(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await put_aside(bench, worker, claim, wait(bench, 10))
    bench.clock.advance(10)
    again = await bench.claim_one(worker)
    await bench.finish(worker, bench.retried(again, delay=100))
    await send(bench, job)
    assert await bench.claim(worker) == []
    assert (await bench.info(job)).waits_for is None


async def test_a_cancel_that_was_asked_for_wins_over_a_wait(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await send(bench, job)
    await bench.storage.cancel(job, bench.now)
    await put_aside(bench, worker, claim, wait(bench))
    assert await bench.status(job) is JobStatus.CANCELLED
    assert await bench.claim(worker) == []


async def test_an_outcome_that_is_sent_again_changes_nothing(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    step = wait(bench, None)
    await put_aside(bench, worker, claim, step)
    await send(bench, job)
    await put_aside(bench, worker, claim, step)  # The answer to the first one was lost.
    again = await bench.claim_one(worker)
    taken = await bench.storage.take_signal(again.key, again.token, step, bench.now)
    assert taken is not None
    assert await bench.finish(worker, Transition.waiting(claim, bench.now, step)) == [False]
    assert await bench.storage.steps_of(claim.key) == [taken]


async def test_a_signal_to_a_job_that_has_ended_or_never_was_is_refused(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.completed(claim))
    with pytest.raises(JobStateError, match="has ended"):
        await send(bench, job)
    assert (await bench.info(job)).signals == ()
    for unknown in (_ids(bench.now), "no id at all"):
        with pytest.raises(JobNotFoundError):
            await send(bench, unknown)


async def test_so_many_signals_wait_and_no_more(bench: Bench) -> None:
    job, _, claim = await bench.running()
    for _ in range(MAX_SIGNALS):
        await send(bench, job)
    with pytest.raises(JobStateError, match="100 signals"):
        await send(bench, job, "another")
    assert len((await bench.info(job)).signals) == MAX_SIGNALS
    assert await bench.storage.take_signal(claim.key, claim.token, wait(bench), bench.now)
    await send(bench, job, "another")


async def test_a_signal_and_the_outcome_that_waits_for_it_at_once(place: Place) -> None:
    """Whoever is first, the job goes on with the signal."""
    near, far = await place.benches(2)
    for _ in range(20):
        job, worker, claim = await near.running()
        step = wait(near, None)
        assert await near.storage.take_signal(claim.key, claim.token, step, near.now) is None
        aside = near.finish(worker, Transition.waiting(claim, near.now, step))
        [stood], _ = await asyncio.gather(aside, send(far, job))
        assert stood
        again = await near.claim_one(worker)
        assert again.id == job
        taken = await near.storage.take_signal(again.key, again.token, step, near.now)
        assert taken is not None
        assert await near.finish(worker, near.completed(again)) == [True]


async def test_two_signals_at_once_are_both_kept(place: Place) -> None:
    benches = await place.benches(2)
    near = benches[0]
    job, worker, claim = await near.running()
    await put_aside(near, worker, claim, wait(near, None))
    await asyncio.gather(*(send(bench, job, value=str(n)) for n, bench in enumerate(benches * 5)))
    assert {one.value for one in (await near.info(job)).signals} == set(range(10))
    assert len(await near.claim(worker)) == 1
