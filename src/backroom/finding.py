"""The part of a service that looks jobs up: results, single jobs, pages, counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar, Unpack
from uuid import UUID

import msgspec

from backroom.errors import JobCancelledError, JobFailedError, JobNotFoundError, OptionError
from backroom.filtering import JobFilter, check_cursor, check_job_id, check_limit, read_filter
from backroom.inspecting import Filter
from backroom.job import JobId, JobInfo, JobPage, JobStatus, duration
from backroom.limit import LimitInfo
from backroom.ports import Clock, Store
from backroom.registry import Registry
from backroom.results import Results
from backroom.stats import Count, FailureGroup, JobStats, WorkerStats

__all__ = ["Finding", "Pace"]

R = TypeVar("R")

LONGEST: Final = 60.0
"""Seconds that a bounded look may be given."""
FIRST: Final = 500
"""Jobs that the first look of a search goes through: that takes a few milliseconds."""
LEAST: Final = 200
"""For fewer, a search does not begin another look."""
MOST: Final = 20_000
"""Jobs that one look goes through."""
TELLING: Final = 1.0
"""Seconds that counts wait for who lives."""
ALL: Final = 1_000_000
"""Jobs after which a search ends, whatever the clock says."""


class Pace:
    """How much a search may look through before its time is over."""

    def __init__(self, clock: Callable[[], float], within: float) -> None:
        """`clock`: seconds that only grow."""
        self._clock = clock
        self._within = within
        self._begun = clock()
        self._next = FIRST
        self.seen = 0

    def most(self) -> int:
        """How many jobs the next look may go through."""
        return self._next

    def over(self, seen: int) -> bool:
        """A look went through so many. Whether there is no time for another one."""
        self.seen += seen
        spent = self._clock() - self._begun
        left = self._within - spent
        if left <= 0 or self.seen >= ALL:
            return True
        # A look that finds more takes longer than the ones before it.
        fitting = MOST if spent <= 0 else int(0.7 * left * self.seen / spent)
        self._next = max(LEAST, min(fitting, 4 * self._next, MOST))
        return fitting < LEAST


class Finding:
    """Look-ups over a storage that `_ready` opens.

    Wherever a job's id is taken, a `uuid.UUID` is too. An id, or a filter, that makes no sense
    is refused before anything is asked.
    """

    storage: Store
    _clock: Clock
    _registry: Registry
    _results: Results

    async def _ready(self) -> None:
        raise NotImplementedError

    async def result(self, job_id: JobId[R], *, timeout: float | timedelta | None = None) -> R:
        """Waits for a job's end, wherever it runs, and returns its result.

        Raises:
            JobFailedError: with the last error's text. JobCancelledError. JobNotFoundError.
            TimeoutError: it had not ended after `timeout`; it goes on.
            JobTypeError: its result does not fit the type that is declared here.
        """
        id_ = check_job_id(job_id)
        seconds = None if timeout is None else duration("timeout", timeout)
        await self._ready()
        outlook = await self._results.wait(id_, seconds)
        if outlook.status is JobStatus.FAILED:
            raise JobFailedError(outlook.error or "the job failed")
        if outlook.status is JobStatus.CANCELLED:
            raise JobCancelledError(outlook.error or "the job was cancelled")
        return self._registry.read_result(outlook.type, outlook.result)  # type: ignore[no-any-return]

    async def get_job(self, job_id: str | UUID) -> JobInfo:
        """A job with its errors and log.

        Raises:
            JobNotFoundError
        """
        id_ = check_job_id(job_id)
        await self._ready()
        info = await self.storage.find(id_, self._clock.now())
        if info is None:
            raise JobNotFoundError(f"no job has the id {id_!r}")
        return info

    async def get_job_status(self, job_id: str | UUID) -> JobStatus:
        """A job's status.

        Raises:
            JobNotFoundError
        """
        id_ = check_job_id(job_id)
        await self._ready()
        found = await self.storage.outlook([id_], self._clock.now())
        if id_ not in found:
            raise JobNotFoundError(f"no job has the id {id_!r}")
        return found[id_].status

    async def get_jobs(
        self, *, limit: int = 100, cursor: str | None = None, **which: Unpack[JobFilter]
    ) -> JobPage:
        """Jobs, newest first; without a filter all. `limit` is 1 to 1000; the page's `.cursor`
        asks for the next one.

        Looks until the page is full, however many jobs that takes: where somebody waits for the
        answer, `search_jobs` gives what it finds in time.

        Raises:
            OptionError: an unknown status, a limit out of its range, a cursor not of ours, or
                a type, queue or tag that no job can have.
        """
        check_limit(limit)
        filter_ = read_filter(which)
        cursor = check_cursor(cursor)
        await self._ready()
        return JobPage(*await self.storage.page(filter_, self._clock.now(), limit, cursor))

    async def search_jobs(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        within: float | timedelta = 0.03,
        **which: Unpack[JobFilter],
    ) -> JobPage:
        """As `get_jobs`, but no longer than about `within` seconds: a page that is not `complete`
        has not all that it has place for, and its `.cursor` goes on where it ended. It tells how
        many jobs it has looked through.

        Raises:
            OptionError: as `get_jobs`; or `within` is no time of more than 0 to 60 seconds.
        """
        check_limit(limit)
        filter_ = read_filter(which)
        cursor = check_cursor(cursor)
        pace = Pace(self._clock.uptime, _seconds(within))
        await self._ready()
        now, jobs = self._clock.now(), list[JobInfo]()
        while True:
            looked = await self.storage.look(filter_, now, limit - len(jobs), cursor, pace.most())
            jobs += looked.jobs
            cursor = looked.cursor
            whole = cursor is None or len(jobs) == limit
            if pace.over(looked.seen) or whole:
                return JobPage(jobs, cursor, looked_through=pace.seen, complete=whole)

    async def count_jobs(
        self, *, within: float | timedelta = 0.05, **which: Unpack[JobFilter]
    ) -> Count:
        """How many jobs match, without a filter all: exactly, if that can be told within about so
        many seconds. How many are of a status, or wait or run in a queue, always is.

        Raises:
            OptionError: as `search_jobs`.
        """
        filter_ = read_filter(which)
        pace = Pace(self._clock.uptime, _seconds(within))
        await self._ready()
        now = self._clock.now()
        kept = _kept(filter_, await self.storage.stats(now)) if _is_kept(filter_) else None
        if kept is not None:
            return Count(kept, True)
        jobs, cursor = 0, None
        while True:
            counted = await self.storage.count(filter_, now, cursor, pace.most())
            jobs += counted.jobs
            cursor = counted.cursor
            if pace.over(counted.seen) or cursor is None:
                return Count(jobs, cursor is None)

    async def get_stats(self) -> JobStats:
        """Counts by status, queues, workers that live, and types that nobody here knows. While a
        folder cannot tell who lives, since a process hangs in its turn to write, all workers that
        are enlisted."""
        await self._ready()
        stats = await self.storage.stats(self._clock.now())
        try:
            async with asyncio.timeout(TELLING):
                crew = await self.storage.crew()
        except TimeoutError:
            return stats
        # A storage tells whom it has enlisted: who died as well, until their jobs are back.
        living = tuple(
            WorkerStats(one.name, one.started_at, one.claimed, one.draining)
            for one in crew
            if one.alive
        )
        return msgspec.structs.replace(stats, workers=living)

    async def get_failures(self, limit: int = 100) -> list[FailureGroup]:
        """The failed jobs that are there now, grouped by type and kind of their last error; the
        groups of most jobs first, 1 to 1000 of them."""
        check_limit(limit)
        await self._ready()
        return await self.storage.failures(limit)

    async def get_limits(self) -> list[LimitInfo]:
        """Every limit that the storage knows, how much of it is taken, and how many wait."""
        await self._ready()
        return await self.storage.limits()


def _seconds(within: float | timedelta) -> float:
    seconds = duration("within", within, zero=False)
    if seconds > LONGEST:
        raise OptionError(f"within may be {LONGEST:g} seconds at most, got {within!r}")
    return seconds


def _is_kept(which: Filter) -> bool:
    """Whether the counts of the whole store may tell how many match."""
    return which in (
        Filter(status=which.status),
        Filter(status=which.status, queue=which.queue),
    ) and (which.queue is None or (which.status is not None and not which.status.terminal))


def _kept(which: Filter, stats: JobStats) -> int | None:
    status = which.status
    if which.queue is None:
        return sum(stats.by_status.values()) if status is None else stats.by_status[str(status)]
    queue = next((one for one in stats.queues if one.name == which.queue), None)
    return 0 if queue is None else getattr(queue, str(status), None)
