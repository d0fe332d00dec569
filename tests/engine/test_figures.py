"""What workers count and tell: of every job once, in time, and nothing that is needless."""

import asyncio
from typing import Any

import pytest

from backroom import (
    FailJob,
    Job,
    JobRequest,
    JobService,
    OptionError,
    RetryJob,
    Snooze,
    Totals,
    WorkerNotFoundError,
)
from backroom.ports import Want, WorkerSpec
from tests.engine.world import World, forever


async def totals_of(service: JobService, queue: str, type_: str) -> Totals:
    [found] = [one for one in await service.get_totals() if (one.queue, one.type) == (queue, type_)]
    return found


def worker_of_everything(world: World, **settings: Any) -> JobService:
    service = world.service(**settings)

    @service.handler("WORK", retries=1, retry_delay=1)
    async def work(job: Job[Any]) -> object:
        await asyncio.sleep(2)
        match job.data.get("end"):
            case "fail":
                raise FailJob("no")
            case "error":
                raise ValueError("never")
            case "once" if job.attempt == 1:
                raise RetryJob("not yet", delay=1)
            case "snooze" if job.data["until"] > world.elapsed:
                return Snooze(1)
        return None

    return service


async def test_every_outcome_is_counted_once_where_it_happened(world: World) -> None:
    service = worker_of_everything(world, concurrency=20)
    async with service:
        for end, count in (("", 5), ("fail", 2), ("error", 1), ("once", 3)):
            await service.schedule_many(
                [JobRequest("WORK", {"end": end}, queue="mail") for _ in range(count)]
            )
        await service.schedule("WORK", {"end": "snooze", "until": world.elapsed + 3}, queue="mail")
        await asyncio.sleep(30)
        counted = await totals_of(service, "mail", "WORK")
    assert counted.scheduled == 12
    assert counted.completed == 5 + 3 + 1
    assert counted.failed == 2 + 1
    assert counted.retried == 1 + 3
    assert counted.put_off == 1
    assert counted.errors == {"FailJob": 2, "ValueError": 2, "RetryJob": 3}
    assert counted.running.count == 12 + 4
    assert counted.running.total == pytest.approx(2 * 16)
    assert counted.waiting.count == 17


async def test_what_a_worker_counted_last_is_told_when_it_stops(world: World) -> None:
    service = worker_of_everything(world)
    async with service:
        job = await service.schedule("WORK", {})
        await service.result(job)
    assert (await totals_of(world.viewer, "default", "WORK")).completed == 1


async def test_waiting_is_from_the_moment_that_a_job_was_due(world: World) -> None:
    service = worker_of_everything(world, concurrency=1)
    async with service:
        await service.schedule("WORK", {}, delay=10)
        await service.schedule("WORK", {}, delay=10)
        await asyncio.sleep(30)
        counted = await totals_of(service, "default", "WORK")
    assert counted.waiting.total == pytest.approx(2, abs=0.2)  # The second for the first.


async def test_a_job_that_was_cancelled_before_it_began_did_not_run(world: World) -> None:
    service = worker_of_everything(world, concurrency=1)
    async with service:
        jobs = [await service.schedule("WORK", {}) for _ in range(3)]
        await asyncio.sleep(1)
        await service.cancel_job(jobs[0])
        await asyncio.sleep(10)
        counted = await totals_of(service, "default", "WORK")
    assert (counted.completed, counted.cancelled) == (2, 1)
    assert counted.running.count == 3


async def test_a_history_shows_what_happened_when(world: World) -> None:
    service = worker_of_everything(world, concurrency=100)
    async with service:
        await asyncio.sleep(300)
        await service.schedule_many([JobRequest("WORK", {}, queue="mail") for _ in range(20)])
        await service.schedule("WORK", {"end": "fail"})
        await asyncio.sleep(120)
        history = await service.get_history(600)
        of_mail = await service.get_history(600, queue="mail")
        of_nobody = await service.get_history(600, type="OTHER")
    assert history.step == 10
    assert len(history.points) == 60
    gaps = {
        (after.at - before.at).total_seconds()
        for before, after in zip(history.points, history.points[1:], strict=False)
    }
    assert gaps == {10.0}
    assert [point.completed for point in history.points if point.completed] == [20]
    [busy] = [point for point in history.points if point.completed]
    assert (busy.failed, busy.scheduled) == (1, 21)
    assert busy.running.p50 == pytest.approx(2, rel=0.2)
    assert [(one.kind, one.type, one.attempts) for one in history.errors] == [
        ("FailJob", "WORK", 1)
    ]
    assert sum(point.failed for point in of_mail.points) == 0
    assert sum(point.completed for point in of_mail.points) == 20
    assert sum(point.completed for point in of_nobody.points) == 0
    assert history.points[-1].total is not None


@pytest.mark.parametrize("last", [0, 59, 8 * 86_400 + 1, -1, float("nan"), "hour"])
async def test_a_time_that_nothing_is_kept_of_is_refused(world: World, last: Any) -> None:
    with pytest.raises(OptionError, match="last"):
        await world.viewer.get_history(last)


async def test_figures_wait_for_a_storage_that_is_away_and_none_is_lost(world: World) -> None:
    service = worker_of_everything(world, storage=world.faults.store, concurrency=10)
    async with service:
        world.faults.fail("tell", "before", times=4)
        world.faults.fail("tell", "after", times=3)
        for _ in range(12):
            await service.schedule("WORK", {})
            await asyncio.sleep(4)
        counted = await totals_of(world.viewer, "default", "WORK")
        assert counted.completed >= 10
        await asyncio.sleep(10)
    assert world.faults.calls["tell"] > 7
    assert (await totals_of(world.viewer, "default", "WORK")).completed == 12


async def test_a_storage_that_is_away_for_long_costs_a_bounded_memory(world: World) -> None:
    service = worker_of_everything(world, storage=world.faults.store, concurrency=10)
    async with service:
        world.faults.fail("tell", "before", times=500)
        for _ in range(200):
            await service.schedule("WORK", {})
            await asyncio.sleep(5)
        assert len(service._teller._untold) <= 60
    world.faults.mend()
    await service._teller.tell(None, None)
    assert (await totals_of(world.viewer, "default", "WORK")).completed >= 199


async def test_a_worker_that_does_nothing_tells_little(world: World) -> None:
    service = worker_of_everything(world, storage=world.faults.store)
    async with service:
        await asyncio.sleep(20)
        before = world.faults.calls["tell"]
        await asyncio.sleep(600)
        assert world.faults.calls["tell"] - before <= 21


async def test_what_is_scheduled_where_no_worker_is_counts_too(world: World) -> None:
    service = world.service()
    service.declare("WORK")
    await service.schedule("WORK", {})
    await service.schedule_many([JobRequest("WORK", {}) for _ in range(4)])
    assert await service.get_totals() == []
    await asyncio.sleep(6)
    assert (await totals_of(service, "default", "WORK")).scheduled == 5
    await service.schedule("WORK", {})
    await service.stop()
    assert (await totals_of(world.viewer, "default", "WORK")).scheduled == 6


# -- workers ---------------------------------------------------------------------------------------


async def test_a_worker_tells_what_it_runs(world: World) -> None:
    service = world.service(concurrency=3)
    service.register_handler("WAIT", forever)
    async with service:
        began = world.clock.wall
        jobs = [await service.schedule("WAIT", queue="slow") for _ in range(5)]
        await asyncio.sleep(12)
        [worker] = await service.get_workers()
        assert worker.alive
        assert not worker.draining
        report = worker.report
        assert report is not None
        assert [one.id for one in report.running] == jobs[:3]
        assert {(one.type, one.queue, one.attempt) for one in report.running} == {
            ("WAIT", "slow", 1)
        }
        assert report.running[0].since == began
        assert (report.active, report.concurrency) == (3, 3)
        assert worker.claimed == 3 + report.ahead
        assert report.memory is None or report.memory > 1 << 20
        assert worker.name == f"{report.host}:{report.pid}"
        await service.stop(0)
    assert await world.viewer.get_workers() == []


async def test_a_worker_that_drains_ends_what_it_runs_and_begins_nothing(world: World) -> None:
    draining, other = (worker_of_everything(world, concurrency=2) for _ in range(2))
    async with draining:
        jobs = [await draining.schedule("WORK", {}) for _ in range(12)]
        await asyncio.sleep(0.5)
        [worker] = await draining.get_workers()
        await draining.drain_worker(worker.id)
        await asyncio.sleep(0.5)
        assert draining._worker is not None
        assert draining._worker.running == 2
        await asyncio.sleep(10)
        states = [str(await draining.get_job_status(job)) for job in jobs]
        assert states == ["completed"] * 2 + ["pending"] * 10
        attempts = [(await draining.get_job(job)).attempt for job in jobs]
        assert attempts == [1] * 2 + [0] * 10
        late = await draining.schedule("WORK", {})  # Which might have begun at once.
        [worker] = await draining.get_workers()
        assert (worker.draining, worker.claimed) == (True, 0)
        await asyncio.sleep(100)
        assert str(await draining.get_job_status(late)) == "pending"
        async with other:
            await asyncio.sleep(100)
            assert str(await draining.get_job_status(late)) == "completed"


async def test_a_worker_that_drained_claims_again_when_it_is_told(world: World) -> None:
    service = worker_of_everything(world)
    async with service:
        [worker] = await service.get_workers()
        await service.drain_worker(worker.id)
        await asyncio.sleep(1)
        job = await service.schedule("WORK", {})
        await asyncio.sleep(30)
        assert str(await service.get_job_status(job)) == "pending"
        assert service.idle
        await service.drain_worker(worker.id, on=False)
        await asyncio.sleep(3)
        assert str(await service.get_job_status(job)) == "completed"


async def test_a_claim_on_its_way_while_a_worker_is_drained_goes_back(world: World) -> None:
    service = worker_of_everything(world, storage=world.faults.store)
    async with service:
        await asyncio.sleep(1)
        [worker] = await service.get_workers()
        reply = world.faults.keep_back("claim")
        world.viewer.declare("WORK")
        job = await world.viewer.schedule("WORK", {})
        await reply.applied.wait()
        await service.drain_worker(worker.id)
        await asyncio.sleep(1)
        reply.send()
        await asyncio.sleep(10)
        info = await service.get_job(job)
        assert (str(info.status), info.attempt) == ("pending", 0)


async def test_a_worker_that_lost_its_lease_goes_on_draining(world: World) -> None:
    service = worker_of_everything(world)
    async with service:
        [worker] = await service.get_workers()
        await service.drain_worker(worker.id)
        await asyncio.sleep(1)
        assert service._worker is not None
        service._worker._lost(service._worker._lease.worker)
        await asyncio.sleep(1)
        again = [one for one in await service.get_workers() if one.id != worker.id]
        assert [one.draining for one in again] == [True]
        job = await service.schedule("WORK", {})
        await asyncio.sleep(30)
        assert str(await service.get_job_status(job)) == "pending"


@pytest.mark.parametrize("worker", [1, 2**62, 12345])
async def test_nobody_can_drain_a_worker_that_is_not_there(world: World, worker: int) -> None:
    with pytest.raises(WorkerNotFoundError, match=f"{worker} lives"):
        await world.viewer.drain_worker(worker)


@pytest.mark.parametrize("worker", [0, -1, True, "7", None, 2**63])
async def test_what_is_no_worker_is_refused(world: World, worker: Any) -> None:
    with pytest.raises(OptionError, match="worker must be the id"):
        await world.viewer.drain_worker(worker)


async def test_jobs_of_a_worker_that_died_are_counted_as_rescued(world: World) -> None:
    service = world.service()
    service.register_handler("WAIT", forever)
    job = await service.schedule("WAIT", queue="slow")
    storage, now = world.storage, world.clock.now()
    dead = (await storage.enlist(WorkerSpec("host:1", 5))).worker
    await storage.claim(dead, Want(("slow",), (), (9, 9, 9, 9)), now)
    async with service:
        await asyncio.sleep(20)
        counted = await totals_of(service, "slow", "WAIT")
    assert counted.rescued == 1
    assert str(await world.viewer.get_job_status(job)) in ("active", "pending")


async def test_an_odd_error_of_the_statistics_stops_no_worker_and_keeps_none(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A storage raises what nobody expects, while it works, when it ends, and where none works."""
    world.faults.fail("tell", "before", times=500, error=TypeError("never expected"))
    service = world.service(world.faults.store, concurrency=5)
    service.handler("WORK")(_nothing)
    async with service:
        await asyncio.sleep(12)
        job_id = await service.schedule("WORK")
        await service.result(job_id, timeout=5)
        begun = world.elapsed
    assert world.elapsed - begun < 1
    assert await world.viewer.get_workers() == []
    assert "never expected" in caplog.text
    alone = world.service(world.faults.store)
    alone.declare("WORK")
    await alone.open()
    await alone.schedule("WORK")
    before = world.faults.calls["tell"]
    await asyncio.sleep(12)
    assert world.faults.calls["tell"] - before == 2  # It goes on to try.
    await alone.stop()


@pytest.mark.parametrize("moment", [1, 7])
async def test_who_ends_waits_once_for_a_storage_that_does_not_answer(
    world: World, moment: float
) -> None:
    """A telling is on its way when it begins to end, or is the last one."""
    service = world.service(world.faults.store, concurrency=5)
    service.handler("WORK")(_nothing)
    await service.start()
    await service.result(await service.schedule("WORK"), timeout=5)
    replies = [world.faults.keep_back("tell") for _ in range(9)]
    await asyncio.sleep(moment)
    begun = world.elapsed
    await service.stop()
    assert world.elapsed - begun < 5.5
    assert await world.viewer.get_workers() == []
    assert len([one for one in replies if one.applied.is_set()]) == 1


async def _nothing(job: Job[Any]) -> None:
    return
