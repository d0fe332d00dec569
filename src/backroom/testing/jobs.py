"""The kit of a test: a service on a storage of its own, whose jobs run when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, TypeVar

import msgspec

from backroom.errors import ConfigurationError, JobFailedError, JobStateError, ServiceError
from backroom.job import SECOND, JobInfo, JobRecord, JobStatus, duration
from backroom.registry import JobType, Registry
from backroom.service import JobService
from backroom.testing.scheduled import Seen, name_of
from backroom.testing.stage import InjectedError, Stage, When
from backroom.testing.storage import TestStorage
from backroom.testing.virtual import Stuck, VirtualClock, VirtualLoop
from backroom.worker import Worker

__all__ = ["Jobs", "inline", "kit"]

S = TypeVar("S", bound="Jobs")

NEVER: Final = 3600.0
"""Seconds between two looks of a worker that is told when to look."""
MOST: Final = 10_000
"""Attempts in one call of the kit, before it says that the jobs breed."""
TURNS: Final = 5
"""Turns of the loop in which a look that was asked for has been taken."""
FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 60.0
"""Seconds between two looks at whether all has ended, where nothing tells."""


class Jobs(Seen):
    """The jobs of one service during one test. `async with`, or `with`, from its first use on.

    A real worker does the work, in the caller's loop, each time that the kit is asked to: until
    then, jobs wait. Only one call that runs jobs may be under way.
    """

    def __init__(
        self,
        service: JobService,
        *,
        storage: TestStorage | None = None,
        start: datetime | None = None,
    ) -> None:
        """`storage`: one that others look into, too, and that is kept; `start`: where the clock
        of a new one begins, and stands but for `advance`.

        Raises:
            ConfigurationError: the service is started.
        """
        self.service = service
        self.storage = TestStorage(VirtualClock(start=start)) if storage is None else storage
        self.clock = self.storage.virtual_clock
        self._keeps_storage = storage is not None
        self._before: dict[str, Any] = {}
        self._stage = Stage(service._registry, self.storage.kill)
        self._working = False

    # -- life ------------------------------------------------------------------------------------

    def __enter__(self: S) -> S:
        service = self.service
        if service.started:
            raise ConfigurationError(
                "the service is started: a kit takes it before, so that none of its jobs are lost"
            )
        self._before = vars(service).copy()
        self.storage.at_once(self.storage.open())
        # Its wake-ups are never lost, and looks without need would only wear virtual time out.
        service._settings = msgspec.structs.replace(
            service._settings, poll_interval=NEVER, patient=False
        )
        service._use(self.storage)
        service._registry = self._stage
        self.clock.watch(lambda: service._worker is not None and service._worker.in_threads)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(RuntimeError):  # The loop of the test has ended.
            self.service._results.close()
        self.storage.after_insert = None
        vars(self.service).clear()
        vars(self.service).update(self._before)
        if not self._keeps_storage:
            self.storage.forget()

    async def __aenter__(self: S) -> S:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.service.started:
            await self.service.stop(0)
        self.__exit__(kind, error, trace)

    # -- run -------------------------------------------------------------------------------------

    async def drain(self, *, raise_errors: bool = False) -> list[JobInfo]:
        """Runs all jobs that are due, those that become due meanwhile included, to their end.

        Returns the jobs of which an attempt ended, as they stand now, in that order.

        Raises:
            Stuck: more than 10,000 attempts were made; perhaps jobs schedule jobs for ever.
            Exception: with `raise_errors`, the first that a handler raised without its being
                planned by `fail`. It is recorded all the same.
        """
        __tracebackhide__ = True
        async with self._session(raise_errors) as ran:
            await self._work()
        return await self._infos(ran)

    async def run(self, job_id: str, *, raise_errors: bool = False) -> JobInfo:
        """Makes the next attempt of one job now, whether it is due or not, and of no other.

        Raises:
            JobNotFoundError; JobStateError: it does not wait; ConfigurationError: its type has
                no handler. With `raise_errors`, what the handler raised.
        """
        __tracebackhide__ = True
        job = await self.service.get_job(job_id)
        if job.status not in (JobStatus.PENDING, JobStatus.SCHEDULED):
            raise JobStateError(f"job {job_id} is {job.status}; only a job that waits can run")
        if job.type not in self.service.handled_types:
            raise ConfigurationError(f"{job.type} has no handler in this service")
        async with self._session(raise_errors):
            if self.service.started:
                raise ServiceError("a started service runs its jobs by itself")
            self.storage.only(str(job_id))
            try:
                await self._work()
            finally:
                self.storage.only(None)
        return await self.service.get_job(job_id)

    async def advance(self, by: float | timedelta, *, raise_errors: bool = False) -> list[JobInfo]:
        """Lets time pass, and runs each job at its moment: what is due now, delays, retries,
        snoozes, ticks of schedules; jobs that are not started in time expire. Seconds or
        `timedelta`. Schedules that stand beside handlers begin with the first call.

        A handler that has begun is run to its end, so on a virtual loop more time may pass.
        Returns, and raises, like `drain`.
        """
        __tracebackhide__ = True
        seconds = duration("by", by)
        async with self._session(raise_errors) as ran:
            await self.service.open()
            await self.service._put_declared()
            end = self.clock.now() + round(seconds * SECOND)
            while True:
                await self._work()
                due = self.storage.next_moment(self.clock.now())
                if due is None or due > end:
                    break
                await self._move_to(due)
            if self.clock.now() < end:
                await self._move_to(end)
                await self._work()
        return await self._infos(ran)

    @property
    def now(self) -> datetime:
        """What the service's clock shows (UTC)."""
        return self.clock.wall

    # -- faults ----------------------------------------------------------------------------------

    def fail(
        self,
        type: str | JobType[Any, Any],
        /,
        *,
        times: int | None = 1,
        error: Exception | type[Exception] | None = None,
        when: When = "before",
    ) -> None:
        """The next `times` attempts of this type raise `error`, before the handler's first line
        or after its last; `times=None`: all of them. What `fail` and `kill` plan happens in the
        order of their calls, an attempt each; then the handler works again. A bulk handler is
        called for many attempts at once: of it, `times` counts calls.
        """
        self._known(type)
        planned = InjectedError("this attempt was to fail") if error is None else error
        self._stage.fail(name_of(type), times, when, planned)

    def kill(
        self, type: str | JobType[Any, Any], /, *, times: int | None = 1, when: When = "before"
    ) -> None:
        """The worker of the next `times` attempts of this type dies, before the handler's first
        line or after its last. As in production a crash is charged, the job runs again at once,
        and at its third crash it fails. The worker's other jobs go on.
        """
        self._known(type)
        self._stage.kill(name_of(type), times, when)

    # -- inside ----------------------------------------------------------------------------------

    def _records(self) -> Sequence[JobRecord]:
        return self.storage.inserted

    def _types(self) -> Registry:
        return self._stage

    @asynccontextmanager
    async def _session(self, raise_errors: bool) -> AsyncIterator[list[str]]:
        """While the kit runs jobs: gives the ids of those that ran, once it is over."""
        __tracebackhide__ = True
        if self._working:
            raise ServiceError("the kit runs jobs already; a handler needs not, and cannot, ask it")
        ran: list[str] = []
        self._working = True
        self.storage.outcomes()
        self._stage.errors.clear()
        self._stage.begun = 0
        try:
            with self.clock.hold():
                yield ran
        finally:
            self._working = False
        outcomes = self.storage.outcomes()
        # The last outcome of a job gives it its place.
        ran += reversed(dict.fromkeys(job_id for job_id, _ in reversed(outcomes)))
        if not raise_errors:
            return
        for job_id, failure in outcomes:
            if failure is not None:
                unplanned = JobFailedError(f"{failure.kind}: {failure.message}")
                error = self._stage.errors.get((job_id, failure.attempt), unplanned)
                if error is not None:
                    raise error

    async def _work(self) -> None:
        """A worker does all that is due; the service's own, if it is started."""
        service = self.service
        if service._worker is not None:
            await self._until_idle(service._worker)
            return
        await service.open()
        worker = Worker(
            self.storage,
            self._stage,
            self.clock,
            msgspec.structs.replace(service._settings, lease=NEVER, patient=False),
            recorded=service._results.recorded,
            events=service._events,
            counts=service._counts,
            teller=service._teller,
            chance=lambda: 0.0,
        )
        await worker.start()
        service._worker = worker
        try:
            await self._until_idle(worker)
        finally:
            service._worker = None
            await worker.stop(0, lambda: None)

    async def _until_idle(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        self.storage.changed = lambda: _tell(loop, changed)
        pause = FIRST_PAUSE
        try:
            self.storage.nudge()  # A worker of long standing has been idle since before.
            while not await self._rests(worker):
                if self._stage.begun > MOST:
                    raise Stuck(f"{MOST:,} attempts were made, and jobs are still due")
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await changed.wait()
                    pause = FIRST_PAUSE
                    changed.clear()
                    continue
                pause = min(pause * 2, LONGEST_PAUSE if _is_virtual(loop) else 2 * FIRST_PAUSE)
        finally:
            self.storage.changed = lambda: None

    async def _rests(self, worker: Worker) -> bool:
        """Whether all is done; asks the worker to look once more where that may be."""
        if worker.running:
            return False
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if not worker.idle and not worker.running:
            self.storage.nudge()
        return worker.idle

    async def _move_to(self, moment: int) -> None:
        while (left := moment - self.clock.now()) > 0:
            if _is_virtual(asyncio.get_running_loop()):
                await asyncio.sleep(left / SECOND)
            else:
                self.clock.move(left / SECOND)

    async def _infos(self, ids: Sequence[str]) -> list[JobInfo]:
        """Those that are still there."""
        found = [await self.storage.find(job_id, self.clock.now()) for job_id in ids]
        return [job for job in found if job is not None]


def _is_virtual(loop: asyncio.AbstractEventLoop) -> bool:
    return isinstance(loop, VirtualLoop)


def _tell(loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
    with suppress(RuntimeError):  # A thread that outlived its test's loop.
        loop.call_soon_threadsafe(changed.set)


class _Inline(Jobs):
    """Whatever is scheduled runs before `schedule` returns."""

    def __init__(
        self,
        service: JobService,
        *,
        storage: TestStorage | None,
        start: datetime | None,
        raise_errors: bool,
    ) -> None:
        super().__init__(service, storage=storage, start=start)
        self._raise_errors = raise_errors

    def __enter__(self) -> _Inline:
        super().__enter__()
        self.storage.after_insert = self._run_at_once
        return self

    async def _run_at_once(self) -> None:
        __tracebackhide__ = True
        if not self._working:  # Else that which runs jobs runs these, too.
            await self.drain(raise_errors=self._raise_errors)


def kit(
    service: JobService, *, storage: TestStorage | None = None, start: datetime | None = None
) -> Jobs:
    """The service on a fresh storage in memory, and then on its own again.

    Args:
        start: where the kit's clock begins (aware); it then stands but for `advance`. None: it
            goes with the machine's clock between the calls of the kit.
    """
    return Jobs(service, storage=storage, start=start)


def inline(
    service: JobService,
    *,
    storage: TestStorage | None = None,
    start: datetime | None = None,
    raise_errors: bool = False,
) -> Jobs:
    """A kit where `schedule` runs the job, and all else that is due, before it returns. What a
    handler raises is recorded as always, and with `raise_errors` also raised by `schedule`."""
    return _Inline(service, storage=storage, start=start, raise_errors=raise_errors)
