"""The same without asyncio: statements run on the caller's connection, in the caller's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest

from backroom import (
    DatabaseJobStorage,
    JobNotFoundError,
    JobRequest,
    OptionError,
    WorkflowNotFoundError,
)
from backroom.blocking import JobService
from tests.postgres.clients import PLAIN, Client, orders
from tests.postgres.django_project import django_connection
from tests.servers.fixtures import PostgresPlace


@pytest.fixture
def jobs(place: PostgresPlace) -> Iterator[JobService]:
    service = JobService(DatabaseJobStorage(place.url, schema=place.schema))
    service.declare("MAIL")
    service.open()
    yield service
    service.stop()


@pytest.fixture(params=list(PLAIN.values()), ids=list(PLAIN))
def client(request: pytest.FixtureRequest, place: PostgresPlace) -> Iterator[Client]:
    """Opened and closed by a loop that runs only then."""
    with asyncio.Runner() as runner:
        opened: AbstractAsyncContextManager[Client] = request.param(place)
        yield runner.run(opened.__aenter__())
        runner.run(opened.__aexit__(None, None, None))


def do(step: Any) -> None:
    """One step of a client that has no use for a loop."""
    with pytest.raises(StopIteration):
        step.send(None)


def count(service: JobService) -> int:
    return sum(service.get_stats().by_status.values())


def test_a_job_is_there_if_and_only_if_the_transaction_commits(
    place: PostgresPlace, jobs: JobService, client: Client
) -> None:
    for end, there in ((client.rollback, 0), (client.commit, 3)):
        do(client.order("tea"))
        job_id = jobs.schedule("MAIL", {"n": 1}, connection=client.connection)
        many = [JobRequest("MAIL", {"n": 2}), JobRequest("MAIL", {"n": 3}, unique_key="ada")]
        assert len(jobs.schedule_many(many, connection=client.connection)) == 2
        with pytest.raises(JobNotFoundError):
            jobs.get_job(job_id)
        do(end())
        assert count(jobs) == there
    assert jobs.get_job(job_id).data == {"n": 1}
    assert asyncio.run(orders(place)) == ["tea"]


def make(jobs: JobService, connection: object) -> str:
    """A workflow of two jobs, one behind the other, and a callback."""
    with jobs.workflow("mails", on_complete=JobRequest("MAIL"), connection=connection) as flow:
        flow.chain(JobRequest("MAIL", {"n": 1}), JobRequest("MAIL", {"n": 2}))
    return flow.id


def test_a_workflow_is_there_if_and_only_if_the_transaction_commits(
    place: PostgresPlace, jobs: JobService, client: Client
) -> None:
    for end in (client.rollback, client.commit):
        do(client.order("tea"))
        flow_id = make(jobs, client.connection)
        with pytest.raises(WorkflowNotFoundError):
            jobs.get_workflow(flow_id)
        do(end())
    statuses = sorted(str(job.status) for job in jobs.get_workflow(flow_id).jobs)
    assert statuses == ["blocked", "blocked", "pending"]
    assert [one.id for one in jobs.get_workflows()] == [flow_id]
    assert asyncio.run(orders(place)) == ["tea"]


class Watched(psycopg.Connection[Any]):
    """Notes which threads wait for the server on it."""

    threads: set[int]

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        self.threads.add(threading.get_ident())
        return super().wait(*args, **kwargs)


def test_the_connection_is_used_by_the_thread_that_calls_alone(
    place: PostgresPlace, jobs: JobService
) -> None:
    Watched.threads = set()
    with Watched.connect(place.url) as connection:
        jobs.schedule("MAIL", {}, connection=connection)
        jobs.schedule_many([JobRequest("MAIL", {})] * 3, connection=connection)
        make(jobs, connection)
    assert Watched.threads == {threading.get_ident()}
    assert count(jobs) == 7


def test_a_connection_for_asyncio_is_refused(place: PostgresPlace, jobs: JobService) -> None:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(place.url))
        with pytest.raises(OptionError, match="a connection for asyncio: give it to"):
            jobs.schedule("MAIL", {}, connection=connection)
        with pytest.raises(OptionError, match="a connection for asyncio: give it to"):
            make(jobs, connection)
        runner.run(connection.close())
    assert count(jobs) == 0


def test_a_task_takes_a_connection_among_its_options(
    place: PostgresPlace, jobs: JobService
) -> None:
    @jobs.task
    def add(a: int, b: int) -> int:
        return a + b

    Watched.threads = set()
    with Watched.connect(place.url) as connection:
        job_id = add.options(connection=connection).schedule(1, b=2)
        with pytest.raises(JobNotFoundError):
            jobs.get_job(job_id)
    assert jobs.get_job_status(job_id) == "pending"
    assert Watched.threads == {threading.get_ident()}
    assert jobs.get_job(add.schedule(1, 1)).data == {"a": 1, "b": 1}


# -- Django --------------------------------------------------------------------------------------


@pytest.fixture
def database(place: PostgresPlace) -> Iterator[Any]:
    """`django.db.connection`, in a project that has nothing else."""
    with django_connection(urlsplit(place.url)) as connection:
        yield connection


def write(database: Any, place: PostgresPlace, name: str) -> None:
    with database.cursor() as cursor:
        cursor.execute(f"INSERT INTO {place.schema}.orders VALUES (%s)", [name])


class Refused(Exception):
    pass


def test_within_atomic_a_job_is_part_of_it(
    place: PostgresPlace, jobs: JobService, database: Any
) -> None:
    from django.db import transaction

    def order(name: str) -> str:
        with transaction.atomic():
            write(database, place, name)
            job_id = jobs.schedule("MAIL", {"zero": "a\0b 100%"}, connection=database)
            with pytest.raises(JobNotFoundError):
                jobs.get_job(job_id)
            if name == "coffee":
                raise Refused
        return job_id

    with pytest.raises(Refused):
        order("coffee")
    assert count(jobs) == 0
    assert jobs.get_job(order("tea")).data == {"zero": "a\0b 100%"}
    assert asyncio.run(orders(place)) == ["tea"]


def test_a_savepoint_of_django_takes_its_jobs_along(
    place: PostgresPlace, jobs: JobService, database: Any
) -> None:
    from django.db import transaction

    with transaction.atomic():
        kept = jobs.schedule("MAIL", {}, connection=database)
        savepoint = transaction.atomic()
        savepoint.__enter__()
        jobs.schedule("MAIL", {}, unique_key="ada", connection=database)
        savepoint.__exit__(Refused, Refused(), None)
    assert jobs.get_job_status(kept) == "pending"
    assert count(jobs) == 1


def test_within_atomic_a_workflow_is_part_of_it(
    place: PostgresPlace, jobs: JobService, database: Any
) -> None:
    from django.db import transaction

    with transaction.atomic():
        write(database, place, "tea")
        kept = make(jobs, database)
        savepoint = transaction.atomic()
        savepoint.__enter__()
        make(jobs, database)
        savepoint.__exit__(Refused, Refused(), None)
        with pytest.raises(WorkflowNotFoundError):
            jobs.get_workflow(kept)
    alone = make(jobs, database)
    assert [one.id for one in jobs.get_workflows()] == [alone, kept]
    assert count(jobs) == 6
    assert asyncio.run(orders(place)) == ["tea"]


def test_outside_of_atomic_many_jobs_have_a_transaction_of_their_own(
    place: PostgresPlace, jobs: JobService, database: Any
) -> None:
    from django.db import connections

    many = [JobRequest("MAIL", {"n": n}) for n in range(2100)]
    jobs.schedule_many(many, connection=connections["default"])
    assert count(jobs) == 2100
    with psycopg.connect(place.url) as connection:
        table = f"{place.schema}.background_jobs"
        connection.execute(f"ALTER TABLE {table} ADD CHECK (data NOT LIKE '%9999%')")
    many[2050] = JobRequest("MAIL", {"n": 9999})
    with pytest.raises(Exception, match="violates check constraint"):
        jobs.schedule_many(many, connection=database)
    assert count(jobs) == 2100
