"""Jobs in PostgreSQL behind PgBouncer, which gives each transaction another session: all is as
correct as without it, and only slower."""

from __future__ import annotations

import asyncio

import pytest

from backroom import DatabaseJobStorage, Job, JobService
from backroom.errors import ConfigurationError
from backroom.ports import Wake
from tests.postgres.bustle import Bustle, audit
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace, shared_pgbouncer
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import Postgres
from tests.servers.proxy import Proxy


@pytest.fixture
def bouncer(postgres_server: Postgres) -> PgBouncer:
    return shared_pgbouncer()


@pytest.fixture
def pooled(bouncer: PgBouncer, postgres_url: PostgresPlace) -> DatabaseJobStorage:
    return DatabaseJobStorage(bouncer.of(postgres_url.url), schema=postgres_url.schema, pooled=True)


async def test_every_job_ends_once_behind_a_proxy(
    pooled: DatabaseJobStorage, postgres_url: PostgresPlace
) -> None:
    bustle = Bustle(pooled, lease=2)
    async with bustle.at_work():
        await bustle.more(200)
    await audit(bustle, postgres_url)
    assert not bustle.refused
    assert not bustle.unknown


async def test_without_being_told_of_the_proxy_it_says_what_to_do(
    bouncer: PgBouncer, postgres_url: PostgresPlace
) -> None:
    storage = DatabaseJobStorage(bouncer.of(postgres_url.url), schema=postgres_url.schema)
    with pytest.raises(ConfigurationError, match=r"pooling proxy.*pooled=True") as caught:
        await storage.open()
    assert "backroom@" not in str(caught.value)


async def test_a_url_is_enough_to_say_that_there_is_a_proxy(
    bouncer: PgBouncer, postgres_url: PostgresPlace
) -> None:
    url = bouncer.of(postgres_url.url)
    service = JobService(DatabaseJobStorage(f"{url}?pooled=true", schema=postgres_url.schema))
    service.declare("MAIL")
    await service.schedule("MAIL", {})
    assert (await service.get_stats()).by_status["pending"] == 1
    assert service.storage.url.endswith(url.rpartition("@")[2])
    await service.stop()


async def test_it_does_not_listen_where_nobody_would_be_heard(
    pooled: DatabaseJobStorage, bouncer: PgBouncer
) -> None:
    service = JobService(pooled, poll_interval=0.1)
    done = asyncio.Event()

    @service.handler("NEWS")
    async def news(job: Job[dict[str, int]]) -> int:
        done.set()
        return 7

    elsewhere = JobService(
        DatabaseJobStorage(pooled._links.url, schema=pooled._statements.schema, pooled=True)
    )
    elsewhere.declare("NEWS")
    async with service:
        job = await elsewhere.schedule("NEWS", {})
        await asyncio.wait_for(done.wait(), 10)
        assert await elsewhere.result(job, timeout=10) == 7
        assert not pooled._base.bells._listeners
    await elsewhere.stop()


async def test_a_way_past_the_proxy_brings_wake_ups(
    bouncer: PgBouncer, postgres_url: PostgresPlace
) -> None:
    url, schema = bouncer.of(postgres_url.url), postgres_url.schema
    with Proxy(postgres_url.url) as way:
        here = DatabaseJobStorage(
            url, schema=schema, pooled=True, listen_url=way.of(postgres_url.url)
        )
        # It would look by itself only after a minute.
        service = JobService(here, poll_interval=60)
        done = asyncio.Queue[None]()

        @service.handler("NEWS")
        async def news(job: Job[dict[str, int]]) -> None:
            done.put_nowait(None)

        elsewhere = JobService(DatabaseJobStorage(url, schema=schema, pooled=True))
        elsewhere.declare("NEWS")
        heard = asyncio.Event()
        async with service:
            here.subscribe(lambda wake: wake is Wake.JOBS and heard.set())
            await asyncio.wait_for(heard.wait(), 10)  # It listens: that is told first.
            for _ in range(3):
                await elsewhere.schedule("NEWS", {})
                await asyncio.wait_for(done.get(), 10)
        await elsewhere.stop()


async def test_where_nobody_can_listen_jobs_are_found_by_looking(
    postgres_url: PostgresPlace, caplog: pytest.LogCaptureFixture
) -> None:
    with Proxy(postgres_url.url) as way:
        way.refuse()
        here = DatabaseJobStorage(
            postgres_url.url, schema=postgres_url.schema, listen_url=way.of(postgres_url.url)
        )
        bustle = Bustle(here)
        async with bustle.at_work():
            await bustle.more(20)
            # It goes on trying, and speaks of it once.
            await eventually_async(lambda: way.accepted >= 3, "it tries again")
    await audit(bustle, postgres_url)
    assert caplog.text.count("no wake-ups") == 1


async def test_a_plan_that_a_proxy_has_lost_is_told_apart(postgres_url: PostgresPlace) -> None:
    """A proxy that lets session settings through, and hands out another session all the same."""
    storage = DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema)
    await storage.open()

    async def as_by_a_proxy(link: object) -> None:
        await link.fetch("SELECT 1")  # type: ignore[attr-defined]
        await link.execute("DEALLOCATE ALL")  # type: ignore[attr-defined]
        await link.fetch("SELECT 1")  # type: ignore[attr-defined]

    with pytest.raises(ConfigurationError, match=r"prepared statement .*pooled=True"):
        await storage._links.run(as_by_a_proxy)
    await storage.close()


async def test_handlers_complete_their_jobs_within_transactions_behind_a_proxy(
    pooled: DatabaseJobStorage,
) -> None:
    service = JobService(pooled, poll_interval=0.1)
    service.declare("MAIL")

    @service.handler("ORDER", retries=0)
    async def buy(job: Job[dict[str, int]]) -> int:
        async with job.transaction(result=job.data["n"]) as connection:
            await service.schedule("MAIL", {}, connection=connection)
        return job.data["n"]

    async with service:
        ids = [await service.schedule("ORDER", {"n": n}) for n in range(30)]
        assert [await service.result(one, timeout=20) for one in ids] == list(range(30))
        assert len(list(await service.get_jobs(type="MAIL"))) == 30
