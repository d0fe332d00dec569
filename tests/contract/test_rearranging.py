"""Jobs that wait get another moment or another priority, wherever it is that they wait."""

from __future__ import annotations

import pytest

from backroom.errors import JobNotFoundError, JobStateError
from backroom.inspecting import BulkProgress, Filter
from backroom.job import JobStatus, to_datetime
from backroom.transition import Transition
from tests.contract.flows import Flows
from tests.contract.parts import Bench, Place
from tests.contract.test_limits import add as add_limited
from tests.contract.test_limits import claimed, limit
from tests.contract.test_rates import rate
from tests.contract.test_turns import add as add_in_turns
from tests.contract.test_turns import order

UNKNOWN = "0197a1b2-0000-7000-8000-000000000000"


async def to_moment(bench: Bench, job: str, delay: float) -> int:
    return await bench.storage.rearrange(job, bench.now, bench.later(delay), None)


async def to_priority(bench: Bench, job: str, priority: int) -> int:
    return await bench.storage.rearrange(job, bench.now, None, priority)


@pytest.mark.parametrize("before", [0, 30, 300])
async def test_a_job_that_waits_runs_at_its_new_moment_and_not_before(
    bench: Bench, before: float
) -> None:
    job = await bench.add(delay=before)
    assert await to_moment(bench, job, 60) == 1
    info = await bench.info(job)
    assert (info.status, info.run_at) == (JobStatus.SCHEDULED, to_datetime(bench.later(60)))
    worker = await bench.enlist()
    assert (await bench.look(worker)).next_due == bench.later(60)
    bench.clock.advance(59)
    await bench.storage.extend(worker)
    assert await bench.claim(worker) == []
    bench.clock.advance(1)
    assert (await bench.claim_one(worker)).id == job


async def test_a_job_is_brought_forward_also_behind_the_back_of_a_worker(place: Place) -> None:
    one, other = await place.benches(2)
    worker = await other.enlist()
    job = await one.add(delay=3600)
    assert await other.claim(worker) == []
    await to_moment(one, job, 0)
    assert (await other.claim_one(worker)).id == job


async def test_a_retry_that_waits_gets_another_moment_and_keeps_its_attempts(bench: Bench) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim, delay=3600))
    await to_moment(bench, job, 0)
    again = await bench.claim_one(worker)
    assert (again.id, again.attempt, again.budget) == (job, 1, 0)


async def test_priorities_are_changed_of_jobs_that_wait(bench: Bench) -> None:
    first, second, late = await bench.add(), await bench.add(), await bench.add(delay=60)
    await to_priority(bench, second, 0)
    await to_priority(bench, late, 0)
    worker = await bench.enlist()
    assert [claim.id for claim in await bench.claim(worker)] == [second, first]
    bench.clock.advance(60)
    await bench.storage.extend(worker)
    claim = await bench.claim_one(worker)
    assert (claim.id, claim.priority) == (late, 0)


async def test_a_parked_job_waits_for_its_new_moment(bench: Bench) -> None:
    worker = await bench.enlist()
    job = await bench.add()
    await bench.finish(worker, *map(Transition.parked, await bench.claim(worker)))
    await to_moment(bench, job, 60)
    assert await bench.status(job) == JobStatus.SCHEDULED
    bench.clock.advance(60)
    await bench.storage.extend(worker)
    assert (await bench.claim_one(worker)).id == job


async def test_a_job_that_a_worker_holds_is_refused_started_or_not(bench: Bench) -> None:
    held = await bench.add()
    await bench.claim(await bench.enlist())
    running, _, _ = await bench.running()
    for job in (held, running):
        before = await bench.info(job)
        with pytest.raises(JobStateError, match="a worker holds it"):
            await to_moment(bench, job, 60)
        with pytest.raises(JobStateError, match="a worker holds it"):
            await to_priority(bench, job, 0)
        assert await bench.info(job) == before


async def test_a_job_that_has_ended_is_refused_and_so_is_one_that_nobody_knows(
    bench: Bench,
) -> None:
    job, worker, claim = await bench.running()
    await bench.finish(worker, bench.completed(claim))
    with pytest.raises(JobStateError, match="has ended"):
        await to_moment(bench, job, 60)
    with pytest.raises(JobNotFoundError, match=UNKNOWN):
        await to_priority(bench, UNKNOWN, 0)


async def test_a_job_is_not_put_off_until_it_would_expire(bench: Bench) -> None:
    job = await bench.add(expires_at=bench.later(60))
    with pytest.raises(JobStateError, match="expire"):
        await to_moment(bench, job, 60)
    await to_moment(bench, job, 59)
    bench.clock.advance(59)
    claim = await bench.claim_one(await bench.enlist())
    assert claim.expires_at == bench.later(1)


async def test_a_job_that_has_started_expires_no_more_and_may_be_put_off(bench: Bench) -> None:
    job, worker, claim = await bench.running(expires_at=bench.later(60))
    await bench.finish(worker, bench.retried(claim, delay=10))
    await to_moment(bench, job, 600)
    bench.clock.advance(600)
    await bench.storage.extend(worker)
    await bench.prune()
    assert (await bench.claim_one(worker)).id == job


async def test_a_unique_key_is_held_on(bench: Bench) -> None:
    job = await bench.add(unique_key="k")
    await to_moment(bench, job, 60)
    [again] = await bench.insert([bench.record(unique_key="k")])
    assert (again.id, again.created) == (job, False)


# -- lines, turns, workflows ---------------------------------------------------------------------


async def test_who_stands_in_the_line_of_a_limit_leaves_it_for_its_new_moment(
    bench: Bench,
) -> None:
    first, second, third = [await add_limited(bench) for _ in range(3)]
    worker = await bench.enlist()
    [claim] = await claimed(bench, worker)
    assert (await limit(bench)).blocked == 2
    await to_moment(bench, second, 60)
    assert await bench.status(second) == JobStatus.SCHEDULED
    assert (await limit(bench)).blocked == 1
    await bench.finish(worker, bench.completed(claim))
    [claim] = await claimed(bench, worker)
    assert (claim.id, first) == (third, first)
    await bench.finish(worker, bench.completed(claim))
    bench.clock.advance(60)
    await bench.storage.extend(worker)
    assert [claim.id for claim in await claimed(bench, worker)] == [second]


async def test_who_is_first_in_a_line_by_its_new_priority_is_called_first(bench: Bench) -> None:
    jobs = [await add_limited(bench) for _ in range(3)]
    worker = await bench.enlist()
    [claim] = await claimed(bench, worker)
    await to_priority(bench, jobs[2], 0)
    assert await claimed(bench, worker) == []
    await bench.finish(worker, bench.completed(claim))
    [claim] = await claimed(bench, worker)
    assert claim.id == jobs[2]
    assert (await limit(bench)).used == 1


async def test_room_that_was_kept_for_one_that_is_put_off_is_given_to_the_next(
    bench: Bench,
) -> None:
    _, second, third = [await add_limited(bench) for _ in range(3)]
    worker = await bench.enlist()
    [claim] = await claimed(bench, worker)
    await bench.finish(worker, bench.completed(claim))  # The second is called.
    await to_moment(bench, second, 60)
    assert [claim.id for claim in await claimed(bench, worker)] == [third]


async def test_one_that_was_told_its_moment_by_a_rate_gets_another_and_keeps_the_pace(
    bench: Bench,
) -> None:
    from tests.contract.test_rates import add as add_rated

    jobs = await add_rated(bench, rate(1, per=10), count=2)
    worker = await bench.enlist()
    assert [claim.id for claim in await claimed(bench, worker)] == jobs[:1]
    await to_moment(bench, jobs[1], 0)
    assert await claimed(bench, worker) == []
    bench.clock.advance(10)
    await bench.storage.extend(worker)
    assert [claim.id for claim in await claimed(bench, worker)] == jobs[1:]


async def test_jobs_that_take_turns_take_them_at_their_new_moment(bench: Bench) -> None:
    many = await add_in_turns(bench, "a", 5)
    [one] = await add_in_turns(bench, "b", delay=3600)
    await to_moment(bench, one, 0)
    await bench.storage.free_up(bench.now)
    found = await order(bench, await bench.enlist())
    assert one in found[:2]
    assert sorted(found) == sorted([*many, one])


async def test_the_moment_of_a_job_that_waits_for_others_counts_when_it_is_let_go(
    bench: Bench,
) -> None:
    flows = Flows(bench)
    worker = await bench.enlist()
    await flows.make("a b c", "a>b a>c")
    await to_moment(bench, flows.ids["b"], 60)
    await to_priority(bench, flows.ids["c"], 0)
    assert await flows.statuses() == "a:pending b:blocked c:blocked"
    assert await flows.run(worker) == "a"
    claim = await bench.claim_one(worker)
    assert (claim.id, claim.priority) == (flows.ids["c"], 0)
    assert await flows.statuses() == "a:completed b:scheduled c:active"
    bench.clock.advance(60)
    await bench.storage.extend(worker)
    assert (await bench.claim_one(worker)).id == flows.ids["b"]


# -- many at once --------------------------------------------------------------------------------


async def test_all_that_match_and_wait_are_rearranged_and_the_others_are_told(
    bench: Bench,
) -> None:
    jobs = await bench.add_many(3, type="A")
    running, _, _ = await bench.running(type="A", priority=0)
    other = await bench.add(type="B")
    expiring = await bench.add(type="A", expires_at=bench.later(5))
    told: list[BulkProgress] = []

    changed = await bench.storage.rearrange(
        Filter(type="A"), bench.now, bench.later(60), 3, told.append
    )

    assert (changed, told[-1].changed, told[-1].refused) == (3, 3, 1)
    assert [await bench.status(job) for job in (*jobs, running, other, expiring)] == [
        "scheduled", "scheduled", "scheduled", "active", "pending", "pending",
    ]  # fmt: skip
    assert {(await bench.info(job)).priority for job in jobs} == {"low"}
    by_status = (await bench.storage.stats(bench.now)).by_status
    assert {name: count for name, count in by_status.items() if count} == {
        "scheduled": 3, "active": 1, "pending": 2,
    }  # fmt: skip


async def test_those_of_a_priority_are_moved_to_another(bench: Bench) -> None:
    low, normal = await bench.add(priority=3), await bench.add()
    assert await bench.storage.rearrange(Filter(priority=3), bench.now, None, 1) == 1
    assert [(await bench.info(job)).priority for job in (low, normal)] == ["high", "normal"]


async def test_chosen_ones_are_rearranged(bench: Bench) -> None:
    one, two = await bench.add_many(2)
    assert await bench.storage.rearrange([two, UNKNOWN], bench.now, bench.later(9), None) == 1
    assert [await bench.status(job) for job in (one, two)] == ["pending", "scheduled"]
