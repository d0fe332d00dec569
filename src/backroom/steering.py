"""The part of a service for people: results, look-ups, and steering."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from backroom.errors import JobCancelledError, JobFailedError, JobNotFoundError, OptionError
from backroom.job import JobId, JobInfo, JobPage, JobStats, JobStatus, duration
from backroom.ports import Clock, Filter, Store
from backroom.registry import JobType, Registry, check_name
from backroom.results import Results

__all__ = ["Steering"]

R = TypeVar("R")


class Steering:
    """Look-ups and changes over a storage that `_ready` opens."""

    storage: Store
    _clock: Clock
    _registry: Registry
    _results: Results

    async def _ready(self) -> None:
        raise NotImplementedError

    # -- look up ---------------------------------------------------------------------------------

    async def result(self, job_id: JobId[R], *, timeout: float | timedelta | None = None) -> R:
        """Waits for a job's end, wherever it runs, and returns its result.

        Raises:
            JobFailedError: with the last error's text. JobCancelledError. JobNotFoundError.
            TimeoutError: it had not ended after `timeout`; it goes on.
        """
        await self._ready()
        seconds = None if timeout is None else duration("timeout", timeout)
        outlook = await self._results.wait(job_id, seconds)
        if outlook.status is JobStatus.FAILED:
            raise JobFailedError(outlook.error or "the job failed")
        if outlook.status is JobStatus.CANCELLED:
            raise JobCancelledError(outlook.error or "the job was cancelled")
        return self._registry.read_result(outlook.type, outlook.result)  # type: ignore[no-any-return]

    async def get_job(self, job_id: str) -> JobInfo:
        """A job with its errors and log.

        Raises:
            JobNotFoundError
        """
        await self._ready()
        info = await self.storage.find(str(job_id), self._clock.now())
        if info is None:
            raise JobNotFoundError(f"no job has the id {str(job_id)!r}")
        return info

    async def get_job_status(self, job_id: str) -> JobStatus:
        """A job's status.

        Raises:
            JobNotFoundError
        """
        await self._ready()
        found = await self.storage.outlook([job_id], self._clock.now())
        if job_id not in found:
            raise JobNotFoundError(f"no job has the id {str(job_id)!r}")
        return found[job_id].status

    async def get_jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        type: str | JobType[Any, Any] | None = None,
        queue: str | None = None,
        tag: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> JobPage:
        """Jobs, newest first; without a filter all. `limit` is 1 to 1000; the page's `.cursor`
        asks for the next one.

        Raises:
            OptionError: an unknown status, a limit out of its range, a cursor not of ours.
        """
        _check_limit(limit)
        which = _filter(status, type, queue, tag)
        await self._ready()
        return JobPage(*await self.storage.page(which, self._clock.now(), limit, cursor))

    async def get_stats(self) -> JobStats:
        """Counts by status, queues, workers, and types that nobody here knows."""
        await self._ready()
        return await self.storage.stats(self._clock.now())

    # -- steer -----------------------------------------------------------------------------------

    async def cancel_job(self, job_id: str) -> JobStatus:
        """Cancels a job that waits at once, and asks for it where it runs.

        Returns the status after the call: "cancelled"; "active" if its handler is being
        stopped; or the terminal status it had, which stays.

        Raises:
            JobNotFoundError
        """
        await self._ready()
        await self.storage.cancel(str(job_id), self._clock.now())
        return await self.get_job_status(job_id)

    async def retry_job(self, job_id: str) -> None:
        """An ended job runs again at once with a fresh budget of attempts; one that waits for
        its retry, or for its time, runs now.

        Raises:
            JobNotFoundError; JobStateError: it is active, or its unique key is taken.
        """
        await self._ready()
        await self.storage.retry(str(job_id), self._clock.now())

    async def delete_job(self, job_id: str) -> None:
        """Forgets a job and all that was kept with it.

        Raises:
            JobNotFoundError; JobStateError: it is active.
        """
        await self._ready()
        await self.storage.delete(str(job_id))

    async def retry_jobs(
        self,
        *,
        status: JobStatus | str = JobStatus.FAILED,
        type: str | JobType[Any, Any] | None = None,
        queue: str | None = None,
        tag: str | None = None,
    ) -> int:
        """`retry_job` for all ended jobs that match (default: the failed ones); how many."""
        which = _filter(status, type, queue, tag)
        if which.status is not None and not which.status.terminal:
            raise OptionError(f"only ended jobs are retried in bulk, not {which.status} ones")
        await self._ready()
        return await self.storage.retry(which, self._clock.now())

    async def cancel_jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        type: str | JobType[Any, Any] | None = None,
        queue: str | None = None,
        tag: str | None = None,
    ) -> int:
        """`cancel_job` for all jobs that match and have not ended; how many. Needs a filter.

        Raises:
            OptionError: no filter at all; say `status="pending"` and so on if you mean it.
        """
        which = _filter(status, type, queue, tag)
        if which == Filter():
            raise OptionError("cancel_jobs needs a filter: status, type, queue or tag")
        await self._ready()
        return await self.storage.cancel(which, self._clock.now())

    async def pause_queue(self, queue: str) -> None:
        """No job of this queue is started, by any worker, until it is resumed."""
        await self._ready()
        await self.storage.pause(check_name("queue", queue), True)

    async def resume_queue(self, queue: str) -> None:
        """Ends `pause_queue`."""
        await self._ready()
        await self.storage.pause(check_name("queue", queue), False)


def _filter(
    status: JobStatus | str | None,
    type_: str | JobType[Any, Any] | None,
    queue: str | None,
    tag: str | None,
) -> Filter:
    if status is not None:
        try:
            status = JobStatus(status)
        except ValueError:
            known = ", ".join(JobStatus)
            raise OptionError(f"status must be one of {known}, got {status!r}") from None
    return Filter(status, type_.name if isinstance(type_, JobType) else type_, queue, tag)


def _check_limit(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise OptionError(f"limit must be a whole number from 1 to 1000, got {value!r}")
