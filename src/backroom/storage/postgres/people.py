"""What people ask of a job store, each look and each change in a transaction of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from backroom.errors import JobStateError
from backroom.inspecting import Counted, Filter, Looked, Outlook, Progress, Which
from backroom.job import JobInfo
from backroom.ports import Wake
from backroom.stats import FailureGroup, JobStats
from backroom.storage.matching import Done, Tally, whole_page
from backroom.storage.postgres.actions import Actions
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.connecting import LONGEST
from backroom.storage.postgres.counts import Counts, stats
from backroom.storage.postgres.finding import FIRST
from backroom.storage.postgres.limits import Limits
from backroom.storage.postgres.looking import Inspector
from backroom.storage.postgres.rearranging import TRIES, Place
from backroom.storage.postgres.stranded import Rescuing
from backroom.storage.postgres.texts import from_text, to_text
from backroom.storage.refusing import busy

__all__ = ["People"]

T = TypeVar("T")
Change = Callable[[Inspector, Filter, Sequence[Any]], Awaitable[Done]]
"""What becomes of a page of jobs, within a transaction."""

BULK: Final = 1000
"""How many jobs one transaction of a bulk change touches."""


class People(Limits, Counts, Rescuing, Actions):
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
        return await self._base.change(
            lambda link: change(Inspector(self._base.statements, link)), LONGEST, wakes=wakes
        )

    async def find(self, job_id: str, now: int) -> JobInfo | None:
        return await self._ask(lambda jobs: jobs.find(job_id, now))

    async def outlook(self, ids: Sequence[str], now: int) -> dict[str, Outlook]:
        return await self._ask(lambda jobs: jobs.outlook(ids, now))

    async def page(
        self, which: Filter, now: int, limit: int, cursor: str | None
    ) -> tuple[list[JobInfo], str | None]:
        return await whole_page(partial(self.look, which, now), limit, cursor)

    async def look(
        self, which: Filter, now: int, limit: int, cursor: str | None, most: int
    ) -> Looked:
        return await self._ask(lambda jobs: jobs.look(which, now, limit, cursor, most), LONGEST)

    async def count(self, which: Filter, now: int, cursor: str | None, most: int) -> Counted:
        return await self._ask(lambda jobs: jobs.count(which, now, cursor, most), LONGEST)

    async def stats(self, now: int) -> JobStats:
        return stats(await self._base.fetch("stats", now))  # One statement, of one moment.

    async def failures(self, limit: int) -> list[FailureGroup]:
        return await self._ask(lambda jobs: jobs.failures(limit), LONGEST)

    async def miscounted(self) -> list[str]:
        return await self._ask(lambda jobs: jobs.miscounted(), LONGEST)

    async def queues(self) -> dict[str, bool]:
        return {from_text(name): paused for name, paused in await self._base.fetch("queues")}

    async def retry(
        self,
        which: Which,
        now: int,
        from_step: int | None = None,
        progress: Progress | None = None,
    ) -> int:
        if isinstance(which, str):
            await self._steer(lambda jobs: jobs.retry(which, now, from_step), Wake.JOBS)
            return 1

        async def retry(jobs: Inspector, filter_: Filter, keys: Sequence[Any]) -> Done:
            return await jobs.retry_some(filter_, keys, now)

        return await self._bulk(which, now, "ended", retry, progress, Wake.JOBS)

    async def cancel(self, which: Which, now: int, progress: Progress | None = None) -> int:
        wakes = (Wake.CONTROL, Wake.FINISHED, Wake.JOBS)  # What waited for them may be let through.
        if isinstance(which, str):
            return await self._steer(lambda jobs: jobs.cancel(which, now), *wakes)

        async def cancel(jobs: Inspector, filter_: Filter, keys: Sequence[Any]) -> Done:
            changed = await jobs.cancel_some(filter_, keys, now)
            return Done(changed, len(keys) - changed)

        return await self._bulk(which, now, "live", cancel, progress, *wakes)

    async def delete(self, which: Which, progress: Progress | None = None) -> int:
        if isinstance(which, str):
            await self._steer(lambda jobs: jobs.delete(which))
            return 1

        async def delete(jobs: Inspector, filter_: Filter, keys: Sequence[Any]) -> Done:
            changed = await jobs.delete_some(filter_, keys)
            return Done(changed, len(keys) - changed)

        return await self._bulk(which, self._base.clock.now(), "ended", delete, progress)

    async def rearrange(
        self,
        which: Which,
        now: int,
        run_at: int | None,
        priority: int | None,
        progress: Progress | None = None,
    ) -> int:
        place = Place(run_at, priority)
        if isinstance(which, str):
            await self._rearrange_one(which, now, place)
            return 1

        async def change(jobs: Inspector, filter_: Filter, keys: Sequence[Any]) -> Done:
            return await jobs.rearrange_some(filter_, keys, now, place)

        return await self._bulk(which, now, "wait", change, progress, Wake.JOBS)

    async def _rearrange_one(self, job_id: str, now: int, place: Place) -> None:
        for _ in range(TRIES):
            key = await self._steer(lambda jobs: jobs.rearrange(job_id, now, place), Wake.JOBS)
            if key is None:
                return
            # Here nothing is held that they may wait for.
            await self._base.fetch("wait_for_job", key)
            await self._base.fetch("wait_for_place", key)
        raise JobStateError(busy(job_id))

    async def _bulk(
        self,
        which: Filter | Sequence[str],
        now: int,
        of: str,
        change: Change,
        progress: Progress | None,
        *wakes: Wake,
    ) -> int:
        """One look and one transaction a page: jobs that have become something else since the
        look are left alone, and so are those that come after it has begun."""
        so_far = Tally(progress)
        if not isinstance(which, Filter):
            ids = list(dict.fromkeys(which))
            keys = await self._ask(partial(_known, ids))
            if keys:
                work = partial(_apply, change, Filter(), keys)
                so_far.add(len(ids), await self._steer(work, *wakes), len(ids) - len(keys))
            else:
                so_far.add(len(ids), Done(), len(ids))
            return so_far.changed
        upto, after = await self._ask(Inspector.last), FIRST
        while upto is not None and after is not None:
            choose = partial(
                Inspector.chosen, which=which, now=now, of=of, after=after, upto=upto,
                limit=BULK,
            )  # fmt: skip
            page = await self._ask(choose, LONGEST)
            keys = so_far.untreated(page.ids)
            done = Done()
            if keys:
                done = await self._steer(partial(_apply, change, which, keys), *wakes)
            so_far.add(page.seen, done)
            after = page.following
        return so_far.changed

    async def pause(self, queue: str, paused: bool) -> None:
        await self._base.fetch("pause", to_text(queue), paused)
        self._base.ring(*((Wake.CONTROL,) if paused else (Wake.CONTROL, Wake.JOBS)))
        if not paused:  # Its jobs were passed over in the lines of limits.
            await self.free_up(self._base.clock.now())


def _apply(change: Change, which: Filter, keys: Sequence[Any], jobs: Inspector) -> Awaitable[Done]:
    return change(jobs, which, keys)


def _known(ids: Sequence[str], jobs: Inspector) -> Awaitable[list[Any]]:
    return jobs.known(ids)
