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


async def test_a_parked_job_waits_again_once_its_type_is_known(bench: Bench) -> None:
    report = await parked(bench, type="GENERATE_REPORT", delay=-5)
    mail = await parked(bench, type="SEND_EMAIL")

    assert await bench.storage.unpark(["GENERATE_REPORT", "NEVER_HEARD_OF"]) == 1

    claim = await bench.claim_one(await bench.enlist(), queues=None)
    assert (claim.id, claim.attempt) == (report, 0)
    assert claim.run_at == bench.later(-5)
    assert (await bench.info(mail)).parked
    assert not (await bench.info(report)).parked


async def test_unparking_what_is_not_parked_changes_nothing(bench: Bench) -> None:
    job, _, _ = await bench.running()
    before = await bench.info(job)
    assert await bench.storage.unpark(["SEND_EMAIL"]) == 0
    assert await bench.storage.unpark([]) == 0
    assert await bench.info(job) == before


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
    assert await bench.storage.unpark(["SEND_EMAIL"]) == 0
    await bench.storage.retry(job, bench.now)
    assert (await bench.claim_one(await bench.enlist())).id == job


async def test_a_parked_job_can_be_deleted(bench: Bench) -> None:
    job = await parked(bench)
    await bench.storage.delete(job)
    assert await bench.page() == ([], None)
