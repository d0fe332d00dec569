"""Parking: a job whose type a worker does not know waits for one that does."""

from backroom.job import JobStatus
from backroom.transition import Transition
from tests.contract.parts import Bench


async def parked(bench: Bench, **fields: object) -> str:
    job, worker = await bench.add(**fields), await bench.enlist()
    claim = await bench.claim_one(worker, queues=None)
    assert await bench.finish(worker, Transition.parked(claim)) == [True]
    return job


async def test_a_parked_job_is_pending_but_nobody_gets_it(bench: Bench) -> None:
    job = await parked(bench)
    info = await bench.info(job)
    assert (info.status, info.parked, info.attempt) == (JobStatus.PENDING, True, 0)
    looked = await bench.look(await bench.enlist(), queues=None)
    assert (looked.claims, looked.next_due) == ([], None)


async def test_parked_jobs_do_not_hide_the_others(bench: Bench) -> None:
    for _ in range(3):
        await parked(bench, priority=0)
    job = await bench.add(priority=3)
    assert (await bench.claim_one(await bench.enlist())).id == job


async def test_a_worker_that_knows_the_type_of_a_parked_job_gets_it(bench: Bench) -> None:
    report = await parked(bench, type="GENERATE_REPORT", delay=-5)
    mail = await parked(bench, type="SEND_EMAIL")
    worker = await bench.enlist()

    known = {"GENERATE_REPORT": 1, "NEVER_HEARD_OF": 1}
    [claim] = await bench.claim(worker, queues=None, types=known)

    assert (claim.id, claim.attempt) == (report, 0)
    assert claim.run_at == bench.later(-5)
    assert (await bench.info(mail)).parked
    assert not (await bench.info(report)).parked
    assert await bench.finish(worker, bench.completed(claim)) == [True]


async def test_parked_jobs_keep_their_place_among_those_that_wait(bench: Bench) -> None:
    second = await parked(bench, type="A", delay=-20)
    fourth = await parked(bench, type="B", delay=-5)
    sixth = await parked(bench, type="A", priority=3, delay=-60)
    third = await bench.add(delay=-10)
    fifth = await bench.add(delay=-1)
    first = await bench.add(priority=1)

    claims = await bench.claim(await bench.enlist(), queues=None, types={"A": 1, "B": 1})

    assert [claim.id for claim in claims] == [first, second, third, fourth, fifth, sixth]


async def test_a_parked_job_that_starves_has_its_turn(bench: Bench) -> None:
    old = await parked(bench, type="A", priority=3, delay=-100)
    await bench.add_many(3, priority=0)
    [claim] = await bench.claim(
        await bench.enlist(), 1, types={"A": 1}, starving=1, starving_since=bench.later(-60)
    )
    assert claim.id == old


async def test_parked_jobs_of_a_paused_or_another_queue_stay(bench: Bench) -> None:
    await parked(bench, type="A", queue="paused")
    await parked(bench, type="A", queue="other")
    await bench.storage.pause("paused", True)
    worker = await bench.enlist()
    assert await bench.claim(worker, queues=None, but=("other",), types={"A": 1}) == []
    assert len(await bench.claim(worker, queues=("other", "paused"), types={"A": 1})) == 1


async def test_the_room_of_a_claim_counts_parked_jobs_too(bench: Bench) -> None:
    for _ in range(3):
        await parked(bench, type="A")
    looked = await bench.look(await bench.enlist(), 2, types={"A": 1})
    assert (len(looked.claims), looked.more) == (2, True)


async def test_parked_jobs_of_many_types_and_queues_are_found(bench: Bench) -> None:
    expected = {
        await parked(bench, type=type_, queue=queue)
        for queue in ("a", "b", "c")
        for type_ in ("A", "B", "D")
    }
    claims = await bench.claim(await bench.enlist(), queues=None, types={"D": 1, "B": 1, "A": 1})
    assert {claim.id for claim in claims} == expected


async def test_a_parked_job_is_not_its_worker_s_any_more(bench: Bench) -> None:
    job = await parked(bench)
    reclaimed = await bench.end_leases()
    assert (reclaimed.crashed, reclaimed.untouched) == (0, 0)
    assert (await bench.info(job)).parked


async def test_people_see_what_is_parked_and_how_much_of_it(bench: Bench) -> None:
    await parked(bench, type="A")
    await parked(bench, type="A", queue="other")
    b = await parked(bench, type="B")
    await bench.add(type="B")

    stats = await bench.storage.stats(bench.now)

    assert stats.unknown_types == {"A": 2, "B": 1}
    assert stats.by_status["pending"] == 4
    assert {queue.name: queue.pending for queue in stats.queues} == {"default": 3, "other": 1}
    pending, _ = await bench.page(status=JobStatus.PENDING, type="B")
    assert b in pending


async def test_a_parked_job_can_be_cancelled_and_then_retried(bench: Bench) -> None:
    job = await parked(bench)
    assert await bench.storage.cancel(job, bench.now) == 1
    assert await bench.status(job) == JobStatus.CANCELLED
    assert await bench.claim(await bench.enlist(), types={"SEND_EMAIL": 1}) == []
    await bench.storage.retry(job, bench.now)
    assert (await bench.claim_one(await bench.enlist())).id == job


async def test_a_parked_job_can_be_deleted(bench: Bench) -> None:
    job = await parked(bench)
    await bench.storage.delete(job)
    assert await bench.page() == ([], None)
