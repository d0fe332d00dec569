"""Steering: people cancel, retry and delete jobs, one by one or many at once."""

import asyncio

import pytest

from backroom.errors import JobNotFoundError, JobStateError
from backroom.inspecting import Filter
from backroom.job import JobStatus, to_datetime
from tests.contract.parts import Bench

UNKNOWN = "0197a1b2-0000-7000-8000-000000000000"


async def ended(bench: Bench, how: str = "completed", **fields: object) -> str:
    """A job that has ended in that way."""
    job, worker, claim = await bench.running(**fields)
    assert await bench.finish(worker, getattr(bench, how)(claim)) == [True]
    return job


# -- cancel ------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, 60])
async def test_a_job_that_waits_is_cancelled_at_once(bench: Bench, delay: int) -> None:
    job = await bench.add(delay=delay)

    assert await bench.storage.cancel(job, bench.now) == 1

    info = await bench.info(job)
    assert (info.status, info.error) == (JobStatus.CANCELLED, "cancelled by request")
    assert info.finished_at == to_datetime(bench.now)
    bench.clock.advance(100)
    assert await bench.claim(await bench.enlist()) == []


async def test_a_retry_that_waits_is_cancelled_at_once(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim, delay=60))
    await bench.storage.cancel(job, bench.now)
    info = await bench.info(job)
    assert (info.status, info.attempt, len(info.errors)) == (JobStatus.CANCELLED, 1, 1)


async def test_a_job_that_runs_is_asked_to_stop_and_stays_its_worker_s(bench: Bench) -> None:
    job, worker, claim = await bench.running()

    assert await bench.storage.cancel(job, bench.now) == 1

    info = await bench.info(job)
    assert (info.status, info.cancel_requested, info.worker) == ("active", True, "host:1")
    assert await bench.finish(worker, bench.cancelled(claim)) == [True]
    assert await bench.status(job) == JobStatus.CANCELLED


async def test_cancelling_what_has_ended_changes_nothing(bench: Bench) -> None:
    for how in ("completed", "failed", "cancelled"):
        job = await ended(bench, how)
        before = await bench.info(job)
        assert await bench.storage.cancel(job, bench.now) == 0
        assert await bench.info(job) == before


async def test_cancelling_an_unknown_job_is_an_error(bench: Bench) -> None:
    with pytest.raises(JobNotFoundError, match=UNKNOWN):
        await bench.storage.cancel(UNKNOWN, bench.now)


async def test_many_jobs_are_cancelled_by_what_they_have_in_common(bench: Bench) -> None:
    pending = await bench.add(type="A")
    scheduled = await bench.add(type="A", delay=60)
    other = await bench.add(type="B")
    running, _, _ = await bench.running(type="A", priority=0)
    done = await ended(bench, type="A", priority=0)

    assert await bench.storage.cancel(Filter(type="A"), bench.now) == 3

    assert [await bench.status(job) for job in (pending, scheduled, other, running, done)] == [
        "cancelled", "cancelled", "pending", "active", "completed",
    ]  # fmt: skip
    assert (await bench.info(running)).cancel_requested
    assert await bench.storage.cancel(Filter(type="A"), bench.now) == 0


async def test_cancelling_by_status_and_queue_leaves_the_others_alone(bench: Bench) -> None:
    kept = [await bench.add(), await bench.add(queue="q"), await bench.add(delay=60)]
    gone = await bench.add(queue="q", delay=60)
    which = Filter(status=JobStatus.SCHEDULED, queue="q")
    assert await bench.storage.cancel(which, bench.now) == 1
    assert await bench.status(gone) == JobStatus.CANCELLED
    assert [await bench.status(job) for job in kept] == ["pending", "pending", "scheduled"]


async def test_thousands_are_cancelled_and_retried_in_one_call(bench: Bench) -> None:
    await bench.add_many(2001)
    assert await bench.storage.cancel(Filter(), bench.now) == 2001
    assert await bench.storage.retry(Filter(status=JobStatus.CANCELLED), bench.now) == 2001
    assert (await bench.storage.stats(bench.now)).by_status["pending"] == 2001


# -- retry -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
async def test_a_job_that_has_ended_runs_again_at_once_with_a_fresh_budget(
    bench: Bench, how: str
) -> None:
    job = await ended(bench, how, options='{"retries":1}')
    bench.clock.advance(5)

    assert await bench.storage.retry(job, bench.now) == 1

    info = await bench.info(job)
    assert (info.status, info.result, info.finished_at) == (JobStatus.PENDING, None, None)
    assert info.run_at == to_datetime(bench.now)
    assert (info.attempt, info.budget, info.max_attempts) == (1, 1, 3)
    claim = await bench.claim_one(await bench.enlist())
    assert (claim.id, claim.attempt, claim.budget, claim.crashes) == (job, 1, 1, 0)


async def test_a_fresh_budget_forgives_the_deaths_of_workers_and_keeps_the_errors(
    bench: Bench,
) -> None:
    job, _, _ = await bench.running()
    await bench.end_leases()
    worker = await bench.enlist()
    await bench.finish(worker, bench.failed(await bench.claim_one(worker)))
    assert (await bench.info(job)).crashes == 1

    await bench.storage.retry(job, bench.now)

    info = await bench.info(job)
    assert (info.crashes, len(info.errors)) == (0, 2)
    claim = await bench.claim_one(worker)
    assert (claim.attempt, claim.budget, claim.crashes) == (2, 2, 0)


async def test_a_retry_that_waits_is_brought_forward(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim, delay=3600))
    await bench.storage.retry(job, bench.now)
    again = await bench.claim_one(worker)
    assert (again.id, again.attempt, again.budget) == (job, 1, 1)


async def test_a_retried_job_that_had_expired_does_not_expire_again(bench: Bench) -> None:
    job = await bench.add(expires_at=bench.later(1))
    bench.clock.advance(2)
    await bench.prune()
    assert await bench.status(job) == JobStatus.CANCELLED
    await bench.storage.retry(job, bench.now)
    await bench.prune()
    claim = await bench.claim_one(await bench.enlist())
    assert (claim.id, claim.expires_at) == (job, None)


async def test_a_job_that_runs_cannot_be_retried(bench: Bench) -> None:
    job, _, _ = await bench.running()
    before = await bench.info(job)
    with pytest.raises(JobStateError, match=job):
        await bench.storage.retry(job, bench.now)
    assert await bench.info(job) == before


async def test_retrying_what_is_pending_changes_nothing(bench: Bench) -> None:
    job = await bench.add(delay=-5)
    before = await bench.info(job)
    await bench.storage.retry(job, bench.now)
    assert await bench.info(job) == before


async def test_retrying_an_unknown_job_is_an_error(bench: Bench) -> None:
    with pytest.raises(JobNotFoundError, match=UNKNOWN):
        await bench.storage.retry(UNKNOWN, bench.now)


async def test_many_jobs_are_retried_by_what_they_have_in_common(bench: Bench) -> None:
    failed = [await ended(bench, "failed", type="A") for _ in range(3)]
    other = await ended(bench, "failed", type="B")
    done = await ended(bench, "completed", type="A")
    waiting = await bench.add(type="A", delay=60)

    which = Filter(status=JobStatus.FAILED, type="A")
    assert await bench.storage.retry(which, bench.now) == 3

    assert [claim.id for claim in await bench.claim(await bench.enlist())] == failed
    assert [await bench.status(job) for job in (other, done, waiting)] == [
        "failed", "completed", "scheduled",
    ]  # fmt: skip
    assert await bench.storage.retry(which, bench.now) == 0


async def test_retrying_many_leaves_those_alone_that_have_not_ended(bench: Bench) -> None:
    done = await ended(bench)
    running, _, _ = await bench.running()
    live = [running, await bench.add(delay=60), await bench.add(delay=-5)]
    before = [await bench.info(job) for job in live]

    assert await bench.storage.retry(Filter(), bench.now) == 1

    assert [await bench.info(job) for job in live] == before
    assert await bench.status(done) == JobStatus.PENDING


async def test_jobs_are_retried_by_a_tag(bench: Bench) -> None:
    tagged = await ended(bench, "failed", options='{"tags":["eu","vip"]}')
    await ended(bench, "failed", options='{"tags":["eu"]}')
    await ended(bench, "failed")
    assert await bench.storage.retry(Filter(tag="vip"), bench.now) == 1
    assert await bench.status(tagged) == JobStatus.PENDING


# -- delete ------------------------------------------------------------------------------------


async def test_a_deleted_job_is_gone_with_all_that_was_kept_with_it(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    outcome = bench.failed(claim)
    outcome.log = [(bench.now, "info", "hello")]
    await bench.finish(worker, outcome)

    await bench.storage.delete(job)

    assert await bench.storage.find(job, bench.now) is None
    assert await bench.storage.outlook([job], bench.now) == {}
    fresh = await bench.info(await bench.add())
    assert (fresh.errors, fresh.log) == ((), ())


async def test_a_job_that_waits_can_be_deleted(bench: Bench) -> None:
    for delay in (0, 60):
        await bench.storage.delete(await bench.add(delay=delay))
    bench.clock.advance(60)
    assert await bench.claim(await bench.enlist()) == []


async def test_a_job_that_runs_cannot_be_deleted(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    with pytest.raises(JobStateError, match=job):
        await bench.storage.delete(job)
    assert await bench.finish(worker, bench.completed(claim)) == [True]


async def test_deleting_an_unknown_job_is_an_error(bench: Bench) -> None:
    job = await bench.add()
    await bench.storage.delete(job)
    for unknown in (job, UNKNOWN, "", "'; drop table job; --"):
        with pytest.raises(JobNotFoundError):
            await bench.storage.delete(unknown)


async def test_many_ended_jobs_are_deleted_by_what_they_have_in_common(bench: Bench) -> None:
    gone = [await ended(bench, how, type="A") for how in ("completed", "failed", "cancelled")]
    other = await ended(bench, type="B")
    running, _, _ = await bench.running(type="A")
    live = [running, await bench.add(type="A", delay=60), await bench.add(type="A")]

    assert await bench.storage.delete(Filter(type="A", status=JobStatus.FAILED)) == 1
    assert await bench.storage.delete(Filter(type="A")) == 2

    assert await bench.storage.outlook(gone, bench.now) == {}
    assert len(await bench.storage.outlook([other, *live], bench.now)) == 4
    assert await bench.storage.delete(Filter(type="A")) == 0


async def test_thousands_are_deleted_in_one_call(bench: Bench) -> None:
    await bench.add_many(2001)
    await bench.storage.cancel(Filter(), bench.now)
    assert await bench.storage.delete(Filter(status=JobStatus.CANCELLED)) == 2001


# -- queues ------------------------------------------------------------------------------------


async def test_every_queue_that_ever_held_a_job_is_known(bench: Bench) -> None:
    assert await bench.storage.queues() == {}
    await bench.add(queue="a")
    await bench.storage.delete(await bench.add(queue="b"))
    await bench.storage.pause("a", True)
    await bench.storage.pause("c", True)
    assert await bench.storage.queues() == {"a": True, "b": False, "c": True}
    await bench.storage.pause("a", False)
    assert (await bench.storage.queues())["a"] is False


async def test_pausing_twice_and_resuming_what_is_not_paused_are_no_errors(bench: Bench) -> None:
    await bench.storage.pause("a", True)
    await bench.storage.pause("a", True)
    await bench.storage.pause("b", False)
    assert await bench.storage.queues() == {"a": True, "b": False}


async def test_pausing_a_queue_does_not_touch_what_runs(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.storage.pause("default", True)
    assert await bench.status(job) == JobStatus.ACTIVE
    assert await bench.finish(worker, bench.completed(claim)) == [True]


@pytest.mark.parametrize("status", [JobStatus.PENDING, None])
async def test_a_bulk_change_among_others_touches_only_what_still_is_what_it_looks_for(
    bench: Bench, status: JobStatus | None
) -> None:
    """While it looks for its jobs, others go on with them."""
    await bench.add_many(60)
    worker = await bench.enlist()
    claims, cancelled = await asyncio.gather(
        bench.claim(worker, 30), bench.storage.cancel(Filter(status=status), bench.now)
    )
    stats = (await bench.storage.stats(bench.now)).by_status
    assert stats["active"] == len(claims)
    asked = [(await bench.info(claim.id)).cancel_requested for claim in claims]
    if status is JobStatus.PENDING:
        assert not any(asked)
    assert cancelled == stats["cancelled"] + sum(asked)


async def test_a_bulk_delete_among_others_spares_what_people_retry_meanwhile(bench: Bench) -> None:
    """While it looks for its jobs, others retry them."""
    for _ in range(5):
        ids, worker = await bench.add_many(40), await bench.enlist()
        claims = await bench.claim(worker)
        await bench.finish(worker, *[bench.failed(claim) for claim in claims])

        deleted, *answers = await asyncio.gather(
            bench.storage.delete(Filter(status=JobStatus.FAILED)),
            *[bench.storage.retry(job, bench.now) for job in ids[:20]],
            return_exceptions=True,
        )

        # Those that were deleted before it are answered with an error.
        retried = sum(not isinstance(answer, BaseException) for answer in answers)
        assert len((await bench.page(status=JobStatus.PENDING))[0]) == retried
        assert deleted == 40 - retried
        await bench.storage.cancel(Filter(), bench.now)
        await bench.storage.delete(Filter())
