"""The primary dies, and its standby takes its place: nothing that was acknowledged is lost, nothing
has two outcomes, and who names both servers works on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from backroom import (
    ConfigurationError,
    DatabaseJobStorage,
    JobService,
    JobStatus,
    MemoryJobStorage,
    StorageError,
)
from tests.postgres.bustle import Bustle, audit
from tests.servers.binaries import find_binaries
from tests.servers.fixtures import PostgresPlace, choose
from tests.servers.postgres import PostgresServer
from tests.servers.standby import Standby


@pytest.fixture
def primary() -> Iterator[PostgresServer]:
    with PostgresServer(choose(find_binaries()), durable=True) as primary:
        yield primary


@pytest.fixture
def place(primary: PostgresServer) -> PostgresPlace:
    return PostgresPlace(primary.create_database(f"jobs_{uuid.uuid4().hex[:8]}"), "public")


async def test_who_names_both_works_on_with_the_standby(
    primary: PostgresServer, place: PostgresPlace
) -> None:
    with await asyncio.to_thread(Standby, primary) as standby:
        await asyncio.to_thread(standby.follow)
        both = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        url = place.url.replace(f"127.0.0.1:{primary.port}", both)
        bustle = Bustle(DatabaseJobStorage(url, schema=place.schema))
        async with bustle.at_work():
            await asyncio.to_thread(primary.stop, "immediate")
            await asyncio.to_thread(standby.promote)
            await bustle.works_again()
            await bustle.more(100)
        url = place.url.replace(str(primary.port), str(standby.port))
        await audit(bustle, PostgresPlace(url, place.schema))
        assert bustle.refused or bustle.unknown, "it was away for a while"


async def test_a_standby_is_there_to_be_looked_at(
    primary: PostgresServer, place: PostgresPlace
) -> None:
    with await asyncio.to_thread(Standby, primary) as standby:
        await asyncio.to_thread(standby.follow)
        async with Bustle(DatabaseJobStorage(place.url)).at_work():
            pass
        there = place.url.replace(str(primary.port), str(standby.port))
        both = place.url.replace(f":{primary.port}", f":{primary.port},127.0.0.1:{standby.port}")
        for url in (there, both, place.url):
            viewer = JobService(DatabaseJobStorage(url, read_only=True))
            viewer.declare("STEP")
            stats = await viewer.get_stats()
            assert stats.by_status["completed"] >= 20
            jobs = await viewer.get_jobs(status=JobStatus.COMPLETED, limit=5)
            assert len(jobs) == 5
            assert (await viewer.get_job(jobs[0].id)).status is JobStatus.COMPLETED
            refused = pytest.raises(StorageError, match=r"is read-only.*; nothing was changed")
            with refused:
                await viewer.schedule("STEP", {"n": 0})
            with refused:
                await viewer.pause_queue("default")
            with refused:
                await viewer.start()
            assert (await viewer.get_stats()).by_status == stats.by_status
            await viewer.stop()
        with pytest.raises(StorageError, match=r"it is a standby.*read_only=True takes it"):
            await JobService(there).open()
    bad: list[dict[str, Any]] = [{"pooled": True}, {"spool": MemoryJobStorage()}]
    for options in bad:
        with pytest.raises(ConfigurationError, match="read_only=True wants sessions of its own"):
            DatabaseJobStorage(place.url, read_only=True, **options)
