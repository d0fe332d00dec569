"""Where jobs wait while the server is away: in a storage of this machine, until the server has
them.

They keep their ids, so to deliver one twice is to deliver it once: a process that dies after the
server has committed, and before the job is gone from here, leaves no second one. Whoever uses the
same folder delivers what it finds there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from backroom.baggage import Baggage, Unpacked
from backroom.errors import (
    BackroomError,
    ConfigurationError,
    JobNotFoundError,
    StorageError,
    StorageFullError,
)
from backroom.job import JobRecord, JobStatus
from backroom.ports import House, Inserted
from backroom.storage.postgres.links import is_away, is_of_values

__all__ = ["Spool"]

log = logging.getLogger("backroom.storage")

AGAIN: Final = 1.0
"""Seconds between two looks whether the server answers again, and whether a job waits here that
another process left."""
PARCEL: Final = 500
"""Jobs that are delivered at once."""

Insert = Callable[[Sequence[JobRecord], int, int | None, bool], Awaitable[list[Inserted]]]


class Spool:
    """Keeps jobs that the server cannot take now, and brings them to it when it can."""

    def __init__(
        self,
        here: House,
        limit: int,
        server: str,
        *,
        insert: Insert,
        prepare: Callable[[], Awaitable[None]],
        unpack: Callable[[Sequence[Baggage]], Awaitable[Unpacked]],
        cancel: Callable[[str, int], Awaitable[int]],
    ) -> None:
        """`insert`, `unpack` and `cancel` are the server's own; `prepare` sees to its tables."""
        if getattr(here, "copies", None) is None or not here.capabilities.durable:
            raise ConfigurationError(
                f"spool must be a durable storage of this machine, got {here!r}; use"
                ' FileJobStorage("./storage/spool")'
            )
        self.here = here
        self._limit = limit
        self._server = server
        self._insert = insert
        self._prepare = prepare
        self._unpack = unpack
        self._cancel = cancel
        self.away = False
        """The server did not answer when it was last asked."""
        self._wrong: BackroomError | None = None
        """Why the server's tables cannot be used, although it answers."""
        self._stuck: set[str] = set()
        """Jobs that the server cannot hold; told once."""
        self._open = False
        self._minding: asyncio.Task[None] | None = None
        self._count = 0
        self._counted = -AGAIN

    async def open(self, away: StorageError | None) -> None:
        """`away`: why the server could not be asked for its tables, if it could not."""
        if not self._open:
            await self.here.open()
            self._open = True
        if away is not None:
            self._leave(away)
        self._mind()

    async def close(self) -> None:
        """What is here stays here, for the next process."""
        was_open, self._open = self._open, False
        task, self._minding = self._minding, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if was_open:
            await self.here.close()

    # -- in ------------------------------------------------------------------------------------

    async def insert(
        self, jobs: Sequence[JobRecord], now: int, worker: int | None, start: bool
    ) -> list[Inserted]:
        """On the server; here while that is away. See `JobStorage.insert`."""
        self._mind()
        if self._wrong is not None:
            raise self._wrong
        if not self.away:
            try:
                return await self._insert(jobs, now, worker, start)
            except StorageError as error:
                if not is_away(error):
                    raise
                self._leave(error)
        await self._make_room(len(jobs), now)
        kept = await self.here.insert(jobs, now)
        if worker is None:
            return list(kept)
        # The server may have had it, and claimed it for this worker: which then asks what it holds.
        return [Inserted(one.id, False) for one in kept]

    async def _make_room(self, jobs: int, now: int) -> None:
        clock = asyncio.get_running_loop().time()
        if clock - self._counted >= AGAIN:
            self._counted = clock
            self._count = await self.waiting(now)
        if self._count + jobs > self._limit:
            raise StorageFullError(
                f"{self._server} does not answer, and {self._count:,} jobs wait for it in"
                f" {self.here.url}, where {self._limit:,} have room: nothing of this call was kept;"
                " bring the server back, or raise spool_limit",
                unchanged=True,
            )
        self._count += jobs

    async def waiting(self, now: int) -> int:
        """How many jobs wait here for the server."""
        return sum((await self.here.stats(now)).by_status.values())

    def _leave(self, error: StorageError) -> None:
        if not self.away:
            log.warning("jobs are kept in %s until the server answers: %s", self.here.url, error)
        self.away = True

    # -- out -----------------------------------------------------------------------------------

    def _mind(self) -> None:
        """Somebody delivers, on a loop that runs."""
        task = self._minding
        if self._open and (task is None or task.done() or task.get_loop().is_closed()):
            self._minding = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                if self.away:
                    await self._prepare()
                    self.away, self._wrong = False, None
                    log.info("%s answers again", self._server)
                await self.deliver()
            except StorageError as error:
                if is_away(error):
                    self._leave(error)
                else:
                    self._refused(error)
            except BackroomError as error:
                self._refused(error)
            except Exception:  # It never ends as long as jobs may wait here.
                log.exception("jobs in %s are not delivered; again soon", self.here.url)
            await asyncio.sleep(AGAIN)

    def _refused(self, error: BackroomError) -> None:
        """The server answers, and does not take what it is brought."""
        self._wrong = error if self.away else None
        log.error("jobs in %s are not delivered: %s", self.here.url, error)

    async def deliver(self) -> None:
        """Brings all that is here to the server, the oldest first."""
        after, delivered = None, 0
        while True:
            jobs, after = await self.here.copies(after, PARCEL, True)
            if after is None:
                break
            brought = await self._bring_all([job for job in jobs if job.id not in self._stuck])
            await self._drop(brought)
            delivered += len(brought)
        if delivered:
            log.info("%d jobs were delivered from %s", delivered, self.here.url)

    async def _bring_all(self, jobs: Sequence[Baggage]) -> Sequence[Baggage]:
        """Those that the server has now: one that it cannot hold stays, and holds up no other."""
        try:
            if jobs:
                await self._bring(jobs)
        except StorageError as error:
            if not is_of_values(error):
                raise
            if len(jobs) > 1:
                return [job for one in jobs for job in await self._bring_all([one])]
            self._stuck.add(jobs[0].id)
            log.error("job %s stays in %s: %s", jobs[0].id, self.here.url, error)
            return []
        return [job for job in jobs if job.id not in self._stuck]

    async def _bring(self, jobs: Sequence[Baggage]) -> None:
        unpacked = await self._unpack(jobs)
        if not unpacked.refused:
            return
        # Acknowledged, so not forgotten: each is to be found, with the reason why it does not run.
        now = self.here.clock.now()
        for one in unpacked.refused:
            log.warning("job %s is cancelled as it is delivered: %s", one.job.id, one.why)
        ended = await self._unpack([one.job.cancelled(now, one.why) for one in unpacked.refused])
        for one in ended.refused:
            self._stuck.add(one.job.id)
            log.error("job %s stays in %s: %s", one.job.id, self.here.url, one.why)

    async def _drop(self, jobs: Sequence[Baggage]) -> None:
        """The server has them. Who cancelled one here meanwhile is heard there."""
        now = self.here.clock.now()
        stand = await self.here.outlook([job.id for job in jobs], now)
        for job in jobs:
            outlook = stand.get(job.id)
            if outlook and outlook.status is JobStatus.CANCELLED and not job.ended:
                await self._cancel(job.id, now)
        gone = await asyncio.gather(
            *(self.here.delete(job.id) for job in jobs), return_exceptions=True
        )
        for answer in gone:  # Another process may have delivered it, too.
            if isinstance(answer, BaseException) and not isinstance(answer, JobNotFoundError):
                raise answer
