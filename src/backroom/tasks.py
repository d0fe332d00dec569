"""Function style: any function as a job type, its arguments as the data.

A few lines over job types: the arguments of a call are bound to the function's signature and
travel as a JSON object with a field a parameter; parameters that a call leaves out keep the
default that the function has where it runs.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, Unpack, get_type_hints

import msgspec

from backroom.errors import ConfigurationError, JobTypeError, ServiceError
from backroom.handle import Job
from backroom.job import JobId, JobOptions
from backroom.options import HandlerOptions
from backroom.registry import JobType
from backroom.scheduling import JobRequest

__all__ = ["Task", "current_job", "make_task", "task_name"]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", covariant=True)

_current: ContextVar[Job[Any]] = ContextVar("backroom-job")


class Scheduler(Protocol):
    """What a task schedules with."""

    async def schedule(
        self, type: JobType[Any, R], data: Any, /, *, connection: object = None,
        **options: Unpack[JobOptions],
    ) -> JobId[R]: ...  # fmt: skip


def current_job() -> Job[Any]:
    """The job that runs this function, for its `log`, `progress` and `cancelled`.

    Raises:
        ServiceError: no task runs here.
    """
    try:
        return _current.get()
    except LookupError:
        raise ServiceError(
            "current_job() is for code that a task's job runs; here, none does"
        ) from None


class Task(Generic[P, R, C]):
    """A function that can be called, and scheduled. Made by `service.task`.

    Calling it runs the function here and now (awaited only if it is async); `schedule` has it
    run later, by a worker, with the same arguments.
    """

    def __init__(
        self,
        function: Callable[P, C],
        kind: JobType[Any, R],
        scheduler: Callable[[], Scheduler],
        options: JobOptions | None = None,
        connection: object = None,
    ) -> None:
        """`scheduler` gives the service to schedule with, or says why there is none."""
        self.function = function
        self.type = kind
        self._scheduler = scheduler
        self._options: JobOptions = options or {}
        self.connection = connection
        """Of the application's, whose transaction its next jobs are part of."""
        self._signature = inspect.signature(function)
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        return self.function(*args, **kwargs)

    async def schedule(self, *args: P.args, **kwargs: P.kwargs) -> JobId[R]:
        """Has the function run later, with these arguments.

        Raises:
            JobTypeError: the arguments do not fit the function; and as `JobService.schedule`.
        """
        data = self._bound(args, kwargs)
        return await self._scheduler().schedule(
            self.type, data, connection=self.connection, **self._options
        )

    def request(self, *args: P.args, **kwargs: P.kwargs) -> JobRequest[R]:
        """The same for `schedule_many`, which takes the `connection`."""
        return JobRequest(self.type, self._bound(args, kwargs), **self._options)

    def options(self, *, connection: object = None, **options: Unpack[JobOptions]) -> Task[P, R, C]:
        """The same task with options for its next jobs: `add.options(delay=60).schedule(1)`. With
        a `connection` they are part of its transaction, as with `JobService.schedule`."""
        merged: JobOptions = {**self._options, **options}
        given = self.connection if connection is None else connection
        return Task(self.function, self.type, self._scheduler, merged, given)

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise JobTypeError(f"{self.type.name}: {error}") from None
        return self.type.data(**bound.arguments)

    def __repr__(self) -> str:
        return f"<Task {self.type.name}>"


def make_task(
    function: Callable[..., Any],
    name: str | None,
    options: HandlerOptions,
    scheduler: Callable[[], Scheduler],
) -> tuple[Task[Any, Any, Any], Callable[[Job[Any]], Any]]:
    """A task, and the handler of its job type.

    Raises:
        ConfigurationError: its parameters or its result have types that JSON cannot hold.
    """
    if not inspect.isfunction(function):
        raise ConfigurationError(
            f"a task is made of a function, got {function!r}; write @service.task() above a def"
        )
    name = name or task_name(function)
    hints = _hints(function, name)
    result = hints.get("return")
    declared: Any = None if result in (None, type(None), Any) else result
    arguments = _arguments(function, name, hints)
    kind: JobType[Any, Any] = JobType(name, arguments, result=declared, **options)
    return Task(function, kind, scheduler), _handler(function)


def task_name(function: Callable[..., Any]) -> str:
    """Module and name: the same wherever the function is imported from, also from the program
    that is started as a file."""
    module = function.__module__
    if module in ("__main__", "__mp_main__"):
        main = sys.modules.get(module)
        spec = getattr(main, "__spec__", None)
        file = getattr(main, "__file__", None)
        if module == "__main__" and spec is not None:
            module = spec.name
        elif file is not None:
            module = Path(file).stem
    return f"{module}.{function.__qualname__}"


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"{name}: an annotation cannot be read ({error}); import what it names at run time,"
            " not only for type checkers"
        ) from None


def _arguments(function: Callable[..., Any], name: str, hints: Mapping[str, Any]) -> type[Any]:
    """A Struct with a field a parameter. A parameter that has a default may be left out."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        kind: Any = hints.get(parameter.name, Any)
        if parameter.kind is parameter.VAR_POSITIONAL:
            fields.append((parameter.name, tuple[kind, ...], ()))
        elif parameter.kind is parameter.VAR_KEYWORD:
            fields.append((parameter.name, dict[str, kind] | msgspec.UnsetType, msgspec.UNSET))
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, kind))
        else:
            fields.append((parameter.name, kind | msgspec.UnsetType, msgspec.UNSET))
    try:
        return msgspec.defstruct(
            function.__name__, fields, module=function.__module__, kw_only=True
        )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name}: its parameters cannot be job data: {error}") from None


def _handler(function: Callable[..., Any]) -> Callable[[Job[Any]], Any]:
    """Runs the function with the arguments of a job."""
    parameters = list(inspect.signature(function).parameters.values())

    def call(job: Job[Any]) -> Any:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        by_name = False
        for parameter in parameters:
            value = getattr(job.data, parameter.name)
            if parameter.kind is parameter.VAR_KEYWORD:
                kwargs |= {} if value is msgspec.UNSET else value
            elif parameter.kind is parameter.VAR_POSITIONAL:
                args += value
                by_name = True
            elif value is msgspec.UNSET:
                by_name = True  # What follows cannot be given by its place any more.
            elif parameter.kind is parameter.KEYWORD_ONLY or (
                by_name and parameter.kind is not parameter.POSITIONAL_ONLY
            ):
                kwargs[parameter.name] = value
            else:
                args.append(value)
        return function(*args, **kwargs)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run(job: Job[Any]) -> Any:
            _current.set(job)  # In a context of this job's own.
            return await call(job)

        return run

    @functools.wraps(function)
    def run_plain(job: Job[Any]) -> Any:
        _current.set(job)
        return call(job)

    return run_plain
