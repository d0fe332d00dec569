"""Jobs in PostgreSQL: durable, shared by many machines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

from backroom.clock import SystemClock
from backroom.errors import ConfigurationError
from backroom.job import JobRecord, duration
from backroom.ports import (
    Capabilities,
    Claimed,
    Clock,
    Heartbeat,
    Inserted,
    Pruned,
    Reclaimed,
    Report,
    Wake,
    Want,
    WorkerSpec,
)
from backroom.storage.postgres.adding import Adding
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.claiming import Claiming
from backroom.storage.postgres.ending import Ending
from backroom.storage.postgres.links import Links, masked
from backroom.storage.postgres.living import Living
from backroom.storage.postgres.moving import Moving
from backroom.storage.postgres.people import People
from backroom.storage.postgres.retaining import Retaining
from backroom.storage.postgres.schema import prepare
from backroom.storage.postgres.statements import Statements
from backroom.transition import Claim, Transition

__all__ = ["DatabaseJobStorage"]

DEFAULT_RETENTION: Final = timedelta(days=7)


class DatabaseJobStorage(People, Moving):
    """Jobs in the tables of a PostgreSQL database, from version 14 on.

    Safe for many loops, processes and machines. A worker that dies is noticed when its lease
    ends. Lease time is the server's.

    Args:
        url: `postgresql://user:password@host:port/database`.
        table_name: of the table of jobs; the names of the others begin with it.
        schema: where the tables are; None: the first one of the `search_path`.
        retention: how long ended jobs are kept; seconds or a `timedelta`, None for ever.
        clock: for tests: tells the lease time, too.

    Raises:
        ConfigurationError: a name that is no plain identifier, or no URL of PostgreSQL.
    """

    capabilities = Capabilities(durable=True, shared=True)

    def __init__(
        self,
        url: str,
        *,
        table_name: str = "background_jobs",
        schema: str | None = None,
        retention: float | timedelta | None = DEFAULT_RETENTION,
        clock: Clock | None = None,
    ) -> None:
        if not str(url).startswith(("postgresql://", "postgres://")):
            raise ConfigurationError(
                f"{masked(str(url))!r} is no URL of PostgreSQL; write"
                " postgresql://user:password@host/database"
            )
        try:
            self.retention = None if retention is None else duration("retention", retention)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self.clock: Clock = clock or SystemClock()
        self._statements = Statements(table_name, schema)
        self._links = Links(url)
        base = Base(self._links, self._statements, self.clock, clock is not None)
        super().__init__(base)
        self._users = 0
        self._adding = Adding(base)
        self._claiming = Claiming(base)
        self._ending = Ending(base)
        self._living = Living(base, self._adding.settled)
        self._retaining = Retaining(base, self.retention)

    @property
    def url(self) -> str:
        return masked(self._links.url)

    async def open(self) -> None:
        self._users += 1
        if self._links.open:
            return
        self._links.open = True
        try:
            await self._links.run(lambda link: prepare(link, self._statements))
        except BaseException:
            self._users -= 1
            if not self._users:
                await self._links.close()
            raise

    async def close(self) -> None:
        self._users -= 1
        if self._users > 0 or not self._links.open:
            return
        await self._adding.close()
        await self._ending.close()
        await self._base.bells.close()
        await self._links.close()

    def subscribe(self, callback: Callable[[Wake], None]) -> Callable[[], None]:
        return self._base.bells.subscribe(callback)

    # -- the way of a job ------------------------------------------------------------------------

    def insert(
        self, jobs: Sequence[JobRecord], now: int, *, worker: int | None = None, start: bool = False
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
