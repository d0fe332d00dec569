"""`with job.transaction(connection)` in `def` handlers, on connections without asyncio."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest

from backroom import (
    DatabaseJobStorage,
    Job,
    JobFailedError,
    JobService,
    LeaseLostError,
    blocking,
)
from backroom.storage.postgres.drivers import Psycopg
from backroom.transactions import at_once
from tests.postgres.clients import PLAIN, orders
from tests.postgres.completions import held_by, order, worker_service
from tests.postgres.django_project import django_connection
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace

__all__ = ["worker_service"]


@pytest.mark.parametrize("kind", list(PLAIN))
async def test_a_handler_in_a_thread_takes_a_connection_without_asyncio(
    place: PostgresPlace, service: JobService, kind: str
) -> None:
    async with PLAIN[kind](place) as client:

        @service.handler("ORDER", retries=1)
        def buy(job: Job[Any]) -> list[int]:
            with job.transaction(client.connection) as same:
                assert same is client.connection
                at_once(client.order(f"tea of attempt {job.attempt}"))
                jobs.schedule("MAIL", {}, unique_key="tea", connection=same, delay=60)
                if job.attempt == 1:
                    raise OSError("no tea")
                job.log.info("ordered")
            return []

        jobs = blocking.JobService(service=service)
        await service.start()
        job_id = await service.schedule("ORDER", {})
        assert await service.result(job_id, timeout=10) is None
    assert await orders(place) == ["tea of attempt 2"]
    info = await service.get_job(job_id)
    assert (info.attempt, [line.message for line in info.log]) == (2, ["ordered"])
    assert len(list(await service.get_jobs(type="MAIL"))) == 1
    assert await held_by(service) == {}


async def test_a_handler_in_a_thread_takes_the_connection_of_django(
    place: PostgresPlace, service: JobService
) -> None:
    @service.handler("ORDER", retries=1)
    def buy(job: Job[Any]) -> None:
        with django_connection(urlsplit(place.url)) as connection:
            with job.transaction(connection, result="tea") as same:
                with same.cursor() as cursor:
                    cursor.execute(order(place, f"tea of attempt {job.attempt}"))
                jobs.schedule("MAIL", {}, unique_key="tea", connection=same, delay=60)
                if job.attempt == 1:
                    raise OSError("no tea")
            assert connection.get_autocommit()

    jobs = blocking.JobService(service=service)
    await service.start()
    job_id = await service.schedule("ORDER", {})
    assert await service.result(job_id, timeout=10) == "tea"
    assert await orders(place) == ["tea of attempt 2"]
    assert len(list(await service.get_jobs(type="MAIL"))) == 1


async def test_what_cannot_be_in_a_thread_is_refused(
    place: PostgresPlace, service: JobService
) -> None:
    @service.handler("NONE", retries=0)
    def none(job: Job[Any]) -> None:
        with job.transaction():
            raise AssertionError("never comes here")

    @service.handler("ASYNC", retries=0)
    def for_asyncio(job: Job[Any]) -> None:
        connection = asyncio.run_coroutine_threadsafe(asyncpg.connect(place.url), loop).result(10)
        try:
            with job.transaction(connection):
                raise AssertionError("never comes here")
        finally:
            asyncio.run_coroutine_threadsafe(connection.close(), loop).result(10)

    @service.handler("WITH", retries=0)
    async def with_alone(job: Job[Any]) -> None:
        with job.transaction(object()):
            raise AssertionError("never comes here")

    loop = asyncio.get_running_loop()
    await service.start()
    for kind, said in (
        ("NONE", r"needs a connection of the application's own"),
        ("ASYNC", "Connection is a connection for asyncio"),
        ("WITH", r"write `async with job\.transaction"),
    ):
        with pytest.raises(JobFailedError, match=said):
            await service.result(await service.schedule(kind, {}), timeout=10)


async def test_a_lost_answer_is_asked_for_from_a_thread_too(
    place: PostgresPlace, service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Psycopg.commit

    async def cut(self: Psycopg) -> None:
        await commit(self)
        self.given.close()
        raise psycopg.OperationalError("cut")

    monkeypatch.setattr(Psycopg, "commit", cut)

    @service.handler("ORDER", retries=0)
    def buy(job: Job[Any]) -> None:
        connection = psycopg.connect(place.url)
        with job.transaction(connection, result="tea"):
            connection.execute(order(place, "tea"))

    await service.start()
    assert await service.result(await service.schedule("ORDER", {}), timeout=10) == "tea"
    assert await orders(place) == ["tea"]


async def test_who_has_lost_the_lease_writes_nothing(
    place: PostgresPlace, service: JobService
) -> None:
    """The job has gone back meanwhile, and is run anew."""
    other = DatabaseJobStorage(place.url, schema=place.schema)
    await other.open()
    caught: list[LeaseLostError] = []
    runs = itertools.count(1)
    inside, go = threading.Event(), threading.Event()

    @service.handler("ORDER", retries=0)
    def buy(job: Job[Any]) -> None:
        with psycopg.connect(place.url) as connection:
            try:
                with job.transaction(connection, result="tea"):
                    connection.execute(order(place, f"tea of run {next(runs)}"))
                    inside.set()
                    go.wait(10)
            except LeaseLostError as error:
                caught.append(error)

    await service.start()
    job_id = await service.schedule("ORDER", {})
    await asyncio.to_thread(inside.wait, 10)
    await other.retire(service._worker._lease.worker)  # type: ignore[union-attr]
    go.set()
    await eventually_async(lambda: caught, "the handler has been told")
    assert "nothing of its transaction was written" in str(caught[0])
    assert await service.result(job_id, timeout=20) == "tea"
    info = await service.get_job(job_id)
    assert (info.attempt, await orders(place)) == (1, ["tea of run 2"])
    await other.close()


async def test_a_thread_that_is_overdue_writes_nothing(
    place: PostgresPlace, service: JobService
) -> None:
    """Its attempt has ended without it."""
    outcome: list[Any] = []
    recorded = threading.Event()

    @service.handler("ORDER", retries=0, timeout=0.2)
    def buy(job: Job[Any]) -> None:
        with psycopg.connect(place.url) as connection:
            try:
                with job.transaction(connection):
                    connection.execute(order(place, "tea"))
                    recorded.wait(10)
            except LeaseLostError as error:
                outcome.append(error)

    await service.start()
    job_id = await service.schedule("ORDER", {})
    with pytest.raises(JobFailedError, match="timed out"):
        await service.result(job_id, timeout=10)
    recorded.set()
    await eventually_async(lambda: outcome, "the thread has seen it")
    assert await orders(place) == []
    assert await service.get_job_status(job_id) == "failed"
