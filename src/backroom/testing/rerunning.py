"""One job in a fresh world, interrupted once or not at all, and run again to its end."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import inspect
import random
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from backroom.errors import BackroomError, RetryJob, StorageError
from backroom.handle import Job
from backroom.identity import JobIds
from backroom.job import JobId, JobInfo, JobRecord, JobStatus, moment
from backroom.registry import Known
from backroom.service import JobService
from backroom.testing.findings import Interruption, Kind, Seen
from backroom.testing.interrupting import Watch, apart
from backroom.testing.jobs import Jobs
from backroom.testing.stage import Stage
from backroom.testing.storage import TestStorage
from backroom.testing.virtual import Stuck, VirtualClock, VirtualLoop

__all__ = ["Case", "Inconclusive", "Run"]

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
MOST_ATTEMPTS: Final = 100
"""Of one job, before it counts as one that never ends."""
MOST_JUMPS: Final = 10_000
"""From timer to timer in one process, before what it waits for counts as what never comes."""
NEVER: Final = "did not end"


class Inconclusive(BackroomError):
    """A crash test cannot tell: the handler fails, or never ends, when nothing disturbs it; or it,
    or its world, is not the same from run to run."""


class Case(msgspec.Struct, frozen=True):
    """What is tested, and how its world is made and seen."""

    service: JobService
    type: Any
    name: str
    """Of the type."""
    data: Any
    options: dict[str, Any]
    root: str
    """The package of the handler."""
    setup: Callable[[], object]
    observe: Callable[[], object]
    restart: Callable[[], object]
    same: Callable[[Any, Any], bool]
    kinds: Collection[Kind]
    most: int


class Run:
    """One run, with one interruption, or with none."""

    def __init__(self, case: Case, interruption: Interruption | None = None) -> None:
        self._case = case
        self._interruption = interruption
        self._storage = TestStorage(VirtualClock(start=START))
        self._context = contextvars.copy_context()
        self._threads = ThreadPoolExecutor()
        """Of `asyncio.to_thread`."""
        self._job_id: JobId[Any] = JobId("")
        self._before = 0
        """Jobs that were there before the handler ran."""
        self._seen: Seen | None = None
        self._error: BaseException | None = None
        """What the user's own functions raised after the crash."""
        self._watch = Watch(
            case.root,
            at=None if interruption is None else interruption.index,
            happen=self._interrupt,
            most=case.most,
        )
        self.points = self._watch.points
        """Where it could be interrupted."""

    def see(self) -> Seen:
        """Runs it all.

        Raises:
            Inconclusive: undisturbed, it does not complete.
        """
        try:
            with asyncio.Runner(loop_factory=self._loop) as runner:
                seen = runner.run(self._first_process())
        except Stuck as stuck:
            seen = self._seen or _run_virtual(self._look(f"{NEVER}: {stuck}"))
        if self._interruption is None and seen.status.startswith((NEVER, JobStatus.FAILED)):
            raise Inconclusive(f"undisturbed, {self._case.name} does not complete: {seen.status}")
        return seen

    def _loop(self) -> VirtualLoop:
        loop = _new_loop()
        loop.set_task_factory(self._watch.make_task)
        loop.set_default_executor(self._threads)
        return loop

    # -- processes -------------------------------------------------------------------------------

    async def _first_process(self) -> Seen:
        case, service, storage = self._case, self._case.service, self._storage
        with _WatchedJobs(service, storage, self._watch) as jobs:
            # The same ids each time, since handlers use them as keys.
            service._records = copy.copy(service._records)
            service._records._make_id = JobIds(random.Random(0).randbytes)
            await _call(case.setup)
            self._job_id = await service.schedule(case.type, case.data, **case.options)
            self._before = len(storage.inserted)
            storage.after_insert = self._inserted
            await self._run(jobs)
            if self._error is not None:
                self._error.add_note(f"raised after {case.name} was {self._interruption}")
                raise self._error
            if self._seen is not None:
                return self._seen
            if self._watch.dead:  # In a thread.
                await _call(case.restart)
            return await self._to_its_end(jobs)

    def _interrupt(self) -> None:
        """At the point where it is to happen."""
        assert self._interruption is not None
        kind = self._interruption.kind
        if kind == "lost reply":
            raise StorageError("the storage did not answer (the crash test lost its reply)")
        if kind == "timeout":
            asyncio.get_running_loop().call_soon(self._out_of_time)
            return
        self._watch.dead = True
        self._storage.kill(self._job_id)
        if asyncio._get_running_loop() is None:  # A thread, which just ends.
            return
        # They cannot be killed: what they do is done before the next run, each time.
        self._threads.shutdown()
        service, process = self._case.service, vars(self._case.service).copy()
        try:
            with apart():
                service._use(self._storage)
                self._context.run(self._go_on)
        finally:
            vars(service).clear()
            vars(service).update(process)
        # What is left of the dead process finds nothing to do.
        self._storage.only("")

    def _out_of_time(self) -> None:
        worker = self._case.service._worker
        if worker is not None:
            for running in list(worker._runner.running.values()):
                worker._runner.interrupt(running, "timeout")

    async def _inserted(self) -> None:
        self._watch.scheduled()

    def _go_on(self) -> None:
        try:
            self._seen = _run_virtual(self._second_process())
        except Stuck as stuck:
            self._seen = _run_virtual(self._look(f"{NEVER}: {stuck}"))
        except BaseException as error:  # Also a test that fails itself, or is interrupted.
            self._error = error

    async def _second_process(self) -> Seen:
        await _call(self._case.restart)
        with Jobs(self._case.service, storage=self._storage) as jobs:
            return await self._to_its_end(jobs)

    # -- the job ---------------------------------------------------------------------------------

    async def _run(self, jobs: Jobs) -> JobInfo:
        """Its next attempt, when its time has come."""
        job = await self._case.service.get_job(self._job_id)
        await jobs._move_to(moment("run_at", job.run_at))
        job = await jobs.run(self._job_id)
        if self._watch.too_many:
            raise Inconclusive(
                f"{self._case.name} can be interrupted at more than {self._case.most:,} points:"
                " give it less to do, or say most=..."
            )
        return job

    async def _to_its_end(self, jobs: Jobs) -> Seen:
        job = await self._case.service.get_job(self._job_id)
        ran = False
        for _ in range(MOST_ATTEMPTS):
            if job.status is JobStatus.FAILED and self._interruption is not None and not ran:
                # It has no retries. Whoever reads that it failed may retry it.
                await self._case.service.retry_job(self._job_id)
                job = await self._case.service.get_job(self._job_id)
            if job.finished_at is not None:
                self._check(job)
                return await self._look(_status(job))
            job = await self._run(jobs)
            ran = ran or jobs._stage.begun > 0
        return await self._look(f"{NEVER} in {MOST_ATTEMPTS} attempts")

    def _check(self, job: JobInfo) -> None:
        """What it does when nothing disturbs it is what the rest is measured by."""
        errors = [error for error in job.errors if error.kind != RetryJob.__name__]
        if self._interruption is None and errors:
            first = f"{errors[0].kind}: {errors[0].message}"
            raise Inconclusive(f"undisturbed, {self._case.name} fails: {first}")

    async def _look(self, status: str) -> Seen:
        scheduled = sorted(map(_text, self._storage.inserted[self._before :]))
        return Seen(copy.deepcopy(await _call(self._case.observe)), tuple(scheduled), status)


class _WatchedJobs(Jobs):
    """A kit whose handlers are watched."""

    def __init__(self, service: JobService, storage: TestStorage, watch: Watch) -> None:
        super().__init__(service, storage=storage)
        self._stage = _WatchedStage(service, storage, watch)


class _WatchedStage(Stage):
    def __init__(self, service: JobService, storage: TestStorage, watch: Watch) -> None:
        super().__init__(service._registry, storage.kill)
        self._watch = watch

    def _staged(self, known: Known, handler: Callable[[Job[Any]], Any]) -> Callable[..., Any]:
        watched = self._watch.watched(handler, is_async=known.handler_is_async)
        return super()._staged(known, watched)


def _status(job: JobInfo) -> str:
    if job.status is JobStatus.FAILED and job.errors:
        return f"{job.status}: {job.errors[-1].kind}: {job.error}"
    return f"{job.status}: {job.error}" if job.error else str(job.status)


def _text(job: JobRecord) -> str:
    key = "" if job.unique_key is None else f" with unique_key={job.unique_key!r}"
    return f"{job.type}({job.data}){key}"


def _new_loop() -> VirtualLoop:
    return VirtualLoop(MOST_JUMPS)


def _run_virtual(process: Coroutine[Any, Any, Seen]) -> Seen:
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(process)


async def _call(function: Callable[[], object]) -> Any:
    result = function()
    return await result if inspect.isawaitable(result) else result
