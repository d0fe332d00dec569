"""Claims: what a worker gets, in which order, and what it does not get."""

import asyncio

from backroom.job import JobStatus
from tests.contract.parts import Bench, Place

CRITICAL, HIGH, NORMAL, LOW = range(4)


async def test_a_job_that_is_due_is_claimed_with_all_that_was_said_of_it(bench: Bench) -> None:
    record = bench.record(
        type="GENERATE_REPORT",
        priority=HIGH,
        data='{"month":"2025-06","note":"ü \\u0000"}',
        options='{"retries":2,"tags":["billing"]}',
        unique_key="2025-06",
        expires_at=bench.later(600),
    )
    await bench.insert([record])
    worker = await bench.enlist()

    claim = await bench.claim_one(worker)

    said = (
        "id", "type", "queue", "priority", "run_at", "created_at", "data", "options", "expires_at",
    )  # fmt: skip
    assert {name: getattr(claim, name) for name in said} == {
        name: getattr(record, name) for name in said
    }
    assert (claim.attempt, claim.crashes, claim.budget) == (0, 0, 0)


async def test_an_empty_store_gives_nothing_and_knows_of_nothing_to_come(bench: Bench) -> None:
    looked = await bench.look(await bench.enlist(), queues=None)
    assert (looked.claims, looked.started, looked.more, looked.next_due) == ([], 0, False, None)


# -- order -----------------------------------------------------------------------------------


async def test_jobs_are_claimed_by_priority_then_by_their_time_then_by_insertion(
    bench: Bench,
) -> None:
    late_low = await bench.add(priority=LOW, delay=-1)
    early_low = await bench.add(priority=LOW, delay=-100)
    late_normal = await bench.add(delay=-1)
    first_normal, second_normal = await bench.add(delay=-50), await bench.add(delay=-50)
    high = await bench.add(priority=HIGH)
    critical = await bench.add(priority=CRITICAL)
    order = [critical, high, first_normal, second_normal, late_normal, early_low, late_low]

    claims = await bench.claim(await bench.enlist())

    assert [claim.id for claim in claims] == order


async def test_jobs_of_one_batch_are_claimed_in_the_order_of_the_batch(bench: Bench) -> None:
    ids = await bench.add_many(50)
    claims = await bench.claim(await bench.enlist())
    assert [claim.id for claim in claims] == ids


async def test_the_order_holds_when_jobs_are_claimed_one_by_one(bench: Bench) -> None:
    low, high, older_high = (
        await bench.add(priority=LOW, delay=-9),
        await bench.add(priority=HIGH, delay=-1),
        await bench.add(priority=HIGH, delay=-2),
    )
    worker = await bench.enlist()
    assert [(await bench.claim_one(worker)).id for _ in range(3)] == [older_high, high, low]


async def test_the_order_holds_across_queues(bench: Bench) -> None:
    young = await bench.add(queue="a", delay=-1)
    old = await bench.add(queue="b", delay=-9)
    middle = await bench.add(queue="c", delay=-5)
    low = await bench.add(queue="a", delay=-99, priority=LOW)
    worker = await bench.enlist()

    one = await bench.claim_one(worker, queues=None)
    rest = await bench.claim(worker, queues=("a", "b", "c"))

    assert [one.id, *[claim.id for claim in rest]] == [old, middle, young, low]


async def test_a_retry_keeps_its_place_in_the_order_of_time(bench: Bench) -> None:
    worker = await bench.enlist()
    await bench.add(delay=-5)
    again = await bench.claim_one(worker)
    fresh = await bench.add(delay=-1)
    await bench.finish(worker, bench.retried(again, delay=-3))

    assert [claim.id for claim in await bench.claim(worker)] == [again.id, fresh]


# -- time ------------------------------------------------------------------------------------


async def test_a_job_is_not_claimed_before_its_time(bench: Bench) -> None:
    job, worker = await bench.add(delay=60), await bench.enlist()
    bench.clock.advance(59.999)
    assert await bench.claim(worker) == []
    assert await bench.status(job) == JobStatus.SCHEDULED

    bench.clock.advance(0.001)

    assert await bench.status(job) == JobStatus.PENDING
    assert (await bench.claim_one(worker)).id == job


async def test_who_finds_nothing_due_learns_when_the_next_job_is(bench: Bench) -> None:
    worker = await bench.enlist()
    await bench.add(delay=60)
    await bench.add(delay=20, priority=LOW)
    await bench.add(delay=5, queue="other")

    assert (await bench.look(worker)).next_due == bench.later(20)
    assert (await bench.look(worker, queues=None)).next_due == bench.later(5)
    assert (await bench.look(worker, queues=None, but=("other",))).next_due == bench.later(20)


async def test_who_takes_all_that_is_due_learns_when_the_next_job_is(bench: Bench) -> None:
    await bench.add()
    await bench.add(delay=20)
    looked = await bench.look(await bench.enlist(), 5)
    assert (len(looked.claims), looked.more, looked.next_due) == (1, False, bench.later(20))


async def test_the_wait_of_a_retry_counts_as_the_next_job(bench: Bench) -> None:
    _, worker, claim = await bench.running()
    await bench.finish(worker, bench.retried(claim, delay=7))
    assert (await bench.look(worker)).next_due == bench.later(7)


# -- room ------------------------------------------------------------------------------------


async def test_no_more_jobs_are_claimed_than_there_is_room_for(bench: Bench) -> None:
    ids, worker = await bench.add_many(5), await bench.enlist()

    looked = await bench.look(worker, 3)

    assert [claim.id for claim in looked.claims] == ids[:3]
    assert looked.more
    assert [await bench.status(job) for job in ids] == ["active"] * 3 + ["pending"] * 2


async def test_a_worker_without_room_takes_nothing_and_learns_that_there_is_more(
    bench: Bench,
) -> None:
    job, worker = await bench.add(), await bench.enlist()
    looked = await bench.look(worker, 0)
    assert (looked.claims, looked.more) == ([], True)
    assert await bench.status(job) == JobStatus.PENDING


async def test_each_priority_has_the_room_that_was_asked_for_it_and_better_ones(
    bench: Bench,
) -> None:
    for priority in (LOW, NORMAL, HIGH, CRITICAL):
        await bench.add_many(4, priority=priority)

    claims = await bench.claim(await bench.enlist(), rooms=(6, 5, 3, 1))

    assert [claim.priority for claim in claims] == [CRITICAL] * 4 + [HIGH]


async def test_a_lane_full_of_low_jobs_leaves_room_for_a_critical_one(bench: Bench) -> None:
    await bench.add_many(2, priority=LOW)
    critical = await bench.add(priority=CRITICAL)
    claims = await bench.claim(await bench.enlist(), rooms=(1, 0, 0, 0))
    assert [claim.id for claim in claims] == [critical]


async def test_the_room_is_shared_by_all_queues(bench: Bench) -> None:
    for queue in ("a", "b", "c"):
        await bench.add_many(3, queue=queue)
    claims = await bench.claim(await bench.enlist(), 4, queues=("a", "b", "c"))
    assert len(claims) == 4


# -- starts ----------------------------------------------------------------------------------


async def test_only_claims_that_find_a_free_slot_are_counted_as_started(bench: Bench) -> None:
    ids, worker = await bench.add_many(5), await bench.enlist()

    looked = await bench.look(worker, starts=2)

    assert looked.started == 2
    assert [(await bench.info(job)).attempt for job in ids] == [1, 1, 0, 0, 0]


async def test_no_more_starts_are_counted_than_jobs_were_claimed(bench: Bench) -> None:
    await bench.add()
    assert (await bench.look(await bench.enlist(), starts=9)).started == 1


async def test_a_claim_that_waited_is_counted_when_its_start_is_said(bench: Bench) -> None:
    job, worker = await bench.add(), await bench.enlist()
    claim = await bench.claim_one(worker)
    assert (await bench.info(job)).attempt == 0

    await bench.storage.start(worker, [claim.key])

    assert (await bench.info(job)).attempt == 1


# -- starving --------------------------------------------------------------------------------


async def test_the_oldest_starving_job_goes_first_when_it_is_its_turn(bench: Bench) -> None:
    await bench.add_many(5, priority=CRITICAL, delay=-10)
    younger = await bench.add(priority=LOW, delay=-80)
    oldest = await bench.add(priority=LOW, delay=-90)
    worker = await bench.enlist()

    claims = await bench.claim(worker, 3, starving=1, starving_since=bench.later(-60))

    assert [claim.id for claim in claims[:1]] == [oldest]
    assert [claim.priority for claim in claims] == [LOW, CRITICAL, CRITICAL]
    assert await bench.status(younger) == JobStatus.PENDING


async def test_a_job_that_does_not_starve_yet_waits_its_turn(bench: Bench) -> None:
    await bench.add_many(3, priority=CRITICAL, delay=-10)
    await bench.add(priority=LOW, delay=-59)
    worker = await bench.enlist()

    claims = await bench.claim(worker, 3, starving=1, starving_since=bench.later(-60))

    assert [claim.priority for claim in claims] == [CRITICAL] * 3


async def test_the_oldest_starving_job_is_found_in_any_queue(bench: Bench) -> None:
    await bench.add_many(2, queue="a", priority=CRITICAL, delay=-70)
    starving = await bench.add(queue="b", priority=LOW, delay=-99)
    claim = await bench.claim_one(
        await bench.enlist(), queues=None, starving=1, starving_since=bench.later(-60)
    )
    assert claim.id == starving


async def test_a_starving_job_is_not_claimed_twice_in_one_claim(bench: Bench) -> None:
    ids = await bench.add_many(3, delay=-99)
    claims = await bench.claim(await bench.enlist(), 9, starving=2, starving_since=bench.later(-60))
    assert sorted(claim.id for claim in claims) == sorted(ids)


async def test_a_starving_job_takes_no_room_that_low_jobs_do_not_have(bench: Bench) -> None:
    await bench.add(priority=LOW, delay=-99)
    critical = await bench.add(priority=CRITICAL)
    claims = await bench.claim(
        await bench.enlist(), rooms=(1, 0, 0, 0), starving=1, starving_since=bench.later(-60)
    )
    assert [claim.id for claim in claims] == [critical]


# -- queues ----------------------------------------------------------------------------------


async def test_a_worker_claims_only_from_the_queues_it_names(bench: Bench) -> None:
    mail, _ = await bench.add(queue="mail"), await bench.add(queue="reports")
    claims = await bench.claim(await bench.enlist(), queues=("mail", "never heard of"))
    assert [claim.id for claim in claims] == [mail]


async def test_a_worker_that_names_no_queue_serves_all_of_them_but_those_it_leaves_out(
    bench: Bench,
) -> None:
    mail, reports, _ = [await bench.add(queue=queue) for queue in ("mail", "reports", "video")]
    claims = await bench.claim(await bench.enlist(), queues=None, but=("video",))
    assert {claim.id for claim in claims} == {mail, reports}


async def test_a_queue_that_appears_later_is_served_too(bench: Bench) -> None:
    worker = await bench.enlist()
    await bench.claim(worker, queues=None)
    job = await bench.add(queue="brand new")
    assert (await bench.claim_one(worker, queues=None)).id == job


async def test_a_paused_queue_gives_nothing_until_it_is_resumed(bench: Bench) -> None:
    job, worker = await bench.add(), await bench.enlist()
    await bench.storage.pause("default", True)

    for queues in (("default",), None):
        looked = await bench.look(worker, queues=queues)
        assert (looked.claims, looked.next_due) == ([], None)
    starving = {"starving": 1, "starving_since": bench.now}
    assert await bench.claim(worker, **starving) == []

    await bench.storage.pause("default", False)
    assert (await bench.claim_one(worker)).id == job


async def test_pausing_one_queue_does_not_hold_up_another(bench: Bench) -> None:
    await bench.add(queue="mail")
    job = await bench.add(queue="reports")
    await bench.storage.pause("mail", True)
    claims = await bench.claim(await bench.enlist(), queues=("mail", "reports"))
    assert [claim.id for claim in claims] == [job]


async def test_a_queue_can_be_paused_before_it_has_held_a_job(bench: Bench) -> None:
    await bench.storage.pause("mail", True)
    await bench.add(queue="mail")
    assert await bench.claim(await bench.enlist(), queues=None) == []


# -- one job, one worker ---------------------------------------------------------------------


async def test_a_claimed_job_is_not_claimed_again(bench: Bench) -> None:
    await bench.add()
    await bench.claim_one(await bench.enlist())
    assert await bench.claim(await bench.enlist("host:2")) == []


async def test_many_workers_that_claim_at_once_never_get_the_same_job(place: Place) -> None:
    benches = await place.benches(3)
    ids = await benches[0].add_many(120)
    got: list[str] = []

    async def work(bench: Bench) -> None:
        worker = await bench.enlist()
        while claims := await bench.claim(worker, 4):
            got.extend(claim.id for claim in claims)

    await asyncio.gather(*[work(bench) for bench in benches * 3])

    assert sorted(got) == sorted(ids)


async def test_jobs_that_are_inserted_while_many_claim_are_claimed_once(place: Place) -> None:
    benches = await place.benches(2)
    workers = [await bench.enlist() for bench in benches]
    records = benches[0].records(40)
    taken: list[str] = []

    async def claim(bench: Bench, worker: int) -> None:
        taken.extend(claim.id for claim in await bench.claim(worker, 5))

    await asyncio.gather(
        *[
            act
            for i in range(0, 40, 4)
            for act in (
                benches[0].insert(records[i : i + 4]),
                claim(benches[0], workers[0]),
                claim(benches[1], workers[1]),
            )
        ]
    )
    more = True
    while more:
        looked = await benches[0].look(workers[0])
        taken += [claim.id for claim in looked.claims]
        more = looked.more

    assert sorted(taken) == sorted(record.id for record in records)


# -- large jobs --------------------------------------------------------------------------------


async def test_a_claim_of_large_jobs_takes_what_is_not_too_much_and_says_that_there_is_more(
    bench: Bench,
) -> None:
    """Else it would not fit into memory, or could not be read at all. Order stays strict."""
    text = '{"a":"' + "x" * 3_000_000 + '"}'
    low = await bench.add(priority=3)
    large = [await bench.add(data=text) for _ in range(24)]
    worker = await bench.enlist()
    claimed: list[str] = []
    more = True
    while more:
        looked = await bench.look(worker)
        assert looked.claims
        size = sum(len(claim.data) for claim in looked.claims)
        assert size < 40 * 2**20
        claimed += [claim.id for claim in looked.claims]
        more = looked.more
    assert claimed == [*large, low]


async def test_a_job_that_is_larger_than_that_by_itself_is_claimed_alone(bench: Bench) -> None:
    text = '{"a":"' + "x" * 70_000_000 + '"}'
    jobs = [await bench.add(data=text), await bench.add()]
    worker = await bench.enlist()
    assert [claim.id for claim in await bench.claim(worker)] == jobs[:1]
    assert [claim.id for claim in await bench.claim(worker)] == jobs[1:]
