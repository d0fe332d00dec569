"""Workflows that leave a database while others are at work there."""

from __future__ import annotations

import asyncio

import pytest

from backroom.job import JobStatus
from backroom.storage.postgres import history
from tests.contract.flows import Flows
from tests.contract.parts import DAY, WEEK
from tests.postgres.test_flows import someone_waits
from tests.postgres.yard import a_yard
from tests.servers.fixtures import PostgresPlace

DROP = """
    WITH gone AS (DELETE FROM background_jobs_flows WHERE id = $1 RETURNING id)
    INSERT INTO background_jobs_away SELECT id FROM gone
"""
"""As the change says it with which a flow leaves."""


async def test_one_of_which_a_job_is_claimed_at_that_moment_stays(
    postgres_url: PostgresPlace,
) -> None:
    """Who packs it has seen that nobody holds a job, and waits for the row of the flow."""
    async with a_yard(postgres_url, WEEK) as yard:
        flows, busy = Flows(await yard.bench()), await yard.bench()
        await flows.make("a b", "a>b")
        other = await yard.connect()
        first = other.transaction()
        await first.start()
        await other.execute("SELECT FROM background_jobs_flows FOR UPDATE")
        packing = asyncio.create_task(yard.storages[0].pack_flows(10, False, 7, "there"))
        await someone_waits(yard)
        claim = await busy.claim_one(await busy.enlist())
        await first.commit()
        assert await packing is None
        assert await flows.statuses() == "a:active b:blocked"
        assert claim.id == flows.ids["a"]
        await other.close()


async def test_who_cancels_at_that_moment_finds_it_gone(postgres_url: PostgresPlace) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        flows = Flows(await yard.bench())
        await flows.make("a b", "a>b")
        other = await yard.connect()
        leaving = other.transaction()
        await leaving.start()
        await other.execute(DROP, flows.id)
        storage, now = flows.bench.storage, flows.bench.now
        cancelling = asyncio.create_task(storage.cancel(flows.ids["b"], now))
        await someone_waits(yard)
        await leaving.commit()
        assert await cancelling == 0
        assert await flows.of("a", "b") == [JobStatus.PENDING, JobStatus.BLOCKED]
        await other.close()


async def test_what_would_expire_at_that_moment_does_so_where_it_arrives(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        flows = Flows(await yard.bench())
        bench = flows.bench
        await flows.make("a b c", "a>b b>c", expires_at=bench.later(60))
        other = await yard.connect()
        leaving = other.transaction()
        await leaving.start()
        await other.execute("CREATE TABLE kept AS SELECT * FROM background_jobs_flows")
        await other.execute(DROP, flows.id)
        bench.clock.advance(61)
        pruning = asyncio.create_task(bench.prune())
        await someone_waits(yard)
        await leaving.commit()
        assert await pruning == 0
        await bench.prune_all()
        assert await flows.of("b", "c") == [JobStatus.BLOCKED] * 2

        await yard.side.execute("INSERT INTO background_jobs_flows SELECT * FROM kept")
        await bench.prune_all()
        assert await flows.statuses() == "a:cancelled b:cancelled c:cancelled"
        assert (await flows.counts()).cancelled == 3
        await other.close()


async def test_an_end_of_which_upkeep_learns_at_that_moment_is_told_where_it_arrives(
    postgres_url: PostgresPlace,
) -> None:
    """As a worker of an earlier version ends jobs."""
    async with a_yard(postgres_url, WEEK) as yard:
        flows = Flows(await yard.bench())
        bench = flows.bench
        await flows.make("a b", "a>b")
        worker = await bench.enlist()
        outcome = bench.completed((await flows.claim(worker))["a"])
        outcome.tied = False
        assert await bench.finish(worker, outcome) == [True]
        other = await yard.connect()
        leaving = other.transaction()
        await leaving.start()
        await other.execute("CREATE TABLE kept AS SELECT * FROM background_jobs_flows")
        await other.execute(DROP, flows.id)
        pruning = asyncio.create_task(bench.prune())
        await someone_waits(yard)
        await leaving.commit()
        await pruning
        assert await flows.of("b") == [JobStatus.BLOCKED]
        await yard.side.execute("INSERT INTO background_jobs_flows SELECT * FROM kept")
        await bench.prune_all()
        assert await flows.run(worker) == "b"
        await other.close()


async def test_it_does_not_go_with_a_partition(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended long ago, and its flow is on its way from or to here."""
    monkeypatch.setattr(history, "WHOLE", 0)  # As if it were large.
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        flows = Flows(bench)
        flows.id = bench._ids(bench.now)
        await flows.make("a b", "a>b")
        assert await flows.run(await bench.enlist()) == "a"
        made = await yard.table_of(flows.ids["a"])
        await yard.side.execute(DROP, flows.id)
        for _ in range(20):
            bench.clock.advance(DAY)
            await bench.prune_all(limit=1000)
        assert made not in {part.name for part in await yard.parts()}
        assert await flows.of("a", "b") == [JobStatus.COMPLETED, JobStatus.PENDING]
