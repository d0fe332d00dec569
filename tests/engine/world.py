"""The engine under virtual time: services on one storage in memory, and nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from backroom import Job, JobInfo, JobService, MemoryJobStorage
from backroom.ports import Store
from tests.faults import Faults
from tests.virtual import VirtualClock, VirtualLoop

__all__ = ["Handler", "World"]

Handler = Callable[[Job[Any]], Awaitable[Any]]


class SharedStorage(MemoryJobStorage):
    """Memory that several services of one test use: a service that stops does not take it away
    from those that look at it afterwards."""

    async def close(self) -> None:
        return

    async def forget(self) -> None:
        while self._users > 0:
            await super().close()


class World:
    """A virtual loop, its clock, a storage, and the services of one test."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.clock = VirtualClock(loop)
        self.storage = SharedStorage(clock=self.clock)
        self.faults = Faults(self.storage)
        """The same storage, with faults: `world.service(world.faults.store)`."""
        self._services: list[JobService] = []
        self._viewer: JobService | None = None

    def service(self, storage: Store | None = None, **settings: Any) -> JobService:
        """A service on the storage of this test; it is stopped when the test has ended."""
        service = JobService(self.storage if storage is None else storage, **settings)
        self._services.append(service)
        return service

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the test began, to the microsecond."""
        return round(self.clock.elapsed, 6)

    @property
    def viewer(self) -> JobService:
        """A service that runs nothing; it looks at jobs, also after others have stopped."""
        if self._viewer is None:
            self._viewer = self.service()
        return self._viewer

    async def look(self, job_id: str) -> JobInfo:
        """A job as it stands now."""
        return await self.viewer.get_job(job_id)

    async def close(self) -> None:
        for service in self._services:
            await service.stop(0)
        await self.storage.forget()


async def forever(job: Job[Any]) -> None:
    """A handler that never ends by itself."""
    await asyncio.Event().wait()
