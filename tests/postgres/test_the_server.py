"""Jobs in PostgreSQL, and what a server does to those who use it: it is away, starts anew, ends
connections, refuses."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator

import asyncpg
import pytest

from backroom import DatabaseJobStorage, Job, JobService
from backroom.errors import (
    BackroomError,
    ConfigurationError,
    StorageError,
)
from backroom.ports import Wake
from tests.servers.binaries import find_binaries
from tests.servers.fixtures import PostgresPlace, choose
from tests.servers.postgres import PostgresServer


def storage(place: PostgresPlace) -> DatabaseJobStorage:
    return DatabaseJobStorage(place.url, schema=place.schema)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One that may be stopped."""
    with PostgresServer(choose(find_binaries()), durable=True) as server:
        yield server


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_url_is_all_that_changes(postgres_url: PostgresPlace) -> None:
    service = JobService(storage(postgres_url), concurrency=5)
    seen: list[int] = []

    @service.handler("COUNT")
    async def count(job: Job[dict[str, int]]) -> int:
        seen.append(job.data["n"])
        return job.data["n"] * 2

    async with service:
        ids = [await service.schedule("COUNT", {"n": n}) for n in range(20)]
        assert [await service.result(one, timeout=20) for one in ids] == [2 * n for n in range(20)]
    assert sorted(seen) == list(range(20))


async def test_a_worker_hears_at_once_of_a_job_that_another_process_adds(
    postgres_url: PostgresPlace,
) -> None:
    here, there = storage(postgres_url), storage(postgres_url)
    # It would look by itself only after a minute.
    service = JobService(here, poll_interval=60)
    done = asyncio.Event()

    @service.handler("NEWS")
    async def news(job: Job[dict[str, int]]) -> None:
        done.set()

    elsewhere = JobService(there)
    elsewhere.declare("NEWS")
    heard = asyncio.Event()
    async with service:
        here.subscribe(lambda wake: wake is Wake.JOBS and heard.set())
        await asyncio.wait_for(heard.wait(), 10)  # It listens: that is told first.
        await asyncio.sleep(0.2)  # And what was due is looked for.
        await elsewhere.schedule("NEWS", {})
        await asyncio.wait_for(done.wait(), 5)
    await elsewhere.stop()


async def test_a_worker_goes_on_after_the_server_was_started_anew(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "backroom")
    service = JobService(server.url(), concurrency=10, poll_interval=0.2)
    ended: Counter[int] = Counter()

    @service.handler("STEP", retry_delay=0.05)
    async def step(job: Job[dict[str, int]]) -> None:
        await asyncio.sleep(0.01)
        ended[job.data["n"]] += 1

    async with service:
        kept = 0
        for mode in ("fast", "immediate"):
            for _ in range(150):
                await service.schedule("STEP", {"n": kept})
                kept += 1
            await asyncio.to_thread(server.restart, mode)
        await until(lambda: len(ended) == kept)
        stats = await service.get_stats()
        assert stats.by_status["failed"] == 0
    assert set(ended) == set(range(kept))


async def test_connections_that_are_ended_cost_nothing(
    postgres_url: PostgresPlace,
) -> None:
    service = JobService(storage(postgres_url), concurrency=10, poll_interval=0.2)
    ended: Counter[int] = Counter()

    @service.handler("STEP")
    async def step(job: Job[dict[str, int]]) -> None:
        ended[job.data["n"]] += 1

    killer = await asyncpg.connect(postgres_url.url)
    async with service:
        for n in range(300):
            await service.schedule("STEP", {"n": n})
            if n % 30 == 0:
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'backroom' AND datname = current_database()"
                )
        await until(lambda: len(ended) == 300)
    await killer.close()


async def test_a_schedule_without_a_server_says_so(server: PostgresServer) -> None:
    service = JobService(server.url())
    service.declare("MAIL")
    await service.schedule("MAIL", {})
    await asyncio.to_thread(server.stop)
    with pytest.raises(StorageError, match=r"no connection to|did not answer"):
        await service.schedule("MAIL", {})
    await asyncio.to_thread(server.start)
    await service.schedule("MAIL", {})
    assert (await service.get_stats()).by_status["pending"] == 2
    await service.stop()


async def test_a_wrong_password_is_told_and_never_shown(server: PostgresServer) -> None:
    host = server.url().rpartition("@")[2]
    service = JobService(f"postgresql://postgres:hunter22@{host}")
    service.declare("MAIL")
    with pytest.raises(BackroomError, match="check user, password") as caught:
        await service.schedule("MAIL", {})
    assert "hunter22" not in str(caught.value)
    assert "hunter22" not in service.storage.url


@pytest.mark.parametrize(
    "name", ["", "a b", 'jobs"; drop table users; --', "1jobs", "jobs.x", "x" * 41, "größe"]
)
def test_a_table_name_that_is_no_plain_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a plain name"):
        DatabaseJobStorage("postgresql://localhost/app", table_name=name)
    with pytest.raises(ConfigurationError, match="must be a plain name"):
        DatabaseJobStorage("postgresql://localhost/app", schema=name)


def test_another_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no URL of PostgreSQL"):
        DatabaseJobStorage("mysql://ada:secret@localhost/app")
