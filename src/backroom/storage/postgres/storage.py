"""Jobs in PostgreSQL: durable, shared by many machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

import asyncpg

from backroom.clock import SystemClock
from backroom.errors import ConfigurationError, StorageError
from backroom.job import JobRecord, duration
from backroom.ports import (
    Capabilities,
    Claimed,
    Clock,
    Heartbeat,
    House,
    Inserted,
    Pruned,
    Reclaimed,
    Report,
    Wake,
    Want,
    WorkerSpec,
)
from backroom.sizes import Sizes
from backroom.storage.postgres.adding import Adding
from backroom.storage.postgres.along import Along
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.claiming import Claiming
from backroom.storage.postgres.connecting import without_pooled
from backroom.storage.postgres.departures import Departures
from backroom.storage.postgres.drivers import line_of
from backroom.storage.postgres.ending import Ending
from backroom.storage.postgres.examining import Examination, examine
from backroom.storage.postgres.firing import Firings
from backroom.storage.postgres.leaving import Leaving
from backroom.storage.postgres.line import Line
from backroom.storage.postgres.links import Links, is_away, masked
from backroom.storage.postgres.living import Living
from backroom.storage.postgres.loans import Loans
from backroom.storage.postgres.people import People
from backroom.storage.postgres.retaining import Retaining
from backroom.storage.postgres.schedules import Schedules
from backroom.storage.postgres.schema import PREPARE, Schema, Stored
from backroom.storage.postgres.script import script
from backroom.storage.postgres.sources import Engine, source_of
from backroom.storage.postgres.spool import Spool
from backroom.storage.postgres.spooling import Spooling
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.steps import Keeping, Stepping
from backroom.storage.postgres.weaving import Weaving
from backroom.transition import Claim, Transition

__all__ = ["DatabaseJobStorage"]

DEFAULT_RETENTION: Final = timedelta(days=7)
CLOSE: Final = 2.0
"""Seconds that the server may take, where it is closed, for what was asked before."""
SPOOLED: Final = 100_000
"""Jobs that wait on this machine for the server at most."""


class DatabaseJobStorage(Spooling, Schedules, Leaving, Departures, Stepping, Weaving):
    """Jobs in the tables of a PostgreSQL database, from version 14 on.

    Safe for many loops, processes and machines. A process that dies is noticed by the server,
    and its jobs run elsewhere within a second; one that is stopped, or cut off, when its lease
    ends. No clock but the uptime of each machine counts.

    Args:
        connection: `postgresql://user:password@host:port/database`; or an asyncpg pool, which has
            to be open from before the first use until the end: it lends connections on its own
            loop, up to six at once, while the listener and the lease's thread have connections
            of their own that are made as the pool makes its; or an engine of SQLAlchemy, of which
            only the URL is used, not its pool and not its `connect_args`.
        table_name: of the table of jobs; the names of the others begin with it.
        schema: where the tables are; None: the first one of the `search_path`.
        retention: how long ended jobs are kept at least; seconds or a `timedelta`, None for ever.
            Many go together, with their partition: up to a quarter of that time later.
        migrate: whether opening makes the tables, and brings older ones forward; without it, that
            is left to `backroom migrate`, and tables that are missing or older are refused.
        spool: where `schedule` keeps jobs while the server is away, for example
            `FileJobStorage("./storage/spool")`: a folder for this database alone, which the
            processes of one machine may share. They are delivered as soon as it answers again.
            None: then `schedule` is refused.
        spool_limit: how many jobs may wait there.
        clock: for tests: tells the lease time, too.
        pooled: the URL leads to a proxy that gives each transaction another session (PgBouncer
            in transaction mode): all is as correct, and slower, since no plan is kept, and jobs
            are found by looking every `poll_interval`. `?pooled=true` in the URL says the same.
        listen_url: where wake-ups can be heard if not by `url`: of the same database, past the
            proxy.
        notify: whether workers are woken by NOTIFY, which takes a lock of the whole server as it
            commits. Without it, and where the server refuses it, they look every `poll_interval`.
        read_only: for look-ups alone, at a standby, say; of several servers that the URL names,
            rather one of those. Whatever would change something is refused.

    Raises:
        ConfigurationError: a name that is no plain identifier, no URL of PostgreSQL, a spool
            that is no durable storage; or `read_only` along a pool, a proxy or a spool.
    """

    capabilities = Capabilities(
        durable=True, shared=True, transactional=True, planning=True, flowing=True
    )

    def __init__(
        self,
        connection: str | asyncpg.Pool | Engine,
        *,
        table_name: str = "background_jobs",
        schema: str | None = None,
        retention: float | timedelta | None = DEFAULT_RETENTION,
        migrate: bool = True,
        spool: House | None = None,
        spool_limit: int = SPOOLED,
        clock: Clock | None = None,
        pooled: bool = False,
        listen_url: str | None = None,
        notify: bool = True,
        read_only: bool = False,
    ) -> None:
        asked = False
        if isinstance(connection, str):
            connection, asked = without_pooled(connection)
        try:
            self.retention = None if retention is None else duration("retention", retention)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self.clock: Clock = clock or SystemClock()
        self.commits = Sizes()
        self._statements = Statements(table_name, schema)
        pooled = pooled or asked
        if read_only and (pooled or spool is not None or isinstance(connection, asyncpg.Pool)):
            raise ConfigurationError(
                "read_only=True wants sessions of its own, which are told to change nothing: a URL,"
                " and neither a pool nor a proxy (pooled=True); and it has no use for a spool"
            )
        self._links = Links(
            source_of(connection), pooled=pooled, listen_url=listen_url, read_only=read_only
        )
        self._loans = Loans(self._links.source, pooled=self._links.pooled)
        self._schema = Schema(self.url, self._statements, read_only=read_only)
        self.migrates = migrate and not read_only
        """Whether opening makes and changes tables; set before it opens."""
        base = Base(
            self._links, self._statements, self.clock, self.commits, virtual=clock is not None
        )
        super().__init__(base)
        base.bells.on = notify and not read_only
        self._users = 0
        self._ready = False
        self._adding = Adding(base)
        self._firings = Firings(base, self._adding)
        self._claiming = Claiming(base)
        self._ending = Ending(base, self._adding)
        self._keeping = Keeping(base)
        self._living = Living(base, self._adding.settled)
        self._retaining = Retaining(base, self.retention)
        if spool is not None:
            self._spool = Spool(
                spool, spool_limit, self.url, insert=self._insert, prepare=self._prepare,
                unpack=self.unpack, cancel=partial(People.cancel, self),
            )  # fmt: skip

    @property
    def url(self) -> str:
        return masked(self._links.url)

    async def open(self) -> None:
        self._users += 1
        self._links.open = self._loans.open = True
        if self._ready:
            return
        self._base.presence.begin()
        self._loans.arrive = self._base.presence.keep_from_children
        try:
            away = None
            try:
                await self._prepare()
            except StorageError as error:
                if self._spool is None or not is_away(error):
                    raise
                away = error
            if self._spool is not None:
                await self._spool.open(away)
        except BaseException:
            await self.close()
            raise

    async def _prepare(self) -> None:
        if await self._schema.prepare(self._patiently, self.migrates):
            await self._retaining.begin()
        await self._base.bells.may_notify()
        if not self._base.bells.on:
            self._statements.hush()
        self._ready = True

    async def _patiently(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await self._links.run(work, within=PREPARE)

    async def close(self) -> None:
        self._users -= 1
        if self._users > 0 or not self._links.open:
            return
        self._ready = False
        late = asyncio.get_running_loop().call_later(CLOSE, self._links.give_up)
        try:
            await self._close()
        finally:
            late.cancel()

    async def _close(self) -> None:
        if self._spool is not None:
            await self._spool.close()
        await self._adding.close()
        await self._keeping.close()
        await self._ending.close()
        await self._base.bells.close()
        await self._base.presence.close()
        await self._loans.close()
        await self._links.close()

    def subscribe(self, callback: Callable[[Wake], None]) -> Callable[[], None]:
        return self._base.bells.subscribe(callback)

    def __repr__(self) -> str:
        return f"DatabaseJobStorage({self.url!r}, {self._statements.name('jobs')})"

    # -- its tables ------------------------------------------------------------------------------

    async def migrate(self) -> tuple[str, ...]:
        """Makes the tables, or brings them to the version of this code; what was applied. Workers
        may go on meanwhile where the notes of a release do not say otherwise. Safe to call from
        many processes at once: one does it, and the others wait.

        Raises:
            ConfigurationError: not the right to. StorageError: the tables were in use for more
                than a minute; the steps that were applied stay.
        """
        async with self._reached():
            return tuple(one.label for one in await self._schema.migrate(self._patiently))

    async def examine(self) -> Examination:
        """What there is to say of the server and the tables; changes nothing."""
        async with self._reached():
            return await self._links.run(lambda link: examine(self._schema, link))

    def migration_sql(self, version: int = 0, role: str | None = None) -> str:
        """What brings tables of a version to that of this code, 0 being none, for somebody to
        carry out who may make them; and what `role` needs to use them. See `backroom migrate`."""
        return script(self._schema, Stored(version, version), role)

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[None]:
        """Connections, also before it is open."""
        self._users += 1
        self._links.open = True
        try:
            yield
        finally:
            await self.close()

    # -- the way of a job ------------------------------------------------------------------------

    def insert(
        self, jobs: Sequence[JobRecord], now: int, *, worker: int | None = None, start: bool = False
    ) -> Awaitable[list[Inserted]]:
        if self._spool is not None:
            return self._spool.insert(jobs, now, worker, start)
        return self._insert(jobs, now, worker, start)

    def _insert(
        self, jobs: Sequence[JobRecord], now: int, worker: int | None, start: bool
    ) -> Awaitable[list[Inserted]]:
        return self._adding.insert(jobs, now, worker=worker, start=start)

    async def claim(self, worker: int, want: Want, now: int) -> Claimed:
        return await self._claiming.claim(worker, want, now)

    async def start(self, worker: int, keys: Sequence[int]) -> None:
        await self._living.start(worker, keys)

    def note_start(self, worker: int, claim: Claim) -> None:
        """Nothing to note it in: what counts as started is charged."""

    async def report(self, worker: int, reports: Sequence[Report]) -> None:
        await self._ending.report(worker, reports)

    async def finish(self, worker: int, transitions: Sequence[Transition]) -> list[bool]:
        return await self._ending.finish(worker, transitions)

    async def prune(self, now: int, limit: int) -> Pruned:
        return await self._retaining.prune(now, limit)

    # -- the life of a worker --------------------------------------------------------------------

    async def enlist(self, spec: WorkerSpec) -> Heartbeat:
        return await self._living.enlist(spec)

    async def extend(self, worker: int) -> Heartbeat:
        return await self._living.extend(worker)

    async def retire(self, worker: int) -> None:
        await self._living.retire(worker)

    async def give_back(self, worker: int, keep: Sequence[tuple[int, int]]) -> int:
        return await self._living.give_back(worker, keep)

    async def disown(self, worker: int, keys: Sequence[int]) -> None:
        await self._living.disown(worker, keys)

    async def reclaim(self, now: int) -> Reclaimed:
        return await self._living.reclaim(now)

    # -- within transactions of the application's ------------------------------------------------

    def along(self, connection: object) -> Along:
        return self._along(line_of(connection))

    def _along(self, line: Line) -> Along:
        return Along(
            self._base, line, self._adding.know, partial(self._take_keys, within=True),
            self._begin_flow, self._add_to_flow,
        )  # fmt: skip

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Along]:
        await self._base.here()  # While no session is taken: behind a proxy they are few.
        async with self._loans.lend() as loan:
            yield self._along(loan)

    async def stood(self, transition: Transition) -> bool:
        return await self._ending.stood(transition)

    def finished(self, worker: int, transition: Transition) -> None:
        self._ending.finished(worker, transition)
