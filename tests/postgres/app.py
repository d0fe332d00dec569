"""An application for tests whose worker dies at a moment of its choice, by `kill -9`."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from backroom import DatabaseJobStorage, Job, JobRequest, JobService
from backroom.storage.postgres.drivers import Asyncpg

SETTINGS = json.loads(os.environ["PROCESS_TEST_SETTINGS"])
service = JobService(
    DatabaseJobStorage(SETTINGS["url"], schema=SETTINGS["schema"]), lease=1, poll_interval=0.1
)


def die(moment: str) -> None:
    if SETTINGS["moment"] == moment:
        os.kill(os.getpid(), signal.SIGKILL)


async def commit(self: Asyncpg) -> None:
    die("before the commit")
    await self._transaction.commit()


Asyncpg.commit = commit  # type: ignore[method-assign]


@service.handler("ORDER", retries=3)
async def buy(job: Job[Any]) -> None:
    async with job.transaction(result=job.attempt) as connection:
        name = f"tea of attempt {job.attempt}"
        await connection.execute(f"INSERT INTO {SETTINGS['schema']}.orders VALUES ($1)", name)
        die("inside")
    die("after the commit")


@service.handler("LIST", retries=3)
async def list_(job: Job[Any]) -> None:
    async with job.transaction(result=job.attempt) as connection:
        name = f"tea of attempt {job.attempt}"
        await connection.execute(f"INSERT INTO {SETTINGS['schema']}.orders VALUES ($1)", name)
        async with service.extend_workflow(job, connection=connection) as flow:
            flow.chain(JobRequest("FETCH"), JobRequest("FETCH"))
        die("inside")
    die("after the commit")


@service.handler("FETCH")
async def fetch(job: Job[Any]) -> None:
    pass
