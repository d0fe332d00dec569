"""`service.extend_workflow(job, connection=...)` within `job.transaction()`: what a handler writes,
the jobs that it adds to its workflow, and its completion are committed together, or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from backroom import (
    DatabaseJobStorage,
    FailJob,
    Job,
    JobFailedError,
    JobRequest,
    JobService,
    JobStateError,
    LeaseLostError,
    ServiceError,
    Unique,
    WorkflowInfo,
    blocking,
)
from backroom.transactions import at_once
from tests.postgres.clients import CLIENTS, PLAIN, Client, orders
from tests.postgres.completions import order, worker_service
from tests.postgres.django_project import django_connection
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace

__all__ = ["worker_service"]


@pytest.fixture
def fetched(service: JobService) -> list[int]:
    """The service knows FETCH, and SUM, which waits for some of these. The numbers of those that
    ran, in order."""
    numbers: list[int] = []

    @service.handler("FETCH")
    async def fetch(job: Job[dict[str, int]]) -> int:
        numbers.append(job.data["n"])
        return job.data["n"]

    @service.handler("SUM")
    async def sum_up(job: Job[Any]) -> int:
        return sum(await job.results_of("FETCH"))

    return numbers


async def list_and_sum(service: JobService) -> tuple[str, Any]:
    """A workflow in which SUM waits for LIST; its id, and that of the second."""
    async with service.workflow("import") as flow:
        total = flow.add("SUM", after=flow.add("LIST"))
    return flow.id, total.id


def fetches(*numbers: int) -> list[JobRequest[Any]]:
    return [JobRequest("FETCH", {"n": n}) for n in numbers]


async def jobs_of(service: JobService, flow_id: str) -> list[tuple[str, str]]:
    """Types and statuses, sorted."""
    info = await service.get_workflow(flow_id)
    return sorted((job.type, str(job.status)) for job in info.jobs)


# -- together ------------------------------------------------------------------------------------


async def test_all_is_committed_together(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    inside, go = asyncio.Event(), asyncio.Event()

    @service.handler("LIST")
    async def list_(job: Job[Any]) -> None:
        async with job.transaction() as connection:
            await connection.execute(order(place, "tea"))
            async with service.extend_workflow(job, connection=connection) as flow:
                flow.chain(*fetches(1, 2))
            inside.set()
            await go.wait()

    await service.start()
    flow_id, total = await list_and_sum(service)
    await asyncio.wait_for(inside.wait(), 10)
    assert await jobs_of(service, flow_id) == [("LIST", "active"), ("SUM", "blocked")]
    assert await orders(place) == []
    go.set()
    assert await service.result(total, timeout=10) == 2
    info = await service.wait_for_workflow(flow_id, timeout=10)
    assert (info.status, info.completed, info.total) == ("completed", 4, 4)
    assert fetched == [1, 2]
    assert await orders(place) == ["tea"]


async def test_an_error_after_it_rolls_all_back_and_the_next_attempt_adds_the_same(
    place: PostgresPlace, service: JobService, fetched: list[int], client: Client
) -> None:
    """On every kind of connection, also those without asyncio."""
    seen: list[list[tuple[str, str]]] = []

    @service.handler("LIST", retries=1)
    async def list_(job: Job[Any]) -> None:
        seen.append(await jobs_of(service, job.workflow or ""))
        async with job.transaction(client.connection) as same:
            await client.order(f"tea of attempt {job.attempt}")
            async with service.extend_workflow(job, connection=same) as flow:
                flow.group(fetches(1, 2))
            async with service.extend_workflow(job, connection=same) as flow:
                flow.add("FETCH", {"n": 3})
            if job.attempt == 1:
                raise OSError("no tea")

    await service.start()
    flow_id, total = await list_and_sum(service)
    assert await service.result(total, timeout=10) == 6
    assert seen == [[("LIST", "active"), ("SUM", "blocked")]] * 2
    assert (await service.wait_for_workflow(flow_id, timeout=10)).total == 5
    assert sorted(fetched) == [1, 2, 3]
    assert await orders(place) == ["tea of attempt 2"]


async def test_what_waits_for_the_job_itself_is_let_go_by_the_commit(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    """Also where it was added within the transaction that completes it; and of two blocks, the
    second knows the jobs of the first."""
    ended: list[str] = []

    @service.handler("LIST")
    async def list_(job: Job[Any]) -> None:
        async with job.transaction() as connection:
            async with service.extend_workflow(job, connection=connection) as flow:
                first = flow.add("FETCH", {"n": 1}, after=flow.job(job.id))
            async with service.extend_workflow(job, connection=connection) as flow:
                flow.add("FETCH", {"n": 2}, after=flow.job(first.id), anyway=True)
            ended.append(job.id)

    async with service.workflow("alone") as alone:
        alone.add("LIST")
    await service.start()
    info = await service.wait_for_workflow(alone.id, timeout=10)
    assert (info.status, info.completed, len(ended)) == ("completed", 3, 1)
    assert fetched == [1, 2]


async def test_what_an_attempt_has_added_by_itself_is_not_added_twice(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    """The first one adds at once, and fails; the second one with its transaction."""

    @service.handler("LIST", retries=1)
    async def list_(job: Job[Any]) -> None:
        if job.attempt == 1:
            async with service.extend_workflow(job) as flow:
                flow.group(fetches(1, 2))
            raise OSError("no tea")
        async with (
            job.transaction() as connection,
            service.extend_workflow(job, connection=connection) as flow,
        ):
            flow.group(fetches(1, 2))

    await service.start()
    flow_id, total = await list_and_sum(service)
    assert await service.result(total, timeout=10) == 3
    assert (await service.wait_for_workflow(flow_id, timeout=10)).total == 4


async def test_a_new_workflow_is_made_by_the_same_commit(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    made: list[str] = []

    @service.handler("LIST", retries=1)
    async def list_(job: Job[Any]) -> None:
        async with job.transaction() as connection:
            async with service.batch("next", connection=connection) as batch:
                batch.group(fetches(1, 2))
            made.append(batch.id)
            if job.attempt == 1:
                raise OSError("no tea")

    await service.start()
    flow_id, _ = await list_and_sum(service)
    await service.wait_for_workflow(flow_id, timeout=10)
    info = await service.wait_for_workflow(made[1], timeout=10)
    assert (info.status, info.total, sorted(fetched)) == ("completed", 2, [1, 2])
    assert made[0] not in [one.id for one in await service.get_workflows()]


# -- in threads ----------------------------------------------------------------------------------


async def test_a_handler_in_a_thread_adds_along_its_connection(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    for kind in PLAIN:
        async with PLAIN[kind](place) as client:
            await _in_a_thread(place, service, client, kind.lower())
    assert sorted(fetched) == sorted([1, 2] * len(PLAIN))
    assert await orders(place) == sorted(f"tea by {kind.lower()}" for kind in PLAIN)


async def _in_a_thread(
    place: PostgresPlace, service: JobService, client: Client, name: str
) -> None:
    jobs = blocking.JobService(service=service)

    def list_(job: Job[Any]) -> None:
        with job.transaction(client.connection) as same:
            at_once(client.order(f"tea by {name}"))
            with jobs.extend_workflow(job, connection=same) as flow:
                flow.group(fetches(1, 2))
            if job.attempt == 1:
                raise OSError("no tea")

    service.register_handler(f"LIST {name}", list_, retries=1)
    await service.start()
    async with service.workflow(name) as flow:
        total = flow.add("SUM", after=flow.add(f"LIST {name}"))
    assert await service.result(total.id, timeout=10) == 3


async def test_a_handler_in_a_thread_adds_along_the_connection_of_django(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    jobs = blocking.JobService(service=service)

    @service.handler("LIST", retries=1)
    def list_(job: Job[Any]) -> None:
        with (
            django_connection(urlsplit(place.url)) as connection,
            job.transaction(connection) as same,
        ):
            with same.cursor() as cursor:
                cursor.execute(order(place, f"tea of attempt {job.attempt}"))
            with jobs.extend_workflow(job, connection=same) as flow:
                flow.group(fetches(1, 2))
            if job.attempt == 1:
                raise OSError("no tea")

    await service.start()
    _, total = await list_and_sum(service)
    assert await service.result(total, timeout=10) == 3
    assert await orders(place) == ["tea of attempt 2"]


# -- when it may not -----------------------------------------------------------------------------


Extend = Callable[[Job[Any], Any], Awaitable[None]]


async def _outcome(service: JobService, handler: Extend) -> WorkflowInfo:
    """Of a workflow whose LIST does this in its transaction."""

    @service.handler("LIST", retries=0)
    async def list_(job: Job[Any]) -> None:
        async with job.transaction() as connection:
            await handler(job, connection)

    await service.start()
    flow_id, _ = await list_and_sum(service)
    return await service.wait_for_workflow(flow_id, timeout=10)


async def error_of(service: JobService, info: WorkflowInfo) -> str:
    [job_id] = [job.id for job in (await service.get_workflow(info.id)).jobs if job.type == "LIST"]
    with pytest.raises(JobFailedError) as error:
        await service.result(job_id, timeout=10)
    return str(error.value)


async def test_what_the_workflow_refuses_rolls_all_back(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    async with service.workflow("another") as another:
        stranger = another.add("FETCH", {"n": 0}, delay=3600)

    async def extend(job: Job[Any], connection: Any) -> None:
        await connection.execute(order(place, "tea"))
        async with service.extend_workflow(job, connection=connection) as flow:
            flow.add("FETCH", {"n": 1}, after=flow.job(stranger.id))

    info = await _outcome(service, extend)
    assert "is no job of this workflow" in await error_of(service, info)
    assert (info.status, info.total, fetched, await orders(place)) == ("failed", 2, [], [])


async def test_who_is_cancelled_while_it_runs_adds_nothing_whatever_it_makes_of_that(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    inside, told = asyncio.Event(), []

    @service.handler("LIST")
    async def list_(job: Job[Any]) -> None:
        try:
            async with job.transaction() as connection:
                await connection.execute(order(place, "tea"))
                async with service.extend_workflow(job, connection=connection) as flow:
                    flow.group(fetches(1, 2))
                inside.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    told.append("cancelled")
        except JobStateError as error:
            told.append(str(error))
            raise

    await service.start()
    flow_id, _ = await list_and_sum(service)
    await asyncio.wait_for(inside.wait(), 20)
    await service.cancel_workflow(flow_id)
    info = await service.wait_for_workflow(flow_id, timeout=20)
    assert (info.total, info.cancelled) == (2, 2)
    assert told[0] == "cancelled"
    assert "was cancelled while it ran" in told[1]
    assert (fetched, await orders(place)) == ([], [])


async def test_a_key_that_is_held_is_waited_for_by_who_holds_no_workflow_and_then_rolls_all_back(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    """While somebody's transaction has the key, another job of the same workflow ends."""
    keyed = JobRequest("FETCH", {"n": 1}, unique=Unique(key="ada", on_conflict="raise"))

    @service.handler("LIST", retries=0)
    async def list_(job: Job[Any]) -> None:
        async with job.transaction() as connection:
            await connection.execute(order(place, "tea"))
            async with service.extend_workflow(job, connection=connection) as flow:
                flow.group([keyed])

    async with CLIENTS["asyncpg"](place) as client:
        await client.begin()
        await service.schedule("FETCH", {"n": 7}, unique_key="ada", connection=client.connection)
        async with service.workflow("import") as flow:
            listing = flow.add("LIST")
            beside = flow.add("FETCH", {"n": 5}, delay=1)
        await service.start()
        assert await service.result(beside.id, timeout=10) == 5
        assert await service.get_job_status(listing.id) == "active"
        await client.commit()
    with pytest.raises(JobFailedError, match="holds the unique key 'ada'"):
        await service.result(listing.id, timeout=10)
    info = await service.wait_for_workflow(flow.id, timeout=10)
    assert (info.status, info.total, await orders(place)) == ("failed", 2, [])


async def test_an_attempt_that_adds_others_than_an_earlier_one_is_rolled_back(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    @service.handler("LIST", retries=1)
    async def list_(job: Job[Any]) -> None:
        if job.attempt == 1:
            async with service.extend_workflow(job) as flow:
                flow.group(fetches(1))
            raise OSError("no tea")
        async with job.transaction() as connection:
            await connection.execute(order(place, "tea"))
            async with service.extend_workflow(job, connection=connection) as flow:
                flow.group(fetches(1, 2))

    await service.start()
    flow_id, _ = await list_and_sum(service)
    info = await service.wait_for_workflow(flow_id, timeout=10)
    assert "has added other jobs" in await error_of(service, info)
    assert (info.status, fetched, await orders(place)) == ("failed", [1], [])


async def test_a_block_that_is_left_by_an_error_adds_nothing_and_the_rest_is_committed(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    async def extend(job: Job[Any], connection: Any) -> None:
        await connection.execute(order(place, "tea"))
        try:
            async with service.extend_workflow(job, connection=connection) as flow:
                flow.group(fetches(1))
                raise FailJob("no more")
        except FailJob:
            left.append(job.id)

    left: list[str] = []

    info = await _outcome(service, extend)
    assert (info.status, info.total, fetched, len(left)) == ("completed", 2, [], 1)
    assert await orders(place) == ["tea"]


async def test_only_the_connection_of_the_open_transaction_is_taken(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    said: list[str] = []

    @service.handler("LIST")
    async def list_(job: Job[Any]) -> None:
        def refused(connection: object) -> None:
            with pytest.raises(ServiceError, match="is for the block of") as error:
                service.extend_workflow(job, connection=connection)
            said.append(str(error.value))

        async with CLIENTS["asyncpg"](place) as client:
            refused(client.connection)
            async with job.transaction() as connection:
                refused(client.connection)
                late = service.extend_workflow(job, connection=connection)
                await late.__aenter__()
                late.add("FETCH", {"n": 1})
            refused(connection)
            with pytest.raises(ServiceError, match="end the block of extend_workflow before") as no:
                await late.__aexit__(None, None, None)
            said.append(str(no.value))

    await service.start()
    flow_id, total = await list_and_sum(service)
    assert await service.result(total, timeout=10) == 0
    assert (len(said), fetched) == (4, [])
    assert (await service.get_workflow(flow_id)).total == 2


async def test_who_has_lost_the_lease_adds_nothing(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    """The job has gone back meanwhile, and is run anew; the stale one is told so, whatever it
    adds."""
    other = DatabaseJobStorage(place.url, schema=place.schema)
    await other.open()
    caught: list[LeaseLostError] = []
    runs: list[str] = []
    inside, go = threading.Event(), threading.Event()
    jobs = blocking.JobService(service=service)

    @service.handler("LIST", retries=0)
    def list_(job: Job[Any]) -> None:
        runs.append(job.id)
        run = len(runs)
        with psycopg.connect(place.url) as connection:
            try:
                with job.transaction(connection):
                    connection.execute(order(place, f"tea of run {run}"))
                    with jobs.extend_workflow(job, connection=connection) as flow:
                        flow.group(fetches(*range(3 - run)))
                    if run == 1:
                        inside.set()
                        go.wait(10)
            except LeaseLostError as error:
                caught.append(error)

    await service.start()
    flow_id, total = await list_and_sum(service)
    await asyncio.to_thread(inside.wait, 10)
    await other.retire(service._worker._lease.worker)  # type: ignore[union-attr]
    assert await service.result(total, timeout=20) == 0
    go.set()
    await eventually_async(lambda: caught, "the stale one has been told")
    assert "nothing of its transaction was written" in str(caught[0])
    assert await orders(place) == ["tea of run 2"]
    assert (await service.get_workflow(flow_id)).total == 3
    await other.close()


# -- beside others -------------------------------------------------------------------------------


async def test_a_transaction_that_stays_open_keeps_nobody_of_its_workflow_from_ending(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    inside, go = asyncio.Event(), asyncio.Event()

    @service.handler("LIST")
    async def list_(job: Job[Any]) -> None:
        async with job.transaction() as connection:
            async with service.extend_workflow(job, connection=connection) as flow:
                flow.group(fetches(1))
            inside.set()
            await go.wait()

    await service.start()
    async with service.workflow("import") as flow:
        flow.add("LIST")
        beside = flow.add("SUM", after=flow.add("FETCH", {"n": 5}, delay=0.5))
    await asyncio.wait_for(inside.wait(), 10)
    assert await service.result(beside.id, timeout=10) == 5
    assert await service.get_job_status(beside.id) == "completed"
    assert not go.is_set()
    go.set()
    assert (await service.wait_for_workflow(flow.id, timeout=10)).completed == 4


async def test_many_that_add_and_end_at_once_are_in_nobodys_way(
    place: PostgresPlace, service: JobService, fetched: list[int]
) -> None:
    """Jobs of few claims and several workflows: each waits for the row of its workflow, then for
    that of its claim, and none for one that waits for it."""
    service.configure(concurrency=20)
    together = asyncio.Barrier(20)

    @service.handler("LIST", retries=0)
    async def list_(job: Job[dict[str, int]]) -> None:
        async with job.transaction() as connection:
            await connection.execute(order(place, job.id))
            async with service.extend_workflow(job, connection=connection) as flow:
                flow.group(fetches(1, 2))
            async with asyncio.timeout(20):
                await together.wait()

    flows = []
    for _ in range(4):
        async with service.workflow("import") as flow:
            total = flow.add("SUM", after=flow.group([JobRequest("LIST")] * 5))
        flows.append((flow.id, total.id))
    await service.start()
    for flow_id, total in flows:
        assert await service.result(total, timeout=30) == 15
        info = await service.wait_for_workflow(flow_id, timeout=10)
        assert (info.status, info.completed) == ("completed", 16)
    assert len(await orders(place)) == 20
    assert len(fetched) == 40


# -- the end of a workflow, along every kind of connection ----------------------------------------


async def test_the_last_job_of_a_workflow_may_end_with_a_transaction(
    place: PostgresPlace, service: JobService, speaker: Client
) -> None:
    """All that follows is done along its connection: a callback is let go, another cancelled, and
    undo jobs are made."""
    ran: list[str] = []

    @service.handler("BOOK", retries=0)
    async def book(job: Job[dict[str, str]]) -> str:
        if job.data["what"] == "car":
            raise OSError("no car")
        async with job.transaction(speaker.connection, result=job.data["what"]):
            await speaker.order(job.data["what"])
        return job.data["what"]

    @service.handler("UNDO", queue="of undo jobs alone")
    async def undo(job: Job[dict[str, str]]) -> None:
        ran.append(f"undo {job.data['what']} {await job.result_of('BOOK')}")

    @service.handler("TELL")
    async def tell(job: Job[dict[str, str]]) -> None:
        ran.append(job.data["what"])

    async with service.workflow(
        "trip",
        on_failure="compensate",
        on_success=JobRequest("TELL", {"what": "success"}),
        on_complete=JobRequest("TELL", {"what": "complete"}),
    ) as flow:
        flow.add("BOOK", {"what": "car"})
        said = {"what": "hotel"}
        flow.add("BOOK", said, undo=JobRequest("UNDO", said), delay=0.5)
    await service.start()
    info = await service.wait_for_workflow(flow.id, timeout=10)
    assert (info.status, info.completed, info.failed) == ("failed", 1, 1)
    assert sorted(ran) == ["complete", "undo hotel hotel"]
    assert await orders(place) == ["hotel"]
