"""Jobs that are put back into their queues, among sessions that are at them, too."""

from __future__ import annotations

from uuid import UUID

from backroom.storage.postgres.statements import Statements
from tests.contract.parts import WEEK
from tests.contract.test_stranded import requeue, stranded
from tests.postgres.yard import a_yard
from tests.servers.fixtures import PostgresPlace


async def test_a_job_that_waits_at_another_moment_than_its_row_says_waits_at_one_place(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        job = await bench.add()
        await yard.side.execute("UPDATE background_jobs_ready SET run_at = run_at + 1")
        assert await stranded(bench) == [job]

        assert await requeue(bench, job) == 1

        rows = await yard.side.fetch("SELECT id, run_at FROM background_jobs_ready")
        assert [tuple(row) for row in rows] == [(UUID(job), bench.now)]


async def test_a_job_that_somebody_else_puts_back_just_now_is_left_to_them(
    postgres_url: PostgresPlace,
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        job = await bench.add()
        await yard.side.execute("DELETE FROM background_jobs_ready")
        text: Statements = yard.storages[0]._statements
        other = await yard.connect()
        putting = other.transaction()
        await putting.start()
        assert len(await other.fetch(text["lock_jobs"], [job])) == 1

        assert await requeue(bench, job) == 0

        await putting.rollback()
        assert await requeue(bench, job) == 1
        await other.close()
