"""Jobs that are scheduled while the server is away: kept on this machine, and delivered once."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from backroom import DatabaseJobStorage, FileJobStorage, JobId, JobRequest, JobService, JobType
from backroom.errors import (
    ConfigurationError,
    JobNotFoundError,
    StorageError,
    StorageFullError,
    StorageVersionError,
)
from backroom.job import JobStatus
from backroom.storage import MemoryJobStorage
from backroom.storage.postgres.spool import Spool
from tests.process.parts import Family, eventually_async
from tests.servers.binaries import find_binaries
from tests.servers.fixtures import PostgresPlace, choose
from tests.servers.postgres import PostgresServer


class Server:
    """One that may be stopped, and in it a database of one test."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._url = server.create_database(f"spool_{uuid.uuid4().hex[:12]}")
        self.up = True

    def url(self) -> str:
        return self._url

    def stop(self) -> None:
        self._server.stop()
        self.up = False

    def start(self) -> None:
        self._server.start()
        self.up = True


@pytest.fixture(scope="module")
def one_server() -> Iterator[PostgresServer]:
    with PostgresServer(choose(find_binaries())) as server:
        yield server


@pytest.fixture
def server(one_server: PostgresServer) -> Iterator[Server]:
    server = Server(one_server)
    yield server
    if not server.up:
        server.start()


@asynccontextmanager
async def using(url: str, folder: Path, **settings: Any) -> AsyncIterator[JobService]:
    """A service that schedules."""
    spool = FileJobStorage(folder / "spool")
    service = JobService(DatabaseJobStorage(url, spool=spool, **settings))
    service.declare("MAIL")
    try:
        yield service
    finally:
        await service.stop()


async def waiting(folder: Path) -> int:
    spool = FileJobStorage(folder / "spool")
    await spool.open()
    try:
        return sum((await spool.stats(spool.clock.now())).by_status.values())
    finally:
        await spool.close()


async def on_the_server(url: str) -> list[str]:
    """The numbers of all jobs there, in the order in which they were scheduled."""
    service = JobService(url)
    try:
        page = await service.get_jobs(limit=1000)
        return [info.data["n"] for info in page][::-1]
    finally:
        await service.stop()


async def test_what_is_scheduled_while_the_server_is_away_is_delivered_when_it_is_back(
    server: Server, tmp_path: Path
) -> None:
    async with using(server.url(), tmp_path) as service:
        await service.schedule("MAIL", {"n": 0})
        await asyncio.to_thread(server.stop)
        ids = [await service.schedule("MAIL", {"n": n}) for n in range(1, 20)]
        later = await service.schedule("MAIL", {"n": 20}, delay=3600)
        ids += await service.schedule_many([JobRequest("MAIL", {"n": n}) for n in range(21, 30)])

        assert await service.get_job_status(ids[0]) == JobStatus.PENDING
        assert await service.get_job_status(later) == JobStatus.SCHEDULED
        assert (await service.get_job(ids[0])).data == {"n": 1}
        with pytest.raises(StorageError, match="no connection to"):
            await service.get_job(JobId("0192c3d4-0000-7000-8000-000000000000"))
        assert await waiting(tmp_path) == 29
        assert await service.storage.spooled() == 29  # type: ignore[attr-defined]

        await asyncio.to_thread(server.start)
        await eventually_async(lambda: delivered(tmp_path), "all are delivered")
        assert await service.get_job_status(later) == JobStatus.SCHEDULED
        await service.schedule("MAIL", {"n": 30})
    assert await on_the_server(server.url()) == list(range(31))


async def test_the_version_of_the_data_is_delivered_too(server: Server, tmp_path: Path) -> None:
    kind = JobType("NEW", dict, version=2, upgrade={1: dict})
    async with using(server.url(), tmp_path) as service:
        await asyncio.to_thread(server.stop)
        job_id = await service.schedule(kind, {"n": 1})
        assert (await service.get_job(job_id)).version == 2
        await asyncio.to_thread(server.start)
        await eventually_async(lambda: delivered(tmp_path), "it is delivered")
        assert (await service.get_job(job_id)).version == 2


async def delivered(folder: Path) -> bool:
    return await waiting(folder) == 0


async def test_a_process_may_begin_while_the_server_is_away(server: Server, tmp_path: Path) -> None:
    await asyncio.to_thread(server.stop)
    async with using(server.url(), tmp_path) as service:
        await service.schedule("MAIL", {"n": 0})
    async with using(server.url(), tmp_path) as service:
        await service.schedule("MAIL", {"n": 1})
        await asyncio.to_thread(server.start)
        await eventually_async(lambda: delivered(tmp_path), "all are delivered")
    assert await on_the_server(server.url()) == [0, 1]


async def test_without_a_spool_it_is_refused(server: Server, tmp_path: Path) -> None:
    await asyncio.to_thread(server.stop)
    service = JobService(server.url())
    service.declare("MAIL")
    with pytest.raises(StorageError, match="no connection to"):
        await service.schedule("MAIL", {"n": 0})


async def test_what_the_server_refuses_is_never_spooled(
    postgres_url: PostgresPlace, tmp_path: Path
) -> None:
    host = postgres_url.url.rpartition("@")[2]
    async with using(f"postgresql://postgres:hunter22@{host}", tmp_path) as service:
        with pytest.raises(ConfigurationError, match="check user, password"):
            await service.schedule("MAIL", {"n": 0})
    async with using(postgres_url.url, tmp_path, schema=postgres_url.schema) as service:
        await service.schedule("MAIL", {"n": 0})
        link = await asyncpg.connect(postgres_url.url)
        try:
            table = f'"{postgres_url.schema}"."background_jobs'
            await link.execute(f"ALTER TABLE {table}\" ADD CHECK (type <> 'MAIL') NOT VALID")
            with pytest.raises(StorageError, match="violates check constraint"):
                await service.schedule("MAIL", {"n": 1})
            await link.execute(
                f"UPDATE {table}_meta\" SET value = 99 WHERE name IN ('schema', 'compatible')"
            )
        finally:
            await link.close()
        assert await waiting(tmp_path) == 0
    async with using(postgres_url.url, tmp_path, schema=postgres_url.schema) as service:
        with pytest.raises(StorageVersionError, match="version 99"):
            await service.schedule("MAIL", {"n": 2})
    assert await waiting(tmp_path) == 0


async def test_a_server_that_comes_back_newer_is_told_of_and_nothing_is_lost(
    server: Server, tmp_path: Path
) -> None:
    async with using(server.url(), tmp_path) as service:
        await service.schedule("MAIL", {"n": 0})
        link = await asyncpg.connect(server.url())
        await link.execute(
            "UPDATE background_jobs_meta SET value = 99 WHERE name IN ('schema', 'compatible')"
        )
        await link.close()
        await asyncio.to_thread(server.stop)
        await service.schedule("MAIL", {"n": 1})
        await asyncio.to_thread(server.start)

        async def is_refused() -> bool:
            try:
                await service.schedule("MAIL", {"n": 2})
            except StorageVersionError:
                return True
            return False

        await eventually_async(is_refused, "it is refused")
    assert await waiting(tmp_path) >= 1


async def test_a_spool_holds_only_so_many(server: Server, tmp_path: Path) -> None:
    await asyncio.to_thread(server.stop)
    async with using(server.url(), tmp_path, spool_limit=10) as service:
        for n in range(10):
            await service.schedule("MAIL", {"n": n})
        with pytest.raises(StorageFullError, match=r"10 jobs wait for it in .*spool, where 10"):
            await service.schedule("MAIL", {"n": 10})
        assert await waiting(tmp_path) == 10


async def test_a_key_that_is_taken_when_its_job_is_delivered_leaves_a_record(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with using(server.url(), tmp_path) as service:
        held = await service.schedule("MAIL", {"n": 0}, unique_key="k", delay=3600)
        await asyncio.to_thread(server.stop)
        mine = await service.schedule("MAIL", {"n": 1}, unique_key="k")
        assert mine != held
        assert await service.schedule("MAIL", {"n": 2}, unique_key="k") == mine
        free = await service.schedule("MAIL", {"n": 3}, unique_key="free")
        await asyncio.to_thread(server.start)
        await eventually_async(lambda: delivered(tmp_path), "all are delivered")
        info = await service.get_job(mine)
        assert (info.status, info.error) == (
            JobStatus.CANCELLED,
            f"its unique key 'k' is held by job {held}",
        )
        assert await service.get_job_status(free) == JobStatus.PENDING
        assert await service.schedule("MAIL", {"n": 4}, unique_key="free") == free
    assert f"job {mine} is cancelled as it is delivered" in caplog.text


async def test_who_cancels_a_job_that_waits_for_the_server_is_heard(
    server: Server, tmp_path: Path
) -> None:
    async with using(server.url(), tmp_path) as service:
        await service.schedule("MAIL", {"n": 0})
        await asyncio.to_thread(server.stop)
        job = await service.schedule("MAIL", {"n": 1})
        await service.cancel_job(job)
        assert await service.get_job_status(job) == JobStatus.CANCELLED
        await asyncio.to_thread(server.start)
        await eventually_async(lambda: delivered(tmp_path), "all are delivered")
        assert await service.get_job_status(job) == JobStatus.CANCELLED
        with pytest.raises(JobNotFoundError):
            await service.cancel_job(JobId("0192c3d4-0000-7000-8000-000000000000"))


async def test_a_cancel_between_delivery_and_removal_is_heard_on_the_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = Spool._drop

    async def cancelled_first(self: Spool, jobs: Any) -> None:
        for job in jobs:
            await self.here.cancel(job.id, self.here.clock.now())
        await drop(self, jobs)

    monkeypatch.setattr(Spool, "_drop", cancelled_first)
    await asyncio.to_thread(server.stop)
    async with using(server.url(), tmp_path) as service:
        job = await service.schedule("MAIL", {"n": 1})
        await asyncio.to_thread(server.start)
        await eventually_async(lambda: delivered(tmp_path), "it is delivered")
        assert await service.get_job_status(job) == JobStatus.CANCELLED


async def test_a_worker_goes_on_with_what_was_spooled(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "backroom")
    seen: list[int] = []
    async with using(server.url(), tmp_path) as service:

        @service.handler("COUNT")
        async def count(job: Any) -> int:
            seen.append(job.data["n"])
            return 2 * int(job.data["n"])

        await service.start()
        await asyncio.to_thread(server.stop)
        ids = [await service.schedule("COUNT", {"n": n}) for n in range(20)]
        await asyncio.to_thread(server.start)
        assert [await service.result(one, timeout=30) for one in ids] == [2 * n for n in range(20)]
    assert sorted(seen) == list(range(20))


async def test_killed_between_the_servers_commit_and_the_removal_nothing_is_doubled(
    server: Server, family: Family
) -> None:
    await asyncio.to_thread(server.stop)
    async with using(server.url(), family.folder) as service:
        ids = [await service.schedule("MAIL", {"n": n}) for n in range(7)]
    await asyncio.to_thread(server.start)
    killed = family.start("-m", "tests.postgres.deliverer", server.url(), str(family.folder), "die")
    assert killed.ends() == -9, killed.text
    assert sorted(await on_the_server(server.url())) == list(range(7))
    assert await waiting(family.folder) == 7
    # One of them has run by the time the next process delivers.
    service = JobService(server.url())
    await service.cancel_job(ids[3])
    await service.stop()
    next_one = family.start("-m", "tests.postgres.deliverer", server.url(), str(family.folder))
    assert next_one.ends() == 0, next_one.text
    assert sorted(await on_the_server(server.url())) == list(range(7))
    async with using(server.url(), family.folder) as service:
        assert await service.get_job_status(ids[3]) == JobStatus.CANCELLED


async def test_two_processes_share_a_spool(server: Server, family: Family) -> None:
    await asyncio.to_thread(server.stop)
    begin = ("-m", "tests.postgres.deliverer", server.url(), str(family.folder), "schedule")
    children = [family.start(*begin, str(first)) for first in (0, 1000)]
    for child in children:
        child.says("scheduled")
    await asyncio.to_thread(server.start)
    for child in children:
        assert child.ends(within=60) == 0, child.text
    assert sorted(await on_the_server(server.url())) == [*range(100), *range(1000, 1100)]


async def test_what_is_no_spool_is_refused() -> None:
    for spool in (MemoryJobStorage(), "./storage/spool"):
        with pytest.raises(ConfigurationError, match="spool must be a durable storage"):
            DatabaseJobStorage("postgresql://localhost/app", spool=spool)  # type: ignore[arg-type]
