"""JobService: schedule jobs, register handlers, look up, start and stop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, TypeVar

import msgspec

from backroom.accepting import Accepting
from backroom.audit import Audit
from backroom.composing import Composing
from backroom.counting import Counts
from backroom.declaring import Declaring, JobRegistry
from backroom.errors import (
    ConfigurationError,
    OptionError,
    ServiceError,
    ServiceStoppedError,
    StorageError,
)
from backroom.event import (
    WorkerStarted,
    WorkerStopped,
)
from backroom.events import Events
from backroom.handlers import HandlerWrapper
from backroom.identity import JobIds
from backroom.job import duration, to_datetime
from backroom.limit import Concurrency
from backroom.listening import Listening
from backroom.observing import Observing
from backroom.options import Isolation, check_isolation, check_name, check_retries
from backroom.ports import Store
from backroom.recurring import Recurring
from backroom.registry import Defaults, JobType, Registry, check_type
from backroom.reporter import Teller
from backroom.results import Results
from backroom.scheduling import RecordMaker
from backroom.settings import (
    LEAST_MEMORY,
    Settings,
    check_limit,
    check_payload,
    check_queues,
    check_seconds,
    check_slots,
)
from backroom.standing import Standing
from backroom.steering import Steering
from backroom.storage.urls import open_storage
from backroom.tracing import Tracing
from backroom.webhooks import DELIVERY, QUEUE, RETRIES, RETRY_DELAY, TIMEOUT, Webhooks
from backroom.worker import Worker

__all__ = ["JobService"]

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger("backroom")

MAX_PAYLOAD: Final = 1 << 20
LAST: Final = 5.0
"""Seconds in which a storage may take the last figures, where no worker told them."""


class JobService(
    Declaring, Steering, Accepting, Recurring, Composing, Listening, Observing, Standing, Audit
):
    """Schedules typed jobs and, once started, runs them.

    The storage opens by itself at first use, so a process that only schedules never calls
    `start`. `start` begins processing; `stop` lets running jobs end, gives the others back and
    closes. Belongs to one event loop.

    Args:
        storage: a storage, or its URL: "memory:", "file:./storage/jobs".
        concurrency: how many jobs run at once (1 to 10,000).
        queues: queues that have slots of their own, with how many; all others share
            `concurrency`.
        only: the queues that this service works on; None for all.
        poll_interval: seconds between two looks where no wake-up came.
        default_retry_limit, default_retry_delay, default_timeout: what holds for a job where
            neither the call nor its type says `retries`, `retry_delay`, `timeout`.
        isolation: where handlers run that do not say so themselves: "none", on the loop or in a
            thread; "process", in a child process.
        max_memory: bytes that a child process may allocate, at least 64 MiB; then its handler
            gets a `MemoryError`.
        max_jobs_per_process: jobs after which a child process is replaced.
        max_payload: bytes of data, and of a result, as JSON.
        lease: seconds without a sign of life after which a worker counts as dead, where
            nothing tells it sooner.
        starvation_after: seconds after which a due job takes its turn whatever its priority.

    Raises:
        ConfigurationError: a setting that makes no sense.
    """

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
    ) -> None:
        self._settings = Settings(
            concurrency=check_slots("concurrency", concurrency),
            queues={
                check_name("queue", name): check_slots(f"the concurrency of queue {name!r}", count)
                for name, count in (queues or {}).items()
            },
            only=None if only is None else check_queues(only),
            poll_interval=check_seconds("poll_interval", poll_interval, 0.01, 3600),
            lease=check_seconds("lease", lease, 1, 3600),
            starvation_after=check_seconds("starvation_after", starvation_after, 0, 86_400 * 366),
            max_payload=check_payload(max_payload),
            max_memory=check_limit("max_memory", max_memory, LEAST_MEMORY),
            max_jobs_per_process=check_limit("max_jobs_per_process", max_jobs_per_process, 1),
        )
        try:
            retries = check_retries(default_retry_limit)
        except OptionError as error:
            raise ConfigurationError(f"default_retry_limit: {error}") from None
        try:
            check_isolation(isolation)
        except OptionError as error:
            raise ConfigurationError(str(error)) from None
        self._registry = Registry(
            Defaults(
                retries,
                check_seconds("default_retry_delay", default_retry_delay, 0, 86_400 * 366),
                check_seconds("default_timeout", default_timeout, 0.001, 86_400 * 366),
                isolation,
            )
        )
        self._records = RecordMaker(self._registry, max_payload, JobIds())
        self._events = Events()
        self._tracing: Tracing | None = None
        self._webhooks: Webhooks | None = None
        self._use(open_storage(storage))

    def _use(self, storage: Store) -> None:
        """Begins anew on this storage: nothing is open, nothing started. Also how
        `backroom.testing` puts another storage in its place."""
        self.storage = storage
        self._clock = storage.clock
        self._settings = msgspec.structs.replace(
            self._settings, threaded=not getattr(self._clock, "virtual", False)
        )
        self._results = Results(storage, storage, self._clock, self._settings.poll_interval)
        self._counts = Counts()
        self._teller = Teller(storage, self._clock, self._counts)
        self._worker: Worker | None = None
        self._opened = False
        self._process = 0
        """The one that opened it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that `_changing` belongs to."""
        self._stopped = False
        self._leaving: Worker | None = None
        self._left: list[Worker] = []
        """Stopped workers whose code still runs."""
        self._holds_storage = False
        self._stopping: asyncio.Task[bool] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    # -- types and handlers ----------------------------------------------------------------------

    def _declare(self, declaration: Callable[[Registry], object]) -> None:
        declaration(self._registry)

    def _scheduler(self) -> JobService:
        return self

    def limit(self, queue: str, limit: Concurrency) -> None:
        """How many slots the jobs of a queue have together, across all workers: those that are
        scheduled by services that say so. `slots=` at a job type is how many of them it takes.

        Raises:
            ConfigurationError: it is no `Concurrency`, or has a key; or another one was said.
        """
        self._registry.limited.limit_queue(queue, limit)

    def include(self, registry: JobRegistry) -> None:
        """Takes over the types, handlers and tasks of a registry, those it gets later too. Its
        tasks schedule with the service that has included it last.

        Raises:
            ConfigurationError: a type has a handler already, or other types; nothing is taken
                over then.
        """
        registry.include_in(self._registry, self)

    def wrap_handlers(self, wrapper: HandlerWrapper) -> None:
        """Every handler, those there are and those to come, is called through what `wrapper`
        makes of it: a function of its kind (`def` or `async def`) that takes a job. The last
        wrapper is the outermost.

        It must keep the name and module of the handler, as `functools.wraps` does.
        """
        self._registry.wrap(wrapper)

    def trace_with(self, tracing: Tracing) -> None:
        """From now on, the jobs that are scheduled here carry their trace: see
        `backroom.contrib.opentelemetry`, which calls this."""
        self._tracing = tracing
        self._records.carried = tracing.carried

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
        """Tells a server how the jobs end that the worker of this service runs: see
        `docs/webhooks.md`. Before `start`.

        Each event that stands becomes a job of the type "backroom.webhook" in the queue
        "webhooks", in the same change; it posts JSON with a signature by `secret`
        (`backroom.signing.new_secret()`), and is retried for half a day. Its log is that of the
        deliveries. The secret is kept nowhere.

        Args:
            name: by which its deliveries find their secret: keep it as it is.
            events: of "job.completed", "job.failed", "job.cancelled".
            types: of these job types only.
            allow_http: without TLS, too.
            allow_private: also to this machine and to private networks.

        Raises:
            ConfigurationError: the service is started, there is one of that name, or something
                of it makes no sense.
        """
        if self._worker is not None:
            raise ConfigurationError("declare webhooks before the service is started")
        webhooks = self._webhooks or Webhooks(lambda: self._clock.now())
        if types is not None and not isinstance(types, str):
            types = [check_type(one) for one in types]
        webhooks.add(
            name, url, secret, events, types, allow_http=allow_http, allow_private=allow_private
        )
        if self._webhooks is None:
            self._webhooks = webhooks
            self.register_handler(
                DELIVERY, webhooks.deliver, queue=QUEUE, retries=RETRIES, retry_delay=RETRY_DELAY,
                timeout=4 * TIMEOUT,
            )  # fmt: skip

    # -- life ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Opens the storage; also after `stop`. Safe to call twice."""
        async with self._turn():
            await self._open()

    def _turn(self) -> asyncio.Lock:
        """One change of its life at a time, on the loop that it now belongs to."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # A lock that was ever waited for belongs to its loop.
            self._loop, self._changing = loop, asyncio.Lock()
        return self._changing

    async def _open(self) -> None:
        if not self._opened:
            if not self._holds_storage:
                await self.storage.open()
                self._holds_storage = True
            self._opened = True
            self._stopped = False
            self._process = os.getpid()
            self._events.attach(asyncio.get_running_loop())
            await self._put_limits()

    async def _put_limits(self) -> None:
        """The numbers that are said here hold from now on."""
        limits = self._registry.limited.records
        if not limits:
            return
        try:
            await self.storage.put_limits(limits)
        except StorageError as error:  # It may be away, and its jobs be spooled meanwhile.
            log.warning("the numbers of limits could not be kept, those before hold: %r", error)

    async def _ready(self) -> None:
        """Opens the storage with the first verb, but never what was stopped."""
        if self._opened:
            return
        async with self._turn():  # A stop may have been under way, or begin while we wait.
            if self._stopped:
                raise ServiceStoppedError(
                    "this service was stopped: call open() to schedule and look up, or start() to"
                    " process jobs, before you use it again"
                )
            await self._open()

    async def start(self) -> None:
        """Begins processing. Safe to call twice.

        The schedules that stand beside handlers are kept by the storage first.

        Raises:
            StorageError: the storage cannot be opened, or did not answer.
            ConfigurationError: there are schedules, and the storage keeps none.
        """
        async with self._turn():
            await self._open()
            if self._worker is None:
                await self._put_declared()
                await self._put_limits()
                worker = Worker(
                    self.storage,
                    self._registry,
                    self._clock,
                    self._settings,
                    recorded=self._results.recorded,
                    events=self._events,
                    counts=self._counts,
                    teller=self._teller,
                    follow=None if self._webhooks is None else self._webhooks.follow,
                )
                await worker.start()
                await self._teller.settle()
                self._worker = worker
                self._events.tell([WorkerStarted(at=to_datetime(self._clock.now()))])

    async def stop(self, grace: float | timedelta = 30) -> bool:
        """Stops claiming, gives back what has not begun, lets running jobs end within `grace`
        seconds (then releases them, which costs them no attempt), and closes the storage: all
        within ten seconds more, also where a server does not answer.

        Safe to call twice, or unstarted: a second call joins the first, and may shorten its
        grace. A caller that is cancelled stops waiting; the stop goes on.

        Returns whether all handlers have ended: one that runs on in a thread keeps its lease
        until it ends, or the process does, and its job then runs again elsewhere, uncharged.

        Raises:
            ServiceError: called by a handler of this service, which it would wait for.
        """
        seconds = duration("grace", grace)
        if self.inherited:
            # In a forked child all of this is the parent's, which goes on with it.
            self._opened, self._stopped, self._holds_storage = False, True, False
            self._worker, self._left = None, []
            return True
        if self._worker is not None and self._worker.runs(asyncio.current_task()):
            raise ServiceError(
                "stop() was called by a handler of this service, for which it would wait: signal"
                " the process, or let other code of the program stop the service"
            )
        if self._stopping is None or self._stopping.done():
            self._stopping = asyncio.create_task(self._stop(seconds), name="backroom-stop")
        else:
            worker = self._leaving or self._worker
            if worker is not None:
                worker.hurry(seconds)
        return await asyncio.shield(self._stopping)

    async def _stop(self, seconds: float) -> bool:
        async with self._turn():
            worker, self._worker, self._leaving = self._worker, None, self._worker
            try:
                if worker is not None:
                    self._left.append(worker)
                    await worker.stop(seconds, self._worker_has_gone)
            finally:
                self._leaving = None
                if worker is not None:
                    self._events.tell([WorkerStopped(at=to_datetime(self._clock.now()))])
                self._stopped = True
                if self._opened:
                    self._opened = False
                    self._results.close()
                await self._events.close()
            await self._close_storage()
            self._left = [worker for worker in self._left if worker.running]
            return not self._left

    def _worker_has_gone(self) -> None:
        """The last thread of a worker that was stopped has ended."""
        self._closing = asyncio.create_task(self._close_behind_it())

    async def _close_behind_it(self) -> None:
        async with self._turn():
            await self._close_storage()

    async def _close_storage(self) -> None:
        """Unless it is in use, by this service or by code that still holds its lease there."""
        in_use = self._opened or any(worker.enlisted for worker in self._left)
        if self._holds_storage and not in_use:
            self._holds_storage = False
            await self._teller.tell_last(None, LAST)
            await self.storage.close()

    def configure(
        self, *, concurrency: int | None = None, only: Sequence[str] | None = None
    ) -> None:
        """Changes settings of a service that is not started, as a command line does.

        Raises:
            ConfigurationError: it is started, or the setting makes no sense.
        """
        if self._worker is not None:
            raise ConfigurationError("a started service cannot be configured; stop it first")
        settings = self._settings
        self._settings = msgspec.structs.replace(
            settings,
            concurrency=settings.concurrency
            if concurrency is None
            else check_slots("concurrency", concurrency),
            only=settings.only if only is None else check_queues(only),
        )

    async def __aenter__(self) -> JobService:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """For ASGI: `Starlette(lifespan=service.lifespan)`."""
        async with self:
            yield
