"""Jobs in PostgreSQL while the server misbehaves: it stops, starts anew, has become a standby, has
no room left, cancels, refuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from backroom import DatabaseJobStorage, JobService
from backroom.errors import StorageError, StorageFullError
from backroom.ports import WorkerSpec
from backroom.storage.postgres import connecting
from tests.postgres.bustle import Bustle, audit, short
from tests.process.parts import eventually_async
from tests.servers.binaries import find_binaries, unprivileged
from tests.servers.fixtures import PostgresPlace, a_place, choose
from tests.servers.postgres import PostgresServer

LEASE = 8.0
"""Of workers that nobody extends: longer than a start of the server takes."""
SETTINGS = {"max_locks_per_transaction": "10", "max_connections": "25"}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that may be mistreated."""
    with PostgresServer(choose(find_binaries()), durable=True, settings=SETTINGS) as server:
        yield server


@pytest.fixture
def place(server: PostgresServer) -> Iterator[PostgresPlace]:
    """A database of its own: what is set for it is gone after the test."""
    name = f"jobs_{uuid.uuid4().hex[:8]}"
    server.create_database(name)
    try:
        with a_place(server, name) as place:
            yield place
    finally:
        server.execute("ALTER SYSTEM RESET ALL")
        server.execute("SELECT pg_reload_conf()")
        server.drop_database(name)


@pytest.fixture
async def store(place: PostgresPlace) -> AsyncIterator[DatabaseJobStorage]:
    storage = DatabaseJobStorage(place.url, schema=place.schema)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
def service(store: DatabaseJobStorage) -> JobService:
    service = JobService(store)
    service.declare("MAIL")
    return service


@contextlib.asynccontextmanager
async def a_session(place: PostgresPlace) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's."""
    link = await asyncpg.connect(place.url, server_settings={"search_path": place.schema})
    try:
        yield link
    finally:
        await link.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# -- it goes, and comes back ----------------------------------------------------------------------


def restart(mode: Any) -> Callable[[PostgresServer, PostgresPlace], None]:
    return lambda server, _: server.restart(mode)


def away(server: PostgresServer, _: PostgresPlace) -> None:
    server.stop("immediate")
    time.sleep(3)
    server.start()


def end_sessions(server: PostgresServer, place: PostgresPlace) -> None:
    for _ in range(5):
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'backroom'"
        )
        time.sleep(0.1)


def cancel_statements(server: PostgresServer, place: PostgresPlace) -> None:
    for _ in range(100):
        server.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'backroom'"
        )


def read_only(server: PostgresServer, place: PostgresPlace) -> None:
    server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    server.execute("SELECT pg_reload_conf()")
    time.sleep(2)
    server.execute("ALTER SYSTEM RESET default_transaction_read_only")
    server.execute("SELECT pg_reload_conf()")


MISHAPS = {
    "started anew": restart("fast"),
    "started anew after a crash": restart("immediate"),
    "away": away,
    "sessions ended": end_sessions,
    "statements cancelled": cancel_statements,
    "read-only for a while": read_only,
}


@pytest.mark.parametrize("mishap", MISHAPS.values(), ids=MISHAPS)
async def test_whatever_befalls_the_server_every_job_ends_once(
    mishap: Callable[[PostgresServer, PostgresPlace], None],
    server: PostgresServer,
    place: PostgresPlace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bustle = Bustle(DatabaseJobStorage(place.url, schema=place.schema))
    async with bustle.at_work():
        await asyncio.to_thread(mishap, server, place)
        await bustle.works_again()
    await audit(bustle, place)
    assert len(warnings(caplog)) <= 1, warnings(caplog)


async def test_the_log_says_once_that_it_is_away_and_once_that_it_is_back(
    server: PostgresServer,
    place: PostgresPlace,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backroom.storage.postgres.outage.CALM", 1.0)
    bustle = Bustle(DatabaseJobStorage(place.url, schema=place.schema))
    async with bustle.at_work():
        await asyncio.to_thread(server.stop)
        await eventually_async(lambda: len(bustle.refused) > 20, "schedules are refused")
        await asyncio.to_thread(server.start)
        await eventually_async(lambda: "does its part again" in caplog.text, "it says so")
    said = warnings(caplog)
    assert len(said) == 2, said
    assert "no connection to" in said[0] or "did not answer" in said[0]
    assert "does its part again" in said[1]
    assert "backroom@" not in caplog.text


async def test_without_a_server_a_schedule_fails_at_once_and_clearly(
    server: PostgresServer, service: JobService
) -> None:
    await service.schedule("MAIL", {})
    await asyncio.to_thread(server.stop)
    try:
        with contextlib.suppress(StorageError):
            await service.schedule("MAIL", {})  # On a connection that was cut.
        began = time.monotonic()
        with pytest.raises(StorageError, match=r"no connection to .*; nothing was changed") as said:
            await service.schedule("MAIL", {})
        assert time.monotonic() - began < 2
        assert "backroom@" not in str(said.value)
    finally:
        await asyncio.to_thread(server.start)
    await service.stop()


async def test_who_has_died_is_not_alive_once_the_server_has_run_for_a_lease(
    server: PostgresServer, place: PostgresPlace
) -> None:
    storages = [DatabaseJobStorage(place.url, schema=place.schema) for _ in range(4)]
    viewer, dies, proxied, lives = storages
    proxied._links.pooled = True
    for storage in storages:
        await storage.open()
    for name, storage in (("dies", dies), ("proxied", proxied), ("lives", lives)):
        await storage.enlist(WorkerSpec(name, LEASE))
    for storage in (dies, proxied):
        storage._users = 1
        await storage.close()

    async def living() -> set[str]:
        return {one.name for one in await viewer.crew() if one.alive}

    await eventually_async(lambda: told(living, {"proxied", "lives"}), "its sessions are gone")
    await asyncio.to_thread(server.restart, "fast")
    with contextlib.suppress(StorageError):
        await viewer.crew()  # On a connection that was cut.
    async with a_session(place) as other:
        begun = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"
        seen = await living()
        if float(await other.fetchval(begun)) < LEASE:
            assert seen == {"dies", "proxied", "lives"}, "who lives has its time to say so"
        await eventually_async(lambda: told(living, {"lives"}), "who died is not alive")
        assert float(await other.fetchval(begun)) >= LEASE
    [gone] = [one.id for one in await viewer.crew() if one.name == "dies"]
    assert not await viewer.drain(gone, True)
    service = JobService(viewer)
    assert [one.name for one in (await service.get_stats()).workers] == ["lives"]
    for storage in (lives, viewer):
        await storage.close()


async def told(look: Callable[[], Awaitable[set[str]]], names: set[str]) -> bool:
    return await look() == names


# -- another is the primary now -------------------------------------------------------------------


async def test_connections_to_what_has_become_a_standby_are_left(
    server: PostgresServer, place: PostgresPlace, service: JobService
) -> None:
    setting = f'ALTER DATABASE "{place.database}" {{}} default_transaction_read_only'
    server.execute((setting.format("SET") + " = on").encode())
    await asyncio.to_thread(end_sessions, server, place)
    with pytest.raises(StorageError, match=r"is read-only, a standby.*nothing was changed"):
        await service.schedule("MAIL", {})
    await service.get_stats()  # A session that can read is kept.
    server.execute(setting.format("RESET").encode())
    # That session is read-only to its end; those that begin now are not.
    await service.schedule("MAIL", {})
    await service.stop()


async def test_of_several_servers_the_one_that_takes_changes_is_used(
    server: PostgresServer, place: PostgresPlace
) -> None:
    with PostgresServer(choose(find_binaries())) as standby:
        standby.create_database(place.database)
        standby.execute(
            f'ALTER DATABASE "{place.database}" SET default_transaction_read_only = on'.encode()
        )
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{server.port}"
        url = place.url.replace(f"127.0.0.1:{server.port}", hosts)
        service = JobService(DatabaseJobStorage(url, schema=place.schema))
        service.declare("MAIL")
        await service.schedule("MAIL", {})
        assert (await service.get_stats()).by_status["pending"] == 1
        await service.stop()


# -- it has no room -------------------------------------------------------------------------------


@pytest.fixture
def small_disk(server: PostgresServer) -> Iterator[Path]:
    """A file system of 24 MB, which is the server's."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can make a small file system for a server that runs out of disk")
    folder = Path(tempfile.mkdtemp(prefix="backroom-small-", dir="/tmp"))
    mounting = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=777", "backroom", str(folder)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        folder.rmdir()
        pytest.skip("this machine lets nobody mount a small file system")
    try:
        inside = folder / "space"
        inside.mkdir()
        unprivileged().give(inside)
        yield inside
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


async def test_a_disk_that_is_full_refuses_and_takes_jobs_again_when_it_is_not(
    server: PostgresServer,
    place: PostgresPlace,
    small_disk: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = f"small_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE TABLESPACE {name} LOCATION '{small_disk}'".encode())
    server.execute(f'ALTER DATABASE "{place.database}" SET default_tablespace = {name}'.encode())
    try:
        bustle = Bustle(DatabaseJobStorage(place.url, schema=place.schema))
        async with bustle.at_work():
            filler = small_disk.parent / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
            full = [0]

            async def refused() -> bool:
                # Large enough that no room is left over in a page.
                await asyncio.gather(
                    *[bustle.schedule({"pad": "x" * 4000 + uuid.uuid4().hex}) for _ in range(20)]
                )
                full[0] = sum(isinstance(e, StorageFullError) for e in bustle.refused.values())
                return full[0] > 20

            await eventually_async(refused, "the disk is full")
            await asyncio.sleep(1)
            filler.unlink()
            await bustle.works_again()
        await audit(bustle, place)
        assert len(warnings(caplog)) <= 2, warnings(caplog)
        assert "the disk of the server is full" in caplog.text
    finally:
        server.drop_database(place.database)
        server.create_database(place.database)
        server.execute(f'CREATE SCHEMA "{place.schema}"'.encode(), place.database)
        server.execute(f"DROP TABLESPACE {name}".encode())


async def test_where_connections_are_few_they_are_shared(
    server: PostgresServer, place: PostgresPlace, caplog: pytest.LogCaptureFixture
) -> None:
    role = f"app_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'app' CONNECTION LIMIT 3".encode())
    server.execute(f'GRANT CREATE ON DATABASE "{place.database}" TO {role}'.encode())
    server.execute(f'ALTER SCHEMA "{place.schema}" OWNER TO {role}'.encode(), place.database)
    url = place.url.replace("postgres:backroom@", f"{role}:app@")
    try:
        bustle = Bustle(DatabaseJobStorage(url, schema=place.schema), lease=8)
        async with bustle.at_work():
            await asyncio.gather(*[bustle.schedule() for _ in range(50)])
            await asyncio.gather(*[bustle.service.get_stats() for _ in range(10)])
            await asyncio.sleep(5)  # More than one heartbeat.
        await audit(bustle, place)
        assert not bustle.refused
        assert not bustle.unknown
        assert "lease" not in " ".join(warnings(caplog))
    finally:
        server.execute(f"REASSIGN OWNED BY {role} TO postgres".encode(), place.database)
        server.execute(f"DROP OWNED BY {role}".encode(), place.database)
        server.execute(f"DROP ROLE {role}".encode())


async def test_that_a_server_takes_no_more_connections_is_said(
    server: PostgresServer, place: PostgresPlace, service: JobService
) -> None:
    await service.schedule("MAIL", {})
    await asyncio.to_thread(end_sessions, server, place)
    others = []
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            others.append(await asyncio.to_thread(psycopg.connect, place.url))
    with pytest.raises(StorageError, match=r"too many clients already.*nothing was changed"):
        await service.schedule("MAIL", {})
    for other in others:
        other.close()

    async def again() -> bool:
        with contextlib.suppress(StorageError):
            await service.schedule("MAIL", {})
            return True
        return False

    await eventually_async(again, "there is room again", 5)
    await service.stop()


async def test_a_server_without_room_for_locks_refuses_and_goes_on(
    place: PostgresPlace, service: JobService
) -> None:
    await service.schedule("MAIL", {})

    async def much() -> None:
        """Each takes locks, also on tables that others do not."""
        for n in range(20):
            await service.schedule("MAIL", {}, queue=f"q{n}", unique_key=f"k{n}")
            await asyncio.gather(*[service.get_stats() for _ in range(5)])

    async with a_session(place) as other:
        with pytest.raises(asyncpg.OutOfMemoryError):
            await other.fetch("SELECT pg_advisory_lock(n) FROM generate_series(1, 100000) AS n")
        with pytest.raises(StorageError, match=r"out of shared memory.*nothing was changed"):
            await much()
        await other.execute("SELECT pg_advisory_unlock_all()")
    await service.schedule("MAIL", {})
    await service.stop()


# -- it says no -----------------------------------------------------------------------------------


async def test_a_lock_that_somebody_keeps_is_not_waited_for_for_ever(
    place: PostgresPlace, store: DatabaseJobStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connecting.SESSION, "lock_timeout", "300")
    async with a_session(place) as other:
        await store.close()
        await store.open()  # With a session that has less patience.
        service = JobService(store)
        service.declare("MAIL")
        await service.schedule("MAIL", {})
        for _ in range(3):
            async with other.transaction():
                await other.execute("LOCK TABLE background_jobs")
                with pytest.raises(StorageError, match=r"gave it up: .*lock timeout; nothing was"):
                    await service.schedule("MAIL", {})
        ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backroom'"
        assert await other.fetchval(ours) <= 2, "nobody waits there still, given up by all"
        await service.schedule("MAIL", {})
        await service.stop()


async def test_what_an_admin_sets_for_all_ends_no_statement_of_ours(
    server: PostgresServer, place: PostgresPlace, caplog: pytest.LogCaptureFixture
) -> None:
    name = place.database
    for setting in ("statement_timeout = 1", "lock_timeout = 1", "idle_session_timeout = 300"):
        server.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())
    bustle = Bustle(DatabaseJobStorage(place.url, schema=place.schema))
    try:
        async with bustle.at_work():
            bustle.pause()
            listening = (
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'backroom'"
                f" AND datname = '{name}' AND query ~ '^(LISTEN|SELECT 1)'"
            ).encode()
            before = server.execute(listening)
            assert len(before) == 1
            await asyncio.sleep(1)  # Its connections idle, and are ended.
            assert server.execute(listening) == before, "but not the one that listens"
            await bustle.schedule()
    finally:
        server.execute(f'ALTER DATABASE "{name}" RESET ALL'.encode())
    await audit(bustle, place)
    assert not warnings(caplog)
    assert not bustle.refused


async def test_a_statement_that_is_cancelled_was_not_carried_out(
    place: PostgresPlace, store: DatabaseJobStorage
) -> None:
    storage = short(store, 10)
    async with a_session(place) as other:

        async def sleep(link: asyncpg.Connection) -> None:
            await link.execute("SELECT pg_sleep(30)")

        sleeping = asyncio.create_task(storage._links.run(sleep))
        cancel = (
            "SELECT bool_or(pg_cancel_backend(pid)) FROM pg_stat_activity"
            " WHERE query LIKE 'SELECT pg_sleep(3%' AND state = 'active'"
        )
        await eventually_async(lambda: other.fetchval(cancel), "it was cancelled")
        with pytest.raises(StorageError, match=r"gave it up: .*user request; nothing was changed"):
            await sleeping


async def in_the_way(
    place: PostgresPlace, store: DatabaseJobStorage, *works: Callable[..., Awaitable[None]]
) -> None:
    async with a_session(place) as other:
        await other.execute("CREATE TABLE points (id, n) AS VALUES (1, 0), (2, 0)")
        await asyncio.gather(*[store._links.run(work) for work in works])
        assert await other.fetchval("SELECT sum(n) FROM points") == 4


async def test_who_is_in_a_deadlock_tries_again(
    place: PostgresPlace, store: DatabaseJobStorage
) -> None:
    both = asyncio.Barrier(2)
    tries = []

    def work(*order: int) -> Callable[..., Awaitable[None]]:
        async def work(link: asyncpg.Connection) -> None:
            tries.append(order)
            update = f'UPDATE "{place.schema}".points SET n = n + 1 WHERE id = $1'
            async with link.transaction():
                await link.execute(update, order[0])
                if len(tries) <= 2:
                    await both.wait()
                await link.execute(update, order[1])

        return work

    await in_the_way(place, store, work(1, 2), work(2, 1))
    assert len(tries) == 3


async def test_who_cannot_be_serialized_tries_again(
    place: PostgresPlace, store: DatabaseJobStorage
) -> None:
    both = asyncio.Barrier(2)
    tries = []

    async def work(link: asyncpg.Connection) -> None:
        tries.append(link)
        async with link.transaction(isolation="repeatable_read"):
            points = f'"{place.schema}".points'
            await link.fetchval(f"SELECT sum(n) FROM {points}")
            if len(tries) <= 2:
                await both.wait()
            await link.execute(f"UPDATE {points} SET n = n + 1")

    await in_the_way(place, store, work, work)
    assert len(tries) == 3


async def test_a_process_that_was_stopped_lets_go_of_what_it_had_locked(
    place: PostgresPlace, store: DatabaseJobStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connecting.SESSION, "idle_in_transaction_session_timeout", "300")
    await store.close()
    await store.open()
    gone = asyncio.Event()
    tries: list[int] = []

    async def freeze(link: asyncpg.Connection) -> None:
        tries.append(1)
        async with link.transaction():
            await link.execute(f'LOCK TABLE "{place.schema}".background_jobs')
            if len(tries) == 1:
                await gone.wait()
            await link.execute("SELECT 1")

    freezing = asyncio.create_task(store._links.run(freeze))
    async with a_session(place) as other:
        held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"

        async def free() -> bool:
            return bool(tries) and not await other.fetchval(held)

        await eventually_async(lambda: other.fetchval(held), "it is locked")
        await eventually_async(free, "nobody holds the lock")
    gone.set()
    await freezing
    assert len(tries) == 2
