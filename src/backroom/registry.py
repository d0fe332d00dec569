"""Job types and handlers: what this process knows to schedule and to run."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Generic, Literal, TypeAlias, TypedDict, TypeVar, Unpack, overload

import msgspec

from backroom.codec import Codec
from backroom.errors import ConfigurationError, OptionError, UnknownJobTypeError
from backroom.handle import Job
from backroom.job import PRIORITIES, Cancel, Priority, Snooze, duration
from backroom.retry import Backoff, read_backoff
from backroom.transition import Policy

__all__ = [
    "Defaults",
    "HandlerOptions",
    "JobHandler",
    "JobType",
    "Known",
    "Registry",
    "check_name",
    "near",
]

T = TypeVar("T")
R = TypeVar("R")

AsyncHandler: TypeAlias = Callable[[Job[T]], Awaitable[R | Snooze | Cancel]]
PlainHandler: TypeAlias = Callable[[Job[T]], R | Snooze | Cancel]
JobHandler: TypeAlias = AsyncHandler[T, R] | PlainHandler[T, R]
"""What runs a job: `async def` on the loop, `def` in a thread."""

MAX_RETRIES: Final = 1000
MAX_NAME: Final = 200


class HandlerOptions(TypedDict, total=False):
    """Options of a job type, or of its handler. Durations: seconds or `timedelta`.

    `queue`, `priority` and `expires_in` are applied when a job is scheduled; the others when it
    runs, unless the call that scheduled it gave them.
    """

    queue: str
    priority: Priority
    expires_in: float | timedelta
    retries: int
    retry_delay: float | timedelta
    backoff: Backoff | Literal["fixed", "linear", "exponential"] | Callable[[int], float]
    timeout: float | timedelta


class JobType(Generic[T, R]):
    """A name with the type of its data and of its result.

    Wherever the name of a type is taken, a `JobType` is too, and then a type checker knows
    data and result. `data` and `result` may be dataclasses, TypedDicts, msgspec Structs,
    pydantic models, or any type msgspec knows.

    Raises:
        ConfigurationError: no name, an option out of its range, or a type msgspec cannot read.
    """

    __slots__ = ("data", "name", "options", "result")

    @overload
    def __init__(
        self: JobType[T, Any], name: str, data: type[T], **options: Unpack[HandlerOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: JobType[T, R],
        name: str,
        data: type[T],
        *,
        result: type[R],
        **options: Unpack[HandlerOptions],
    ) -> None: ...
    def __init__(
        self, name: str, data: Any, *, result: Any = None, **options: Unpack[HandlerOptions]
    ) -> None:
        self.name = check_name("job type", name)
        self.data = data
        self.result = result
        self.options = check_options(name, options)

    def __repr__(self) -> str:
        return f"JobType({self.name!r}, {getattr(self.data, '__name__', self.data)})"


class Defaults(msgspec.Struct, frozen=True):
    """What the service says where nobody else does."""

    retries: int = 3
    retry_delay: float = 60.0
    timeout: float = 300.0


class Known:
    """All this process knows of one job type."""

    __slots__ = (
        "data", "expires_in", "handler", "handler_is_async", "isolation", "name", "policy",
        "priority", "queue", "result", "said",
    )  # fmt: skip

    def __init__(self, name: str, defaults: Defaults) -> None:
        self.name = name
        self.data: Codec[Any] = Codec(name, "data", None)
        self.result: Codec[Any] | None = None
        self.handler: Callable[[Job[Any]], Any] | None = None
        self.handler_is_async = False
        self.said: dict[str, Any] = {}
        self.apply({}, defaults)

    def apply(self, options: Mapping[str, Any], defaults: Defaults) -> None:
        """Options said later win over those said before."""
        self.said.update(options)
        said = self.said
        self.queue: str = said.get("queue", "default")
        self.priority: int = PRIORITIES.index(said.get("priority", "normal"))
        self.expires_in: float | None = said.get("expires_in")
        self.policy = Policy(
            retries=said.get("retries", defaults.retries),
            retry_delay=said.get("retry_delay", defaults.retry_delay),
            backoff=said.get("backoff", Backoff()),
            timeout=said.get("timeout", defaults.timeout),
        )

    @property
    def place(self) -> str:
        """Where the handler is, for messages."""
        if self.handler is None:
            return "no handler"
        name = getattr(self.handler, "__qualname__", repr(self.handler))
        return f"handler {getattr(self.handler, '__module__', '?')}.{name}"


class Registry:
    """The types and handlers of one service."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._known: dict[str, Known] = {}

    def declare(self, name: str | JobType[Any, Any], data: Any = None, result: Any = None) -> Known:
        """Makes a type known; declaring it again with the same types changes nothing.

        Raises:
            ConfigurationError: it is known with other types.
        """
        options: Mapping[str, Any] = {}
        if isinstance(name, JobType):
            kind = name
            name, data, result, options = kind.name, kind.data, kind.result, kind.options
        known = self._known.get(name)
        if known is None:
            known = self._known[check_name("job type", name)] = Known(name, self._defaults)
        if data is not None:
            _settle(known, "data", known.data.type, data)
            if known.data.type is None:
                known.data = Codec(name, "data", data)
        if result is not None:
            _settle(known, "result", known.result and known.result.type, result)
            if known.result is None:
                known.result = Codec(name, "result", result)
        if options:
            known.apply({k: v for k, v in options.items() if k not in known.said}, self._defaults)
        return known

    def handle(
        self,
        type_: str | JobType[Any, Any],
        handler: Callable[[Job[Any]], Any],
        options: Mapping[str, Any],
    ) -> None:
        """Registers the handler of a type.

        Raises:
            ConfigurationError: it has one already, or `handler` cannot be called with a job.
        """
        known = self.declare(type_)
        if known.handler is not None:
            raise ConfigurationError(
                f"{known.name} has a handler already ({known.place}); a job type has one"
            )
        if not callable(handler):
            raise ConfigurationError(f"the handler of {known.name} cannot be called: {handler!r}")
        checked = check_options(known.name, options)
        known.handler = handler
        known.handler_is_async = _is_async(handler)
        known.apply(checked, self._defaults)

    def find(self, type_: str | JobType[Any, Any]) -> Known:
        """What is known of a type that is to be scheduled.

        Raises:
            UnknownJobTypeError: nobody declared it.
        """
        if isinstance(type_, JobType):
            known = self._known.get(type_.name)
            if known is None or known.data.type is not type_.data:
                return self.declare(type_)
            return known
        try:
            known = self._known.get(type_)
        except TypeError:  # Nothing that could be a key.
            known = None
        if known is None:
            raise UnknownJobTypeError(
                f"job type {type_!r} is not declared: schedule it by a JobType, register a handler"
                f" for it, or call service.declare({type_!r}){near(type_, self._known)}"
            )
        return known

    def get(self, name: str) -> Known | None:
        """What is known of a type, if anything is."""
        return self._known.get(name)

    def read_result(self, name: str, text: str | None) -> Any:
        """A result as its declared type; as plain JSON values where none is declared."""
        if text is None:
            return None
        known = self._known.get(name)
        if known is None or known.result is None:
            return msgspec.json.decode(text)
        return known.result.decode(text)

    @property
    def handled(self) -> list[str]:
        """The types that have a handler here."""
        return [name for name, known in self._known.items() if known.handler is not None]


def _settle(known: Known, what: str, before: Any, now: Any) -> None:
    if before is not None and before is not now and before != now:
        raise ConfigurationError(
            f"{known.name} is declared with two types of {what}: {before!r} and {now!r}"
        )


def _is_async(handler: Callable[..., Any]) -> bool:
    inner = inspect.unwrap(handler)
    while hasattr(inner, "func"):  # functools.partial
        inner = inner.func
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(
        getattr(inner, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


def near(name: object, known: Mapping[str, Any]) -> str:
    """A hint at the known name that looks most like a wrong one."""
    import difflib

    close = difflib.get_close_matches(str(name), known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_name(what: str, name: object) -> str:
    """A name of a type, queue or key.

    Raises:
        ConfigurationError: it is no text of 1 to 200 printable characters.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ConfigurationError(
            f"a {what} needs a name of 1 to {MAX_NAME} printable characters, got {name!r}"
        )
    return name


def check_options(owner: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a type or handler in their plain form: seconds, policies.

    Raises:
        ConfigurationError: unknown, or out of its range.
    """
    allowed = HandlerOptions.__annotations__
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if name not in allowed:
            raise ConfigurationError(
                f"{owner}: unknown option {name!r}{near(name, allowed)}; known are"
                f" {', '.join(allowed)}"
            )
        if value is None:
            continue
        try:
            checked[name] = _CHECKS[name](value)
        except OptionError as error:
            raise ConfigurationError(f"{owner}: {error}") from None
    return checked


def check_retries(value: object) -> int:
    """How many attempts after the first: 0 to 1000.

    Raises:
        OptionError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_RETRIES:
        raise OptionError(f"retries must be a whole number from 0 to {MAX_RETRIES}, got {value!r}")
    return value


def check_priority(value: object) -> Priority:
    """One of the four.

    Raises:
        OptionError: it is not.
    """
    if value not in PRIORITIES:
        raise OptionError(f"priority must be one of {', '.join(PRIORITIES)}, got {value!r}")
    return value


def check_queue(value: object) -> str:
    """A queue's name, as an option."""
    try:
        return check_name("queue", value)
    except ConfigurationError as error:
        raise OptionError(str(error)) from None


def _check_backoff(value: object) -> Backoff | Callable[[int], float]:
    return value if callable(value) else read_backoff(value)


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "queue": check_queue,
    "priority": check_priority,
    "expires_in": lambda value: duration("expires_in", value, zero=False),
    "retries": check_retries,
    "retry_delay": lambda value: duration("retry_delay", value),
    "backoff": _check_backoff,
    "timeout": lambda value: duration("timeout", value, zero=False),
}
