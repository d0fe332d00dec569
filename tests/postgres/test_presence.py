"""Who has died is told by the sessions of its process, and by its beats: nobody who lives is
robbed, whatever is done to connections, servers and clocks."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from backroom import DatabaseJobStorage, JobStatus
from backroom.errors import LeaseLostError
from backroom.identity import JobIds
from backroom.job import JobRecord
from backroom.ports import Reclaimed, Want, WorkerSpec
from backroom.storage.postgres.presence import LONGEST_LEASE
from backroom.storage.postgres.watch import GRACE
from backroom.transition import Claim
from tests.process.parts import eventually_async
from tests.servers.binaries import find_binaries
from tests.servers.fixtures import PostgresPlace, choose
from tests.servers.postgres import PostgresServer

SOON = 3.0
"""Seconds within which something happens on a busy machine."""
LONG = 30.0
"""A lease that no test here waits for."""

_ids = JobIds()


class Process:
    """A storage as a process has it, with a worker that holds some jobs."""

    def __init__(
        self, connection: str | asyncpg.Pool, schema: str | None, pooled: bool = False
    ) -> None:
        self.storage = DatabaseJobStorage(connection, schema=schema)
        self.storage._links.pooled = pooled
        self.claims: list[Claim] = []
        self.worker = 0
        self.key: int | None = None
        """Of its sessions, also when they are gone."""

    async def open(self) -> Process:
        await self.storage.open()
        self.key = self.storage._base.presence.key
        return self

    async def enlist(self, name: str = "host:1", lease: float = LONG, jobs: int = 4) -> None:
        """Half of the jobs have begun."""
        now = self.storage.clock.now()
        records = [JobRecord(_ids(now), "T", "default", 2, now, now, "{}") for _ in range(jobs)]
        if records:
            await self.storage.insert(records, now)
        self.worker = (await self.storage.enlist(WorkerSpec(name, lease))).worker
        want = Want(("default",), (), (jobs,) * 4)
        self.claims = (await self.storage.claim(self.worker, want, now)).claims
        await self.storage.start(self.worker, [one.key for one in self.claims[: jobs // 2]])

    async def look(self) -> Reclaimed:
        return await self.storage.reclaim(self.storage.clock.now())

    async def watch(self, seconds: float) -> list[Reclaimed]:
        """What it finds out in so many seconds, looking as often as it is to."""
        looks: list[Reclaimed] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            looks.append(await self.look())
            assert looks[-1].again is not None
            await asyncio.sleep(min(looks[-1].again, 0.1))
        return looks

    async def finds_dead(self, within: float = SOON) -> tuple[Reclaimed, float]:
        """What it takes back, and after how many seconds."""
        began = time.monotonic()
        while not (reclaimed := await self.look()).workers:
            assert time.monotonic() - began < within, "nobody was declared dead"
            assert reclaimed.again is not None
            await asyncio.sleep(min(reclaimed.again, 0.1))
        return reclaimed, time.monotonic() - began

    async def die(self) -> None:
        """All that the server has of it is gone."""
        self.storage._users = 1
        await self.storage.close()


class Town:
    """Some processes on one store."""

    def __init__(self, url: str, schema: str | None, stack: AsyncExitStack) -> None:
        self._url = url
        self._schema = schema
        self._stack = stack
        self._table = "background_jobs" if schema is None else f"{schema}.background_jobs"

    async def process(self, pooled: bool = False, pool: asyncpg.Pool | None = None) -> Process:
        process = await Process(pool or self._url, self._schema, pooled).open()
        self._stack.push_async_callback(process.die)
        return process

    async def ask(self, sql: str, *arguments: Any) -> list[Any]:
        """As somebody else; `{jobs}` stands for the table."""
        link = await asyncpg.connect(self._url)
        try:
            return list(await link.fetch(sql.replace("{jobs}", self._table), *arguments))
        finally:
            await link.close()

    async def pool(self) -> asyncpg.Pool:
        """As an application has one."""
        pool = asyncpg.create_pool(self._url, min_size=1, max_size=4)
        return await self._stack.enter_async_context(pool)

    async def link(self) -> asyncpg.Connection:
        """Of the test alone."""
        link = await asyncpg.connect(self._url)
        self._stack.push_async_callback(link.close)
        return link

    async def waits(self, statement: str) -> bool:
        """Whether a session waits for a lock with a statement of which this is a part."""
        rows = await self.ask(
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND strpos(query, $1) > 0",
            statement,
        )
        return bool(rows)

    async def sessions(self, process: Process) -> list[int]:
        """The backends that hold the key of a process."""
        rows = await self.ask(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
            " AND classid::bigint << 32 | objid::bigint = $1 AND mode = 'ShareLock'",
            process.key,
        )
        return [pid for (pid,) in rows]

    async def cut(self, *pids: int) -> None:
        await self.ask("SELECT pg_terminate_backend(p) FROM unnest($1::int[]) AS p", pids)


@pytest.fixture
async def town(postgres_url: PostgresPlace) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(postgres_url.url, postgres_url.schema, stack)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One that may be stopped."""
    with PostgresServer(choose(find_binaries()), durable=True) as server:
        yield server


@pytest.fixture
async def village(server: PostgresServer) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(server.url(), None, stack)


def nobody(looks: list[Reclaimed]) -> bool:
    return not any(look.workers or look.doubted for look in looks)


# -- sessions --------------------------------------------------------------------------------


async def test_a_process_without_a_session_is_dead_after_the_grace(town: Town) -> None:
    here, there = await town.process(), await town.process()
    await there.enlist()
    assert nobody([await here.look()])
    await there.die()

    reclaimed, seconds = await here.finds_dead()

    assert (reclaimed.workers, reclaimed.crashed, reclaimed.untouched) == (("host:1",), 2, 2)
    assert GRACE <= seconds < 2 * GRACE
    await here.enlist("host:2", jobs=0)
    attempts: list[int] = []
    more = True
    while more:
        want = Want(("default",), (), (9 - len(attempts),) * 4)
        claimed = await here.storage.claim(here.worker, want, here.storage.clock.now())
        attempts += [one.attempt for one in claimed.claims]
        more = claimed.more
    assert sorted(attempts) == [0, 0, 1, 1]


async def test_every_connection_of_a_process_shows_that_it_is_there(town: Town) -> None:
    here, there = await town.process(), await town.process()
    unsubscribe = there.storage.subscribe(lambda wake: None)
    await there.enlist()
    await asyncio.gather(*[there.storage.queues() for _ in range(4)])
    await eventually_async(lambda: _at_least(town, there, 3), "all have arrived")
    sessions = await town.sessions(there)
    assert not set(sessions) & set(await town.sessions(here))
    await town.cut(*sessions[1:])
    assert nobody(await here.watch(2 * GRACE))
    unsubscribe()


async def test_a_living_process_of_which_all_connections_are_cut_is_not_robbed(town: Town) -> None:
    here, there = await town.process(), await town.process()
    await there.enlist()
    for _ in range(3):
        await town.cut(*await town.sessions(there))
        looks = await here.watch(2 * GRACE)
        assert not any(look.workers for look in looks)
        assert not looks[-1].doubted
    await there.storage.extend(there.worker)


async def test_a_loop_that_extends_a_lease_has_a_session_again_at_once(town: Town) -> None:
    there = await town.process()
    await there.enlist()
    before = await town.sessions(there)
    await town.cut(*before)
    async with asyncio.timeout(GRACE):
        while not set(await town.sessions(there)) - set(before):
            await asyncio.sleep(0.01)


async def test_who_came_back_while_it_was_being_declared_dead_keeps_its_jobs(town: Town) -> None:
    """Between the look and the deed there is time for a session, and for a beat."""
    here, there = await town.process(), await town.process()
    await there.enlist()

    async def dead(beat: int, silent: bool) -> list[int]:
        rows = await here.storage._base.fetch("dead", [there.worker], [beat], [silent])
        return [row[0] for row in rows]

    assert await dead(0, silent=False) == []
    assert await dead(0, silent=True) == [there.worker]
    await there.storage.extend(there.worker)
    assert await dead(0, silent=True) == []
    await there.die()
    await eventually_async(lambda: _none_left(town, there), "its sessions have ended")
    assert await dead(0, silent=False) == []
    assert await dead(1, silent=False) == [there.worker]


async def test_who_extends_its_lease_while_it_is_being_declared_dead_is_told(town: Town) -> None:
    here, there = await town.process(), await town.process()
    await there.enlist()
    statements = here.storage._statements
    silent = ([there.worker], [0], [True])
    link = await town.link()
    async with link.transaction():
        assert await link.fetch(statements["dead"], *silent)
        extending = asyncio.create_task(there.storage.extend(there.worker))
        # Another one who finds it dead passes it over, and does not wait.
        async with asyncio.timeout(SOON):
            assert await here.storage._base.fetch("dead", *silent) == []
        await eventually_async(
            lambda: town.waits("SET beat = beat + 1"), "it waits to extend its lease"
        )
        await link.execute(statements["dismiss"], [there.worker])
    with pytest.raises(LeaseLostError):
        await extending


async def test_a_process_with_one_session_does_not_declare_itself_dead(town: Town) -> None:
    here = await town.process()
    await here.enlist()
    first = set(await town.sessions(here))
    await town.cut(*first)

    async def has_one() -> bool:
        sessions = await town.sessions(here)
        return len(sessions) == 1 and not first & set(sessions)

    await eventually_async(has_one, "it has one session, a new one")
    assert nobody(await here.watch(2 * GRACE))
    assert await here.storage.extend(here.worker)


async def test_a_process_whose_connections_are_lent_to_it_shows_itself_by_one_of_its_own(
    town: Town,
) -> None:
    here, there = await town.process(), await town.process(pool=await town.pool())
    await there.enlist()
    assert await town.sessions(there)
    assert nobody(await here.watch(2 * GRACE))
    await there.die()
    assert (await here.finds_dead())[0].crashed == 2


async def test_a_key_lasts_from_the_first_opening_to_the_last_closing(town: Town) -> None:
    here = await town.process()
    here.storage._base.presence.begin()  # As by another one who opened it at that moment.
    assert here.storage._base.presence.key == here.key
    before = here.key
    await here.die()
    assert here.storage._base.presence.key is None
    assert (await here.open()).key not in (before, None)


async def test_several_who_find_a_process_dead_at_once_charge_its_jobs_once(town: Town) -> None:
    many = [await town.process() for _ in range(4)]
    there = await town.process()
    await there.enlist(jobs=40)
    await there.die()
    found = await asyncio.gather(*[one.watch(3 * GRACE) for one in many])
    looks = [look for looks in found for look in looks if look.workers]
    assert [(look.crashed, look.untouched) for look in looks] == [(20, 20)]
    for claim in there.claims:
        info = await many[0].storage.find(claim.id, many[0].storage.clock.now())
        assert info is not None
        began = claim in there.claims[:20]
        assert (info.status, info.attempt, len(info.errors)) == (JobStatus.PENDING, began, began)


async def _has_sessions(town: Town, process: Process, count: int) -> bool:
    return len(await town.sessions(process)) == count


async def test_what_an_administrator_sets_does_not_end_the_sessions_that_show_us(
    town: Town,
) -> None:
    [(database,)] = await town.ask("SELECT current_database()")
    for setting in ("idle_session_timeout", "tcp_user_timeout"):
        await town.ask(f"ALTER DATABASE {database} SET {setting} = 50")
    try:
        here, there = await town.process(), await town.process()
        await there.enlist()
        # The one that asked, and the one that stays, which comes by itself.
        await eventually_async(lambda: _has_sessions(town, there, 2), "both sessions are there")
        before = await town.sessions(there)
        assert nobody(await here.watch(0.5))
        assert await town.sessions(there) == before
        rows = await there.storage._links.run(
            lambda link: link.fetch(
                "SELECT name, setting::int FROM pg_settings"
                " WHERE name LIKE 'tcp_keepalives%' OR name = 'tcp_user_timeout'"
            )
        )
    finally:
        await town.ask(f"ALTER DATABASE {database} RESET ALL")
    told = dict(rows)
    silent = told["tcp_keepalives_count"] * told["tcp_keepalives_interval"]
    assert min(silent, told["tcp_user_timeout"] / 1000 - told["tcp_keepalives_idle"]) > 1.1 * (
        LONGEST_LEASE
    )


async def test_a_lease_that_outlasts_a_silent_session_is_not_told_by_sessions(town: Town) -> None:
    here, there = await town.process(), await town.process()
    await there.enlist(lease=LONGEST_LEASE + 1)
    await there.die()
    assert nobody(await here.watch(2 * GRACE))


async def test_where_sessions_are_nobodys_own_only_the_lease_counts(town: Town) -> None:
    here, there = await town.process(pooled=True), await town.process(pooled=True)
    lease = 0.8
    await there.enlist(lease=lease)
    await there.storage.extend(there.worker)
    locks = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT pid = pg_backend_pid()"
    assert await town.ask(locks) == []
    await there.die()
    reclaimed, seconds = await here.finds_dead()
    assert reclaimed.crashed == 2
    assert seconds >= lease


# -- the server ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fast", "immediate", "crash"])
async def test_a_server_that_began_anew_makes_nobody_dead(
    server: PostgresServer, village: Town, how: str
) -> None:
    here, there = await village.process(), await village.process()
    await there.enlist()
    for staying in there.storage._base.presence._staying.values():
        staying.cancel()  # It comes back late.
    assert nobody([await here.look()])
    if how == "crash":
        victim, *_ = await village.sessions(here)
        os.kill(victim, signal.SIGKILL)  # Then the server ends all others, too.
        await eventually_async(lambda: _answers(here), "the server has recovered")
    elif how == "fast":
        await asyncio.to_thread(server.restart, "fast")
    else:
        await asyncio.to_thread(server.restart, "immediate")
    assert await village.sessions(there) == []

    assert nobody(await here.watch(3 * GRACE))

    await there.storage.extend(there.worker)
    assert nobody([await here.look()])
    await there.die()
    assert (await here.finds_dead())[0].crashed == 2


async def test_who_died_while_the_server_was_away_is_found_when_its_lease_is_over(
    server: PostgresServer, village: Town
) -> None:
    here, there = await village.process(), await village.process()
    await there.enlist(lease=0.8)
    await asyncio.to_thread(server.stop)
    await there.die()
    await asyncio.to_thread(server.start)
    reclaimed, _ = await here.finds_dead()
    assert reclaimed.crashed == 2


# -- clocks ----------------------------------------------------------------------------------


@pytest.fixture
async def stepping(village: Town) -> Town:
    """A server whose clock is that of a table: every function that tells the time is another one,
    which stands before that of the server in the search path."""
    await village.ask("CREATE SCHEMA stepped")
    await village.ask("CREATE TABLE stepped.steps (seconds double precision)")
    await village.ask("INSERT INTO stepped.steps VALUES (0)")
    for name in ("clock_timestamp", "statement_timestamp", "transaction_timestamp", "now"):
        await village.ask(
            f"CREATE FUNCTION stepped.{name}() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
            f" $$ SELECT pg_catalog.{name}() + make_interval(secs => seconds)"
            " FROM stepped.steps $$"
        )
    await village.ask("ALTER DATABASE postgres SET search_path = stepped, pg_catalog, public")
    return village


async def test_steps_of_the_server_s_clock_rob_nobody_and_save_nobody(stepping: Town) -> None:
    here, there = await stepping.process(), await stepping.process()
    silent = await stepping.process(pooled=True)
    lease = 1.0
    await there.enlist("host:1", lease=lease)
    await silent.enlist("host:2", lease=lease)
    began = time.monotonic()
    [(before,)] = await stepping.ask("SELECT clock_timestamp()")
    found: list[tuple[str, ...]] = []
    for seconds in (3600, -3600, 7200, -7200, 0):
        await stepping.ask("UPDATE stepped.steps SET seconds = $1", float(seconds))
        [(stepped,)] = await stepping.ask("SELECT clock_timestamp()")
        assert abs((stepped - before).total_seconds() - seconds) < 60
        await there.storage.extend(there.worker)
        looks = await here.watch(0.25)
        found += [look.workers for look in looks if look.workers]
        if time.monotonic() - began < lease:
            assert found == []
    if not found:
        found = [(await here.finds_dead())[0].workers]
    assert found == [("host:2",)]
    await there.storage.extend(there.worker)


# -- what is kept here -----------------------------------------------------------------------


async def test_of_a_worker_that_was_declared_dead_nothing_is_kept(town: Town) -> None:
    here, there = await town.process(), await town.process(pooled=True)
    await there.enlist(lease=0.3)
    assert list(there.storage._base.begun) == [there.worker]
    await here.finds_dead()
    with pytest.raises(LeaseLostError, match="was declared dead"):
        await there.storage.extend(there.worker)
    assert there.storage._base.begun == {}
    # And of one that never asks again, as it has another number now.
    await there.enlist("host:3", lease=0.3)
    await here.finds_dead()
    await there.look()
    assert there.storage._base.begun == {}


# -- forks -----------------------------------------------------------------------------------


async def test_a_forked_child_does_not_hold_what_shows_its_parent(
    town: Town, tmp_path: Path
) -> None:
    """What it inherited is closed there, and is not closed for the parent."""
    there = await town.process()
    await there.enlist()
    sessions = await town.sessions(there)
    inherited = [
        one._transport.get_extra_info("socket").fileno()
        for one in there.storage._base.presence._sessions
        if not one.is_closed()
    ]
    assert len(inherited) == len(sessions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Of a fork beside other threads.
        child = os.fork()
    if not child:
        try:
            kinds = [os.readlink(f"/proc/self/fd/{number}") for number in inherited]
            asyncio.run(there.storage.queues())  # The child may use it, with its own sessions.
            (tmp_path / "told").write_text(f"{' '.join(kinds)} {there.storage._base.presence.key}")
        finally:
            os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    *kinds, new = (tmp_path / "told").read_text().split()
    assert kinds == ["/dev/null"] * len(inherited)
    assert new != str(there.key)
    assert await town.sessions(there) == sessions
    await there.storage.extend(there.worker)


async def _at_least(town: Town, process: Process, count: int) -> bool:
    return len(await town.sessions(process)) >= count


async def _none_left(town: Town, process: Process) -> bool:
    return await town.sessions(process) == []


async def _answers(process: Process) -> bool:
    try:
        await process.storage.queues()
    except Exception:
        return False
    return True
