"""Job types and handlers: what this process knows to schedule and to run."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, Unpack, overload

import msgspec

from backroom.bulk import check_bulk_handler
from backroom.codec import Codec
from backroom.errors import (
    ConfigurationError,
    UnknownJobTypeError,
    UpgradeError,
)
from backroom.handle import Job
from backroom.handlers import HandlerWrapper, check_handler, check_importable, importable_name
from backroom.job import FIRST, PRIORITIES
from backroom.keying import Keying
from backroom.keypath import KeyPath
from backroom.limit import Limit
from backroom.limited import Limited
from backroom.options import Bulk, HandlerOptions, Isolation, check_name, check_options, near
from backroom.retry import Backoff
from backroom.timetable import Schedule
from backroom.transition import Policy
from backroom.versions import Upgrade, WayUp, check_upgrade, check_version, mark_of

__all__ = ["Defaults", "JobType", "Known", "Registry", "check_type", "known_handler"]

T = TypeVar("T")
R = TypeVar("R")


class JobType(Generic[T, R]):
    """A name with the type of its data and of its result.

    Wherever the name of a type is taken, a `JobType` is too, and then a type checker knows
    data and result. `data` and `result` may be dataclasses, TypedDicts, msgspec Structs,
    pydantic models, or any type msgspec knows.

    Its options are shorthand for saying them at every call. Where a name is declared more than
    once, the first word on an option counts, and a handler's own word more than that.

    A type whose data has changed says so: `version=2, upgrade={1: from_v1}`. Jobs that were
    scheduled before are upgraded when they run, one version a step: a function takes data of its
    version, as plain JSON values or as the type that its parameter is annotated with, and returns
    data of the next. A job whose data is newer than the code of a worker waits for another one.

    Raises:
        ConfigurationError: no name, an option out of its range; a version that is none, an older
            one without a function, or a function for one that is not older. A type that msgspec
            cannot read is refused where the `JobType` is first used, since it may name classes
            that are defined after it.
    """

    __slots__ = ("data", "name", "options", "result", "upgrade", "version")

    @overload
    def __init__(
        self: JobType[T, Any],
        name: str,
        data: type[T],
        *,
        version: int = 1,
        upgrade: Mapping[int, Upgrade] | None = None,
        **options: Unpack[HandlerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: JobType[T, R],
        name: str,
        data: type[T],
        *,
        result: type[R],
        version: int = 1,
        upgrade: Mapping[int, Upgrade] | None = None,
        **options: Unpack[HandlerOptions],
    ) -> None: ...
    def __init__(
        self,
        name: str,
        data: Any,
        *,
        result: Any = None,
        version: int = FIRST,
        upgrade: Mapping[int, Upgrade] | None = None,
        **options: Unpack[HandlerOptions],
    ) -> None:
        self.name = check_name("job type", name)
        self.data = data
        self.result: type[R] = result
        self.version = check_version(name, version)
        self.upgrade: Mapping[int, Upgrade] = check_upgrade(name, version, upgrade)
        self.options = check_options(name, options)

    def __repr__(self) -> str:
        return f"JobType({self.name!r}, {getattr(self.data, '__name__', self.data)})"


class Defaults(msgspec.Struct, frozen=True):
    """What the service says where nobody else does."""

    retries: int = 3
    retry_delay: float = 60.0
    timeout: float = 300.0
    isolation: Isolation = "none"


class Known:
    """All this process knows of one job type.

    What was declared holds for those who schedule and for those who wait: `given` and `awaited`.
    A handler keeps what was declared when it was registered: `data` and `result`. So a `JobType`
    that is said later, perhaps far away, never changes what a handler gets.
    """

    __slots__ = (
        "__weakref__", "awaited", "bulk", "data", "expires_in", "fair_by", "given", "handler",
        "handler_is_async", "isolation", "last", "limits", "mark", "name",
        "policy", "priority", "queue", "result", "said", "slots", "unique", "version", "way_up",
    )  # fmt: skip

    def __init__(self, name: str, defaults: Defaults) -> None:
        self.name = name
        self.given: Codec[Any] = Codec(name, "data", None)
        """How data is checked when a job is scheduled."""
        self.awaited: Codec[Any] | None = None
        """How a result is read by those who wait for it; None: as plain JSON values."""
        self.data = self.given
        """How the handler gets the data."""
        self.result: Codec[Any] | None = None
        """How what the handler returns is checked."""
        self.version = FIRST
        """Of the data, for those who schedule and for the handler."""
        self.mark: str | None = None
        """What a job is kept with that says so; None: nothing need be said."""
        self.way_up: WayUp | None = None
        """How older data becomes of this version; None: there is none."""
        self.last: JobType[Any, Any] | None = None
        """The `JobType` that was declared last: it has nothing new to say."""
        self.handler: Callable[[Job[Any]], Any] | None = None
        self.handler_is_async = False
        self.bulk: Bulk | None = None
        """How many jobs its handler runs at once; None: one."""
        self.said: dict[str, Any] = {}
        self.apply({}, defaults)

    def apply(self, options: Mapping[str, Any], defaults: Defaults) -> None:
        """Options said later win over those said before."""
        self.said.update(options)
        said = self.said
        self.queue: str = said.get("queue", "default")
        self.priority: int = PRIORITIES.index(said.get("priority", "normal"))
        self.expires_in: float | None = said.get("expires_in")
        self.unique: Keying | None = said.get("unique")
        self.policy = Policy(
            retries=said.get("retries", defaults.retries),
            retry_delay=said.get("retry_delay", defaults.retry_delay),
            backoff=said.get("backoff", Backoff()),
            timeout=said.get("timeout", defaults.timeout),
        )
        self.isolation: Isolation = said.get("isolation", defaults.isolation)
        self.limits: Sequence[Limit] = said.get("limit", ())
        self.slots: int | None = said.get("slots")
        self.fair_by: KeyPath | None = said.get("fair_by")

    def read(self, text: str, version: int) -> Any:
        """Data of that version as the handler gets it.

        Raises:
            JobTypeError: it does not fit the type. UpgradeError, FailJob, RetryJob: as
                `WayUp.lead` does.
        """
        if version == self.version:
            return self.data.decode(text)
        if self.way_up is None or not FIRST <= version < self.version:
            raise UpgradeError(
                f"{self.name}: its data is of version {version}, this code knows version"
                f" {self.version}"
            )
        return self.way_up.lead(text, version, self.data)

    @classmethod
    def of_handler(
        cls, name: str, handler: Callable[[Job[Any]], Any], kind: JobType[Any, Any] | None
    ) -> Known:
        """A handler that no service of this process has registered."""
        registry = Registry(Defaults())
        registry.handle(name if kind is None else kind, handler, {})
        return registry.find(name)

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
        self._wrappers: list[HandlerWrapper] = []
        self.schedules: dict[str, tuple[str | JobType[Any, Any], Schedule]] = {}
        """What stands beside the handlers, by the name of the schedule."""
        self.bulk: dict[str, Bulk] = {}
        """The types whose handlers run many jobs at once."""
        self.limited = Limited(self._known)

    def declare(self, name: str | JobType[Any, Any], data: Any = None, result: Any = None) -> Known:
        """Makes a type known; declaring it again adds what was not said before.

        A handler that is registered already goes on getting what it got: see `Known`.

        Raises:
            ConfigurationError: no name, a type msgspec cannot read, or it is known with other
                types or another version. Nothing is declared then.
        """
        kind = name if isinstance(name, JobType) else None
        options: Mapping[str, Any] = {}
        if kind is not None:
            name, data, result, options = kind.name, kind.data, kind.result, kind.options
        name = check_name("job type", name)
        there = self._known.get(name)
        known = there or Known(name, self._defaults)
        version, way_up = FIRST, None
        if kind is not None and kind.version > FIRST:
            version, way_up = kind.version, WayUp(name, kind.upgrade)
        if there is not None:
            _check_same(there, version, way_up)
        given = _settled(name, "data", known.given, data)
        awaited = _settled(name, "result", known.awaited, result)
        _check_paths(given, {**options, **known.said}.get("unique"))
        self.limited.check(name, {**options, **known.said}, given)
        # Nothing is refused from here on.
        self._known[name] = known
        known.given, known.awaited = given, awaited
        known.version, known.mark, known.way_up = version, mark_of(version), way_up
        if known.handler is None:
            known.data, known.result = known.given, known.awaited
        fresh = {name: value for name, value in options.items() if name not in known.said}
        if fresh:
            known.apply(fresh, self._defaults)
        if kind is not None:
            known.last = kind
        return known

    def check(self, type_: object, options: Mapping[str, Any]) -> None:
        """What `handle` refuses whatever the handler is.

        Raises:
            ConfigurationError: `type_` is no job type, or an option is out of its range.
        """
        check_options(check_type(type_), options)

    def handle(
        self,
        type_: str | JobType[Any, Any],
        handler: Callable[[Any], Any],
        options: Mapping[str, Any],
        schedules: Sequence[Schedule] = (),
        bulk: Bulk | None = None,
    ) -> None:
        """Registers the handler of a type, when it runs by itself, and whether it runs many jobs
        at once.

        It gets the data as the type that is declared now; under a bare name that nobody
        declared with a type, any JSON object as a `dict`.

        Raises:
            ConfigurationError: the type has a handler already, or `handler` cannot be called
                with a job and end; or two schedules have one name. Nothing is declared then.
            JobTypeError: the data of a schedule does not fit; neither.
        """
        name = check_type(type_)
        checked = check_options(name, options)
        runs_on_loop = check_handler(name, handler)
        known = self._known.get(name)
        if known is not None and known.handler is not None:
            raise ConfigurationError(
                f"{name} has a handler already ({known.place}); a job type has one"
            )
        said = {**(known.said if known else {}), **_options_of(type_), **checked}
        isolated = said.get("isolation", self._defaults.isolation) == "process"
        if bulk is not None:
            check_bulk_handler(name, handler)
            if isolated:
                raise ConfigurationError(
                    f"{name}: a bulk handler runs in the process of its worker, on the loop or in"
                    ' a thread: give it isolation="none", or leave batch= out'
                )
        elif isolated:
            check_importable(name, handler)
        if {"unique", "limit", "fair_by"} & said.keys():
            data = type_.data if isinstance(type_, JobType) else None
            given = known.given if known else Codec(name, "data", None)
            given = _settled(name, "data", given, data)
            _check_paths(given, checked.get("unique"))
            self.limited.check(name, said, given)
        planned = self._plan(type_, schedules)
        known = self.declare(type_)
        self.schedules.update(planned)
        known.handler = handler
        known.handler_is_async = runs_on_loop
        if bulk is not None:
            known.bulk = self.bulk[known.name] = bulk
        known.apply(checked, self._defaults)
        _handlers[(*importable_name(handler), known.name)] = known
        for wrapper in self._wrappers:
            known.handler = wrapper(known.handler)

    def _plan(
        self, type_: str | JobType[Any, Any], schedules: Sequence[Schedule]
    ) -> dict[str, tuple[str | JobType[Any, Any], Schedule]]:
        name = check_type(type_)
        known = self._known.get(name)
        codec = Codec[Any](name, "data", type_.data if isinstance(type_, JobType) else None)
        if codec.type is None and known is not None:
            codec = known.given
        planned: dict[str, tuple[str | JobType[Any, Any], Schedule]] = {}
        for schedule in schedules:
            schedule.data_for(codec)
            own = schedule.name or name
            if own in planned or own in self.schedules:
                raise ConfigurationError(
                    f"{name}: a schedule is called {own!r} already; give this one a name of its"
                    ' own, Schedule(..., name="...")'
                )
            planned[own] = (type_, schedule)
        return planned

    def wrap(self, wrapper: HandlerWrapper) -> None:
        """Every handler, also one that is registered later, is called through this."""
        self._wrappers.append(wrapper)
        for known in self._known.values():
            if known.handler is not None:
                known.handler = wrapper(known.handler)

    def check_new(self, other: Registry) -> None:
        """Whether all that another registry knows could be declared here too.

        Raises:
            ConfigurationError: a type has a handler in both, other types, or another version; or
                both have a schedule of one name.
        """
        for name in self.schedules.keys() & other.schedules.keys():
            raise ConfigurationError(f"a schedule is called {name!r} already; give one a name=")
        for name, known in other._known.items():
            ours = self._known.get(name)
            if ours is None:
                continue
            if ours.handler is not None and known.handler is not None:
                raise ConfigurationError(
                    f"{name} has a handler already ({ours.place}); a job type has one"
                )
            _check_same(ours, known.version, known.way_up)
            _settled(name, "data", ours.given, known.given.type)
            if known.awaited is not None:
                _settled(name, "result", ours.awaited, known.awaited.type)

    def find(self, type_: str | JobType[Any, Any]) -> Known:
        """What is known of a type that is to be scheduled; a `JobType` declares itself.

        Raises:
            UnknownJobTypeError: nobody declared it.
            ConfigurationError: it is declared with other types, or another version.
        """
        if isinstance(type_, JobType):
            known = self._known.get(type_.name)
            return known if known is not None and known.last is type_ else self.declare(type_)
        try:
            known = self._known.get(type_)
        except TypeError:  # Nothing that could be a key.
            known = None
        if known is None:
            raise UnknownJobTypeError(
                f"job type {type_!r} is not declared in this process: make it known there by a"
                f" JobType, a handler or `declare`{near(type_, self._known)}"
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
        if known is None or known.awaited is None:
            return msgspec.json.decode(text)
        return known.awaited.decode(text)

    @property
    def isolated(self) -> bool:
        """Whether some handler here runs in child processes."""
        return any(known.handler and known.isolation == "process" for known in self._known.values())

    @property
    def known(self) -> list[Known]:
        """Every type that is known here, by name."""
        return [self._known[name] for name in sorted(self._known)]

    @property
    def handled(self) -> dict[str, int]:
        """The types that have a handler here, and the version of data that it takes."""
        return {
            name: known.version for name, known in self._known.items() if known.handler is not None
        }


def _check_same(known: Known, version: int, way_up: WayUp | None) -> None:
    """Whether a type is said again with the version it has, and the same way up to it."""
    name = known.name
    if known.version != version:
        raise ConfigurationError(
            f"{name} is declared with two versions of its data: {known.version} and {version};"
            " a bare name means version 1: give the JobType instead, one for all"
        )
    if way_up is not None and known.way_up is not None:
        for old, step in way_up.steps.items():
            if known.way_up.steps[old] != step:
                raise ConfigurationError(
                    f"{name} is declared with two upgrades from version {old}:"
                    f" {known.way_up.steps[old]!r} and {step!r}"
                )


C = TypeVar("C", bound=Codec[Any] | None)


def _settled(name: str, what: str, before: C, now: Any) -> Codec[Any] | C:
    """What holds of a type's data or result when `now` is said of it."""
    if now is None:
        return before
    if before is None or before.type is None:
        return Codec(name, what, now)
    if before.type is not now and before.type != now:
        raise ConfigurationError(
            f"{name} is declared with two types of {what}: {before.type!r} and {now!r}"
        )
    return before


def _check_paths(given: Codec[Any], unique: Keying | None) -> None:
    """Raises `ConfigurationError` where a key is made of fields that the data never has."""
    for path in (unique and unique.paths) or ():
        lack = given.lack(path)
        if lack is not None:
            raise ConfigurationError(f"{given.owner}: unique: by data.{'.'.join(path)}: {lack}")


def check_type(type_: object) -> str:
    """The name of what stands where a job type is expected.

    Raises:
        ConfigurationError: it is neither a `JobType` nor a name; above all a function, from a
            decorator without its parentheses.
    """
    if isinstance(type_, JobType):
        return type_.name
    if callable(type_):
        place = getattr(type_, "__qualname__", repr(type_))
        raise ConfigurationError(
            f'{place} stands where a job type is expected: write @service.handler("NAME")'
            " above it, or @service.handler(JOB_TYPE)"
        )
    return check_name("job type", type_)


_handlers: Final[weakref.WeakValueDictionary[tuple[str, str, str], Known]] = (
    weakref.WeakValueDictionary()
)
"""By module, qualified name and job type: all handlers of this process. Child processes find
theirs here, once they have imported its module."""


def known_handler(module: str, qualname: str, type_: str) -> Known | None:
    """The handler of a type that importing a module has registered, if it has."""
    return _handlers.get((module, qualname, type_))


def _options_of(type_: str | JobType[Any, Any]) -> Mapping[str, Any]:
    return type_.options if isinstance(type_, JobType) else {}
