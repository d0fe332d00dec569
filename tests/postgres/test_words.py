"""Words from process to process: not too many; and where there are none at all, all is as correct,
and a job waits for the next look."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from backroom import DatabaseJobStorage, Job, JobService
from backroom.ports import Wake
from backroom.storage.postgres import wakeup
from tests.postgres.parts import a_user, beside
from tests.process.parts import eventually_async
from tests.servers.fixtures import Postgres, PostgresPlace


@pytest.fixture
def quiet(postgres_server: Postgres) -> Iterator[PostgresPlace]:
    """A database of its own, that others do not hear."""
    name = f"quiet_{secrets.token_hex(4)}"
    place = PostgresPlace(postgres_server.create_database(name), name)
    postgres_server.execute(f"CREATE SCHEMA {name}".encode(), name)
    yield place
    postgres_server.drop_database(name)


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
    quiet: PostgresPlace, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_user(quiet, f"GRANT CREATE, USAGE ON SCHEMA {quiet.schema}") as url:
        async with beside(quiet) as link:
            await link.execute("REVOKE EXECUTE ON FUNCTION pg_notify FROM PUBLIC")
        stores = [DatabaseJobStorage(url, schema=quiet.schema) for _ in range(2)]
        with caplog.at_level(logging.WARNING, "backroom"):
            await run_all(stores[0], stores[1], url)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, "each store says it once, and nothing else"
    assert "may not NOTIFY: each worker looks for new jobs by itself" in said[0]
    grant = "GRANT EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) TO ada_quiet_"
    assert grant in said[0]


async def test_what_is_told_not_to_notify_says_nothing_and_listens_to_nobody(
    quiet: PostgresPlace,
) -> None:
    heard: list[Any] = []

    def store(notify: bool) -> DatabaseJobStorage:
        return DatabaseJobStorage(quiet.url, schema=quiet.schema, notify=notify)

    async with beside(quiet) as ear:
        channel = store(False)._statements.channel
        await ear.add_listener(channel, lambda *said: heard.append(said))
        await run_all(store(False), store(False), quiet.url)
        ended = f"SELECT count(*) FROM {quiet.schema}.background_jobs_ended"
        assert await ear.fetchval(ended) == 6
        assert heard == []
        await run_all(store(True), store(True), quiet.url)
        await ear.fetchval("SELECT 1")
        assert heard


async def test_commits_that_follow_each_other_are_told_of_together(
    postgres_url: PostgresPlace,
) -> None:
    heard: list[str] = []
    storage = DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema)
    service = JobService(storage)
    service.declare("MAIL")
    bells = storage._base.bells
    async with beside(postgres_url) as ear:
        await ear.add_listener(storage._statements.channel, lambda *said: heard.append(said[-1]))
        await service.schedule("MAIL", {})
        for _ in range(99):  # Commits are slow lately.
            bells.committed(1.0)
        assert bells.pause == pytest.approx(wakeup.LONGEST, rel=0.01)
        bells._said.clear()  # As if the last word were long ago.
        await ear.fetchval("SELECT 1")
        heard.clear()
        await service.schedule("MAIL", {})
        await ear.fetchval("SELECT 1")
        assert heard == ["jobs"], "it was told with its commit"
        for _ in range(6):
            await service.schedule("MAIL", {})
            bells.committed(1.0)
        await eventually_async(lambda: not bells._pending and len(heard) > 1, "all was told of")
        assert len(heard) < 7, "some commits were told of together"
        for _ in range(50):
            bells.committed(0.0)
        assert bells.pause == wakeup.SHORTEST
        await service.stop()


async def test_a_word_is_said_when_there_is_something_to_be_seen(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "SHORTEST", 0.05)
    monkeypatch.setattr(wakeup, "LONGEST", 0.05)
    heard: list[str] = []
    storage = DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema)
    service = JobService(storage)
    service.declare("MAIL")
    async with beside(postgres_url) as ear, beside(postgres_url) as other:
        await ear.add_listener(storage._statements.channel, lambda *said: heard.append(said[-1]))
        await service.schedule("MAIL", {})
        await eventually_async(lambda: heard == ["jobs"], "it was told of with its commit")
        async with other.transaction():
            await other.execute(f"LOCK TABLE {postgres_url.schema}.background_jobs_ready")
            loop = asyncio.get_running_loop()
            slow = loop.create_task(service.schedule("MAIL", {}))
            until = loop.time() + 0.3  # A word that waits for its pause alone is said by then.
            await eventually_async(lambda: loop.time() > until, "the pause is over")
            await ear.fetchval("SELECT 1")
            assert heard == ["jobs"], "nothing more can be seen"
        await slow
        await eventually_async(lambda: heard == ["jobs", "jobs"], "now it can")
        await service.stop()


async def test_a_word_whose_commit_failed_is_owed(
    postgres_url: PostgresPlace,
) -> None:
    heard: list[str] = []
    storage = DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema)
    await storage.open()
    bells = storage._base.bells
    async with beside(postgres_url) as ear:
        await ear.add_listener(storage._statements.channel, lambda *said: heard.append(said[-1]))
        bells.committed_with(Wake.FINISHED, bells.along(Wake.FINISHED))
        bells.committed_with(Wake.FINISHED, bells.along(Wake.FINISHED))
        assert bells._pending == {Wake.FINISHED}, "the second one is said a moment later"
        bells._said.clear()
        word = bells.along(Wake.FINISHED)
        assert (word, bells._pending) == ("finished", set()), "it goes along"
        bells.failed_with(Wake.FINISHED, word)
        await eventually_async(lambda: heard == ["finished"], "but was not committed")
    await storage.close()


async def test_the_more_processes_tell_of_ends_the_less_each_of_them_does() -> None:
    bells = wakeup.Bells(None, "jobs")  # type: ignore[arg-type]
    now = asyncio.get_running_loop().time()
    assert bells._apart(Wake.FINISHED) == wakeup.FINISHED
    bells._talkers = dict.fromkeys(range(6), now)
    assert bells._apart(Wake.FINISHED) == 3 * wakeup.FINISHED
    bells._talkers |= dict.fromkeys(range(600), now)
    assert bells._apart(Wake.FINISHED) == 5 * wakeup.FINISHED, "there is an end to that"
    bells._talkers |= dict.fromkeys(range(2, 600), now - 2)
    assert bells._apart(Wake.FINISHED) == wakeup.FINISHED, "they have told of nothing lately"


def test_one_slow_commit_among_others_keeps_no_word_back() -> None:
    bells = wakeup.Bells(None, "jobs")  # type: ignore[arg-type]
    for _ in range(50):
        bells.committed(0.001)
    bells.committed(1.0)
    assert bells.pause < 0.0025, "it was twice as long as the others"
    for _ in range(50):
        bells.committed(1.0)
    assert bells.pause > 0.019, "they are all slow"


async def test_a_word_that_waits_has_only_the_rest_of_the_pause_to_wait(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    storage = DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema)
    service = JobService(storage)
    service.declare("MAIL")
    await service.open()
    async with beside(postgres_url) as ear:
        await ear.add_listener(storage._statements.channel, lambda *said: heard.append(said[-1]))
        monkeypatch.setattr(wakeup, "SHORTEST", 60.0)
        monkeypatch.setattr(wakeup, "LONGEST", 60.0)
        storage._base.bells._said[Wake.JOBS] = asyncio.get_running_loop().time() - 59.5
        await service.schedule("MAIL", {})
        await ear.fetchval("SELECT 1")
        assert heard == [], "the last word was said a moment ago"
        await eventually_async(lambda: heard == ["jobs"], "it was told of in half a second")
        await service.stop()
