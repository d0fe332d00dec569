"""What people ask of a job store, each look and each change in a transaction of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from backroom.job import JobInfo, JobStats
from backroom.ports import Filter, Outlook, Wake
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.connecting import LONGEST
from backroom.storage.postgres.limits import Limits
from backroom.storage.postgres.looking import Inspector
from backroom.storage.postgres.texts import from_text, to_text

__all__ = ["People"]

T = TypeVar("T")

BULK: Final = 1000
"""How many jobs one transaction of a bulk change touches."""


class People(Limits):
    """`Inspection`, and what people see of limits."""

    def __init__(self, base: Base) -> None:
        self._base = base

    async def _ask(
        self, look: Callable[[Inspector], Awaitable[T]], within: float | None = None
    ) -> T:
        async def ask(link: Any) -> T:
            async with link.transaction(isolation="repeatable_read", readonly=True):
                return await look(Inspector(self._base.statements, link))

        return await self._base.links.run(ask, within=within)

    async def _steer(self, change: Callable[[Inspector], Awaitable[T]], *wakes: Wake) -> T:
        answer = await self._base.change(
            lambda link: change(Inspector(self._base.statements, link)), LONGEST
        )
        if wakes:
            self._base.ring(*wakes)
        return answer

    async def find(self, job_id: str, now: int) -> JobInfo | None:
        return await self._ask(lambda jobs: jobs.find(job_id, now))

    async def outlook(self, ids: Sequence[str], now: int) -> dict[str, Outlook]:
        return await self._ask(lambda jobs: jobs.outlook(ids, now))

    async def page(
        self, which: Filter, now: int, limit: int, cursor: str | None
    ) -> tuple[list[JobInfo], str | None]:
        return await self._ask(lambda jobs: jobs.page(which, now, limit, cursor), LONGEST)

    async def stats(self, now: int) -> JobStats:
        return await self._ask(lambda jobs: jobs.stats(now), LONGEST)

    async def queues(self) -> dict[str, bool]:
        return {from_text(name): paused for name, paused in await self._base.fetch("queues")}

    async def retry(self, which: str | Filter, now: int, from_step: int | None = None) -> int:
        if isinstance(which, str):
            await self._steer(lambda jobs: jobs.retry(which, now, from_step), Wake.JOBS)
            return 1
        return await self._bulk(
            which, now, True, lambda jobs, keys: jobs.retry_some(which, keys, now), Wake.JOBS
        )

    async def cancel(self, which: str | Filter, now: int) -> int:
        wakes = (Wake.CONTROL, Wake.FINISHED, Wake.JOBS)  # What waited for them may be let through.
        if isinstance(which, str):
            return await self._steer(lambda jobs: jobs.cancel(which, now), *wakes)
        return await self._bulk(
            which, now, False, lambda jobs, keys: jobs.cancel_some(which, keys, now), *wakes
        )

    async def delete(self, which: str | Filter) -> int:
        if isinstance(which, str):
            await self._steer(lambda jobs: jobs.delete(which))
            return 1
        now = self._base.clock.now()
        return await self._bulk(which, now, True, lambda jobs, keys: jobs.delete_some(which, keys))

    async def _bulk(
        self,
        which: Filter,
        now: int,
        ended: bool,
        change: Callable[[Inspector, Sequence[Any]], Awaitable[int]],
        *wakes: Wake,
    ) -> int:
        """One look and one transaction a page: jobs that have become something else since the
        look are left alone."""
        total, after = 0, UUID(int=0)
        while True:
            choose = partial(
                Inspector.chosen, which=which, now=now, ended=ended, after=after, limit=BULK
            )
            keys = await self._ask(choose, LONGEST)
            if keys:
                total += await self._steer(partial(_apply, change, keys), *wakes)
            if len(keys) < BULK:
                return total
            after = keys[-1]

    async def pause(self, queue: str, paused: bool) -> None:
        await self._base.fetch("pause", to_text(queue), paused)
        self._base.ring(*((Wake.CONTROL,) if paused else (Wake.CONTROL, Wake.JOBS)))
        if not paused:  # Its jobs were passed over in the lines of limits.
            await self.free_up(self._base.clock.now())


def _apply(
    change: Callable[[Inspector, Sequence[Any]], Awaitable[int]],
    keys: Sequence[Any],
    jobs: Inspector,
) -> Awaitable[int]:
    return change(jobs, keys)
