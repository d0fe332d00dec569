"""A storage over what an application already has: an asyncpg pool, an engine of SQLAlchemy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from backroom import DatabaseJobStorage, Job, JobService
from backroom.errors import ConfigurationError, StorageError
from backroom.storage.postgres import links
from tests.postgres.parts import SECRET, a_user, beside
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace


@asynccontextmanager
async def a_pool(place: PostgresPlace, **settings: Any) -> AsyncIterator[asyncpg.Pool]:
    settings = {"min_size": 1, "max_size": 4, **settings}
    pool = await asyncpg.create_pool(
        place.url, server_settings={"application_name": "of the pool"}, **settings
    )
    try:
        yield pool
    finally:
        await asyncio.wait_for(pool.close(), 10)  # It would wait for one that was not given back.


async def works(service: JobService, jobs: int = 50) -> None:
    """It runs jobs, those that others add, too."""
    seen: set[int] = set()

    @service.handler("COUNT", retry_delay=0.01)
    async def count(job: Job[dict[str, int]]) -> int:
        if job.attempt == 1 and job.data["n"] % 10 == 0:
            raise ValueError("not yet")
        seen.add(job.data["n"])
        return job.data["n"]

    async with service:
        ids = await asyncio.gather(*[service.schedule("COUNT", {"n": n}) for n in range(jobs)])
        assert await asyncio.gather(*[service.result(one, timeout=20) for one in ids]) == [
            *range(jobs)
        ]
        assert (await service.get_stats()).by_status["completed"] == jobs
    assert seen == set(range(jobs))


async def test_a_pool_lends_its_connections(postgres_url: PostgresPlace) -> None:
    taken: list[object] = []

    async def note(connection: object) -> None:
        taken.append(connection)

    async with a_pool(postgres_url, setup=note) as pool:
        one = DatabaseJobStorage(pool, schema=postgres_url.schema)
        await works(JobService(one, concurrency=5, poll_interval=0.2))
        assert len(taken) > 10
        # And has them all back, still open, when the service has gone.
        assert pool.get_idle_size() == pool.get_size() > 0
        assert await pool.fetchval("SELECT 1") == 1
        assert ":***@" in one.url


async def test_a_pool_of_one_connection_is_enough(postgres_url: PostgresPlace) -> None:
    async with a_pool(postgres_url, max_size=1) as pool:
        one = DatabaseJobStorage(pool, schema=postgres_url.schema)
        await works(JobService(one, concurrency=5, poll_interval=0.2))


async def test_another_loop_has_connections_of_its_own(postgres_url: PostgresPlace) -> None:
    async with a_pool(postgres_url) as pool:
        one = DatabaseJobStorage(pool, schema=postgres_url.schema)
        await one.open()

        async def elsewhere() -> dict[str, bool]:
            return await one.queues()

        assert await asyncio.to_thread(asyncio.run, elsewhere()) == {}
        await one.close()


async def test_a_pool_of_words_instead_of_a_url_is_named_without_its_password(
    postgres_url: PostgresPlace,
) -> None:
    parts = urlsplit(postgres_url.url)
    words = {
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username,
        "password": parts.password,
        "database": parts.path[1:],
    }
    async with asyncpg.create_pool(min_size=1, max_size=2, **words) as pool:
        one = DatabaseJobStorage(pool, schema=postgres_url.schema)
        assert (
            one.url
            == parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl()
        )
        heard: list[object] = []
        await one.open()
        stop = one.subscribe(heard.append)
        await eventually_async(lambda: bool(heard), "the listener has a connection of its own")
        stop()
        await one.close()


async def test_a_pool_that_is_not_open_is_told(postgres_url: PostgresPlace) -> None:
    async with a_pool(postgres_url) as pool:
        late = DatabaseJobStorage(pool, schema=postgres_url.schema)
    with pytest.raises(StorageError, match="has to be open from before"):
        await late.open()
    early = asyncpg.create_pool(postgres_url.url, min_size=1)
    with pytest.raises(StorageError, match="has to be open from before"):
        await DatabaseJobStorage(early, schema=postgres_url.schema).open()


async def test_a_pool_that_has_none_free_is_told(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "CONNECT", 0.2)
    async with a_pool(postgres_url, max_size=1) as pool, pool.acquire():
        with pytest.raises(StorageError, match=r"was free for 0\.2 s.*max_size, now 1"):
            await DatabaseJobStorage(pool, schema=postgres_url.schema).open()


async def test_connections_of_the_pool_that_are_ended_cost_nothing(
    postgres_url: PostgresPlace,
) -> None:
    async with a_pool(postgres_url) as pool, beside(postgres_url) as killer:
        service = JobService(DatabaseJobStorage(pool, schema=postgres_url.schema))
        service.declare("MAIL")
        for n in range(60):
            await service.schedule("MAIL", {})
            if n % 10 == 0:
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'of the pool' AND datname = current_database()"
                )
        assert (await service.get_stats()).by_status["pending"] == 60
        await service.stop()


# -- an engine -----------------------------------------------------------------------------------


def engine_url(place: PostgresPlace, driver: str) -> str:
    return place.url.replace("postgresql://", f"postgresql+{driver}://")


async def test_an_engine_lends_its_url(postgres_url: PostgresPlace) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    url = f"{engine_url(postgres_url, 'asyncpg')}?prepared_statement_cache_size=7&ssl=prefer"
    engine = sqlalchemy.create_engine(url)
    one = DatabaseJobStorage(engine, schema=postgres_url.schema)
    assert urlsplit(one.url).query == "sslmode=prefer"
    assert urlsplit(one.url).scheme == "postgresql"
    await works(JobService(one))
    assert engine.pool.checkedout() == 0


async def test_an_engine_of_asyncio_lends_its_url(postgres_url: PostgresPlace) -> None:
    pytest.importorskip("greenlet", reason="engines of asyncio need it")
    asyncio_of = pytest.importorskip("sqlalchemy.ext.asyncio")
    engine = asyncio_of.create_async_engine(engine_url(postgres_url, "asyncpg"))
    one = DatabaseJobStorage(engine, schema=postgres_url.schema)
    await one.open()
    assert await one.queues() == {}
    await one.close()
    await engine.dispose()


async def test_a_password_of_an_engine_is_taken_whole_and_not_shown(
    postgres_url: PostgresPlace,
) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    async with a_user(postgres_url) as url:
        parts = urlsplit(url)
        said = sqlalchemy.URL.create(
            "postgresql+asyncpg",
            username=parts.username,
            password=SECRET,
            host=parts.hostname,
            port=parts.port,
            database=parts.path[1:],
        )
        one = DatabaseJobStorage(sqlalchemy.create_engine(said))
        assert (await one.examine()).user == parts.username
        assert "s3cr" not in f"{one!r} {one.url}"


def test_an_engine_of_another_database_is_refused() -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    with pytest.raises(ConfigurationError, match="of sqlite, not of PostgreSQL"):
        DatabaseJobStorage(sqlalchemy.create_engine("sqlite://"))
