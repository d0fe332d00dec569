"""What a test asks of the jobs that were scheduled, and how it is told what it did not find."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from typing import Any, Final, Generic, TypeVar, get_type_hints, is_typeddict, overload

import msgspec

from backroom.codec import plain
from backroom.errors import OptionError
from backroom.job import (
    PRIORITIES,
    SECOND,
    JobId,
    JobOptions,
    JobRecord,
    Priority,
    duration,
    moment,
    to_datetime,
)
from backroom.options import near
from backroom.registry import JobType, Known, Registry
from backroom.retry import Backoff, read_backoff

__all__ = ["Scheduled", "Seen"]

T = TypeVar("T")

OPTIONS: Final = tuple(JobOptions.__annotations__)
LONGEST: Final = 300
"""Characters of one value in a message."""
MOST_LISTED: Final = 10


class Scheduled(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A job as it was scheduled, with the options that hold for it, whoever said them."""

    id: JobId[Any]
    type: str
    data: T
    """As its declared type; as plain JSON values where none is declared."""
    priority: Priority
    delay: float
    """Seconds from its scheduling until it is due."""
    run_at: datetime
    queue: str
    retries: int
    retry_delay: float
    backoff: Any
    timeout: float
    expires_in: float | None
    unique_key: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]

    def __str__(self) -> str:
        """As a call: the data, and the options that are not what every job has."""
        usual = {"priority": "normal", "delay": 0, "queue": "default", "expires_in": None,
                 "unique_key": None, "tags": (), "metadata": {}}  # fmt: skip
        said = {name: getattr(self, name) for name in usual}
        fields = plain(self.data)
        text = _listed(fields) if isinstance(fields, dict) else _short(self.data)
        options = _listed({name: v for name, v in said.items() if v != usual[name]})
        return f"{self.type}({text})" + (f" with {options}" if options else "")


class Seen:
    """The assertions of a test, over what `_records` says was scheduled."""

    def _records(self) -> Sequence[JobRecord]:
        raise NotImplementedError

    def _types(self) -> Registry:
        raise NotImplementedError

    @overload
    def scheduled(self, type: JobType[T, Any], /) -> list[Scheduled[T]]: ...
    @overload
    def scheduled(self, type: str | None = None, /) -> list[Scheduled[Any]]: ...
    def scheduled(self, type: Any = None, /) -> list[Scheduled[Any]]:
        """The jobs scheduled so far (of one type), oldest first, whatever became of them."""
        name = None if type is None else name_of(type)
        return [
            _scheduled(record, self._types().find(record.type))
            for record in self._records()
            if name is None or record.type == name
        ]

    @overload
    def assert_scheduled(
        self,
        type: JobType[T, Any],
        /,
        *,
        count: int | None = None,
        data: Any = None,
        options: Mapping[str, Any] | None = None,
        **expected: Any,
    ) -> list[Scheduled[T]]: ...
    @overload
    def assert_scheduled(
        self,
        type: str,
        /,
        *,
        count: int | None = None,
        data: Any = None,
        options: Mapping[str, Any] | None = None,
        **expected: Any,
    ) -> list[Scheduled[Any]]: ...
    def assert_scheduled(
        self,
        type: Any,
        /,
        *,
        count: int | None = None,
        data: Any = None,
        options: Mapping[str, Any] | None = None,
        **expected: Any,
    ) -> list[Scheduled[Any]]:
        """A job of this type was scheduled whose data and options hold what is expected.

        A keyword that is the name of an option (`delay`, `queue`, `priority` ...) is one; any
        other is a field of the data. Where a field has the name of an option, say `data={...}`.
        `data` takes some fields as a mapping, or a whole value; durations are seconds or
        `timedelta`; what compares itself (`unittest.mock.ANY`, `pytest.approx`) is welcome.

        Args:
            count: how many such jobs there are; None for one or more.

        Returns those jobs.

        Raises:
            AssertionError: there are none, or not so many; it shows the nearest, and the others.
            OptionError: no such field or option.
        """
        __tracebackhide__ = True
        wanted = _Wanted(name_of(type), self._known(type), data, options, expected)
        jobs = self.scheduled()
        found = [job for job in jobs if not wanted.missed(job)]
        if not found if count is None else len(found) != count:
            raise AssertionError(_not_found(wanted, jobs, found, count))
        return found

    def assert_not_scheduled(
        self,
        type: str | JobType[Any, Any] | None = None,
        /,
        *,
        data: Any = None,
        options: Mapping[str, Any] | None = None,
        **expected: Any,
    ) -> None:
        """No job was scheduled that `assert_scheduled` would find; without a type, none at all.

        Raises:
            AssertionError: there is one; OptionError: no such field or option.
        """
        __tracebackhide__ = True
        jobs = self.scheduled()
        text = "anything"
        if type is not None:
            wanted = _Wanted(name_of(type), self._known(type), data, options, expected)
            jobs = [job for job in jobs if not wanted.missed(job)]
            text = str(wanted)
        elif data is not None or options or expected:
            raise OptionError("say of which type no job with such data or options may be")
        if jobs:
            raise AssertionError(f"{text} was scheduled, and should not have been:{_list(jobs)}")

    def _known(self, type_: str | JobType[Any, Any]) -> Known:
        return self._types().find(type_)


class _Wanted:
    """What a test expects of a job."""

    def __init__(
        self,
        name: str,
        known: Known,
        data: Any,
        options: Mapping[str, Any] | None,
        expected: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.whole: Any = None
        self.data = {n: value for n, value in expected.items() if n not in OPTIONS}
        if isinstance(data, Mapping):
            self.data.update(data)
        else:
            self.whole = data
        fields = _fields(known.data.type)
        for field in self.data:
            if fields is not None and field not in fields:
                places = dict.fromkeys([*fields, *OPTIONS])
                raise OptionError(
                    f"{name} has no field and no option {field!r}{near(field, places)}"
                )
        self.options = {n: value for n, value in expected.items() if n in OPTIONS}
        self.options.update(options or {})
        for option in self.options:
            if option not in OPTIONS:
                raise OptionError(f"no option is {option!r}{near(option, dict.fromkeys(OPTIONS))}")
        self._read = {n: _read_option(n, value) for n, value in self.options.items()}

    def missed(self, job: Scheduled[Any]) -> dict[str, tuple[Any, Any]]:
        """What was expected, and what is, where they differ."""
        if job.type != self.name:
            return {"type": (self.name, job.type)}
        missed: dict[str, tuple[Any, Any]] = {}
        if self.whole is not None and not _same(self.whole, job.data):
            missed["data"] = (self.whole, job.data)
        for name, value in self.data.items():
            found = _field(job.data, name)
            if not _same(value, found):
                missed[name] = (value, found)
        for name, value in self._read.items():
            found = getattr(job, name)
            if not _same(value, found):
                missed[name] = (self.options[name], found)
        return missed

    def likeness(self, job: Scheduled[Any]) -> tuple[int, float]:
        """The more, the nearer: first the fewest differences, then the smallest ones."""
        missed = self.missed(job)
        alike = (SequenceMatcher(None, _short(a), _short(b)).ratio() for a, b in missed.values())
        return -len(missed), sum(alike)

    def __str__(self) -> str:
        said = {**self.data, **self.options}
        text = _listed(said)
        if self.whole is not None:
            text = f"data={_short(self.whole)}" + (f", {text}" if text else "")
        return self.name + (f" with {text}" if text else "")


def name_of(type_: str | JobType[Any, Any]) -> str:
    return type_.name if isinstance(type_, JobType) else type_


def _scheduled(record: JobRecord, known: Known) -> Scheduled[Any]:
    said: dict[str, Any] = msgspec.json.decode(record.options) if record.options else {}
    policy, expires_at = known.policy, record.expires_at
    backoff = policy.backoff
    if "backoff" in said:
        backoff = msgspec.convert(said["backoff"], Backoff)
    return Scheduled(
        id=JobId(record.id),
        type=record.type,
        data=known.data.decode(record.data),
        priority=PRIORITIES[record.priority],
        delay=(record.run_at - record.created_at) / SECOND,
        run_at=to_datetime(record.run_at),
        queue=record.queue,
        retries=said.get("retries", policy.retries),
        retry_delay=said.get("retry_delay", policy.retry_delay),
        backoff=backoff,
        timeout=said.get("timeout", policy.timeout),
        expires_in=None if expires_at is None else (expires_at - record.created_at) / SECOND,
        unique_key=record.unique_key,
        tags=tuple(said.get("tags", ())),
        metadata=said.get("metadata", {}),
    )


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT: Final = _Absent()


def _field(data: Any, name: str) -> Any:
    if isinstance(data, Mapping):
        return data.get(name, _ABSENT)
    return getattr(data, name, _ABSENT)


def _fields(type_: Any) -> Sequence[str] | None:
    """The names of the fields of a data type; None where any may be."""
    if dataclasses.is_dataclass(type_):
        return [field.name for field in dataclasses.fields(type_)]
    if is_typeddict(type_):
        return list(get_type_hints(type_))
    fields = getattr(type_, "__struct_fields__", None) or getattr(type_, "model_fields", None)
    return None if fields is None else list(fields)


def _same(expected: Any, found: Any) -> bool:
    if bool(expected == found):
        return True
    return found is not _ABSENT and bool(plain(expected) == plain(found))


def _rounded(name: str, value: Any) -> Any:
    if isinstance(value, timedelta | int | float) and not isinstance(value, bool):
        return round(duration(name, value) * SECOND) / SECOND
    return value


_READ: Final[dict[str, Callable[[str, Any], Any]]] = {
    **dict.fromkeys(("delay", "retry_delay", "timeout", "expires_in"), _rounded),
    "run_at": lambda name, value: (
        to_datetime(moment(name, value)) if isinstance(value, datetime) else value
    ),
    "backoff": lambda _, value: read_backoff(value) if isinstance(value, str) else value,
    "tags": lambda _, value: tuple(value) if isinstance(value, list) else value,
}


def _read_option(name: str, value: Any) -> Any:
    """As a `Scheduled` has it."""
    read = _READ.get(name)
    return value if read is None else read(name, value)


# -- for people ----------------------------------------------------------------------------------


def _not_found(
    wanted: _Wanted, jobs: list[Scheduled[Any]], found: list[Scheduled[Any]], count: int | None
) -> str:
    if found:
        return f"{len(found)} jobs are {wanted}, expected {count}:{_list(found)}"
    text = f"no job is {wanted}" + ("" if count is None else f", expected {count}")
    alike = [job for job in jobs if job.type == wanted.name]
    others = jobs
    if alike:
        nearest = max(alike, key=wanted.likeness)
        others = [job for job in jobs if job is not nearest]
        text += f"\nthe nearest is {nearest}"
        for name, (expected, is_) in wanted.missed(nearest).items():
            text += f"\n    {name}: expected {_short(expected)}"
            text += f"\n    {' ' * len(name)}  found    {_short(is_)}"
    if not others:
        return text + "\nnothing else was scheduled"
    return text + ("\nalso scheduled:" if alike else "\nscheduled were:") + _list(others)


def _list(jobs: Sequence[Scheduled[Any]]) -> str:
    lines = [f"\n    {job}" for job in jobs[:MOST_LISTED]]
    if len(jobs) > MOST_LISTED:
        lines.append(f"\n    and {len(jobs) - MOST_LISTED} more")
    return "".join(lines)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
