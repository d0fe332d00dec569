"""Limits hold, on every storage; a permit goes with the holding; nobody waits where room is."""

from __future__ import annotations

from typing import Any

import pytest

from backroom.inspecting import Filter
from backroom.job import SECOND, JobStatus
from backroom.limit import UNLIMITED, LimitInfo, LimitRecord, Need
from backroom.ports import Want
from backroom.tie import tied
from backroom.transition import Claim, Transition
from tests.contract.parts import Bench, Place


def tenant(key: str = "a", most: int = 1, slots: int = 1, name: str = "tenant") -> Need:
    return Need(name, key, slots, most)


def needing(*needs: Need) -> str:
    return tied(None, limits=needs)


async def add(bench: Bench, *needs: Need, **fields: Any) -> str:
    return await bench.add(options=needing(*(needs or (tenant(),))), **fields)


async def claimed(bench: Bench, worker: int, room: int = 100, **options: Any) -> list[Claim]:
    """All that it gets, as a worker asks for it."""
    claims: list[Claim] = []
    while len(claims) < room:
        look = await bench.look(worker, room - len(claims), **options)
        claims += look.claims
        if not look.more and (look.next_due is None or look.next_due > bench.now):
            break
    return claims


async def limit(bench: Bench, name: str = "tenant") -> LimitInfo:
    [found] = [one for one in await bench.storage.limits() if one.name == name]
    return found


# -- admission -----------------------------------------------------------------------------------


async def test_no_more_are_given_out_than_a_limit_allows(bench: Bench) -> None:
    jobs = [await add(bench, tenant(most=2)) for _ in range(5)]
    worker = await bench.enlist()
    assert [claim.id for claim in await claimed(bench, worker)] == jobs[:2]
    assert await limit(bench) == LimitInfo(
        name="tenant", most=2, per=None, burst=1, used=2, blocked=3
    )


async def test_each_key_has_its_own_room(bench: Bench) -> None:
    jobs = [await add(bench, tenant(key)) for key in ("a", "a", "b", "", "é\0", "b")]
    worker = await bench.enlist()
    assert {claim.id for claim in await claimed(bench, worker)} == {
        jobs[0], jobs[2], jobs[3], jobs[4]
    }  # fmt: skip


async def test_a_worker_gets_others_in_place_of_those_that_have_no_room(bench: Bench) -> None:
    for _ in range(60):
        await add(bench)
    others = [await bench.add() for _ in range(3)]
    worker = await bench.enlist()
    claims = await claimed(bench, worker, 4)
    assert {claim.id for claim in claims[1:]} == set(others)


async def test_jobs_without_room_are_out_of_the_way(bench: Bench) -> None:
    await bench.insert([bench.record(options=needing(tenant())) for _ in range(2500)])
    worker = await bench.enlist()
    [first] = await claimed(bench, worker)
    assert (await limit(bench)).blocked == 2499
    assert (await bench.look(worker)).next_due is None  # Nothing is left in the way of a claim.
    assert await bench.storage.free_up(bench.now) == 0
    await bench.finish(worker, bench.completed(first))
    assert len(await claimed(bench, worker)) == 1


async def test_two_workers_do_not_have_the_same_room(place: Place) -> None:
    near, far = await place.benches(2)
    for _ in range(4):
        await add(near, tenant(most=3))
    first, second = await near.enlist(), await far.enlist()
    mine = await claimed(near, first, 2)
    assert len(mine) == 2
    assert len(await claimed(far, second)) == 1


async def test_a_limited_job_does_not_pass_a_claim_by(bench: Bench) -> None:
    worker = await bench.enlist()
    records = [bench.record(options=needing(tenant())) for _ in range(2)]
    inserted = await bench.insert(records, worker=worker, start=True)
    assert [one.claim for one in inserted] == [None, None]
    assert len(await claimed(bench, worker)) == 1


async def test_the_first_that_count_as_started_are_still_the_first(bench: Bench) -> None:
    full, free = await add(bench), await add(bench, tenant("b"))
    worker = await bench.enlist()
    await add(bench)
    look = await bench.look(worker, starts=3)
    assert [claim.id for claim in look.claims] == [full, free]
    assert look.started == 2
    assert [(await bench.info(one)).attempt for one in (full, free)] == [1, 1]


async def test_all_limits_of_a_job_or_none(bench: Bench) -> None:
    both = await add(bench, tenant("a", 2), tenant(name="gpu", key="", most=1))
    await add(bench, tenant("a", 2), tenant(name="gpu", key="", most=1))
    third = await add(bench, tenant("a", 2))
    worker = await bench.enlist()
    claims = await claimed(bench, worker)
    assert [claim.id for claim in claims] == [both, third]  # The second holds nothing of "tenant".
    assert (await limit(bench, "tenant")).used == 2
    assert (await limit(bench, "gpu")).blocked == 1


async def test_who_waits_for_another_limit_leaves_the_room_it_was_called_for(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench, tenant("a", 1))
    await add(bench, tenant(name="gpu", key="", most=1))
    first, gpu = await claimed(bench, worker)
    await add(bench, tenant("a", 1), tenant(name="gpu", key="", most=1))
    last = await add(bench, tenant("a", 1))
    assert await claimed(bench, worker) == []
    await bench.finish(worker, bench.completed(first))
    assert [claim.id for claim in await claimed(bench, worker)] == [last]
    assert gpu


async def test_slots_count_by_weight(bench: Bench) -> None:
    worker = await bench.enlist()
    jobs = [await add(bench, tenant(most=16, slots=slots)) for slots in (10, 4, 4, 2)]
    claims = await claimed(bench, worker)
    assert [claim.id for claim in claims] == jobs[:2]
    assert (await limit(bench)).used == 14
    await bench.finish(worker, bench.completed(claims[1]))
    assert [claim.id for claim in await claimed(bench, worker)] == [jobs[2], jobs[3]]


async def test_a_large_job_is_not_passed_by_small_ones(bench: Bench) -> None:
    worker = await bench.enlist()
    small = [await add(bench, tenant(most=4)) for _ in range(3)]
    first = await claimed(bench, worker)
    assert [claim.id for claim in first] == small
    large = await add(bench, tenant(most=4, slots=4))
    assert await claimed(bench, worker) == []
    later = [await add(bench, tenant(most=4)) for _ in range(2)]
    assert await claimed(bench, worker) == []  # One slot is free, and kept for it.
    for claim in first:
        await bench.finish(worker, bench.completed(claim))
        given = await claimed(bench, worker)
    assert [claim.id for claim in given] == [large]
    await bench.finish(worker, bench.completed(given[0]))
    assert [claim.id for claim in await claimed(bench, worker)] == later


async def test_a_job_of_more_slots_than_there_are_runs_alone(bench: Bench) -> None:
    await bench.storage.put_limits([LimitRecord("tenant", 2)])
    worker = await bench.enlist()
    large = await add(bench, tenant(most=8, slots=8))
    await add(bench, tenant(most=8))
    [claim] = await claimed(bench, worker)
    assert claim.id == large
    assert (await limit(bench)).used == 2


async def test_who_waits_is_called_in_the_order_of_claims(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench)
    [claim] = await claimed(bench, worker)
    later = await add(bench, run_at=bench.later(-1))
    first = await add(bench, run_at=bench.later(-2))
    urgent = await add(bench, priority=0)
    assert await claimed(bench, worker) == []
    order = []
    for _ in range(3):
        await bench.finish(worker, bench.completed(claim))
        [claim] = await claimed(bench, worker)
        order.append(claim.id)
    assert order == [urgent, first, later]


# -- whatever ends a holding ---------------------------------------------------------------------

BACK = ("released", "given_back", "retired", "died", "crashed")
"""Then the job itself waits again, too."""
ENDS = ("completed", "retried", "failed", "snoozed", "cancelled", "cancelled_by_people", *BACK)


async def end(bench: Bench, how: str, worker: int, claim: Claim, other: int) -> None:
    if how == "cancelled_by_people":
        assert await bench.storage.cancel(claim.id, bench.now) == 1
        await bench.finish(worker, bench.retried(claim))
        assert await bench.status(claim.id) is JobStatus.CANCELLED
    elif how == "retried":
        await bench.finish(worker, bench.retried(claim, 3600))
    elif how == "released":
        await bench.finish(worker, Transition.released(claim))
    elif how == "given_back":
        assert await bench.storage.give_back(worker, []) == 1
    elif how == "retired":
        await bench.storage.retire(worker)
    elif how in ("died", "crashed"):
        if how == "crashed":
            await bench.begin(worker, claim)
        assert (await bench.end_leases(but=[other])).crashed == (how == "crashed")
    else:
        await bench.finish(worker, getattr(bench, how)(claim))


async def test_the_permit_is_gone_with_the_holding(bench: Bench) -> None:
    other = await bench.enlist()
    for how in ENDS:
        first = await add(bench, tenant(how))
        worker = await bench.enlist()
        [claim] = await claimed(bench, worker)
        assert claim.id == first
        follower = await add(bench, tenant(how))
        assert await claimed(bench, other) == []
        await end(bench, how, worker, claim, other)
        assert (await limit(bench)).used == 0, how
        [following] = await claimed(bench, other)
        assert following.id in ({first, follower} if how in BACK else {follower}), how
        assert (await limit(bench)).used == 1, how
        await bench.storage.cancel(Filter(), bench.now)
        await bench.finish(other, bench.cancelled(following))


async def test_a_refused_outcome_frees_nothing(bench: Bench) -> None:
    await add(bench)
    worker, other = await bench.enlist(), await bench.enlist()
    [old] = await claimed(bench, worker)
    await bench.end_leases(but=[other])
    [new] = await claimed(bench, other)
    await add(bench)
    assert await bench.finish(worker, bench.completed(old)) == [False]
    assert await claimed(bench, other) == []
    assert (await limit(bench)).used == 1
    assert await bench.finish(other, bench.completed(new)) == [True]


async def test_only_what_is_given_back_is_free(bench: Bench) -> None:
    for _ in range(3):
        await add(bench, tenant(most=2))
    worker = await bench.enlist()
    kept, gone = await claimed(bench, worker)
    assert await bench.storage.give_back(worker, [(kept.key, kept.token)]) == 1
    assert (await limit(bench)).used == 1
    assert len(await claimed(bench, worker)) == 1
    assert gone.id != kept.id


async def test_a_disowned_job_keeps_its_permit_until_its_lease_ends(bench: Bench) -> None:
    await add(bench)
    await add(bench)
    worker, other = await bench.enlist(), await bench.enlist()
    [claim] = await claimed(bench, worker)
    await bench.begin(worker, claim)
    await bench.storage.disown(worker, [claim.key])
    assert await claimed(bench, other) == []
    await bench.end_leases(but=[other])
    assert len(await claimed(bench, other)) == 1


async def test_several_that_end_at_once_let_as_many_in(bench: Bench) -> None:
    jobs = [await add(bench, tenant(most=3)) for _ in range(8)]
    worker = await bench.enlist()
    first = await claimed(bench, worker)
    await bench.finish(worker, *map(bench.completed, first))
    assert [claim.id for claim in await claimed(bench, worker)] == jobs[3:6]


async def test_room_is_kept_for_who_was_called(bench: Bench) -> None:
    worker = await bench.enlist()
    for _ in range(5):
        await add(bench, tenant(most=2))
    first, second = await claimed(bench, worker)
    await bench.finish(worker, bench.completed(first))
    newcomer = await add(bench, tenant(most=2), queue="other")
    assert await claimed(bench, worker, queues=("other",)) == []
    await bench.finish(worker, bench.completed(second))
    assert (await limit(bench)).blocked == 2  # Two were called, and not one of them twice.
    called = await claimed(bench, worker)
    assert len(called) == 2
    await bench.finish(worker, *map(bench.completed, called))
    last = await claimed(bench, worker, queues=("default", "other"))
    assert newcomer in {claim.id for claim in last}


# -- rates ---------------------------------------------------------------------------------------


def pace(most: int = 1, burst: int = 1) -> Need:
    """So many a second."""
    return Need("pace", "a", 1, most, SECOND, burst)


async def started(bench: Bench, worker: int, seconds: float) -> list[float]:
    """When jobs were given out, in seconds from now, to a worker that looks again and again."""
    began, at = bench.now, []
    for _ in range(round(seconds / 0.05)):
        claims = await claimed(bench, worker)
        at += [(bench.now - began) / SECOND] * len(claims)
        await bench.finish(worker, *map(bench.completed, claims))
        bench.clock.advance(0.05)
    return [round(moment, 3) for moment in at]


@pytest.mark.parametrize(
    ("need", "at"),
    [
        (pace(1), [0, 1, 2, 3]),
        (pace(2), [0, 0.5, 1, 1.5]),
        (pace(4, burst=3), [0, 0, 0, 0.25]),
    ],
    ids=["one", "two", "burst"],
)
async def test_a_rate_spreads_what_is_given_out(bench: Bench, need: Need, at: list[float]) -> None:
    for _ in at:
        await add(bench, need)
    assert await started(bench, await bench.enlist(), 4) == at


async def test_who_asks_late_or_with_a_clock_behind_lets_nobody_start_too_soon(
    bench: Bench,
) -> None:
    worker, other = await bench.enlist(), await bench.enlist()
    for _ in range(3):
        await add(bench, pace())
    assert len(await claimed(bench, worker)) == 1
    want = Want(None, (), (9, 9, 9, 9))
    for behind in (2, 9, 25):
        assert (await bench.storage.claim(other, want, bench.later(-behind))).claims == []
        await bench.storage.free_up(bench.later(-behind))
        bench.clock.advance(0.1)
        assert await claimed(bench, worker) == []
    bench.clock.advance(0.7)
    assert len(await claimed(bench, worker)) == 1


async def test_a_clock_that_was_set_back_holds_up_nobody(bench: Bench) -> None:
    worker = await bench.enlist()
    for _ in range(2):
        await add(bench, pace(), run_at=bench.later(-7200))
    assert len(await claimed(bench, worker)) == 1
    back = bench.later(-3600)
    await bench.storage.free_up(back)
    await bench.storage.free_up(back + SECOND)
    want = Want(None, (), (9, 9, 9, 9))
    given = []
    for later in range(1, 30):
        given += (await bench.storage.claim(worker, want, back + later * SECOND // 10)).claims
    assert len(given) == 1


# -- people --------------------------------------------------------------------------------------


async def two(bench: Bench, **fields: Any) -> tuple[int, Claim, str]:
    """One that runs, and one that waits for it."""
    await add(bench)
    worker = await bench.enlist()
    [claim] = await claimed(bench, worker)
    waits = await add(bench, **fields)
    assert await claimed(bench, worker) == []
    return worker, claim, waits


async def test_people_see_why_a_job_waits(bench: Bench) -> None:
    _, claim, waits = await two(bench)
    info = await bench.info(waits)
    assert info.status is JobStatus.BLOCKED
    assert info.blocked_by == "the limit 'tenant' is full for 'a'"
    assert await bench.page(status=JobStatus.BLOCKED) == ([waits], None)
    assert (await bench.storage.stats(bench.now)).by_status["blocked"] == 1
    assert (await bench.storage.outlook([waits], bench.now))[waits].status is JobStatus.BLOCKED
    assert (await bench.info(claim.id)).blocked_by is None


@pytest.mark.parametrize("by_filter", [False, True])
async def test_who_waits_can_be_cancelled(bench: Bench, by_filter: bool) -> None:
    worker, claim, waits = await two(bench, queue="default", unique_key="k")
    which = Filter(status=JobStatus.BLOCKED) if by_filter else waits
    assert await bench.storage.cancel(which, bench.now) == 1
    assert await bench.status(waits) is JobStatus.CANCELLED
    assert await bench.storage.cancel(Filter(), bench.now) == 1  # The one that runs is asked.
    await bench.finish(worker, bench.completed(claim))
    assert await claimed(bench, worker) == []
    assert (await limit(bench)).blocked == 0
    await add(bench, unique_key="k")
    assert len(await claimed(bench, worker)) == 1


async def test_a_cancelled_one_at_the_front_holds_up_nobody(bench: Bench) -> None:
    worker = await bench.enlist()
    await add(bench, tenant(most=2))
    [_] = await claimed(bench, worker)
    large = await add(bench, tenant(most=2, slots=2))
    small = await add(bench, tenant(most=2))
    assert await claimed(bench, worker) == []
    await bench.storage.cancel(large, bench.now)
    assert [claim.id for claim in await claimed(bench, worker)] == [small]


async def test_who_waits_can_be_deleted(bench: Bench) -> None:
    worker, claim, waits = await two(bench)
    assert await bench.storage.delete(waits) == 1
    await bench.finish(worker, bench.completed(claim))
    assert await claimed(bench, worker) == []
    assert (await limit(bench)).blocked == 0


async def test_who_waits_too_long_expires(bench: Bench) -> None:
    worker, claim, waits = await two(bench, expires_at=bench.later(10))
    bench.clock.advance(11)
    assert await bench.prune() == 1
    assert await bench.status(waits) is JobStatus.CANCELLED
    await bench.storage.extend(worker)
    await bench.finish(worker, bench.completed(claim))
    assert await claimed(bench, worker) == []


async def test_a_retry_by_people_asks_for_room_again(bench: Bench) -> None:
    await add(bench)
    worker = await bench.enlist()
    [claim] = await claimed(bench, worker)
    await bench.finish(worker, bench.failed(claim))
    other = await add(bench)
    [held] = await claimed(bench, worker)
    assert held.id == other
    await bench.storage.retry(claim.id, bench.now)
    assert await claimed(bench, worker) == []
    await bench.storage.retry(claim.id, bench.now)  # Nothing to be done: it waits.
    await bench.finish(worker, bench.completed(held))
    assert [one.id for one in await claimed(bench, worker)] == [claim.id]


async def test_jobs_of_a_paused_queue_hold_up_no_other(bench: Bench) -> None:
    both = {"queues": ("default", "other")}
    await add(bench)
    worker = await bench.enlist()
    [claim] = await claimed(bench, worker, **both)
    first, second = await add(bench), await add(bench, queue="other")
    assert await claimed(bench, worker, **both) == []
    await bench.storage.pause("default", True)
    await bench.finish(worker, bench.completed(claim))
    [claim] = await claimed(bench, worker, **both)
    assert claim.id == second
    await bench.finish(worker, bench.completed(claim))
    assert await claimed(bench, worker, **both) == []
    await bench.storage.pause("default", False)
    assert [one.id for one in await claimed(bench, worker, **both)] == [first]


async def test_a_limit_that_is_raised_lets_in_who_waits(bench: Bench) -> None:
    for _ in range(4):
        await add(bench)
    worker = await bench.enlist()
    assert len(await claimed(bench, worker)) == 1
    await bench.storage.put_limits([LimitRecord("tenant", 3)])
    assert len(await claimed(bench, worker)) == 2
    assert (await limit(bench)).most == 3


async def test_a_limit_that_is_lowered_lets_nobody_in_until_it_holds(bench: Bench) -> None:
    for _ in range(5):
        await add(bench, tenant(most=3))
    worker = await bench.enlist()
    claims = await claimed(bench, worker)
    await bench.storage.put_limits([LimitRecord("tenant", 1)])
    for claim in claims[:2]:
        await bench.finish(worker, bench.completed(claim))
        assert await claimed(bench, worker) == []
    await bench.finish(worker, bench.completed(claims[2]))
    assert len(await claimed(bench, worker)) == 1


async def test_who_was_called_and_goes_leaves_nobody_waiting_for_long(bench: Bench) -> None:
    worker, claim, called = await two(bench)
    last = await add(bench)
    assert await claimed(bench, worker) == []
    await bench.finish(worker, bench.completed(claim))
    assert await bench.status(called) is JobStatus.PENDING
    assert await bench.storage.delete(called) == 1
    await bench.storage.free_up(bench.now)
    assert [one.id for one in await claimed(bench, worker)] == [last]
    assert await bench.storage.free_up(bench.now) == 0


async def test_a_job_that_is_given_back_with_its_limits_is_counted(bench: Bench) -> None:
    """Whoever made it did not say them."""
    worker = await bench.enlist()
    jobs = [await bench.add(expires_at=bench.later(60)) for _ in range(3)]
    claims = await claimed(bench, worker)
    assert [claim.id for claim in claims] == jobs
    back = [
        Transition.released(one, options=tied(one.options, limits=[tenant()])) for one in claims
    ]
    assert await bench.finish(worker, *back) == [True] * 3
    again = await claimed(bench, worker)
    assert [claim.id for claim in again] == jobs[:1]
    assert again[0].attempt == 0
    assert (await limit(bench)).blocked == 2
    await bench.finish(worker, bench.completed(again[0]))
    assert [claim.id for claim in await claimed(bench, worker)] == jobs[1:2]
    bench.clock.advance(61)
    await bench.storage.extend(worker)
    await bench.prune()
    assert await bench.status(jobs[2]) is JobStatus.CANCELLED  # It still expires.


async def test_a_stale_worker_changes_no_limits(bench: Bench) -> None:
    await bench.add()
    worker = await bench.enlist()
    [claim] = await claimed(bench, worker)
    await bench.end_leases()
    back = Transition.released(claim, options=tied(None, limits=[tenant()]))
    assert await bench.finish(worker, back) == [False]
    [now] = await claimed(bench, await bench.enlist())
    assert now.options is None


# -- what is said anew ---------------------------------------------------------------------------


async def test_a_rate_that_becomes_a_limit_holds_for_jobs_of_before(bench: Bench) -> None:
    """They were made with a rate; what they hold is counted by what the limit is now."""
    rate = Need("api", "", 1, 1000, SECOND, 100)
    jobs = [await add(bench, rate) for _ in range(5)]
    await bench.storage.put_limits([LimitRecord("api", 2)])
    worker = await bench.enlist()
    assert [claim.id for claim in await claimed(bench, worker, 2)] == jobs[:2]
    assert await claimed(bench, worker) == []
    assert (await limit(bench, "api")).used == 2


async def test_a_limit_that_becomes_a_rate_holds_for_jobs_of_before(bench: Bench) -> None:
    jobs = [await add(bench, Need("api", "", 1, 5)) for _ in range(5)]
    await bench.storage.put_limits([LimitRecord("api", 1, 60 * SECOND, 1)])
    worker = await bench.enlist()
    assert [claim.id for claim in await claimed(bench, worker)] == jobs[:1]
    bench.clock.advance(60)
    assert [claim.id for claim in await claimed(bench, worker)] == jobs[1:2]
    assert (await limit(bench, "api")).used == 0


async def test_a_job_that_needs_one_place_twice_is_counted_there_once(bench: Bench) -> None:
    """And holds up no other one, as it would if it could not be counted."""
    twice = await add(bench, tenant(most=2), tenant(most=2))
    others = [await add(bench, tenant(most=2)) for _ in range(2)]
    worker = await bench.enlist()
    assert [claim.id for claim in await claimed(bench, worker)] == [twice, others[0]]


# -- operators -----------------------------------------------------------------------------------


async def test_an_operator_s_number_holds_over_the_one_of_the_code(bench: Bench) -> None:
    need = Need("queue default", "", 1, 5)
    for _ in range(6):
        await add(bench, need)
    await bench.storage.put_limits([LimitRecord("queue default", 5)])
    await bench.storage.limit_queue("default", 2)
    assert await bench.storage.operated() == {"default": 2}
    worker = await bench.enlist()
    assert len(await claimed(bench, worker)) == 2
    await bench.storage.put_limits([LimitRecord("queue default", 4)])
    found = await limit(bench, "queue default")
    assert (found.most, found.own, found.used, found.blocked) == (2, 2, 2, 4)
    assert await claimed(bench, worker) == []
    await bench.storage.limit_queue("default", None)
    assert len(await claimed(bench, worker)) == 2  # Four, as the code says.
    found = await limit(bench, "queue default")
    assert (found.most, found.own, found.queue) == (4, None, "default")
    assert await bench.storage.operated() == {}


async def test_what_a_worker_holds_counts_in_the_limit_of_an_operator_until_it_ends(
    bench: Bench,
) -> None:
    await bench.add_many(2)
    await bench.add(queue="other", delay=-1)
    worker = await bench.enlist()
    claims = await bench.claim(worker, queues=None)
    await bench.storage.limit_queue("default", 3)
    assert (await limit(bench, "queue default")).used == 2
    await add(bench, Need("queue default", "", 1, 3))
    await add(bench, Need("queue default", "", 1, 3))
    assert len(await claimed(bench, worker)) == 1
    await bench.finish(worker, *map(bench.completed, claims))
    await bench.storage.free_up(bench.now)
    assert len(await claimed(bench, worker)) == 1


async def test_a_queue_that_nobody_limits_any_more_is_not_among_the_limits(bench: Bench) -> None:
    await bench.storage.limit_queue("q", 7)
    [found] = await bench.storage.limits()
    assert (found.name, found.most, found.own) == ("queue q", 7, 7)
    await bench.storage.limit_queue("q", None)
    assert await bench.storage.limits() == []


async def sent_back(bench: Bench, worker: int, claims: list[Claim], queue: str = "default") -> None:
    """As a worker does it that hears of a limit: what has not begun is kept with it from now on,
    and asks for room when it is claimed again."""
    need = Need(f"queue {queue}", "", 1, UNLIMITED)
    outcomes = [
        Transition.released(claim, options=tied(claim.options, limits=[need])) for claim in claims
    ]
    assert await bench.finish(worker, *outcomes) == [True] * len(claims)


@pytest.mark.parametrize("most", [1, 2, 3, 9])
async def test_what_was_claimed_ahead_of_the_limit_of_an_operator_is_claimed_again_as_it_allows(
    bench: Bench, most: int
) -> None:
    jobs = await bench.add_many(6)
    worker = await bench.enlist()
    claims = await bench.claim(worker)
    await bench.storage.limit_queue("default", most)
    assert (await limit(bench, "queue default")).used == 6
    await sent_back(bench, worker, claims)
    assert (await limit(bench, "queue default")).used == 0, "what nobody holds takes no room"
    done: list[str] = []
    while len(done) < len(jobs):
        again = await claimed(bench, worker)
        left = len(jobs) - len(done)
        assert len(again) == min(most, left), "room is used, and no more than there is"
        found = await limit(bench, "queue default")
        assert (found.used, found.blocked) == (len(again), left - len(again))
        await bench.storage.free_up(bench.now)
        assert await bench.finish(worker, *map(bench.completed, again)) == [True] * len(again)
        done += [claim.id for claim in again]
    assert sorted(done) == sorted(jobs)
    assert (await limit(bench, "queue default")).used == 0


async def test_whoever_has_just_been_claimed_and_asks_for_room_holds_none_yet(
    bench: Bench,
) -> None:
    """Whatever was left behind of a holding that has ended."""
    job = await bench.add()
    other = await bench.add(queue="other")
    worker = await bench.enlist()
    claims = await bench.claim(worker, queues=None)
    await bench.storage.limit_queue("default", 1)
    # Of a worker of before, which says nothing of it: the permit stays behind.
    need = Need("queue default", "", 1, UNLIMITED)
    outcomes = [
        Transition.released(claim, options=tied(claim.options, limits=[need])) for claim in claims
    ]
    for outcome in outcomes:
        outcome.tied = False
    await bench.finish(worker, *outcomes)
    again = await claimed(bench, worker, queues=None)
    assert len(again) == 1
    await bench.storage.free_up(bench.now)
    assert (await limit(bench, "queue default")).used == 1
    await bench.finish(worker, *map(bench.completed, again))
    [last] = await claimed(bench, worker, queues=None)
    assert {again[0].id, last.id} == {job, other}


async def test_what_nobody_holds_is_found_and_loses_its_permit_alone(bench: Bench) -> None:
    """Not its place in a line, where it waits for room."""
    first, second = await bench.add_many(2)
    worker = await bench.enlist()
    claims = await bench.claim(worker)
    await bench.storage.limit_queue("default", 1)
    await sent_back(bench, worker, claims)
    [claim] = await claimed(bench, worker)
    assert (await limit(bench, "queue default")).blocked == 1
    for _ in range(3):
        await bench.storage.free_up(bench.now)
    found = await limit(bench, "queue default")
    assert (found.used, found.blocked) == (1, 1)
    await bench.finish(worker, bench.completed(claim))
    [other] = await claimed(bench, worker)
    assert {claim.id, other.id} == {first, second}


async def test_what_comes_back_untouched_takes_no_room_in_the_limit_of_an_operator(
    bench: Bench,
) -> None:
    await bench.add_many(3)
    worker = await bench.enlist()
    await bench.claim(worker)
    await bench.storage.limit_queue("default", 3)
    assert (await limit(bench, "queue default")).used == 3
    await bench.storage.give_back(worker, [])
    assert (await limit(bench, "queue default")).used == 0
