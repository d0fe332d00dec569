"""The same service for code without asyncio: Flask, Django views, scripts, notebooks.

Nothing of the service is written twice. Each verb is handed over to an event loop in a thread,
and waited for; all the rest is passed through.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, Protocol, Self, TypeVar, Unpack, overload
from uuid import UUID

from backroom.action import ActionPage
from backroom.audit import Recorded
from backroom.blocking_observing import BlockingObserving
from backroom.blocking_schedules import BlockingSchedules
from backroom.blocking_standing import BlockingStanding
from backroom.blocking_workflows import BlockingWorkflows
from backroom.bulk import BulkHandler
from backroom.declaring import JobRegistry
from backroom.errors import ConfigurationError, StorageClosedError
from backroom.filtering import JobFilter
from backroom.handlers import HandlerWrapper, JobHandler
from backroom.inspecting import Progress
from backroom.job import JobId, JobInfo, JobOptions, JobPage, JobStatus
from backroom.limit import Concurrency, LimitInfo
from backroom.listening import Listeners
from backroom.options import Isolation
from backroom.portal import Portal, hand_over
from backroom.ports import Store
from backroom.protocols import BulkDecorator, HandlerDecorator
from backroom.registry import JobType
from backroom.scheduling import JobRequest
from backroom.service import MAX_PAYLOAD
from backroom.service import JobService as AsyncJobService
from backroom.stats import Count, FailureGroup, JobStats
from backroom.tasks import Task as AsyncTask
from backroom.timetable import HandlerSchedules
from backroom.tracing import Tracing

__all__ = ["JobService", "Task"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
C = TypeVar("C", covariant=True)

EXIT_GRACE: Final = 2.0
"""Seconds that running jobs have when the interpreter ends with a service started."""
EXIT_WAIT: Final = 10.0
"""Seconds that the end of the interpreter waits at most, for all services together."""


class TaskDecorator(Protocol):
    """What `service.task(...)` returns: takes a function, and returns it as a task."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Task[P, R, Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R, R]: ...


class Task(Generic[P, R, C]):
    """`backroom.Task`, whose `schedule` waits for its answer."""

    def __init__(self, task: AsyncTask[P, R, C], schedule: Callable[..., Any]) -> None:
        """`schedule`: that of the service."""
        self.task = task
        self.type = task.type
        self._schedule = schedule
        functools.update_wrapper(self, task)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        return self.task(*args, **kwargs)

    def schedule(self, *args: P.args, **kwargs: P.kwargs) -> JobId[R]:
        """Has the function run later, with these arguments."""
        request = self.task.request(*args, **kwargs)
        return self._schedule(  # type: ignore[no-any-return]
            request.type, request.data, connection=self.task.connection, **request.options
        )

    def request(self, *args: P.args, **kwargs: P.kwargs) -> JobRequest[R]:
        """The same for `schedule_many`."""
        return self.task.request(*args, **kwargs)

    def options(self, *, connection: object = None, **options: Unpack[JobOptions]) -> Task[P, R, C]:
        """The same task with options for its next jobs."""
        return Task(self.task.options(connection=connection, **options), self._schedule)


class JobService(
    BlockingSchedules, BlockingWorkflows, BlockingObserving, BlockingStanding, Listeners
):
    """`backroom.JobService`, whose verbs wait for their answer. Any thread may call them.

    Takes what the async one takes, or an async service, `JobService(service=...)`: where that
    is open on a loop of the application, as in a web server, calls are handed to that loop;
    else to a loop in a daemon thread, which `stop` ends. What is not stopped when the
    interpreter ends is stopped then, with a grace of two seconds.

    It may be made before a fork and used after it, in parent and children; once used, it
    belongs to its process, and a child makes a new one. A call that Ctrl-C interrupts raises
    `KeyboardInterrupt` and is cancelled: as after a lost reply, it may have been carried out.

    Raises:
        ConfigurationError: a setting that makes no sense.
        ServiceError: (every verb) called on the service's own loop: there, await `service`.
    """

    @overload
    def __init__(
        self,
        storage: Store | str | None = None,
        *,
        concurrency: int = 5,
        queues: Mapping[str, int] | None = None,
        only: Sequence[str] | None = None,
        poll_interval: float | timedelta = 1.0,
        default_retry_limit: int = 3,
        default_retry_delay: float | timedelta = 60,
        default_timeout: float | timedelta = 300,
        isolation: Isolation = "none",
        max_memory: int | None = None,
        max_jobs_per_process: int | None = None,
        max_payload: int = MAX_PAYLOAD,
        lease: float | timedelta = 30,
        starvation_after: float | timedelta = 60,
    ) -> None: ...
    @overload
    def __init__(self, *, service: AsyncJobService) -> None: ...
    def __init__(
        self,
        storage: Store | str | None = None,
        *,
        service: AsyncJobService | None = None,
        **settings: Any,
    ) -> None:
        if service is not None and (storage is not None or settings):
            raise ConfigurationError(
                "JobService(service=...) takes no other arguments: the settings are those of the"
                " service that it wraps"
            )
        self._service = AsyncJobService(storage, **settings) if service is None else service
        self._events = self._service._events
        self._portal = Portal("backroom-blocking")
        self._reopening = threading.Lock()
        """Held while it opens, and while its loop is closed: one or the other."""
        _made.add(self)

    @property
    def service(self) -> AsyncJobService:
        """The async service behind this one, for async code such as `async def` handlers."""
        return self._service

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a verb where the service lives, and waits for its answer."""
        service = self._service
        if service.inherited:
            coroutine.close()
            raise StorageClosedError(
                f"this service over {service.storage.url} was opened before this process was"
                " forked; make a new JobService in the child, and use that, or do not use this"
                " one before the fork"
            )
        loop = service.loop
        if loop is None:
            _in_use.add(self)
        elif loop is not self._portal.loop:
            return hand_over(coroutine, loop)
        return self._portal.call(coroutine)

    # -- types and handlers ----------------------------------------------------------------------

    def declare(self, name: str | JobType[Any, Any], data: Any = None, result: Any = None) -> None:
        """Makes a job type known to a process that only schedules it."""
        self._service.declare(name, data, result)

    @overload
    def handler(
        self, type: JobType[T, R], /, *, batch: int, within: float | timedelta = ...,
        **options: Unpack[HandlerSchedules],
    ) -> BulkDecorator[T, R]: ...  # fmt: skip
    @overload
    def handler(
        self, type: str, /, *, batch: int, within: float | timedelta = ...,
        **options: Unpack[HandlerSchedules],
    ) -> BulkDecorator[Any, Any]: ...  # fmt: skip
    @overload
    def handler(
        self, type: JobType[T, R], /, **options: Unpack[HandlerSchedules]
    ) -> HandlerDecorator[T, R]: ...
    @overload
    def handler(
        self, type: str, /, **options: Unpack[HandlerSchedules]
    ) -> HandlerDecorator[Any, Any]: ...
    def handler(self, type: Any, /, **options: Any) -> Any:
        """Registers the decorated function as the handler of a job type. A `def` handler may
        use this service; an `async def` one runs on its loop, and awaits `service` instead."""
        return self._service.handler(type, **options)

    @overload
    def register_handler(
        self, type: JobType[T, R], handler: BulkHandler[T, R], /, *, batch: int,
        within: float | timedelta = ..., **options: Unpack[HandlerSchedules],
    ) -> None: ...  # fmt: skip
    @overload
    def register_handler(
        self, type: str, handler: BulkHandler[Any, Any], /, *, batch: int,
        within: float | timedelta = ..., **options: Unpack[HandlerSchedules],
    ) -> None: ...  # fmt: skip
    @overload
    def register_handler(
        self, type: JobType[T, R], handler: JobHandler[T, R], /, **options: Unpack[HandlerSchedules]
    ) -> None: ...
    @overload
    def register_handler(
        self, type: str, handler: JobHandler[Any, Any], /, **options: Unpack[HandlerSchedules]
    ) -> None: ...
    def register_handler(self, type: Any, handler: Any, /, **options: Any) -> None:
        """`handler`, without the decorator."""
        self._service.register_handler(type, handler, **options)

    @overload
    def task(self, function: Callable[P, Awaitable[R]], /) -> Task[P, R, Awaitable[R]]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R, R]: ...
    @overload
    def task(
        self, /, *, name: str | None = None, **options: Unpack[HandlerSchedules]
    ) -> TaskDecorator: ...
    def task(self, function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
        """Makes a job type of a function: its arguments are the data; `add.schedule(1, b=2)`
        waits until the job is kept."""

        def make(function: Any) -> Task[Any, Any, Any]:
            return Task(self._service.task(name=name, **options)(function), self.schedule)

        return make if function is None else make(function)

    def include(self, registry: JobRegistry) -> None:
        """Takes over the types, handlers and tasks of a registry. Schedule its tasks by
        `schedule_many([add.request(1, b=2)])`: their own `schedule` is for async code."""
        self._service.include(registry)

    def wrap_handlers(self, wrapper: HandlerWrapper) -> None:
        """Every handler is called through what `wrapper` makes of it."""
        self._service.wrap_handlers(wrapper)

    def trace_with(self, tracing: Tracing) -> None:
        """From now on, the jobs that are scheduled here carry their trace."""
        self._service.trace_with(tracing)

    # -- schedule --------------------------------------------------------------------------------

    @overload
    def schedule(
        self, type: JobType[T, R], data: T, /, *, connection: object = None,
        **options: Unpack[JobOptions],
    ) -> JobId[R]: ...  # fmt: skip
    @overload
    def schedule(
        self, type: str, data: Mapping[str, Any] | None = None, /, *, connection: object = None,
        **options: Unpack[JobOptions],
    ) -> JobId[Any]: ...  # fmt: skip
    def schedule(
        self, type: Any, data: Any = None, /, *, connection: object = None, **options: Any
    ) -> JobId[Any]:
        """Keeps a job; when this returns, it will run. Returns its id.

        With a `connection`, in its transaction, as `backroom.JobService.schedule`. It must be one
        without asyncio, and is used in the thread that calls, never in another."""
        if connection is None:
            return self._call(self._service.schedule(type, data, **options))
        along = self._service._along(connection)
        prepared = self._call(self._service._prepare(along, type, data, options))
        [job_id] = prepared.insert_here()
        return job_id

    def schedule_many(
        self, requests: Sequence[JobRequest[R]], *, connection: object = None
    ) -> list[JobId[R]]:
        """Keeps all these jobs or none. At most 100,000. With a `connection`, as `schedule`."""
        if connection is None:
            return self._call(self._service.schedule_many(requests))
        along = self._service._along(connection)
        return self._call(self._service._prepare_many(along, requests)).insert_here()

    def schedule_once(
        self, key: str, type: str, data: Mapping[str, Any] | None = None, /,
        **options: Unpack[JobOptions],
    ) -> tuple[JobId[Any], bool]:  # fmt: skip
        """As `schedule`: whoever says the same key within a day gets the job that the first call
        made. Returns its id, and whether this call has made it."""
        return self._call(self._service.schedule_once(key, type, data, **options))

    def copy_job(self, job_id: str | UUID) -> JobId[Any]:
        """Schedules a new job with the data and the options of this one, which runs at once."""
        return self._call(self._service.copy_job(job_id))

    # -- look up ---------------------------------------------------------------------------------

    def result(self, job_id: JobId[R], *, timeout: float | timedelta | None = None) -> R:
        """Waits for a job's end, wherever it runs, and returns its result."""
        return self._call(self._service.result(job_id, timeout=timeout))

    def get_job(self, job_id: str | UUID) -> JobInfo:
        """A job with its errors and log."""
        return self._call(self._service.get_job(job_id))

    def get_job_status(self, job_id: str | UUID) -> JobStatus:
        """A job's status."""
        return self._call(self._service.get_job_status(job_id))

    def get_jobs(
        self, *, limit: int = 100, cursor: str | None = None, **which: Unpack[JobFilter]
    ) -> JobPage:
        """Jobs, newest first; without a filter all. See `backroom.JobService.get_jobs`."""
        return self._call(self._service.get_jobs(limit=limit, cursor=cursor, **which))

    def search_jobs(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        within: float | timedelta = 0.03,
        **which: Unpack[JobFilter],
    ) -> JobPage:
        """As `get_jobs`, but no longer than about `within` seconds."""
        return self._call(
            self._service.search_jobs(limit=limit, cursor=cursor, within=within, **which)
        )

    def count_jobs(self, *, within: float | timedelta = 0.05, **which: Unpack[JobFilter]) -> Count:
        """How many jobs match, exactly if that can be told within about so many seconds."""
        return self._call(self._service.count_jobs(within=within, **which))

    def get_stats(self) -> JobStats:
        """Counts by status, queues, workers, and types that nobody here knows."""
        return self._call(self._service.get_stats())

    def get_failures(self, limit: int = 100) -> list[FailureGroup]:
        """Like `JobService.get_failures`."""
        return self._call(self._service.get_failures(limit))

    @contextlib.contextmanager
    def _around(self, around: AbstractAsyncContextManager[Recorded]) -> Iterator[Recorded]:
        action = self._call(_entered(around))
        try:
            yield action
        except BaseException as error:
            if not self._call(_left(around, error)):
                raise
        else:
            self._call(_left(around, None))

    def recorded(
        self,
        actor: str,
        verb: str,
        target: str,
        *,
        role: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> AbstractContextManager[Recorded]:
        """Around what somebody does. See `backroom.JobService.recorded`."""
        return self._around(self._service.recorded(actor, verb, target, role=role, detail=detail))

    def get_actions(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        actor: str | None = None,
        verb: str | None = None,
    ) -> ActionPage:
        """What people did, newest first. See `backroom.JobService.get_actions`."""
        return self._call(
            self._service.get_actions(limit=limit, cursor=cursor, actor=actor, verb=verb)
        )

    def get_limits(self) -> list[LimitInfo]:
        """Like `JobService.get_limits`."""
        return self._call(self._service.get_limits())

    def webhook(
        self,
        name: str,
        url: str,
        secret: str,
        *,
        events: Sequence[str] = ("job.failed",),
        types: Sequence[str | JobType[Any, Any]] | None = None,
        allow_http: bool = False,
        allow_private: bool = False,
    ) -> None:
        """Like `JobService.webhook`."""
        self._service.webhook(
            name, url, secret, events=events, types=types, allow_http=allow_http,
            allow_private=allow_private,
        )  # fmt: skip

    def limit(self, queue: str, limit: Concurrency) -> None:
        """Like `JobService.limit`."""
        self._service.limit(queue, limit)

    # -- steer -----------------------------------------------------------------------------------

    def cancel_job(self, job_id: str | UUID) -> JobStatus:
        """Cancels a job that waits at once, and asks for it where it runs; its status then."""
        return self._call(self._service.cancel_job(job_id))

    def retry_job(self, job_id: str | UUID, *, from_step: int | None = None) -> None:
        """An ended job runs again with a fresh budget of attempts; one that waits runs now."""
        return self._call(self._service.retry_job(job_id, from_step=from_step))

    def signal(self, job_id: str | UUID, name: str, value: Any = None) -> None:
        """Sends a job a value that its handler takes with `job.wait_for(name)`."""
        return self._call(self._service.signal(job_id, name, value))

    def delete_job(self, job_id: str | UUID) -> None:
        """Forgets a job and all that was kept with it."""
        return self._call(self._service.delete_job(job_id))

    def retry_jobs(
        self,
        *,
        ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int:
        """`retry_job` for all ended jobs that match (default: the failed ones); how many.
        `progress` is called on the thread of the service."""
        return self._call(self._service.retry_jobs(ids=ids, progress=progress, **which))

    def cancel_jobs(
        self,
        *,
        ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int:
        """`cancel_job` for all jobs that match and have not ended; how many. Needs a filter.
        `progress` is called on the thread of the service."""
        return self._call(self._service.cancel_jobs(ids=ids, progress=progress, **which))

    def delete_jobs(
        self,
        *,
        ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int:
        """`delete_job` for all ended jobs that match; how many. Needs a filter.
        `progress` is called on the thread of the service."""
        return self._call(self._service.delete_jobs(ids=ids, progress=progress, **which))

    def reschedule_job(
        self,
        job_id: str | UUID,
        *,
        run_at: datetime | None = None,
        delay: float | timedelta | None = None,
    ) -> None:
        """A job that waits gets another moment."""
        self._call(self._service.reschedule_job(job_id, run_at=run_at, delay=delay))

    def reschedule_jobs(
        self,
        *,
        run_at: datetime | None = None,
        delay: float | timedelta | None = None,
        ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int:
        """`reschedule_job` for all jobs that match and wait; how many. Needs a filter."""
        return self._call(
            self._service.reschedule_jobs(
                run_at=run_at, delay=delay, ids=ids, progress=progress, **which
            )
        )

    def reprioritize_job(self, job_id: str | UUID, priority: str) -> None:
        """A job that waits does so in another priority."""
        self._call(self._service.reprioritize_job(job_id, priority))

    def reprioritize_jobs(
        self,
        priority: str,
        /,
        *,
        ids: Sequence[str | UUID] | None = None,
        progress: Progress | None = None,
        **which: Unpack[JobFilter],
    ) -> int:
        """`reprioritize_job` for all jobs that match and wait; how many. Needs a filter."""
        return self._call(
            self._service.reprioritize_jobs(priority, ids=ids, progress=progress, **which)
        )

    def limit_queue(self, queue: str, most: int | None) -> None:
        """At most so many jobs of this queue run at once, whatever code says; None: as it says."""
        self._call(self._service.limit_queue(queue, most))

    def pause_queue(self, queue: str) -> None:
        """No job of this queue is started, by any worker, until it is resumed."""
        return self._call(self._service.pause_queue(queue))

    def resume_queue(self, queue: str) -> None:
        """Ends `pause_queue`."""
        return self._call(self._service.resume_queue(queue))

    # -- life ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Opens the storage; also after `stop`. Safe to call twice."""
        return self._enter(self._service.open())

    def start(self) -> None:
        """Begins processing, in the background. Safe to call twice."""
        return self._enter(self._service.start())

    def stop(self, grace: float | timedelta = 30) -> bool:
        """Lets running jobs end within `grace` seconds, closes the storage, and ends the thread
        of the loop. Safe to call twice, or unstarted. Returns whether all handlers have ended;
        the loop stays for those that have not.

        Not for a `def` handler of this service: it would wait for itself until the grace ends.
        """
        return self._leave(grace)

    def _enter(self, coroutine: Coroutine[Any, Any, None]) -> None:
        with self._reopening:
            self._call(coroutine)

    def _leave(self, grace: float | timedelta) -> bool:
        if self._service.inherited:
            return True  # In a forked child all of it is the parent's, which goes on with it.
        ended = self._call(self._service.stop(grace))
        with self._reopening:
            # Other threads may have opened it again.
            if ended and self._service.loop is None:
                self._portal.close()
                _in_use.discard(self)
        return ended

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- about it --------------------------------------------------------------------------------

    def configure(
        self, *, concurrency: int | None = None, only: Sequence[str] | None = None
    ) -> None:
        """Changes settings of a service that is not started, as a command line does."""
        self._service.configure(concurrency=concurrency, only=only)


# -- the end of the interpreter, and forks -------------------------------------------------------

_made: Final[weakref.WeakSet[JobService]] = weakref.WeakSet()
_in_use: Final[set[JobService]] = set()
"""Those that have called their own loop, and were not stopped since."""


async def _entered(around: AbstractAsyncContextManager[T]) -> T:
    return await around.__aenter__()


async def _left(around: AbstractAsyncContextManager[Any], error: BaseException | None) -> bool:
    """Whether the error goes no further."""
    kind = None if error is None else type(error)
    trace = None if error is None else error.__traceback__
    try:
        return bool(await around.__aexit__(kind, error, trace))
    except BaseException as raised:
        if raised is error:  # It is raised where it came from.
            return False
        raise


def _at_exit() -> None:
    """Stops what was not stopped, all at once."""
    leaving = [
        threading.Thread(target=service.stop, args=(EXIT_GRACE,), daemon=True)
        for service in list(_in_use)
    ]
    for thread in leaving:
        thread.start()
    until = time.monotonic() + EXIT_WAIT
    for thread in leaving:
        thread.join(max(0.0, until - time.monotonic()))


# Functions of `atexit` come too late: then no thread can be started any more, and asyncio has
# lost its executors, both of which a stop needs. What is registered here last runs first.
_register: Callable[[Callable[[], None]], object] = getattr(
    threading, "_register_atexit", atexit.register
)
_register(_at_exit)


def _after_fork() -> None:
    _in_use.clear()
    for service in list(_made):
        service._reopening = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
