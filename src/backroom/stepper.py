"""What one worker has for the steps of its jobs: where they are kept, how functions are called
and how their results travel."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from backroom.codec import Codec
from backroom.errors import (
    ConfigurationError,
    LeaseLostError,
    OptionError,
    StorageError,
    level_of,
)
from backroom.flowing import Flowing
from backroom.stepping import Stepping

__all__ = ["Stepper", "codec_of"]

T = TypeVar("T")

log = logging.getLogger("backroom")

MAX_PAUSE: Final = 2.0


class Stepper:
    """The steps of all jobs that one worker runs."""

    aside: None = None
    uncalled: tuple[()] = ()
    """As of a run that has called no step."""

    def __init__(
        self,
        storage: Stepping,
        *,
        leased: Callable[[], bool],
        now: Callable[[], int],
        in_thread: Callable[[Callable[[], None]], None],
        max_payload: int,
        flows: Flowing | None = None,
    ) -> None:
        """`in_thread` runs a function in a thread of its own. `flows`: where jobs are found that
        others have waited for, if the storage keeps such."""
        self.flows = flows
        self.storage = storage
        self.leased = leased
        self.now = now
        self.in_thread = in_thread
        self.max_payload = max_payload
        self.loop = asyncio.get_running_loop()
        self.in_threads = 0
        """Functions of steps that run in threads now, less the threads of handlers that wait."""

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the storage answers; while it is away and the lease stands, it is asked again: what
        a step has done is not done once more for that.

        Raises:
            LeaseLostError: the lease has ended.
        """
        pause = 0.05
        while self.leased():
            try:
                return await ask()
            except StorageError as error:
                log.log(
                    level_of(error, logging.WARNING),
                    "a step is not kept yet, in %.2f s again: %r", pause, error,
                )  # fmt: skip
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_PAUSE)
        raise LeaseLostError("this worker's lease has ended: what its jobs do now is not kept")

    async def call(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Calls a function of a step: on the loop if it is `async def`, else in a thread."""
        call = functools.partial(function, *args, **kwargs)
        if inspect.iscoroutinefunction(_plain(function)):
            return await call()
        answer: asyncio.Future[Any] = self.loop.create_future()
        context = contextvars.copy_context()

        def settle(value: Any, error: BaseException | None) -> None:
            self.in_threads -= 1
            if answer.done():  # Nobody waits for it any more.
                return
            if error is None:
                answer.set_result(value)
            elif isinstance(error, StopIteration):  # No future takes it.
                answer.set_exception(RuntimeError(f"the step raised {error!r}"))
            else:
                answer.set_exception(error)

        def run() -> None:
            value, error = None, None
            try:
                value = context.run(call)
            except BaseException as raised:
                error = raised
            try:
                self.loop.call_soon_threadsafe(settle, value, error)
            except RuntimeError:
                log.debug("a step ended after its worker's loop")

        self.in_threads += 1
        self.in_thread(run)
        value = await answer
        return await value if inspect.isawaitable(value) else value


def codec_of(function: Callable[..., Any]) -> Codec[Any] | None:
    """How the results of a function travel, by the annotation of what it returns; None: it has
    none, and they are plain JSON values.

    Raises:
        OptionError: it is no function. ConfigurationError: the annotation cannot be read.
    """
    if not callable(function):
        raise OptionError(
            f"a step takes a function and its arguments, got {function!r}; write"
            ' job.step("name", function, argument), without calling it'
        )
    plain = _plain(function)
    try:
        if plain in _codecs:
            return _codecs[plain]
    except TypeError:  # Nothing that could be a key.
        return _codec(plain)
    codec = _codec(plain)
    try:
        _codecs[plain] = codec
    except TypeError:
        log.debug("%r is looked at anew in each step", plain)
    return codec


_codecs: Final[weakref.WeakKeyDictionary[Callable[..., Any], Codec[Any] | None]] = (
    weakref.WeakKeyDictionary()
)


def _plain(function: Any) -> Callable[..., Any]:
    """What carries the annotations."""
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    if inspect.isroutine(function) or isinstance(function, type):
        plain: Callable[..., Any] = function
        return plain
    if hasattr(function, "__wrapped__"):  # A task of ours, say.
        return _plain(function.__wrapped__)
    return type(function).__call__


def _codec(function: Callable[..., Any]) -> Codec[Any] | None:
    name = getattr(function, "__qualname__", repr(function))
    if isinstance(function, type):
        return Codec(name, "result", function)
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"{name}: an annotation cannot be read ({error}); import what it names at run time,"
            " not only for type checkers"
        ) from None
    except TypeError:  # Written in C.
        return None
    if "return" not in hints:
        return None
    type_ = hints["return"]
    if get_origin(type_) in (Awaitable, Coroutine):
        type_ = get_args(type_)[-1]
    return Codec(name, "result", type_)
