"""What runs jobs: what a function must be for it, and where it can be found again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from backroom.errors import ConfigurationError
from backroom.handle import Job
from backroom.job import Cancel, Snooze

__all__ = [
    "HandlerWrapper",
    "JobHandler",
    "check_handler",
    "check_importable",
    "importable_name",
    "is_async",
]

T = TypeVar("T")
R = TypeVar("R")

AsyncHandler: TypeAlias = Callable[[Job[T]], Awaitable[R | Snooze | Cancel]]
PlainHandler: TypeAlias = Callable[[Job[T]], R | Snooze | Cancel]
JobHandler: TypeAlias = AsyncHandler[T, R] | PlainHandler[T, R]
"""What runs a job: `async def` on the loop, `def` in a thread."""

HandlerWrapper: TypeAlias = Callable[[Callable[[Job[Any]], Any]], Callable[[Job[Any]], Any]]
"""Makes of a handler one that does something around it."""


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether calling it makes a coroutine, judged by itself: what it wraps does not run here."""
    return any(inspect.iscoroutinefunction(look) for look in _looks(handler))


def _looks(handler: Any) -> tuple[Any, Any]:
    """The function that a call runs: the handler itself, or what its class makes of a call."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler, getattr(type(handler), "__call__", None)  # noqa: B004 - not whether, but which


def check_handler(name: str, handler: object) -> bool:
    """Whether a handler is `async def`.

    Raises:
        ConfigurationError: it cannot be called, or would never run.
    """
    if not callable(handler):
        raise ConfigurationError(f"the handler of {name} cannot be called: {handler!r}")
    looks = _looks(handler)
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in looks):
        raise ConfigurationError(
            f"the handler of {name} is a generator, which would never run: {handler!r};"
            " it must not yield; job.progress and job.log tell how far it is"
        )
    return is_async(handler)


def importable_name(handler: Callable[..., Any]) -> tuple[str, str]:
    """Module and qualified name of a handler; of an object, those of its class."""
    named = handler if hasattr(handler, "__qualname__") else type(handler)
    return str(getattr(named, "__module__", "?")), str(getattr(named, "__qualname__", "?"))


def check_importable(name: str, handler: Callable[..., Any]) -> None:
    """Raises: ConfigurationError: no child process could find this handler."""
    _, qualname = importable_name(handler)
    if inspect.isfunction(handler) and "<" not in qualname:
        return
    what = "a lambda" if "<lambda>" in qualname else "defined inside a function"
    if not inspect.isfunction(handler):
        what = f"a {type(handler).__name__}"
    raise ConfigurationError(
        f"{name}: a child process cannot import its handler {qualname}, which is {what};"
        ' for isolation="process" define it with def at the top of a module'
    )
