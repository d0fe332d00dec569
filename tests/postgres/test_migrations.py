"""The tables of a store go forward, in steps that are whole or not there, while others work."""

from __future__ import annotations

import asyncio
import re
import signal
from importlib.resources import files
from typing import Any

import asyncpg
import pytest

from backroom import Job, JobService
from backroom.errors import ConfigurationError, StorageError, StorageVersionError
from backroom.ports import WorkerSpec
from backroom.storage.postgres import schema
from backroom.storage.postgres.migrations import MIGRATIONS, Migration, tables_of
from backroom.storage.postgres.statements import Statements
from tests.postgres.parts import GATE, GATED, NEWER, STRICT, beside, columns, storage
from tests.process.fixtures import family
from tests.process.parts import Family, eventually_async
from tests.servers.fixtures import PostgresPlace

__all__ = ["family"]

OURS = MIGRATIONS[-1].version


async def versions(link: asyncpg.Connection) -> dict[str, int]:
    return dict(await link.fetch("SELECT name, value FROM background_jobs_meta"))


async def waiting(link: asyncpg.Connection, kind: str = "advisory") -> int:
    """How many wait for a lock of this kind in this database."""
    return int(
        await link.fetchval(
            "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE"
            " NOT l.granted AND l.locktype = $1 AND a.datname = current_database()",
            kind,
        )
    )


async def some_wait(link: asyncpg.Connection, count: int, kind: str = "advisory") -> None:
    async def reached() -> bool:
        return await waiting(link, kind) == count

    await eventually_async(reached, f"{count} wait for a lock ({kind})")


def test_every_version_follows_from_the_one_before() -> None:
    assert [one.version for one in MIGRATIONS] == list(range(1, OURS + 1))
    assert all(1 <= one.compatible <= one.version for one in MIGRATIONS)
    folder = files("backroom.storage.postgres").joinpath("migrations")
    there = sorted(one.name[:4] for one in folder.iterdir()) if folder.is_dir() else []
    assert there == [f"{one.version:04}" for one in MIGRATIONS[1:]]


def test_the_tables_that_rights_are_given_for_are_all_that_are_made() -> None:
    made = re.findall(r"(?:TABLE|SEQUENCE) \{(\w+)\}", "".join(one.sql for one in MIGRATIONS))
    tables, sequences = tables_of(MIGRATIONS)
    assert set(made) == {*tables, *sequences}
    gone = NEWER.sql + "\nDROP TABLE {logs};"
    tables, _ = tables_of((*MIGRATIONS, NEWER, Migration(3, "no logs", gone, 3)))
    assert "notes" in tables
    assert "logs" not in tables


async def test_the_first_who_opens_makes_the_tables(postgres_url: PostgresPlace) -> None:
    one = storage(postgres_url)
    await one.open()
    async with beside(postgres_url) as link:
        assert await versions(link) == {
            "schema": OURS,
            "compatible": MIGRATIONS[-1].compatible,
        }
    await one.close()


async def test_a_process_that_only_schedules_makes_them_too(postgres_url: PostgresPlace) -> None:
    service = JobService(storage(postgres_url))
    service.declare("MAIL")
    await service.schedule("MAIL", {})
    assert (await service.get_stats()).by_status["pending"] == 1
    await service.stop()


async def test_who_finds_what_it_knows_waits_for_no_lock(postgres_url: PostgresPlace) -> None:
    first, second = storage(postgres_url), storage(postgres_url)
    await first.open()
    async with beside(postgres_url) as link, link.transaction():
        await link.execute(first._schema.turn())
        async with asyncio.timeout(10):
            await second.open()
        # And who has to change something does wait.
        third = storage(postgres_url, NEWER)
        opening = asyncio.create_task(third.open())
        async with beside(postgres_url) as other:
            await some_wait(other, 1)
        assert not opening.done()
    await asyncio.wait_for(opening, 10)
    for one in (first, second, third):
        await one.close()


async def test_stores_of_one_database_do_not_wait_for_each_other(
    postgres_url: PostgresPlace,
) -> None:
    here, there = storage(postgres_url), storage(postgres_url, table_name="other_jobs")
    async with beside(postgres_url) as link, link.transaction():
        await link.execute(here._schema.turn())
        async with asyncio.timeout(10):
            await there.open()
    await there.close()


async def test_the_search_path_and_a_schema_that_is_named_are_one_store(
    postgres_url: PostgresPlace,
) -> None:
    named = storage(postgres_url)
    url = f"{postgres_url.url}?search_path={postgres_url.schema}"
    found = storage(postgres_url, NEWER, url=url, schema=None)
    await named.open()
    async with beside(postgres_url) as link, link.transaction():
        await link.execute(named._schema.turn())
        opening = asyncio.create_task(found.open())
        async with beside(postgres_url) as other:
            await some_wait(other, 1)
    await asyncio.wait_for(opening, 10)
    async with beside(postgres_url) as link:
        assert (await versions(link))["schema"] == NEWER.version
    await found.close()
    await named.close()


async def test_of_two_who_migrate_at_once_one_does_it_and_the_other_waits(
    postgres_url: PostgresPlace,
) -> None:
    old = storage(postgres_url)
    await old.open()
    async with beside(postgres_url) as link:
        await link.execute("SELECT pg_advisory_lock($1)", GATE)
        both = [asyncio.create_task(storage(postgres_url, GATED).migrate()) for _ in range(2)]
        await some_wait(link, 2)  # One at the gate, in the middle; the other before it.
        assert await columns(link, "background_jobs_notes") == []
        await link.execute("SELECT pg_advisory_unlock($1)", GATE)
        done = await asyncio.wait_for(asyncio.gather(*both), 20)
        assert sorted(done) == [(), (GATED.label,)]
        assert await columns(link, "background_jobs_notes") == ["id", "said"]
    await old.close()


async def test_many_who_find_nothing_make_the_tables_once(postgres_url: PostgresPlace) -> None:
    done = await asyncio.gather(*[storage(postgres_url, NEWER).migrate() for _ in range(6)])
    assert sorted(label for labels in done for label in labels) == [
        *(one.label for one in MIGRATIONS),
        NEWER.label,
    ]


async def test_who_finds_nothing_while_another_one_makes_the_tables_finds_them(
    postgres_url: PostgresPlace,
) -> None:
    class Late:
        """A connection whose first look comes right before the other one is done."""

        def __init__(self, link: asyncpg.Connection) -> None:
            self._link = link

        def __getattr__(self, name: str) -> Any:
            return getattr(self._link, name)

        async def fetch(self, *asked: Any) -> Any:
            try:
                return await self._link.fetch(*asked)
            except asyncpg.UndefinedTableError:
                await other.open()
                raise

    other = storage(postgres_url)
    link = await asyncpg.connect(postgres_url.url)
    tables = schema.Schema("here", Statements("background_jobs", postgres_url.schema))
    assert (await tables.look(Late(link))).version == OURS
    await link.close()
    await other.close()


async def test_an_open_worker_goes_on_while_a_newer_one_changes_the_tables(
    postgres_url: PostgresPlace,
) -> None:
    service = JobService(storage(postgres_url), concurrency=5, poll_interval=0.1)
    ended: set[int] = set()

    @service.handler("STEP")
    async def step(job: Job[dict[str, int]]) -> None:
        ended.add(job.data["n"])

    newer = JobService(storage(postgres_url, NEWER))
    newer.declare("STEP")
    async with service:
        for n in range(200):
            if n == 100:
                await newer.open()
            await (service if n < 150 else newer).schedule("STEP", {"n": n})

        async def all_ended() -> bool:  # Their outcomes are kept some moments after they ran.
            return (await newer.get_stats()).by_status["completed"] == 200

        await eventually_async(all_ended, "all jobs have run")
        assert len(ended) == 200
        assert (await newer.get_stats()).by_status["failed"] == 0
    async with beside(postgres_url) as link:
        assert await versions(link) == {"schema": NEWER.version, "compatible": 1}
    # And a worker of the version before may still come.
    again = storage(postgres_url)
    await again.open()
    await again.close()
    await newer.stop()


async def test_statements_that_were_made_ready_before_a_change_go_on(
    postgres_url: PostgresPlace,
) -> None:
    wider = "ALTER TABLE {workers} ALTER name TYPE varchar(500);"
    old = storage(postgres_url)
    await old.open()
    worker = await old.enlist(WorkerSpec("one", 30))
    assert [one.name for one in (await old.stats(0)).workers] == ["one"]
    await storage(postgres_url, Migration(NEWER.version, "wider names", wider, 1)).migrate()
    assert [one.name for one in (await old.stats(0)).workers] == ["one"]
    await old.extend(worker.worker)
    await old.close()


async def test_a_version_that_leaves_this_one_out_is_refused(postgres_url: PostgresPlace) -> None:
    newer = storage(postgres_url, STRICT)
    await newer.open()
    old = storage(postgres_url)
    with pytest.raises(StorageVersionError, match="upgrade it") as caught:
        await old.open()
    assert f"version {STRICT.version} and want" in str(caught.value)
    with pytest.raises(StorageVersionError):
        await old.migrate()
    await newer.close()


async def test_a_process_that_is_killed_while_it_migrates_leaves_nothing_half_done(
    postgres_url: PostgresPlace, family: Family
) -> None:
    old = storage(postgres_url)
    await old.open()
    async with beside(postgres_url) as link:
        await link.execute("SELECT pg_advisory_lock($1)", GATE)
        child = family.start("-m", "tests.postgres.parts", postgres_url.url, postgres_url.schema)
        await some_wait(link, 1)
        child.signal(signal.SIGKILL)
        child.ends()
        await link.execute("SELECT pg_advisory_unlock($1)", GATE)

        async def gone() -> bool:
            return not await link.fetchval(
                "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                " WHERE l.locktype = 'advisory' AND l.mode = 'ExclusiveLock'"
                " AND a.datname = current_database()"
            )

        await eventually_async(gone, "the server has ended what the process had begun")
        assert (await versions(link))["schema"] == OURS
        assert "note" not in await columns(link, "background_jobs_workers")
        assert await columns(link, "background_jobs_notes") == []
        assert await storage(postgres_url, NEWER).migrate() == (NEWER.label,)
        assert "note" in await columns(link, "background_jobs_workers")
    await old.close()


async def test_a_connection_that_ends_while_it_migrates_costs_only_time(
    postgres_url: PostgresPlace,
) -> None:
    async with beside(postgres_url) as link:
        await link.execute("SELECT pg_advisory_lock($1)", GATE)
        migrating = asyncio.create_task(storage(postgres_url, GATED).migrate())
        await some_wait(link, 1)
        await link.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"
            " AND locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE"
            " datname = current_database())"
        )
        await link.execute("SELECT pg_advisory_unlock($1)", GATE)
        assert GATED.label in await asyncio.wait_for(migrating, 20)
        assert (await versions(link))["schema"] == GATED.version


async def test_a_migration_does_not_wait_for_ever_behind_a_long_transaction(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK", 0.1)
    monkeypatch.setattr(schema, "PAUSE", 0.05)
    monkeypatch.setattr(schema, "PATIENCE", 0.5)
    old = storage(postgres_url)
    await old.open()
    async with beside(postgres_url) as link, link.transaction():
        await link.fetch("SELECT * FROM background_jobs_workers")
        opening = asyncio.create_task(storage(postgres_url, NEWER).open())
        await asyncio.wait([opening], timeout=20)
        assert opening.done()
        with pytest.raises(StorageError, match="waits for transactions that use") as caught:
            opening.result()
        assert f"{link.get_server_pid()} (beside, user " in str(caught.value)
        assert NEWER.label in str(caught.value)
        assert (await versions(link))["schema"] == OURS
    await old.close()


async def test_others_get_through_while_a_migration_waits_and_it_comes_to_its_turn(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK", 0.2)
    monkeypatch.setattr(schema, "PAUSE", 0.2)
    service = JobService(storage(postgres_url))
    service.declare("MAIL")
    await service.open()
    newer = storage(postgres_url, NEWER)
    async with beside(postgres_url) as link, beside(postgres_url) as watch:
        transaction = link.transaction()
        await transaction.start()
        await link.fetch("SELECT * FROM background_jobs_workers")
        opening = asyncio.create_task(newer.open())
        await some_wait(watch, 1, "relation")
        async with asyncio.timeout(10):
            # Who reads that table stands in line behind the change, for a moment.
            assert (await service.get_stats()).workers == ()
            await service.schedule("MAIL", {})
        assert not opening.done()
        await transaction.rollback()
        await asyncio.wait_for(opening, 20)
        assert (await versions(watch))["schema"] == NEWER.version
    await newer.close()
    await service.stop()


async def test_who_waits_too_long_for_another_who_migrates_says_so(
    postgres_url: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "TURN", 0.1)
    monkeypatch.setattr(schema, "PATIENCE", 0.2)
    monkeypatch.setattr(schema, "PAUSE", 0.05)
    one = storage(postgres_url)
    async with beside(postgres_url) as link, link.transaction():
        await link.execute(one._schema.turn())
        opening = asyncio.create_task(one.open())
        await asyncio.wait([opening], timeout=20)
        assert opening.done()
        with pytest.raises(StorageError, match="another process migrates these tables"):
            opening.result()


async def test_a_migration_that_fails_leaves_nothing(postgres_url: PostgresPlace) -> None:
    broken = Migration(NEWER.version, "broken", f"{NEWER.sql}\nSELECT 1 / 0;", 1)
    one = storage(postgres_url, broken)
    with pytest.raises(StorageError, match="division by zero"):
        await one.open()
    async with beside(postgres_url) as link:
        assert (await versions(link))["schema"] == OURS
        assert await columns(link, "background_jobs_notes") == []


async def test_without_migrate_nothing_is_made_or_changed(postgres_url: PostgresPlace) -> None:
    with pytest.raises(ConfigurationError, match="run `backroom migrate`"):
        await storage(postgres_url, migrate=False).open()
    async with beside(postgres_url) as link:
        assert await columns(link, "background_jobs") == []
        first = storage(postgres_url)
        await first.open()
        with pytest.raises(StorageVersionError, match="run `backroom migrate`"):
            await storage(postgres_url, NEWER, migrate=False).open()
        assert (await versions(link))["schema"] == OURS
    ready = storage(postgres_url, migrate=False)
    await ready.open()
    await ready.close()
    await first.close()


async def test_two_who_open_one_storage_at_once_both_find_it_ready(
    postgres_url: PostgresPlace,
) -> None:
    one = storage(postgres_url)

    async def use() -> int:
        await one.open()
        return len(await one.queues())

    assert await asyncio.gather(use(), use()) == [0, 0]
    await one.close()
    await one.close()
