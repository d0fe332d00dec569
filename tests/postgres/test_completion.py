"""`job.transaction()`: what a handler writes, the jobs that follow, and the completion of its own
are committed together, or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from backroom import (
    Cancel,
    DatabaseJobStorage,
    DuplicateJobError,
    FailJob,
    Job,
    JobFailedError,
    JobNotFoundError,
    JobService,
    MemoryJobStorage,
    Snooze,
    Unique,
)
from backroom.ports import Want, WorkerSpec
from backroom.signing import new_secret
from backroom.transition import Claim, Transition
from tests.postgres.clients import Client, orders
from tests.postgres.completions import (
    REPORT,
    Report,
    ended,
    held_by,
    order,
    worker_service,
)
from tests.postgres.isolated import isolated
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace

__all__ = ["worker_service"]


# -- together ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
async def test_a_webhook_of_a_job_that_completes_in_a_transaction_is_made_with_that_or_not_at_all(
    place: PostgresPlace, fails: bool
) -> None:
    service = JobService(DatabaseJobStorage(place.url, schema=place.schema))
    service.webhook("ops", "https://example.com/hook", new_secret(),
                    events=["job.completed"])  # fmt: skip

    @service.handler("IN_ONE", retries=0)
    async def in_one(job: Job[Any]) -> None:
        async with job.transaction():
            if fails:
                raise ValueError("rolled back")

    async with service:
        await service.pause_queue("webhooks")
        job_id = await service.schedule("IN_ONE")
        if fails:
            with pytest.raises(JobFailedError):
                await service.result(job_id)
        else:
            await service.result(job_id)
        found = list(await service.get_jobs(type="backroom.webhook"))
        assert [one.data["body"]["data"]["job_id"] for one in found] == [job_id][fails:]


async def test_all_is_committed_together(
    place: PostgresPlace, service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[Transition] = []
    finish = service.storage.finish

    async def watch(worker: int, transitions: Any) -> list[bool]:
        finished.extend(transitions)
        return await finish(worker, transitions)

    monkeypatch.setattr(service.storage, "finish", watch)
    inside, go = asyncio.Event(), asyncio.Event()
    mails: list[str] = []

    @service.handler(REPORT)
    async def report(job: Job[dict[str, Any]]) -> Report:
        async with job.transaction(result=Report(5)) as connection:
            await connection.execute(order(place, "tea"))
            mails.append(await service.schedule("MAIL", {}, connection=connection, delay=60))
            inside.set()
            await go.wait()
        return Report(5)

    await service.start()
    job_id = await service.schedule(REPORT, {})
    await asyncio.wait_for(inside.wait(), 10)
    assert (await service.get_job_status(job_id), await orders(place)) == ("active", [])
    with pytest.raises(JobNotFoundError):
        await service.get_job(mails[0])
    go.set()
    assert await service.result(job_id, timeout=10) == Report(5)
    assert await orders(place) == ["tea"]
    assert await service.get_job_status(mails[0]) == "scheduled"
    info = await service.get_job(job_id)
    assert (info.attempt, info.crashes, info.result) == (1, 0, {"total": 5})
    await eventually_async(lambda: service.idle, "the worker has done all")
    assert finished == []  # It was written once, with the commit.
    assert await held_by(service) == {}


async def test_a_job_of_a_workflow_lets_go_of_its_key_with_the_commit(service: JobService) -> None:
    """That of its own, and that of the one which has waited for it in vain."""
    unique = Unique(by="type", on_conflict="raise")

    @service.handler(REPORT)
    async def report(job: Job[dict[str, Any]]) -> Report:
        if job.data["ends"]:
            async with job.transaction(result=Report(5)) as connection:
                with pytest.raises(DuplicateJobError) as refused:
                    await service.schedule(REPORT, {}, unique=unique, connection=connection)
                assert refused.value.job_id == job.id
            return Report(5)
        async with job.transaction() as connection:
            return await connection.fetchval("SELECT 1/0")  # type: ignore[no-any-return]

    await service.start()
    for ends in (True, False, True):
        async with service.workflow("reports") as flow:
            first = flow.add(REPORT, {"ends": ends}, unique=unique, retries=0)
            mail = flow.add("MAIL", {}, after=first, unique=unique, delay=60)
        assert (await ended(service, first.id)).status == ("completed" if ends else "failed")
        if ends:
            with pytest.raises(DuplicateJobError):
                await service.schedule("MAIL", {}, unique=unique)
            await service.cancel_job(mail.id)
        assert (await service.get_job(mail.id)).status == "cancelled"


async def test_the_result_is_heard_of_at_once(place: PostgresPlace) -> None:
    """By who waits in this process, without another look at the store."""
    service = JobService(DatabaseJobStorage(place.url, schema=place.schema), poll_interval=60)
    done = asyncio.Event()

    @service.handler("ORDER")
    async def buy(job: Job[Any]) -> None:
        async with job.transaction(result="tea"):
            service.storage._base.bells._subscribers.clear()  # type: ignore[attr-defined]
        await done.wait()

    async with service:
        job_id = await service.schedule("ORDER", {})
        assert await service.result(job_id, timeout=10) == "tea"
        done.set()


async def test_an_error_in_the_block_rolls_all_back(
    place: PostgresPlace, service: JobService
) -> None:
    @service.handler("ORDER", retries=1)
    async def buy(job: Job[Any]) -> str:
        transaction = job.transaction()
        async with transaction as connection:
            await connection.execute(order(place, f"tea of attempt {job.attempt}"))
            await service.schedule("MAIL", {}, unique_key="tea", connection=connection)
            if job.attempt == 1:
                raise OSError("no tea")
            transaction.result = "tea"
        return "tea"

    await service.start()
    job_id = await service.schedule("ORDER", {})
    assert await service.result(job_id, timeout=10) == "tea"
    assert await orders(place) == ["tea of attempt 2"]
    info = await service.get_job(job_id)
    assert (info.attempt, [one.message for one in info.errors]) == (2, ["no tea"])
    assert len(list(await service.get_jobs(type="MAIL"))) == 1


async def test_a_connection_of_the_applications_own_is_taken(
    place: PostgresPlace, service: JobService, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one without asyncio: its statements then run on the loop."""
    await service.start()

    @service.handler("ORDER", retries=1)
    async def buy(job: Job[Any]) -> None:
        async with job.transaction(client.connection, result=[1]) as same:
            assert same is client.connection
            await client.order(f"tea of attempt {job.attempt}")
            job.progress(1.0, "100% done")
            job.log.info("ordered in attempt %d", job.attempt)
            await service.schedule("MAIL", {}, unique_key="tea", connection=same, delay=60)
            if job.attempt == 1:
                raise OSError("no tea")

    job_id = await service.schedule("ORDER", {})
    assert await service.result(job_id, timeout=10) == [1]
    assert await orders(place) == ["tea of attempt 2"]
    info = await service.get_job(job_id)
    assert (info.attempt, info.progress, info.progress_message) == (2, 1.0, "100% done")
    assert [line.message for line in info.log] == [f"ordered in attempt {n}" for n in (1, 2)]
    assert len(list(await service.get_jobs(type="MAIL"))) == 1
    assert not [r for r in caplog.records if "rolled back" in r.getMessage()]


async def test_many_at_once_end_each_for_itself(place: PostgresPlace, service: JobService) -> None:
    service.configure(concurrency=40)  # More than connections are lent at once.

    @service.handler("ORDER", retries=3)
    async def buy(job: Job[dict[str, int]]) -> int:
        async with job.transaction(result=job.data["n"]) as connection:
            await connection.execute("SET lock_timeout = '77s'")
            await connection.execute(order(place, f"{job.data['n']:03}"))
            await asyncio.sleep(0.01)
            if job.data["n"] % 3 == job.attempt:
                raise OSError("again")
        return job.data["n"]

    await service.start()
    ids = [await service.schedule("ORDER", {"n": n}) for n in range(100)]
    assert [await service.result(one, timeout=30) for one in ids] == list(range(100))
    assert await orders(place) == [f"{n:03}" for n in range(100)]
    async with service.storage.lend() as lent:  # type: ignore[attr-defined]
        assert await lent.connection.fetchval("SHOW lock_timeout") == "0"


async def test_a_connection_that_was_cut_while_it_lay_idle_costs_no_attempt(
    place: PostgresPlace, service: JobService
) -> None:
    pids: list[int] = []

    @service.handler("ORDER", retries=0)
    async def buy(job: Job[dict[str, bool]]) -> None:
        if job.data["cut"]:
            # No turn of the loop from here to the first word: nobody can have noticed.
            with psycopg.connect(place.url) as killer:
                killer.execute("SELECT pg_terminate_backend(%s, 5000)", [pids[1]])
        async with job.transaction() as connection:
            pids.append(await connection.fetchval("SELECT pg_backend_pid()"))

    await service.start()
    for cut in (False, False, True):
        await service.result(await service.schedule("ORDER", {"cut": cut}), timeout=10)
    assert pids[1] != pids[2]


async def test_who_asks_for_more_connections_than_are_lent_waits(service: JobService) -> None:
    await service.open()
    storage: Any = service.storage
    lent = [storage.lend() for _ in range(21)]
    for one in lent[:20]:
        await one.__aenter__()
    last = asyncio.create_task(lent[20].__aenter__())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(last), 0.5)
    await lent[0].__aexit__(None, None, None)
    assert await asyncio.wait_for(last, 10)
    for one in lent[1:]:
        await one.__aexit__(None, None, None)


# -- when it may not -----------------------------------------------------------------------------


async def test_the_store_itself_refuses_who_has_lost_the_lease(
    place: PostgresPlace, service: JobService, speaker: Client
) -> None:
    """And takes what one says who has not, of a job of several in one claim."""
    storage: Any = service.storage
    ids = [await service.schedule("MAIL", {"n": n}) for n in range(3)]
    stale, worker = [(await storage.enlist(WorkerSpec("ada:1", 30))).worker for _ in range(2)]
    want = Want(None, (), (1, 1, 1, 1), 1)
    [lost] = (await storage.claim(stale, want, storage.clock.now())).claims
    await storage.retire(stale)
    want = Want(None, (), (3, 3, 3, 3), 3)
    claims = (await storage.claim(worker, want, storage.clock.now())).claims
    assert [claim.id for claim in claims] == ids

    async def complete(claim: Claim, name: str, commit: bool) -> bool:
        line = storage.along(speaker.connection)
        await line.prepare(())
        await line.begin()
        await speaker.order(name)
        now = storage.clock.now()
        stood: bool = await line.finish(Transition.completed(claim, now, now, "1"), now)
        await (line.commit() if commit else line.rollback())
        return stood

    assert not await complete(lost, "lost", False)
    assert await complete(claims[0], "tea", True)
    assert not await complete(claims[0], "twice", False)
    assert await complete(claims[1], "rolled back", False)
    assert [await service.get_job_status(one) for one in ids] == ["completed", "active", "active"]
    assert await orders(place) == ["tea"]
    await storage.retire(worker)
    assert (await service.get_stats()).by_status["pending"] == 2


async def test_an_attempt_has_one_transaction(place: PostgresPlace, service: JobService) -> None:
    @service.handler("ORDER", retries=0)
    async def buy(job: Job[dict[str, bool]]) -> None:
        try:
            async with job.transaction() as connection:
                await connection.execute(order(place, str(job.data["fail"])))
                if job.data["fail"]:
                    raise OSError
        except OSError:
            pass
        async with job.transaction():
            raise AssertionError("never comes here")

    await service.start()
    kept = await service.schedule("ORDER", {"fail": False})
    assert await service.result(kept, timeout=10) is None
    failed = await service.schedule("ORDER", {"fail": True})
    with pytest.raises(JobFailedError, match=r"one job\.transaction\(\), not two"):
        await service.result(failed, timeout=10)
    assert len(await orders(place)) == 1


async def test_a_connection_that_is_in_a_transaction_is_refused(
    place: PostgresPlace, service: JobService, speaker: Client
) -> None:
    await speaker.begin()
    await speaker.order("coffee")

    @service.handler("ORDER", retries=0)
    async def buy(job: Job[Any]) -> None:
        async with job.transaction(speaker.connection):
            raise AssertionError("never comes here")

    await service.start()
    with pytest.raises(JobFailedError, match="but the connection is in one"):
        await service.result(await service.schedule("ORDER", {}), timeout=10)
    await speaker.commit()
    assert await orders(place) == ["coffee"]


async def sleeps(place: PostgresPlace) -> bool:
    """Whether a session of this test's is asleep on the server."""
    async with await psycopg.AsyncConnection.connect(place.url) as connection:
        found = await connection.execute(
            "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            " AND datname = current_database()"
        )
        return await found.fetchone() is not None


@pytest.mark.parametrize("way", ["timeout", "cancel", "stop"])
async def test_an_interrupted_block_is_rolled_back(
    place: PostgresPlace, service: JobService, way: str
) -> None:
    inside = asyncio.Event()

    @service.handler("ORDER", retries=0, timeout=0.5 if way == "timeout" else 60)
    async def buy(job: Job[Any]) -> None:
        async with job.transaction() as connection:
            await connection.execute(order(place, "tea"))
            inside.set()
            await connection.execute("SELECT pg_sleep(30)")

    await service.start()
    job_id = await service.schedule("ORDER", {})
    await asyncio.wait_for(inside.wait(), 10)
    if way != "timeout":  # A server forgets to cancel what it has not read yet.
        await eventually_async(lambda: sleeps(place), "the server carries the statement out")
    if way == "stop":
        await service.stop(0)
        await service.open()
        info = await service.get_job(job_id)
        assert (info.status, info.attempt) == ("pending", 0)
    elif way == "cancel":
        await service.cancel_job(job_id)
        assert (await ended(service, job_id)).status == "cancelled"
    else:
        assert (await ended(service, job_id)).error == "timed out after 0.5 s"
    assert await orders(place) == []


async def test_a_result_that_does_not_fit_rolls_all_back(
    place: PostgresPlace, service: JobService
) -> None:
    @service.handler(REPORT, retries=0)
    async def report(job: Job[dict[str, Any]]) -> Report:
        async with job.transaction(result=job.data.get("result")) as connection:
            await connection.execute(order(place, "tea"))
        return Report(1)

    await service.start()
    for data in ({"result": {"total": "many"}}, {}):
        job_id = await service.schedule(REPORT, data)
        with pytest.raises(JobFailedError, match="REPORT"):
            await service.result(job_id, timeout=10)
        assert "JobTypeError" in (await service.get_job(job_id)).errors[0].kind
    assert await orders(place) == []


# -- what comes after ----------------------------------------------------------------------------


async def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (lambda: Report(6), "returned another result"),
        (lambda: Snooze(60), "asked to be run again"),
        (lambda: Cancel("not needed"), "was cancelled"),
        (lambda: _raise(OSError("no mail")), "failed (OSError: no mail)"),
        (lambda: _raise(FailJob("no mail")), "failed (FailJob: no mail)"),
        (lambda: Report(5), None),
        (lambda: None, None),
    ],
)
async def test_the_commit_is_final_whatever_the_handler_does_then(
    place: PostgresPlace,
    service: JobService,
    caplog: pytest.LogCaptureFixture,
    after: Callable[[], Any],
    said: str | None,
) -> None:
    runs: list[int] = []

    @service.handler(REPORT, retries=3)
    async def report(job: Job[dict[str, Any]]) -> Report:
        runs.append(job.attempt)
        async with job.transaction(result=Report(5)) as connection:
            await connection.execute(order(place, "tea"))
        answer = after()
        return await answer if isinstance(answer, Awaitable) else answer  # type: ignore[no-any-return]

    await service.start()
    job_id = await service.schedule(REPORT, {})
    assert await service.result(job_id, timeout=10) == Report(5)
    await eventually_async(lambda: service.idle, "the worker has done all")
    info = await service.get_job(job_id)
    assert (info.status, info.result, info.errors) == ("completed", {"total": 5}, ())
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    if said is None:
        assert warnings == []
    else:
        assert len(warnings) == 1
        assert f"{job_id} stays completed" in warnings[0]
        assert said in warnings[0]
    assert runs == [1]


# -- where it cannot be --------------------------------------------------------------------------


async def test_a_storage_without_transactions_says_so() -> None:
    async with JobService(MemoryJobStorage()) as service:

        @service.handler("ORDER", retries=0)
        async def buy(job: Job[Any]) -> None:
            async with job.transaction():
                pass

        with pytest.raises(JobFailedError, match="cannot take part in a transaction"):
            await service.result(await service.schedule("ORDER", {}), timeout=10)


async def test_a_child_process_says_that_it_cannot(
    place: PostgresPlace, service: JobService
) -> None:
    service.register_handler("ORDER", isolated, isolation="process", retries=0)
    await service.start()
    with pytest.raises(JobFailedError, match="a worker runs in its own process"):
        await service.result(await service.schedule("ORDER", {}), timeout=30)
