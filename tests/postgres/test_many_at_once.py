"""Many jobs in one call go by another way to the server, and are all or nothing there, too."""

from __future__ import annotations

import pytest

from backroom.errors import StorageError
from tests.contract.parts import WEEK
from tests.postgres.yard import a_yard
from tests.servers.fixtures import PostgresPlace


@pytest.mark.parametrize("queue", ["default", "new"])
async def test_one_that_cannot_be_written_keeps_out_all(
    queue: str, postgres_url: PostgresPlace
) -> None:
    async with a_yard(postgres_url, WEEK) as yard:
        bench = await yard.bench()
        await bench.add()
        jobs = bench.records(2500, queue=queue)
        with pytest.raises(StorageError, match="surrogates not allowed"):
            await bench.insert([*jobs[:2000], bench.record(data='"\ud800"'), *jobs[2000:]])
        assert await yard.ask("SELECT count(*) FROM background_jobs") == 1
        assert await yard.ask("SELECT count(*) FROM background_jobs_ready") == 1

        assert all(one.created for one in await bench.insert(jobs))
        assert await yard.ask("SELECT count(*) FROM background_jobs_ready") == 2501
