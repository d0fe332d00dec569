"""Leases and orphans: who is alive is never robbed, who is dead gives its jobs back fast."""

import asyncio
from random import Random

import pytest

from backroom.errors import LeaseLostError
from backroom.inspecting import Filter
from backroom.job import JobStatus
from backroom.ports import WorkerSpec
from backroom.transition import Claim, Transition
from tests.contract.parts import LEASE, Bench, Place


async def test_a_worker_is_told_when_its_lease_ends(bench: Bench) -> None:
    beat = await bench.storage.enlist(WorkerSpec("host:1", 20.0))
    assert beat.deadline == pytest.approx(bench.clock.uptime() + 20.0)
    bench.clock.advance(5)
    extended = await bench.storage.extend(beat.worker)
    assert extended.worker == beat.worker
    assert extended.deadline == pytest.approx(bench.clock.uptime() + 20.0)


async def test_every_worker_has_a_number_of_its_own_that_is_never_used_again(bench: Bench) -> None:
    first, second = await bench.enlist(), await bench.enlist()
    await bench.storage.retire(second)
    third = await bench.enlist()
    await bench.end_leases()
    fourth = await bench.enlist()
    assert len({first, second, third, fourth}) == 4


async def test_a_worker_that_extends_its_lease_is_never_robbed(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    for _ in range(12):
        bench.clock.advance(LEASE / 4)
        await bench.storage.extend(worker)
        assert (await bench.reclaim()).workers == ()
    assert await bench.status(job) == JobStatus.ACTIVE
    assert await bench.finish(worker, bench.completed(claim)) == [True]


async def test_a_lease_stands_until_its_last_moment(bench: Bench) -> None:
    job, _, _ = await bench.running()
    bench.clock.advance(LEASE - 0.001)
    assert (await bench.reclaim()).workers == ()
    bench.clock.advance(0.001)
    assert (await bench.reclaim()).workers == ("host:1",)
    assert await bench.status(job) == JobStatus.PENDING


async def test_a_worker_that_extends_while_it_is_being_declared_dead_lives_or_is_told(
    bench: Bench,
) -> None:
    job, worker, claim = await bench.running()
    bench.clock.advance(LEASE)

    async def extend() -> bool:
        try:
            await bench.storage.extend(worker)
        except LeaseLostError:
            return False
        return True

    reclaimed, extended = await asyncio.gather(bench.reclaim(), extend())

    assert extended == (not reclaimed.workers)
    if not extended:
        return
    for _ in range(3):
        assert (await bench.reclaim()).workers == ()
    await bench.begin(worker, claim)
    assert await bench.finish(worker, bench.completed(claim)) == [True]
    assert await bench.status(job) == JobStatus.COMPLETED


async def test_the_wall_clock_ends_no_lease(bench: Bench) -> None:
    job, _, _ = await bench.running()
    for step in (3600, -7200):
        bench.clock.step(step)
        assert (await bench.reclaim()).workers == ()
    assert (await bench.info(job)).worker == "host:1"


async def test_the_jobs_of_a_silent_worker_come_back_when_its_lease_is_over(bench: Bench) -> None:
    job, _, _ = await bench.running()

    reclaimed = await bench.end_leases()

    assert (reclaimed.workers, reclaimed.crashed, reclaimed.untouched) == (("host:1",), 1, 0)
    again = await bench.claim_one(await bench.enlist("host:2"))
    assert (again.id, again.attempt, again.crashes) == (job, 1, 1)


async def test_only_the_silent_worker_loses_its_jobs(bench: Bench) -> None:
    lost, _, _ = await bench.running()
    kept, alive, claim = await bench.running()

    assert (await bench.end_leases(but=[alive])).crashed == 1

    assert await bench.status(lost) == JobStatus.PENDING
    assert await bench.status(kept) == JobStatus.ACTIVE
    assert await bench.finish(alive, bench.completed(claim)) == [True]


async def test_nothing_is_reclaimed_twice(bench: Bench) -> None:
    job, _, _ = await bench.running()
    await bench.end_leases()
    again = await bench.reclaim()
    assert (again.workers, again.crashed, again.untouched) == ((), 0, 0)
    info = await bench.info(job)
    assert (info.attempt, info.crashes, len(info.errors)) == (1, 1, 1)


async def test_several_who_sweep_at_once_charge_a_job_once(place: Place) -> None:
    benches = await place.benches(3)
    job, _, _ = await benches[0].running()
    benches[0].clock.advance(LEASE)

    swept = await asyncio.gather(*[bench.reclaim() for bench in benches])

    assert sum(reclaimed.crashed for reclaimed in swept) == 1
    info = await benches[0].info(job)
    assert (info.attempt, info.crashes, len(info.errors)) == (1, 1, 1)


async def test_no_job_of_a_dead_worker_is_left_behind_however_many_it_held(bench: Bench) -> None:
    ids, worker = await bench.add_many(1200), await bench.enlist()
    assert len(await bench.claim(worker, 2000)) == len(ids)
    assert (await bench.end_leases()).untouched == len(ids)
    assert len(await bench.claim(await bench.enlist(), 2000)) == len(ids)


# -- what a death costs ----------------------------------------------------------------------


async def test_only_jobs_that_had_started_are_charged_for_the_death_of_their_worker(
    bench: Bench,
) -> None:
    ids, worker = await bench.add_many(4), await bench.enlist()
    started, *waiting = await bench.claim(worker)
    await bench.begin(worker, started)

    reclaimed = await bench.end_leases()

    assert (reclaimed.crashed, reclaimed.untouched) == (1, 3)
    assert [(await bench.info(job)).attempt for job in ids] == [1, 0, 0, 0]
    assert [(await bench.info(job)).crashes for job in ids] == [1, 0, 0, 0]
    again = await bench.claim(await bench.enlist())
    assert [(claim.id, claim.attempt) for claim in again] == [
        (started.id, 1),
        *[(claim.id, 0) for claim in waiting],
    ]


@pytest.mark.parametrize("seed", range(6))
async def test_of_starts_one_after_the_other_those_that_have_not_ended_are_charged(
    bench: Bench, seed: int
) -> None:
    rng = Random(seed)
    worker = await bench.enlist()
    await bench.add_many(60)
    waiting = await bench.claim(worker)
    begun: dict[str, Claim] = {}
    while len(waiting) > 6:
        some, waiting = waiting[: rng.randint(1, 4)], waiting[4:]
        await bench.begin(worker, *some)
        begun |= {claim.id: claim for claim in some}
        over = [begun.pop(job) for job in list(begun) if rng.random() < 0.3]
        await bench.storage.finish(worker, [bench.completed(claim) for claim in over])
    disowned = [begun.pop(job) for job in list(begun)[::3]]
    await bench.storage.disown(worker, [claim.key for claim in disowned])

    reclaimed = await bench.end_leases()

    assert begun, "nothing to lose"
    assert reclaimed.crashed == len(begun)
    jobs, _ = await bench.storage.page(Filter(), bench.now, 1000, None)
    assert {job.id for job in jobs if job.crashes} == set(begun)


async def test_a_job_without_retries_that_had_not_started_survives_its_worker(bench: Bench) -> None:
    job, worker = await bench.add(options='{"retries":0}'), await bench.enlist()
    await bench.claim_one(worker)

    await bench.end_leases()

    again = await bench.claim_one(await bench.enlist())
    assert (again.id, again.attempt, again.crashes, again.budget) == (job, 0, 0, 0)
    info = await bench.info(job)
    assert (info.errors, info.error, info.max_attempts) == ((), None, 1)


async def test_a_start_that_came_with_the_claim_is_charged(bench: Bench) -> None:
    job, worker = await bench.add(), await bench.enlist()
    looked = await bench.look(worker, starts=1)
    bench.storage.note_start(worker, looked.claims[0])
    assert (await bench.end_leases()).crashed == 1
    assert (await bench.info(job)).attempt == 1


async def test_a_start_that_was_counted_but_never_made_costs_one_attempt_at_most(
    bench: Bench,
) -> None:
    job, worker = await bench.add(), await bench.enlist()
    claim = await bench.claim_one(worker)
    await bench.storage.start(worker, [claim.key])

    reclaimed = await bench.end_leases()

    info = await bench.info(job)
    assert info.attempt == info.crashes == len(info.errors) == reclaimed.crashed <= 1
    assert reclaimed.crashed + reclaimed.untouched == 1


async def test_a_death_is_kept_among_the_errors_of_the_job(bench: Bench) -> None:
    job, _, _ = await bench.running()
    await bench.end_leases()

    info = await bench.info(job)
    [error] = info.errors
    assert (error.attempt, error.kind) == (1, "crash")
    assert "host:1" in error.message
    assert info.error == error.message
    assert (info.status, info.worker) == (JobStatus.PENDING, None)


async def test_deaths_add_up(bench: Bench) -> None:
    job = await bench.add()
    for deaths in (1, 2, 3):
        worker = await bench.enlist(f"host:{deaths}")
        claim = await bench.claim_one(worker)
        assert (claim.attempt, claim.crashes) == (deaths - 1, deaths - 1)
        await bench.begin(worker, claim)
        await bench.end_leases()
    info = await bench.info(job)
    assert (info.attempt, info.crashes) == (3, 3)
    assert [error.attempt for error in info.errors] == [1, 2, 3]


async def test_a_death_after_a_failed_attempt_is_a_second_attempt(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim))
    second = await bench.claim_one(worker)
    await bench.begin(worker, second)
    await bench.end_leases()
    info = await bench.info(job)
    assert (info.attempt, info.crashes) == (2, 1)
    assert [(error.attempt, error.kind) for error in info.errors] == [(1, "OSError"), (2, "crash")]


async def test_a_job_that_ended_before_its_worker_died_is_not_charged(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim, delay=1))
    reclaimed = await bench.end_leases()
    assert (reclaimed.crashed, reclaimed.untouched) == (0, 0)
    info = await bench.info(job)
    assert (info.attempt, info.crashes) == (1, 0)


async def test_an_attempt_that_ended_is_not_charged_to_the_next_claim_of_the_job(
    bench: Bench,
) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.snoozed(claim, delay=0))
    await bench.claim_one(worker)  # And this time it does not begin.

    assert (await bench.end_leases()).untouched == 1

    info = await bench.info(job)
    assert (info.attempt, info.crashes) == (0, 0)


async def test_jobs_that_were_disowned_come_back_uncharged_when_the_lease_is_over(
    bench: Bench,
) -> None:
    job, worker, claim = await bench.running()
    other, _, _ = await bench.running()
    await bench.storage.disown(worker, [claim.key])
    assert await bench.status(job) == JobStatus.ACTIVE
    assert await bench.claim(await bench.enlist()) == []

    reclaimed = await bench.end_leases()

    assert (reclaimed.crashed, reclaimed.untouched) == (1, 1)
    info = await bench.info(job)
    assert (info.attempt, info.crashes, info.errors) == (0, 0, ())
    assert (await bench.info(other)).crashes == 1


async def test_a_start_that_came_with_the_claim_is_not_charged_once_it_was_disowned(
    bench: Bench,
) -> None:
    job, worker = await bench.add(), await bench.enlist()
    claim = await bench.claim_one(worker, starts=1)
    bench.storage.note_start(worker, claim)
    await bench.storage.disown(worker, [claim.key])

    assert (await bench.end_leases()).untouched == 1

    info = await bench.info(job)
    assert (info.status, info.attempt, info.crashes) == ("pending", 0, 0)


async def test_a_job_that_was_disowned_has_begun_and_does_not_expire(bench: Bench) -> None:
    job, worker, claim = await bench.running(expires_at=bench.later(10))
    await bench.storage.disown(worker, [claim.key])
    await bench.end_leases()
    await bench.prune()
    [again] = await bench.claim(await bench.enlist())
    assert (again.id, again.expires_at, again.attempt) == (job, None, 0)


async def test_a_disowned_job_can_still_be_finished_while_its_lease_stands(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.storage.disown(worker, [claim.key])
    assert await bench.finish(worker, bench.completed(claim)) == [True]
    assert await bench.status(job) == JobStatus.COMPLETED


# -- who was declared dead -------------------------------------------------------------------


async def test_a_worker_that_was_declared_dead_is_told_so(bench: Bench) -> None:
    await bench.add()
    worker = await bench.enlist()
    await bench.end_leases()

    with pytest.raises(LeaseLostError):
        await bench.storage.extend(worker)
    with pytest.raises(LeaseLostError):
        await bench.claim(worker)
    with pytest.raises(LeaseLostError):
        await bench.storage.start(worker, [1])


async def test_a_worker_that_was_declared_dead_can_take_its_leave(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.end_leases()
    before = await bench.info(job)

    assert await bench.storage.give_back(worker, []) == 0
    await bench.storage.disown(worker, [claim.key])
    await bench.storage.retire(worker)
    await bench.storage.retire(worker)

    assert await bench.info(job) == before


async def test_a_worker_that_was_declared_dead_can_enlist_anew(bench: Bench) -> None:
    job, dead, _ = await bench.running()
    await bench.end_leases()
    worker = await bench.enlist()
    assert worker != dead
    assert (await bench.claim_one(worker)).id == job


async def test_a_worker_that_leaves_while_it_claims_takes_nothing_with_it(bench: Bench) -> None:
    ids, worker = await bench.add_many(6), await bench.enlist()

    await asyncio.gather(
        bench.claim(worker, 2),
        bench.insert([bench.record()], worker=worker),
        bench.storage.retire(worker),
        bench.claim(worker, 2),
        bench.insert([bench.record()], worker=worker),
        return_exceptions=True,
    )

    with pytest.raises(LeaseLostError):
        await bench.claim(worker, 2)
    rest = await bench.claim(await bench.enlist("host:2"))
    still_active, _ = await bench.page(status=JobStatus.ACTIVE)
    assert len(rest) == len(still_active) == len(ids) + 2


# -- leaving ---------------------------------------------------------------------------------


async def test_a_worker_that_retires_gives_back_what_it_holds_untouched(bench: Bench) -> None:
    ids, worker = await bench.add_many(3), await bench.enlist()
    claims = await bench.claim(worker)
    await bench.begin(worker, claims[0])

    await bench.storage.retire(worker)

    again = await bench.claim(await bench.enlist())
    assert [(claim.id, claim.attempt, claim.crashes) for claim in again] == [
        (job, 0, 0) for job in ids
    ]
    assert [(await bench.info(job)).errors for job in ids] == [(), (), ()]


async def test_a_worker_that_retired_is_nobody_s_orphan(bench: Bench) -> None:
    _, worker, _ = await bench.running()
    await bench.storage.retire(worker)
    assert (await bench.end_leases()).workers == ()
    assert (await bench.storage.stats(bench.now)).workers == ()


# -- cancelling what runs --------------------------------------------------------------------


async def test_a_heartbeat_tells_which_jobs_people_cancelled(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    _, other, _ = await bench.running()
    assert (await bench.storage.extend(worker)).cancelled == ()

    await bench.storage.cancel(job, bench.now)

    assert (await bench.storage.extend(worker)).cancelled == (claim.key,)
    assert (await bench.storage.extend(other)).cancelled == ()
    await bench.finish(worker, bench.cancelled(claim))
    assert (await bench.storage.extend(worker)).cancelled == ()


async def test_a_job_that_was_cancelled_ends_when_its_worker_dies(bench: Bench) -> None:
    started, _, _ = await bench.running()
    waiting, worker = await bench.add(), await bench.enlist()
    await bench.claim_one(worker)
    for job in (started, waiting):
        await bench.storage.cancel(job, bench.now)

    await bench.end_leases()

    for job in (started, waiting):
        info = await bench.info(job)
        assert (info.status, info.error) == (JobStatus.CANCELLED, "cancelled by request")
        assert info.finished_at is not None
        assert not info.cancel_requested
    assert [(await bench.info(job)).attempt for job in (started, waiting)] == [1, 0]


async def test_an_outcome_that_was_released_by_its_worker_is_not_an_attempt(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    assert await bench.finish(worker, Transition.released(claim)) == [True]
    again = await bench.claim_one(worker)
    assert (again.id, again.attempt, again.run_at) == (job, 0, claim.run_at)
