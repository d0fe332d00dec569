"""Saying which job types there are and who runs them: in a service, or apart from one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from backroom.bulk import BulkHandler, check_single_handler
from backroom.errors import ConfigurationError, ServiceError
from backroom.handlers import JobHandler
from backroom.options import Bulk, take_bulk
from backroom.protocols import BulkDecorator, HandlerDecorator
from backroom.registry import Defaults, JobType, Registry, check_type
from backroom.scheduling import check_options as check_job_options
from backroom.tasks import Scheduler, Task, make_task
from backroom.timetable import HandlerSchedules, Schedule, split_schedules

__all__ = ["Declaring", "JobRegistry", "TaskDecorator"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
H = TypeVar("H", bound=Callable[..., Any])


class TaskDecorator(Protocol):
    """What `service.task(...)` returns: takes a function, and returns it as a task."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Task[P, R, Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R, R]: ...


class Declaring:
    """Handlers and tasks, declared by decorators or without."""

    def _declare(self, declaration: Callable[[Registry], object]) -> None:
        raise NotImplementedError

    def _scheduler(self) -> Scheduler:
        raise NotImplementedError

    def declare(self, name: str | JobType[Any, Any], data: Any = None, result: Any = None) -> None:
        """Makes a job type known to a process that only schedules it.

        Raises:
            ConfigurationError: it is known with other types.
        """
        self._declare(lambda registry: registry.declare(name, data, result))

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
        """Registers the decorated function as the handler of a job type.

        `async def` runs on the loop, `def` in a thread, either in a child process with
        `isolation="process"`. A handler under a bare name takes any JSON object.

        With `cron=Cron(...)`, `every=` or `schedules=[Schedule(...)]` it also runs by itself: what
        is said here is kept by the storage when a service with this handler starts.

        With `batch=100` it is a bulk handler: it is called with a list of up to so many jobs
        (`BulkJob`), which takes one slot, as soon as they are there or the first has waited
        `within` seconds (0.2), and says of each what becomes of it. See `docs/bulk.md`.

        Raises:
            ConfigurationError: the type has a handler, an option is out of its range, the
                parentheses are missing, no child process could import the function, or it does
                not take what it is called with.
        """
        rest, _, _ = _split(type, options)
        Registry(Defaults()).check(type, rest)

        def register(handler: H) -> H:
            self.register_handler(type, handler, **options)
            return handler

        return register

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
        rest, schedules, bulk = _split(type, options)
        if bulk is None:
            check_single_handler(check_type(type), handler)
        self._declare(lambda registry: registry.handle(type, handler, rest, schedules, bulk))

    @overload
    def task(self, function: Callable[P, Awaitable[R]], /) -> Task[P, R, Awaitable[R]]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R, R]: ...
    @overload
    def task(
        self, /, *, name: str | None = None, **options: Unpack[HandlerSchedules]
    ) -> TaskDecorator: ...
    def task(self, function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
        """Makes a job type of a function: its arguments are the data.

        `@service.task` or `@service.task(retries=3)` above a `def` or an `async def`; then
        `await add.schedule(1, b=2)`. The job type is named after module and function, or
        `name`. Arguments and result are checked against the annotations.

        Raises:
            ConfigurationError: as `handler`; or an annotation that JSON cannot hold.
        """

        rest, schedules, bulk = _split("a task", options)
        if bulk is not None:
            raise ConfigurationError(
                "a task is one call with its arguments, and batch= makes a handler of many jobs:"
                " write @service.handler(JOB_TYPE, batch=...)"
            )

        def make(function: Any) -> Task[Any, Any, Any]:
            task, handler = make_task(function, name, rest, self._scheduler)  # type: ignore[arg-type]
            self._declare(lambda registry: registry.handle(task.type, handler, {}, schedules))
            return task

        return make if function is None else make(function)


def _split(
    type_: object, options: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[Schedule, ...], Bulk | None]:
    """The options of a handler; its schedules, whose jobs' options make sense; and how many jobs
    it runs at once."""
    rest, schedules = split_schedules(options)
    for schedule in schedules:
        check_job_options(schedule.options)
    bulk = take_bulk(check_type(type_), rest)
    return rest, schedules, bulk


class JobRegistry(Declaring):
    """Types, handlers and tasks that are declared apart from a service, so that a module of
    them need not import the application: `service.include(registry)` brings them together.
    """

    def __init__(self) -> None:
        self._own = Registry(Defaults())
        self._declarations: list[Callable[[Registry], object]] = []
        self._included: list[Registry] = []
        self._service: Scheduler | None = None

    def _declare(self, declaration: Callable[[Registry], object]) -> None:
        declaration(self._own)  # What it refuses, every service would.
        for registry in self._included:
            declaration(registry)
        self._declarations.append(declaration)

    def _scheduler(self) -> Scheduler:
        if self._service is None:
            raise ServiceError(
                "this task belongs to a JobRegistry that no service has included yet: call"
                " service.include(registry) first"
            )
        return self._service

    def include_in(self, registry: Registry, service: Scheduler) -> None:
        """Declares everything there, once; what is declared here later, too."""
        if registry not in self._included:
            registry.check_new(self._own)
            for declaration in self._declarations:
                declaration(registry)
            self._included.append(registry)
        self._service = service
