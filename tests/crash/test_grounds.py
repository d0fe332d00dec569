"""How a store is read at the end of a play: what is not in order in a database has a name."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from backroom import JobService
from tests.crash.grounds import GROUNDS

pytestmark = pytest.mark.crash

ENDED = """INSERT INTO background_jobs_ended (id, token, state, attempt, finished_at)
           SELECT id, 1, 2, 1, 1 FROM background_jobs;"""
WRONG = (
    (ENDED, "is in 2 places: "),
    (
        "DELETE FROM background_jobs_ready; DELETE FROM background_jobs_ended",
        "is in 0 places: ",
    ),
    ("INSERT INTO background_jobs_cancels SELECT id FROM background_jobs", "a wish to cancel job"),
    ("INSERT INTO background_jobs_keys SELECT 'A', 'b', gen_random_uuid()", "the key of job"),
    (
        "INSERT INTO background_jobs_workers (name, lease, started_at, served)"
        " VALUES ('ada', 1, 1, '{}')",
        "worker ada is enlisted",
    ),
    (f"{ENDED} DELETE FROM background_jobs", "ended, and is not there"),
)


async def test_what_is_not_in_order_in_a_database_is_told(tmp_path: Path) -> None:
    with GROUNDS["postgres"](tmp_path) as ground:
        service = JobService(ground.url)
        service.declare("MAIL")
        await service.schedule("MAIL", {"serial": "one"})
        await service.stop()
        assert [job.serial for job in ground.read().jobs] == ["one"]
        assert ground.read().violations == []
        connection = await asyncpg.connect(ground.url)
        for changes, sentence in WRONG:
            await connection.execute(changes)
            assert any(sentence in one for one in ground.read().violations), sentence
        await connection.execute("SET application_name = 'backroom'")
        assert any("all connections have ended" in one for one in ground.read().violations)
        await connection.close()
