"""A job that is scheduled within a transaction of the application's: it is there if, and only if,
that commits."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest
from django.db.backends.sqlite3.base import DatabaseWrapper
from sqlalchemy import create_engine

from backroom import (
    ConfigurationError,
    DatabaseJobStorage,
    Job,
    JobNotFoundError,
    JobRequest,
    JobService,
    JobType,
    MemoryJobStorage,
    OptionError,
    StorageError,
)
from backroom.ports import Wake
from tests.postgres.clients import (
    AUTOCOMMIT,
    CLIENTS,
    Client,
    async_alchemy,
    autocommit,
    orders,
)
from tests.servers.fixtures import PostgresPlace


async def count(service: JobService) -> int:
    return sum((await service.get_stats()).by_status.values())


async def test_a_job_is_there_when_the_transaction_has_committed(
    place: PostgresPlace, service: JobService, client: Client
) -> None:
    await client.begin()
    await client.order("tea")
    job_id = await service.schedule("MAIL", {"to": "ada@example.com"}, connection=client.connection)
    with pytest.raises(JobNotFoundError):
        await service.get_job(job_id)
    await client.commit()
    assert (await service.get_job(job_id)).data == {"to": "ada@example.com"}
    assert await orders(place) == ["tea"]


async def test_the_version_of_its_data_is_kept_with_it(
    place: PostgresPlace, service: JobService, client: Client
) -> None:
    kind = JobType("NEW", dict, version=2, upgrade={1: dict})
    await client.begin()
    job_id = await service.schedule(kind, {}, connection=client.connection)
    keyed = await service.schedule(kind, {}, unique_key="ada", connection=client.connection)
    await client.commit()
    assert [(await service.get_job(one)).version for one in (job_id, keyed)] == [2, 2]


@pytest.mark.parametrize("first", ["the order", "the job"])
async def test_a_job_never_was_when_the_transaction_is_rolled_back(
    place: PostgresPlace, service: JobService, client: Client, first: str
) -> None:
    await client.begin()
    if first == "the order":  # A driver may begin its transaction with the first statement only.
        await client.order("tea")
    job_id = await service.schedule("MAIL", {}, connection=client.connection)
    keyed = await service.schedule("MAIL", {}, unique_key="ada", connection=client.connection)
    if first == "the job":
        await client.order("tea")
    await client.rollback()
    for one in (job_id, keyed):
        with pytest.raises(JobNotFoundError):
            await service.get_job(one)
    assert await orders(place) == []
    # Its key is free, and it is used again.
    again = await service.schedule("MAIL", {}, unique_key="ada")
    assert again != keyed
    assert await count(service) == 1


async def test_the_commit_wakes_a_worker(service: JobService, speaker: Client) -> None:
    done = asyncio.Event()

    @service.handler("WORK", queue="a queue nobody has named before")
    async def work(job: Job[Any]) -> None:
        done.set()

    listening = asyncio.Event()
    service.storage.subscribe(lambda wake: wake is Wake.JOBS and listening.set())
    await service.start()  # It looks by itself only once a minute.
    await asyncio.wait_for(listening.wait(), 10)
    while not service.idle:
        await asyncio.sleep(0.005)
    await speaker.begin()
    await speaker.order("tea")
    job_id = await service.schedule("WORK", {}, connection=speaker.connection)
    assert not done.is_set()
    await speaker.commit()
    await asyncio.wait_for(done.wait(), 10)
    assert await service.result(job_id, timeout=10) is None


async def test_all_that_holds_of_a_job_holds_within_a_transaction(
    service: JobService, speaker: Client
) -> None:
    held = await service.schedule("MAIL", {}, unique_key="ada")
    odd = 'a "quote" 100% %(p1)s $1 \\ \u0394 \ufdd0\ufdd1'
    await speaker.begin()
    many = await service.schedule_many(
        [
            JobRequest(
                "MAIL", {"n": 1, "zero": "a\0b", "odd": odd}, priority="low", tags=[odd[:18]]
            ),
            JobRequest("MAIL", {"n": 2}, unique_key="ada"),
            JobRequest("MAIL", {"n": 3}, unique_key=odd, delay=60, expires_in=3600),
            JobRequest("MAIL", {"n": 4}, unique_key=odd),
        ],
        connection=speaker.connection,
    )
    assert await service.schedule_many([], connection=speaker.connection) == []
    with pytest.raises(OptionError, match="job 1 of schedule_many"):
        await service.schedule_many(
            [JobRequest("MAIL", {}), JobRequest("MAIL", {}, delay=-1)],
            connection=speaker.connection,
        )
    await speaker.commit()  # What was refused has not harmed it.
    assert many[1] == held
    assert many[3] == many[2]
    first, third = await service.get_job(many[0]), await service.get_job(many[2])
    assert first.data == {"n": 1, "zero": "a\0b", "odd": odd}
    assert (first.priority, first.tags) == ("low", (odd[:18],))
    assert (third.data, third.status) == ({"n": 3}, "scheduled")
    assert await count(service) == 3


async def test_an_id_that_is_there_is_that_job(
    service: JobService, speaker: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an unknown reply: asked again, it is not made again."""
    job_id = await service.schedule("MAIL", {})
    other = await service.schedule("MAIL", {}, unique_key="ada")
    ids = iter([str(job_id), str(other)])
    monkeypatch.setattr(service._records, "_make_id", lambda now: next(ids))
    await speaker.begin()
    assert await service.schedule("MAIL", {"n": 2}, connection=speaker.connection) == job_id
    again = await service.schedule("MAIL", {}, unique_key="ada", connection=speaker.connection)
    assert again == other
    await speaker.commit()
    assert (await service.get_job(job_id)).data == {}
    assert await count(service) == 2


async def test_more_jobs_than_one_statement_takes(service: JobService, speaker: Client) -> None:
    await speaker.begin()
    requests = [JobRequest("MAIL", {"n": n}) for n in range(2100)]
    ids = await service.schedule_many(requests, connection=speaker.connection)
    assert await count(service) == 0
    await speaker.commit()
    assert await count(service) == len(set(ids)) == 2100


# -- without a transaction -----------------------------------------------------------------------


async def schedule_many(kind: str, place: PostgresPlace, service: JobService) -> None:
    """More jobs than one statement takes."""
    requests = [JobRequest("MAIL", {"n": n}) for n in range(2100)]
    async with autocommit(kind, place) as connection:
        await service.schedule_many(requests, connection=connection)


@pytest.mark.parametrize("kind", AUTOCOMMIT)
async def test_without_a_transaction_the_jobs_have_one_of_their_own(
    place: PostgresPlace, service: JobService, kind: str
) -> None:
    await schedule_many(kind, place, service)
    assert await count(service) == 2100


@pytest.mark.parametrize("kind", AUTOCOMMIT)
async def test_without_a_transaction_all_jobs_are_kept_or_none(
    place: PostgresPlace, service: JobService, kind: str
) -> None:
    """The second statement of two fails."""
    connection = await asyncpg.connect(place.url)
    jobs = f"{place.schema}.background_jobs"
    await connection.execute(f"ALTER TABLE {jobs} ADD CHECK (data NOT LIKE '%2099%')")
    await connection.close()
    with pytest.raises(Exception, match="violates check constraint"):
        await schedule_many(kind, place, service)
    assert await count(service) == 0


# -- refusals ------------------------------------------------------------------------------------


class Other:
    def __repr__(self) -> str:
        return "<something else>"


async def test_what_is_no_connection_is_refused(place: PostgresPlace, service: JobService) -> None:
    async with async_alchemy(place, "asyncpg") as engine:
        for other in (Other(), "postgresql://localhost", 5, engine, place):
            with pytest.raises(OptionError, match="connection must be a connection of asyncpg"):
                await service.schedule("MAIL", {}, connection=other)
    lite = create_engine("sqlite://")
    with (
        lite.connect() as connection,
        pytest.raises(OptionError, match=r"sqlite\+pysqlite: take one over postgresql\+asyncpg"),
    ):
        await service.schedule("MAIL", {}, connection=connection)
    lite.dispose()
    with pytest.raises(OptionError, match="Django to sqlite: take one to PostgreSQL"):
        await service.schedule("MAIL", {}, connection=DatabaseWrapper({}))
    with (
        contextlib.closing(psycopg2.connect(place.url, async_=True)) as plain,
        pytest.raises(OptionError, match="psycopg2 in its async mode is not taken"),
    ):
        await service.schedule("MAIL", {}, connection=plain)
    assert await count(service) == 0


async def test_a_storage_without_transactions_says_so() -> None:
    service = JobService(MemoryJobStorage())
    service.declare("MAIL")
    with pytest.raises(ConfigurationError, match="cannot take part in a transaction"):
        await service.schedule("MAIL", {}, connection=object())
    with pytest.raises(ConfigurationError, match="cannot take part in a transaction"):
        await service.schedule_many([JobRequest("MAIL", {})], connection=object())
    assert await count(service) == 0
    await service.stop()


async def test_a_connection_to_another_database_is_refused(
    place: PostgresPlace, service: JobService, postgres_server: Any
) -> None:
    name = f"{place.schema}_other"
    url = postgres_server.create_database(name)
    connection = await asyncpg.connect(url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        with pytest.raises(ConfigurationError, match=f"{name}, where it finds no table"):
            await service.schedule("MAIL", {}, connection=connection)
        # The application's transaction goes on.
        assert await connection.fetchval("SELECT 1") == 1
        await transaction.rollback()
        twin = DatabaseJobStorage(url, schema=place.schema)
        await twin.open()
        await twin.close()
        with pytest.raises(ConfigurationError, match="tables of that name that are not those"):
            await service.schedule("MAIL", {}, connection=connection)
    finally:
        await connection.close()
        postgres_server.drop_database(name)


async def test_what_is_wrong_with_the_transaction_is_said_by_its_driver(
    place: PostgresPlace, service: JobService
) -> None:
    with psycopg.connect(place.url) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / 0")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await service.schedule("MAIL", {}, connection=connection)
        connection.rollback()
        await service.schedule("MAIL", {}, connection=connection)
    assert await count(service) == 1


# -- beside others -------------------------------------------------------------------------------


async def test_nobody_waits_for_a_transaction_that_names_a_new_queue(
    place: PostgresPlace, service: JobService
) -> None:
    async with CLIENTS["asyncpg"](place) as client:
        await client.begin()
        await service.schedule("MAIL", {}, queue="new", connection=client.connection)
        elsewhere = JobService(DatabaseJobStorage(place.url, schema=place.schema))
        elsewhere.declare("MAIL")
        await asyncio.wait_for(elsewhere.schedule("MAIL", {}, queue="new"), 10)
        await elsewhere.stop()
        await client.rollback()
    assert await count(service) == 1


async def test_a_queue_whose_first_insert_did_not_commit_is_served_by_its_next(
    place: PostgresPlace, service: JobService
) -> None:
    connection = await asyncpg.connect(place.url, server_settings={"search_path": place.schema})
    await connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'refused at the commit'; END $$;"
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON background_jobs DEFERRABLE INITIALLY"
        " DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    service.register_handler("WORK", lambda job: None, queue="new")
    with pytest.raises(StorageError, match="refused at the commit"):
        await service.schedule("WORK", {})
    await connection.execute("DROP TRIGGER late ON background_jobs")
    await connection.close()
    await service.start()
    await service.result(await service.schedule("WORK", {}), timeout=10)


async def test_who_waits_for_a_key_keeps_nobody_else_waiting(
    place: PostgresPlace, service: JobService
) -> None:
    async with CLIENTS["asyncpg"](place) as client:
        await client.begin()
        first = await service.schedule("MAIL", {}, unique_key="ada", connection=client.connection)
        waiting = [
            asyncio.create_task(service.schedule("MAIL", {}, unique_key="ada")) for _ in range(5)
        ]
        await asyncio.wait_for(
            asyncio.gather(*[service.schedule("MAIL", {}) for _ in range(5)]), 10
        )
        assert not any(task.done() for task in waiting)
        await client.commit()
        assert await asyncio.gather(*waiting) == [first] * 5
    assert await count(service) == 6


async def test_tasks_take_a_connection_among_their_options(
    place: PostgresPlace, service: JobService
) -> None:
    @service.task
    async def add(a: int, b: int) -> int:
        return a + b

    async with CLIENTS["asyncpg"](place) as client:
        await client.begin()
        bound = add.options(connection=client.connection)
        job_id = await bound.options(delay=60).schedule(1, b=2)
        with pytest.raises(JobNotFoundError):
            await service.get_job(job_id)
        await client.commit()
    assert (await service.get_job(job_id)).status == "scheduled"
