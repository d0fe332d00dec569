"""A workflow that is made within a transaction of the application's: it is there, with all of its
jobs, if, and only if, that commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from backroom import (
    ConfigurationError,
    DatabaseJobStorage,
    DuplicateJobError,
    FileJobStorage,
    Job,
    JobRequest,
    JobService,
    JobType,
    MemoryJobStorage,
    OptionError,
    Unique,
    UnknownJobTypeError,
    WorkflowNotFoundError,
)
from backroom.ports import Wake
from backroom.workflow import FlowJob, Workflow
from tests.postgres.clients import AUTOCOMMIT, CLIENTS, Client, autocommit, orders
from tests.servers.fixtures import PostgresPlace


async def make(service: JobService, connection: object, queue: str = "default") -> str:
    """Two jobs, one behind the other, and a callback."""
    told = JobRequest("MAIL", {"n": 3})
    async with service.workflow("mails", on_success=told, connection=connection) as flow:
        first = flow.add("MAIL", {"n": 1}, queue=queue)
        flow.add("MAIL", {"n": 2}, queue=queue, after=first)
    return flow.id


async def jobs_of(service: JobService, flow_id: str) -> list[tuple[int, str]]:
    """Their numbers and statuses."""
    found = [await service.get_job(job.id) for job in (await service.get_workflow(flow_id)).jobs]
    return sorted((info.data["n"], str(info.status)) for info in found)


async def count(service: JobService) -> int:
    return sum((await service.get_stats()).by_status.values())


async def test_a_workflow_is_there_if_and_only_if_the_transaction_commits(
    place: PostgresPlace, service: JobService, client: Client
) -> None:
    for end in (client.rollback, client.commit):
        await client.begin()
        await client.order("tea")
        flow_id = await make(service, client.connection)
        with pytest.raises(WorkflowNotFoundError):
            await service.get_workflow(flow_id)
        assert await count(service) == 0
        await end()
    assert [one.id for one in await service.get_workflows()] == [flow_id]
    assert await jobs_of(service, flow_id) == [(1, "pending"), (2, "blocked"), (3, "blocked")]
    assert await count(service) == 3
    assert await orders(place) == ["tea"]


@pytest.mark.parametrize("jobs", [0, 2])
async def test_the_commit_wakes_a_worker(service: JobService, speaker: Client, jobs: int) -> None:
    """Also of a batch without jobs, whose callback waits for nothing."""
    ended: list[int] = []

    @service.handler("WORK", queue="a queue nobody has named before")
    async def work(job: Job[dict[str, int]]) -> None:
        ended.append(job.data["n"])

    listening = asyncio.Event()
    service.storage.subscribe(lambda wake: wake is Wake.JOBS and listening.set())
    await service.start()  # It looks by itself only once a minute.
    await asyncio.wait_for(listening.wait(), 10)
    while not service.idle:
        await asyncio.sleep(0.005)
    await speaker.begin()
    await speaker.order("tea")
    told = JobRequest("WORK", {"n": jobs})
    async with service.batch("work", on_success=told, connection=speaker.connection) as batch:
        for n in range(jobs):
            batch.add("WORK", {"n": n})
    assert ended == []
    await speaker.commit()
    info = await service.wait_for_workflow(batch.id, timeout=10)
    assert (info.status, info.completed, info.total) == ("completed", jobs, jobs)
    assert sorted(ended) == list(range(jobs + 1))


class NoTea(Exception):
    pass


async def test_a_block_that_is_left_by_an_error_leaves_the_transaction_as_it_was(
    place: PostgresPlace, service: JobService, speaker: Client
) -> None:

    async def say(spoil: Callable[[Workflow, FlowJob[Any]], object]) -> None:
        async with service.workflow("mails", connection=speaker.connection) as flow:
            spoil(flow, flow.add("MAIL"))

    def fail(flow: Workflow, job: FlowJob[Any]) -> None:
        raise NoTea

    await speaker.begin()
    await speaker.order("tea")
    with pytest.raises(NoTea):
        await say(fail)
    with pytest.raises(UnknownJobTypeError):
        await say(lambda flow, job: flow.add("LETTER"))
    with pytest.raises(OptionError, match="wait for each other"):
        await say(lambda flow, job: flow.order(job, flow.add("MAIL"), job))
    flow_id = await make(service, speaker.connection)
    await speaker.commit()
    assert [one.id for one in await service.get_workflows()] == [flow_id]
    assert await count(service) == 3
    assert await orders(place) == ["tea"]


async def test_a_workflow_whose_key_is_held_leaves_the_transaction_as_it_was(
    place: PostgresPlace, service: JobService, speaker: Client
) -> None:
    keyed = Unique(key="ada", on_conflict="raise")
    held = await service.schedule("MAIL", unique_key="ada")

    async def say() -> str:
        async with service.batch("mails", connection=speaker.connection) as batch:
            batch.add("MAIL", unique=keyed)
            batch.add("MAIL", unique=Unique(key="bob", on_conflict="raise"))  # Of which none stays.
        return batch.id

    await speaker.begin()
    await speaker.order("tea")
    with pytest.raises(DuplicateJobError) as refused:
        await say()
    assert refused.value.job_id == held
    await service.cancel_job(held)
    flow_id = await say()
    await speaker.commit()
    assert [one.id for one in await service.get_workflows()] == [flow_id]
    assert await count(service) == 3
    assert await orders(place) == ["tea"]
    with pytest.raises(DuplicateJobError):
        await service.schedule("MAIL", unique=keyed)


async def test_several_of_one_transaction_and_of_two_at_once(
    place: PostgresPlace, service: JobService
) -> None:
    async with CLIENTS["asyncpg"](place) as one, CLIENTS["psycopg-async"](place) as other:
        await one.begin()
        await other.begin()
        kept = [await make(service, one.connection, "new"), await make(service, one.connection)]
        await make(service, other.connection, "new")
        await asyncio.wait_for(one.commit(), 10)
        kept.append(await make(service, None, "new"))
        await other.rollback()
    assert sorted(flow.id for flow in await service.get_workflows()) == sorted(kept)
    assert await count(service) == 9


async def test_more_jobs_than_one_statement_takes(service: JobService, speaker: Client) -> None:
    await speaker.begin()
    async with service.workflow("many", connection=speaker.connection) as flow:
        jobs = flow.group(JobRequest("MAIL", {"n": n}) for n in range(2100))
        flow.add("MAIL", after=jobs)
    assert await count(service) == 0
    await speaker.commit()
    assert (await service.get_workflow(flow.id)).total == await count(service) == 2101


# -- without a transaction -----------------------------------------------------------------------


async def make_many(service: JobService, connection: object) -> None:
    """More jobs than one statement takes."""
    async with service.batch("many", connection=connection) as flow:
        flow.group(JobRequest("MAIL", {"n": n}) for n in range(2100))


@pytest.mark.parametrize("kind", AUTOCOMMIT)
async def test_without_a_transaction_a_workflow_has_one_of_its_own(
    place: PostgresPlace, service: JobService, kind: str
) -> None:
    async with autocommit(kind, place) as connection:
        await make_many(service, connection)
    assert await count(service) == 2100


@pytest.mark.parametrize("kind", AUTOCOMMIT)
async def test_without_a_transaction_all_of_a_workflow_is_kept_or_nothing(
    place: PostgresPlace, service: JobService, kind: str
) -> None:
    """The second statement of two fails."""
    connection = await asyncpg.connect(place.url)
    jobs = f"{place.schema}.background_jobs"
    await connection.execute(f"ALTER TABLE {jobs} ADD CHECK (data NOT LIKE '%2099%')")
    await connection.close()
    async with autocommit(kind, place) as own:
        with pytest.raises(Exception, match="violates check constraint"):
            await make_many(service, own)
    assert await count(service) == 0
    assert list(await service.get_workflows()) == []


# -- refusals ------------------------------------------------------------------------------------


async def test_storages_without_transactions_say_so(tmp_path: Path) -> None:
    for storage in (MemoryJobStorage(), FileJobStorage(tmp_path)):
        async with JobService(storage) as service:
            said: list[str] = []

            @service.handler("MAIL")
            async def mail(
                job: Job[Any], service: JobService = service, said: list[str] = said
            ) -> None:
                with pytest.raises(ConfigurationError, match="cannot take part") as error:
                    service.extend_workflow(job, connection=object())
                said.append(str(error.value))

            for begin in (service.workflow, service.batch):
                with pytest.raises(ConfigurationError, match="cannot take part in a transaction"):
                    begin("mails", connection=object())
            assert await count(service) == 0
            async with service.batch("mails") as batch:
                batch.add("MAIL")
            info = await service.wait_for_workflow(batch.id, timeout=10)
            assert (info.status, len(said)) == ("completed", 1)


async def test_what_is_no_connection_is_refused(service: JobService) -> None:
    with pytest.raises(OptionError, match="connection must be a connection of asyncpg"):
        service.workflow("mails", connection="postgresql://localhost")


async def test_a_connection_to_another_database_is_refused(
    place: PostgresPlace, service: JobService, postgres_server: Any
) -> None:
    name = f"{place.schema}_other"
    connection = await asyncpg.connect(postgres_server.create_database(name))
    try:
        transaction = connection.transaction()
        await transaction.start()
        with pytest.raises(ConfigurationError, match=f"{name}, where it finds no table"):
            await make(service, connection)
        # The application's transaction goes on.
        assert await connection.fetchval("SELECT 1") == 1
        await transaction.rollback()
    finally:
        await connection.close()
        postgres_server.drop_database(name)


# -- beside others -------------------------------------------------------------------------------


async def test_nobody_waits_for_a_transaction_that_has_made_a_workflow(
    place: PostgresPlace, service: JobService
) -> None:
    """Not who names the same queue, nor who works, nor retention, nor who looks."""

    @service.handler("WORK", queue="new")
    async def work(job: Job[Any]) -> None:
        pass

    elsewhere = JobService(DatabaseJobStorage(place.url, schema=place.schema, retention=0))
    elsewhere.declare("WORK")
    async with CLIENTS["asyncpg"](place) as client:
        await client.begin()
        async with service.workflow("open", connection=client.connection) as held:
            held.chain(JobRequest("WORK"), JobRequest("WORK"))
        await service.start()
        async with asyncio.timeout(10):
            async with elsewhere.workflow("other", on_complete=JobRequest("WORK")) as flow:
                flow.chain(*[JobRequest("WORK", queue="new")] * 3)
            info = await service.wait_for_workflow(flow.id)
            await elsewhere.storage.prune(elsewhere.storage.clock.now(), 1000)
            await elsewhere.get_workflows()
        assert info.status == "completed"
        await client.commit()
    assert (await service.wait_for_workflow(held.id, timeout=10)).status == "completed"
    await elsewhere.stop()


async def test_a_snapshot_from_before_its_queue_had_a_name_does_not_fail(
    place: PostgresPlace, service: JobService
) -> None:
    connection = await asyncpg.connect(place.url)
    async with connection.transaction(isolation="repeatable_read"):
        await connection.fetchval("SELECT 1")
        flow_id = await make(service, connection, queue="new")
    await connection.close()
    assert await jobs_of(service, flow_id) == [(1, "pending"), (2, "blocked"), (3, "blocked")]


async def test_of_a_connection_that_is_cut_nothing_is_kept(
    place: PostgresPlace, service: JobService
) -> None:
    connection = await asyncpg.connect(place.url)
    await connection.transaction().start()
    flow_id = await make(service, connection)
    killer = await asyncpg.connect(place.url)
    pid = connection.get_server_pid()
    assert await killer.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await killer.close()
    connection.terminate()
    with pytest.raises(WorkflowNotFoundError):
        await service.get_workflow(flow_id)
    assert await count(service) == 0


async def test_its_first_jobs_take_turns(
    place: PostgresPlace, service: JobService, client: Client
) -> None:
    kind = JobType("TURN", dict[str, str], fair_by="data.tenant")
    for _ in range(5):
        await service.schedule(kind, {"tenant": "a"})
    await client.begin()
    async with service.workflow("turns", connection=client.connection) as flow:
        job = flow.add(kind, {"tenant": "b"})
    await client.commit()
    many = [info for info in await service.get_jobs() if info.data["tenant"] == "a"]
    assert len(many) == 5
    one = await service.get_job(job.id)
    assert one.run_at <= sorted(info.run_at for info in many)[1]
