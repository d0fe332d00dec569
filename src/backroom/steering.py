"""The part of a service for people: results, look-ups, and steering."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from backroom.codec import encode_json
from backroom.errors import (
    ConfigurationError,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    OptionError,
    PayloadTooLargeError,
)
from backroom.event import QueuePaused, QueueResumed
from backroom.events import Events
from backroom.job import (
    JobId,
    JobIds,
    JobInfo,
    JobPage,
    JobStats,
    JobStatus,
    duration,
    to_datetime,
)
from backroom.limit import LimitInfo
from backroom.options import check_name, check_queue
from backroom.ports import Clock, Filter, Store
from backroom.registry import JobType, Registry
from backroom.replay import check_step
from backroom.results import Results
from backroom.scheduling import check_tag
from backroom.settings import Settings
from backroom.step import MAX_STEPS, SignalRecord

__all__ = ["Steering"]

R = TypeVar("R")


class Steering:
    """Look-ups and changes over a storage that `_ready` opens.

    Wherever a job's id is taken, a `uuid.UUID` is too. An id, or a filter, that makes no sense
    is refused before anything is asked or changed.
    """

    storage: Store
    _clock: Clock
    _events: Events
    _registry: Registry
    _results: Results
    _settings: Settings
    _signal_ids = JobIds()

    async def _ready(self) -> None:
        raise NotImplementedError

    # -- look up ---------------------------------------------------------------------------------

    async def result(self, job_id: JobId[R], *, timeout: float | timedelta | None = None) -> R:
        """Waits for a job's end, wherever it runs, and returns its result.

        Raises:
            JobFailedError: with the last error's text. JobCancelledError. JobNotFoundError.
            TimeoutError: it had not ended after `timeout`; it goes on.
            JobTypeError: its result does not fit the type that is declared here.
        """
        id_ = _job_id(job_id)
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
        id_ = _job_id(job_id)
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
        id_ = _job_id(job_id)
        await self._ready()
        found = await self.storage.outlook([id_], self._clock.now())
        if id_ not in found:
            raise JobNotFoundError(f"no job has the id {id_!r}")
        return found[id_].status

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
            OptionError: an unknown status, a limit out of its range, a cursor not of ours, or
                a type, queue or tag that no job can have.
        """
        _check_limit(limit)
        which = _filter(status, type, queue, tag)
        if cursor is not None:
            cursor = _check_cursor(cursor)
        await self._ready()
        return JobPage(*await self.storage.page(which, self._clock.now(), limit, cursor))

    async def get_stats(self) -> JobStats:
        """Counts by status, queues, workers, and types that nobody here knows."""
        await self._ready()
        return await self.storage.stats(self._clock.now())

    async def get_limits(self) -> list[LimitInfo]:
        """Every limit that the storage knows, how much of it is taken, and how many wait."""
        await self._ready()
        return await self.storage.limits()

    # -- steer -----------------------------------------------------------------------------------

    async def cancel_job(self, job_id: str | UUID) -> JobStatus:
        """Cancels a job that waits at once, and asks for it where it runs.

        Returns the status after the call: "cancelled"; "active" if its handler is being
        stopped; or the terminal status it had, which stays.

        Raises:
            JobNotFoundError
        """
        id_ = _job_id(job_id)
        await self._ready()
        await self.storage.cancel(id_, self._clock.now())
        return await self.get_job_status(id_)

    async def retry_job(self, job_id: str | UUID, *, from_step: int | None = None) -> None:
        """An ended job runs again at once with a fresh budget of attempts; one that waits for
        its retry, or for its time, runs now.

        What is kept of its steps stays, so it goes on where it was; with `from_step`, steps from
        that number on are forgotten, and done anew: 1 begins from the beginning. Where the retry is
        refused, they stay.

        Raises:
            JobNotFoundError; JobStateError: it is active, or its unique key is taken; or a job of
                its workflow that it waits for did not complete, or its workflow was undone.
            OptionError: `from_step` is not a number from 1 on.
        """
        id_ = _job_id(job_id)
        if from_step is not None:
            _check_from_step(from_step)
        await self._ready()
        await self.storage.retry(id_, self._clock.now(), from_step)

    async def signal(self, job_id: str | UUID, name: str, value: Any = None) -> None:
        """Sends a job a value that its handler takes with `job.wait_for(name)`.

        It is kept until it is taken, also where the job does not wait for it yet; several of one
        name are taken in the order in which they came. A job that waits for it goes on at once.

        Raises:
            JobNotFoundError. JobStateError: the job has ended, or 100 signals wait for it.
            OptionError: no name. JobTypeError: the value is no JSON. PayloadTooLargeError.
                Nothing was kept then.
        """
        id_ = _job_id(job_id)
        name = check_step("signal", name)
        text = encode_json(f"signal {name}", "value", value)
        size, most = len(text.encode()), self._settings.max_payload
        if size > most:
            raise PayloadTooLargeError(
                f"signal {name}: the value has {size:,} bytes as JSON, the limit is {most:,}; keep"
                " large things elsewhere and send their address"
            )
        await self._ready()
        now = self._clock.now()
        await self.storage.send_signal(
            id_, SignalRecord(self._signal_ids(now), name, text, now), now
        )

    async def delete_job(self, job_id: str | UUID) -> None:
        """Forgets a job and all that was kept with it.

        Raises:
            JobNotFoundError; JobStateError: it is active, or its workflow has not ended.
        """
        id_ = _job_id(job_id)
        await self._ready()
        await self.storage.delete(id_)

    async def retry_jobs(
        self,
        *,
        status: JobStatus | str = JobStatus.FAILED,
        type: str | JobType[Any, Any] | None = None,
        queue: str | None = None,
        tag: str | None = None,
    ) -> int:
        """`retry_job` for all ended jobs that match (default: the failed ones); how many.

        Raises:
            OptionError: no status, or one of jobs that have not ended.
        """
        which = _filter(status, type, queue, tag)
        if which.status is None:
            raise OptionError(
                "retry_jobs needs a status, since it would run the completed jobs again too;"
                ' say status="failed", "completed" or "cancelled"'
            )
        if not which.status.terminal:
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

    async def delete_jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        type: str | JobType[Any, Any] | None = None,
        queue: str | None = None,
        tag: str | None = None,
    ) -> int:
        """`delete_job` for all ended jobs that match; how many. Needs a filter.

        Raises:
            OptionError: no filter at all, or a status of jobs that have not ended.
        """
        which = _filter(status, type, queue, tag)
        if which == Filter():
            raise OptionError("delete_jobs needs a filter: status, type, queue or tag")
        if which.status is not None and not which.status.terminal:
            raise OptionError(f"only ended jobs are deleted in bulk, not {which.status} ones")
        await self._ready()
        return await self.storage.delete(which)

    async def pause_queue(self, queue: str) -> None:
        """No job of this queue is started, by any worker, until it is resumed."""
        name = check_queue(queue)
        await self._ready()
        await self.storage.pause(name, True)
        self._events.tell([QueuePaused(at=to_datetime(self._clock.now()), queue=name)])

    async def resume_queue(self, queue: str) -> None:
        """Ends `pause_queue`."""
        name = check_queue(queue)
        await self._ready()
        await self.storage.pause(name, False)
        self._events.tell([QueueResumed(at=to_datetime(self._clock.now()), queue=name)])


def _job_id(value: object) -> str:
    """An id as plain text.

    Raises:
        OptionError: it is neither text nor a UUID.
        JobNotFoundError: it is text that no storage could hold.
    """
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise OptionError(f"a job id must be a text or a UUID, got {value!r}")
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise JobNotFoundError(f"no job has the id {text!r}") from None
    return text


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
    return Filter(
        status,
        None if type_ is None else _check_type(type_),
        None if queue is None else check_queue(queue),
        None if tag is None else check_tag(tag),
    )


def _check_type(type_: object) -> str:
    """The name of a type to filter by; it need not be known here."""
    if isinstance(type_, JobType):
        return type_.name
    try:
        return check_name("job type", type_)
    except ConfigurationError as error:
        raise OptionError(str(error)) from None


def _check_cursor(cursor: object) -> str:
    if not isinstance(cursor, str):
        raise OptionError(f"{cursor!r} is no cursor; pass the .cursor of a JobPage, unchanged")
    return str.__str__(cursor)


def _check_from_step(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_STEPS:
        raise OptionError(
            f"from_step must be the number of a step, 1 to {MAX_STEPS:,}, got {value!r}"
        )


def _check_limit(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise OptionError(f"limit must be a whole number from 1 to 1000, got {value!r}")
