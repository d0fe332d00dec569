"""What people ask for in PostgreSQL, where they do not wait for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from backroom.inspecting import Filter
from backroom.ports import Wake
from tests.contract.flows import Flows
from tests.contract.parts import WEEK, Bench
from tests.postgres.yard import Yard, a_yard
from tests.process.parts import eventually_async
from tests.servers.fixtures import PostgresPlace


async def a_job(bench: Bench) -> Awaitable[int]:
    return bench.storage.cancel(await bench.add(), bench.now)


async def many_jobs(bench: Bench) -> Awaitable[int]:
    await bench.add_many(3)
    return bench.storage.cancel(Filter(queue="default"), bench.now)


async def a_workflow(bench: Bench) -> Awaitable[int]:
    flows = Flows(bench)
    await flows.make("a b", "a>b")
    return flows.storage.cancel_flow(flows.id, bench.now)


@pytest.mark.parametrize("asked", [a_job, many_jobs, a_workflow])
async def test_who_waits_hears_of_a_change_whose_caller_has_gone(
    postgres_url: PostgresPlace, asked: Callable[[Bench], Awaitable[Awaitable[int]]]
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        acting, listening = await yard.bench(), await yard.bench()
        work = await asked(acting)
        heard: set[Wake] = set()
        listening.storage.subscribe(heard.add)
        holding = yard.side.transaction()
        await holding.start()
        await yard.side.execute("SELECT FROM background_jobs_ready FOR UPDATE")
        changing = asyncio.ensure_future(work)
        await someone_waits(yard)
        heard.clear()  # What was made before may have been told of as late as that.
        changing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await changing
        await holding.commit()
        await eventually_async(lambda: Wake.FINISHED in heard, "it hears that jobs have ended")


async def someone_waits(yard: Yard) -> None:
    """Another session is stopped by a lock."""
    other = await yard.connect()

    async def look() -> bool:
        return bool(await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    await eventually_async(look, "a session waits for a lock")
    await other.close()
