"""Words from process to process: not too many; and where there are none at all, all is as correct,
and a job waits for the next look."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest

from backroom import DatabaseJobStorage, Job, JobService
from backroom.storage.postgres import wakeup
from tests.servers.fixtures import Postgres, PostgresPlace


@pytest.fixture
def refusing(postgres_server: Postgres) -> Iterator[str]:
    """A database that lets nobody NOTIFY, for a role that has all other rights there."""
    name, role = f"quiet_{secrets.token_hex(4)}", f'Ada "{secrets.token_hex(4)}"'
    url = postgres_server.create_database(name)
    quoted = psycopg.sql.Identifier(role)
    with psycopg.connect(url, autocommit=True) as link:
        for text in (
            "CREATE ROLE {} LOGIN PASSWORD 'ada'",
            "GRANT CREATE, USAGE ON SCHEMA public TO {}",
            "REVOKE EXECUTE ON FUNCTION pg_notify FROM PUBLIC, {}",
        ):
            link.execute(psycopg.sql.SQL(text).format(quoted))
    parts = urlsplit(url)
    user = role.replace(" ", "%20").replace('"', "%22")
    yield parts._replace(netloc=f"{user}:ada@{parts.netloc.rpartition('@')[2]}").geturl()
    with psycopg.connect(url, autocommit=True) as link:
        link.execute(psycopg.sql.SQL("DROP OWNED BY {0}").format(quoted))
    postgres_server.drop_database(name)
    with psycopg.connect(postgres_server.url(), autocommit=True) as link:
        link.execute(psycopg.sql.SQL("DROP ROLE {0}").format(quoted))


async def run_all(storage: DatabaseJobStorage, elsewhere: DatabaseJobStorage, url: str) -> None:
    """One job of each way to schedule runs, scheduled beside the worker and in another process."""
    seen: list[str] = []
    worker = JobService(storage, poll_interval=0.05)

    @worker.handler("ECHO")
    async def echo(job: Job[dict[str, str]]) -> None:
        seen.append(job.data["way"])

    other = JobService(elsewhere)
    other.declare("ECHO")
    async with worker, other, asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        for name, service in (("here", worker), ("elsewhere", other)):
            jobs = [
                await service.schedule("ECHO", {"way": f"{name}, plainly"}),
                await service.schedule("ECHO", {"way": f"{name}, with a key"}, unique_key=name),
            ]
            async with pool.acquire() as link, link.transaction():
                along = await service.schedule("ECHO", {"way": f"{name}, along"}, connection=link)
            for one in (*jobs, along):
                await service.result(one, timeout=10)
    assert len(seen) == 6


async def test_a_server_that_refuses_notify_is_looked_at_instead(
    refusing: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "backroom"):
        await run_all(DatabaseJobStorage(refusing), DatabaseJobStorage(refusing), refusing)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, "each store says it once, and nothing else"
    assert "may not NOTIFY: each worker looks for new jobs by itself" in said[0]
    assert 'GRANT EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) TO "Ada' in said[0]


async def test_what_is_told_not_to_notify_says_nothing_and_listens_to_nobody(
    postgres_server: Postgres,
) -> None:
    name = f"quiet_{secrets.token_hex(4)}"
    url = postgres_server.create_database(name)
    heard: list[Any] = []
    ear = await asyncpg.connect(url)
    await ear.add_listener("background_jobs", lambda *said: heard.append(said))
    try:
        quiet = [DatabaseJobStorage(url, notify=False) for _ in range(2)]
        await run_all(quiet[0], quiet[1], url)
        assert await ear.fetchval("SELECT count(*) FROM background_jobs_ended") == 6
        assert heard == []
        loud = [DatabaseJobStorage(url) for _ in range(2)]
        await run_all(loud[0], loud[1], url)
        await ear.fetchval("SELECT 1")
        assert heard
    finally:
        await ear.close()
        postgres_server.drop_database(name)


async def test_commits_that_follow_each_other_are_told_of_together(
    postgres_url: PostgresPlace,
) -> None:
    heard: list[str] = []
    storage = DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema)
    service = JobService(storage)
    service.declare("MAIL")
    ear = await asyncpg.connect(postgres_url.url)
    await ear.add_listener(storage._statements.channel, lambda *said: heard.append(said[-1]))
    bells = storage._base.bells
    try:
        await service.schedule("MAIL", {})
        for _ in range(50):  # Commits are slow lately.
            bells.committed(1.0)
        assert bells.pause == pytest.approx(wakeup.LONGEST, rel=0.01)
        await asyncio.sleep(5 * wakeup.LONGEST)
        heard.clear()
        await service.schedule("MAIL", {})
        await ear.fetchval("SELECT 1")
        assert heard == ["jobs"], "it was told with its commit"
        for _ in range(6):
            await service.schedule("MAIL", {})
            bells.committed(1.0)
        await asyncio.sleep(5 * wakeup.LONGEST)
        await ear.fetchval("SELECT 1")
        assert 2 <= len(heard) < 7, "some commits were told of together, none was not told of"
        for _ in range(50):
            bells.committed(0.0)
        assert bells.pause == wakeup.SHORTEST
    finally:
        await ear.close()
        await service.stop()
