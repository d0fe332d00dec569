"""The part of a service for people who steer it: one job, many, and queues."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Unpack
from uuid import UUID

from backroom.codec import encode_json
from backroom.errors import JobTypeError, OptionError, PayloadTooLargeError
from backroom.event import QueuePaused, QueueResumed
from backroom.events import Events
from backroom.filtering import JobFilter, check_ids, check_job_id, read_filter
from backroom.finding import Finding
from backroom.identity import JobIds
from backroom.inspecting import Filter, Progress
from backroom.job import PRIORITIES, SECOND, JobStatus, duration, moment, to_datetime
from backroom.limit import check_most
from backroom.options import check_priority, check_queue
from backroom.replay import check_step
from backroom.settings import Settings
from backroom.step import MAX_STEPS, SignalRecord

__all__ = ["Steering"]

WAITING: Final = (JobStatus.SCHEDULED, JobStatus.PENDING, JobStatus.BLOCKED)


class Steering(Finding):
    """Changes over a storage that `_ready` opens.

    Wherever a job's id is taken, a `uuid.UUID` is too. An id, or a filter, that makes no sense
    is refused before anything is asked or changed. A change of many jobs is done page by page:
    `progress` is told of each, what was done stands whatever follows, and who is cancelled stops
    between two. It changes only jobs that were there when it began. Instead of a filter it takes
    up to 1,000 `ids`.
    """

    _events: Events
    _settings: Settings
    _signal_ids = JobIds()

    async def cancel_job(self, job_id: str | UUID) -> JobStatus:
        """Cancels a job that waits at once, and asks for it where it runs.

        Returns the status after the call: "cancelled"; "active" if its handler is being
        stopped; or the terminal status it had, which stays.

        Raises:
            JobNotFoundError
        """
        id_ = check_job_id(job_id)
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
        id_ = check_job_id(job_id)
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
        id_ = check_job_id(job_id)
        name = check_step("signal", name)
        try:
            text = encode_json(f"signal {name}", "value", value)
        except JobTypeError as error:
            error.option = "value"
            raise
        size, most = len(text.encode()), self._settings.max_payload
        if size > most:
            refused = PayloadTooLargeError(
                f"signal {name}: the value has {size:,} bytes as JSON, the limit is {most:,}; keep"
                " large things elsewhere and send their address"
            )
            refused.option = "value"
            raise refused
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
        id_ = check_job_id(job_id)
        await self._ready()
        await self.storage.delete(id_)

    async def retry_jobs(
        self,
        *,
        ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int:
        """`retry_job` for all ended jobs that match (default: the failed ones); how many. Those of
        one workflow are retried together, or none of them.

        Raises:
            OptionError: no status, or one of jobs that have not ended.
        """
        if ids is None and which.setdefault("status", JobStatus.FAILED) is None:
            raise OptionError(
                "retry_jobs needs a status, since it would run the completed jobs again too;"
                ' say status="failed", "completed" or "cancelled"',
                "status",
            )
        some = _some("retry_jobs", ids, which)
        if isinstance(some, Filter) and some.status is not None and not some.status.terminal:
            raise OptionError(
                f"only ended jobs are retried in bulk, not {some.status} ones", "status"
            )
        await self._ready()
        return await self.storage.retry(some, self._clock.now(), progress=progress)

    async def cancel_jobs(
        self,
        *,
        ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int:
        """`cancel_job` for all jobs that match and have not ended; how many. Needs a filter.

        Raises:
            OptionError: no filter at all; say `status="pending"` and so on if you mean it.
        """
        some = _some("cancel_jobs", ids, which)
        await self._ready()
        return await self.storage.cancel(some, self._clock.now(), progress)

    async def delete_jobs(
        self,
        *,
        ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int:
        """`delete_job` for all ended jobs that match; how many. Needs a filter.

        Raises:
            OptionError: no filter at all, or a status of jobs that have not ended.
        """
        some = _some("delete_jobs", ids, which)
        if isinstance(some, Filter) and some.status is not None and not some.status.terminal:
            raise OptionError(
                f"only ended jobs are deleted in bulk, not {some.status} ones", "status"
            )
        await self._ready()
        return await self.storage.delete(some, progress)

    async def reschedule_job(
        self,
        job_id: str | UUID,
        *,
        run_at: datetime | None = None,
        delay: float | timedelta | None = None,
    ) -> None:
        """A job that waits, for whatever, gets another moment: it runs then, and not before. One
        that has passed means now. One that waits for other jobs of its workflow goes on doing so,
        and its moment counts when these have ended. Keys that are held until a moment, and
        `expires_at`, stay.

        A job that a worker holds is refused, also where it has not begun: it may do so any moment.

        Raises:
            JobNotFoundError. JobStateError: it is active, has ended, would expire before that, or
                its workflow is on its way to another store.
            OptionError: neither `run_at` nor `delay`, or both, or no moment.
        """
        id_ = check_job_id(job_id)
        now = self._clock.now()
        moment_ = _moment(run_at, delay, now)
        await self._ready()
        await self.storage.rearrange(id_, now, moment_, None)

    async def reschedule_jobs(
        self,
        *,
        run_at: datetime | None = None,
        delay: float | timedelta | None = None,
        ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int:
        """`reschedule_job` for all jobs that match and wait; how many. Needs a filter.

        Raises:
            OptionError: no filter at all, a status of jobs that do not wait; or no moment.
        """
        now = self._clock.now()
        moment_ = _moment(run_at, delay, now)
        some = _waiting("reschedule_jobs", ids, which)
        await self._ready()
        return await self.storage.rearrange(some, now, moment_, None, progress)

    async def reprioritize_job(self, job_id: str | UUID, priority: str) -> None:
        """A job that waits does so in another priority, from the same moment on.

        Raises:
            JobNotFoundError. JobStateError: as `reschedule_job`. OptionError: no priority.
        """
        id_ = check_job_id(job_id)
        place = PRIORITIES.index(check_priority(priority))
        await self._ready()
        await self.storage.rearrange(id_, self._clock.now(), None, place)

    async def reprioritize_jobs(
        self,
        priority: str,
        /,
        *,
        ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int:
        """`reprioritize_job` for all jobs that match and wait; how many. Needs a filter, of which
        `priority=` is the one that they have now.

        Raises:
            OptionError: no filter at all, a status of jobs that do not wait; or no priority.
        """
        place = PRIORITIES.index(check_priority(priority))
        some = _waiting("reprioritize_jobs", ids, which)
        await self._ready()
        return await self.storage.rearrange(some, self._clock.now(), None, place, progress)

    async def limit_queue(self, queue: str, most: int | None) -> None:
        """At most so many jobs of this queue run at once, across all workers, whatever code says
        (`limit`), until that is taken away (None). It holds for workers that start later, too.

        What runs goes on, and counts. A worker hears of it at once, or within five seconds where
        its storage could not tell it; what it had claimed before and has not begun asks for room
        then. A job that was made without knowing of the limit is claimed twice.

        Raises:
            OptionError: no name of a queue, or no number from 1 to 10,000.
        """
        name = check_queue(queue)
        number = None if most is None else check_most(most)
        await self._ready()
        await self.storage.limit_queue(name, number)

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


def _some(verb: str, ids: Sequence[str | UUID] | None, said: JobFilter) -> Filter | list[str]:
    """Which jobs are to be changed.

    Raises:
        OptionError: neither ids nor a filter, or both.
    """
    which = read_filter(said)
    if ids is not None:
        if which != Filter():
            raise OptionError(f"{verb} takes ids, or a filter, not both", "ids")
        return check_ids(ids)
    if which == Filter():
        raise OptionError(f"{verb} needs a filter: status, type, queue, tag, text ...; or ids")
    return which


def _waiting(verb: str, ids: Sequence[str | UUID] | None, said: JobFilter) -> Filter | list[str]:
    some = _some(verb, ids, said)
    if isinstance(some, Filter) and some.status not in (None, *WAITING):
        raise OptionError(
            f"only jobs that wait get another moment or priority, not {some.status} ones", "status"
        )
    return some


def _moment(run_at: datetime | None, delay: float | timedelta | None, now: int) -> int:
    if (run_at is None) == (delay is None):
        raise OptionError("say run_at or delay, one of them")
    if run_at is not None:
        return max(now, moment("run_at", run_at))
    return now + round(duration("delay", delay) * SECOND)


def _check_from_step(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_STEPS:
        raise OptionError(
            f"from_step must be the number of a step, 1 to {MAX_STEPS:,}, got {value!r}",
            "from_step",
        )
