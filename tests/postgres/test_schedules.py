"""Schedules in PostgreSQL: a tick is decided once, whoever is killed, cut off or in the way."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest

from backroom import DatabaseJobStorage, Job, JobService
from tests.contract.parts import Bench, SettableClock
from tests.contract.plans import Plans
from tests.postgres.bustle import by_way_of
from tests.postgres.parts import beside, storage
from tests.process.parts import Family, eventually_async
from tests.servers.fixtures import PostgresPlace
from tests.servers.proxy import Proxy


@asynccontextmanager
async def planning(place: PostgresPlace, **settings: Any) -> AsyncIterator[Plans]:
    clock = SettableClock()
    store = storage(place, clock=clock, **settings)
    await store.open()
    yield Plans(Bench(store, clock))
    await store.close()


@asynccontextmanager
async def a_key_in_dispute(place: PostgresPlace) -> AsyncIterator[asyncpg.Connection]:
    """Somebody's transaction is about to make the job that holds the key "k"."""
    async with beside(place) as link:
        await link.execute("BEGIN")
        await link.execute(
            "INSERT INTO background_jobs_keys (type, unique_key, id)"
            " VALUES ('SEND_DIGEST', 'k', gen_random_uuid())"
        )
        yield link
        await link.execute("ROLLBACK")


async def someone_waits(link: asyncpg.Connection) -> None:
    """For that transaction: in the middle of a change, when a part of it is written."""

    async def waits() -> bool:
        return bool(
            await link.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
                " AND transactionid = pg_current_xact_id()::xid"
            )
        )

    await eventually_async(waits, "somebody waits for the key")


async def test_a_worker_that_is_killed_between_two_statements_leaves_the_tick_to_others(
    postgres_url: PostgresPlace, family: Family
) -> None:
    async with planning(postgres_url) as plans:
        record = await plans.put()
        firing = plans.firing(record, unique_key="k")
        async with a_key_in_dispute(postgres_url) as link:
            text = msgspec.json.encode(firing).decode()
            child = family.start(
                "-m", "tests.postgres.firer", postgres_url.url, postgres_url.schema, text
            )
            await someone_waits(link)
            child.signal(signal.SIGKILL)
            child.ends()
        # The server ends what it had begun when it finds nobody there.
        assert await plans.fire(other := plans.firing(record)) == [True]
        assert await plans.ticks() == list(other.ticks)
        assert await plans.jobs() == [other.jobs[0].id]
        assert (await plans.kept()).next_at == other.next_at


async def test_a_connection_that_is_cut_between_two_statements_costs_only_time(
    postgres_url: PostgresPlace,
) -> None:
    async with planning(postgres_url) as plans:
        record = await plans.put()
        firing = plans.firing(record, unique_key="k")
        async with a_key_in_dispute(postgres_url) as link:
            fires = asyncio.create_task(plans.fire(firing))
            await someone_waits(link)
            async with beside(postgres_url) as side:
                await side.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND"
                    " locktype = 'transactionid' AND database IS NULL AND pid IN (SELECT pid FROM"
                    " pg_stat_activity WHERE datname = current_database())"
                )
            await someone_waits(link)  # It asks again.
            assert await plans.kept() == record
            assert await plans.ticks() == []
        assert await asyncio.wait_for(fires, 10) == [True]
        assert await plans.ticks() == list(firing.ticks)
        assert await plans.jobs() == [firing.jobs[0].id]


async def test_what_needs_no_key_does_not_wait_for_who_holds_one(
    postgres_url: PostgresPlace,
) -> None:
    async with planning(postgres_url) as plans:
        records = [await plans.put(f"s{n}") for n in range(3)]
        keyed = plans.firing(records[1], unique_key="k")
        firings = [plans.firing(records[0]), keyed, plans.firing(records[2])]
        async with a_key_in_dispute(postgres_url) as link:
            fires = asyncio.create_task(plans.fire(*firings))
            await someone_waits(link)
            assert len(await plans.jobs()) == 2
            assert await plans.ticks("s1") == []
        assert await asyncio.wait_for(fires, 10) == [True, True, True]
        assert len(await plans.jobs()) == 3


@pytest.mark.parametrize("statement", ["COMMIT", 'INSERT INTO "{}"."background_jobs_ticks"'])
async def test_a_reply_that_is_lost_on_its_way_is_found_out(
    statement: str, postgres_url: PostgresPlace
) -> None:
    with Proxy(postgres_url.url) as proxy:
        store, clock = by_way_of(proxy, postgres_url), SettableClock()
        await store.open()
        plans = Plans(Bench(store, clock))
        firing = plans.firing(await plans.put())
        proxy.lose_reply(statement.format(postgres_url.schema))
        assert await plans.fire(firing) == [True]
        assert proxy.lost
        assert await plans.ticks() == list(firing.ticks)
        assert await plans.jobs() == [firing.jobs[0].id]
        await store.close()


class Counting:
    """A connection, and how many statements it was asked."""

    def __init__(self, link: Any) -> None:
        self.link = link
        self.count = 0

    async def fetch(self, *asked: Any) -> Any:
        self.count += 1
        return await self.link.fetch(*asked)

    async def execute(self, *asked: Any) -> Any:
        self.count += 1
        return await self.link.execute(*asked)


async def test_however_many_fire_it_is_one_transaction_of_few_statements(
    postgres_url: PostgresPlace,
) -> None:
    async with planning(postgres_url) as plans:
        store = plans.bench.storage
        assert isinstance(store, DatabaseJobStorage)
        records = [await plans.put(f"s{n}") for n in range(200)]
        counts: list[int] = []

        async def fire(link: Any) -> list[bool]:
            counting = Counting(link)
            firings = [plans.firing(record) for record in records]
            answers = await store._firings._carry_out(firings, plans.bench.now, None, counting)
            counts.append(counting.count)
            return answers

        assert await store._base.change(fire) == [True] * 200
        assert counts[0] <= 5
        assert len(await plans.jobs()) == 200


async def test_a_worker_that_knows_of_no_schedules_runs_what_is_fired(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a version before them, which is at work while a new one opens the store."""
    old = DatabaseJobStorage(postgres_url.url, schema=postgres_url.schema)

    async def nothing(now: int, limit: int) -> bool:
        return False

    monkeypatch.setattr(
        old, "capabilities", msgspec.structs.replace(old.capabilities, planning=False)
    )
    monkeypatch.setattr(old._retaining, "_forget_ticks", nothing)
    service = JobService(old, concurrency=5, poll_interval=0.1)
    ended: set[str] = set()

    @service.handler("SEND_DIGEST")
    async def send(job: Job[dict[str, Any]]) -> None:
        ended.add(job.id)

    async with service:
        before = await service.schedule("SEND_DIGEST", {})
        await eventually_async(lambda: before in ended, "it works")
        async with planning(postgres_url) as plans:
            firings = [plans.firing(await plans.put(f"s{n}")) for n in range(20)]
            assert await plans.fire(*firings) == [True] * 20
            wanted = {firing.jobs[0].id for firing in firings}
            await eventually_async(lambda: wanted <= ended, "what was fired has run")
        after = await service.schedule("SEND_DIGEST", {})
        await service.result(after, timeout=10)  # It still works, and the outcomes are kept.
        stats = await service.get_stats()
        assert (stats.by_status["completed"], stats.by_status["failed"]) == (22, 0)


async def test_ticks_of_a_schedule_that_is_dropped_while_it_fires_do_not_stay(
    postgres_url: PostgresPlace,
) -> None:
    async with planning(postgres_url) as plans, beside(postgres_url) as side:
        record = await plans.put()
        firing = plans.firing(record, unique_key="k")
        async with a_key_in_dispute(postgres_url) as link:
            fires = asyncio.create_task(plans.fire(firing))
            await someone_waits(link)
            drops = asyncio.create_task(plans.storage.drop_schedule("digest"))

            async def waits() -> bool:
                return (
                    await side.fetchval(
                        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                        " AND datname = current_database()"
                    )
                    >= 2
                )

            await eventually_async(waits, "both wait")
        assert await asyncio.wait_for(fires, 10) == [True]
        assert await asyncio.wait_for(drops, 10)
        assert await side.fetchval("SELECT count(*) FROM background_jobs_ticks") == 0
        assert await plans.jobs() == [firing.jobs[0].id]
