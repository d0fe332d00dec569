"""From what a caller says to the record that is kept: options checked, data encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar, Unpack, overload

import msgspec

from backroom.codec import encode_json
from backroom.errors import BackroomError, ConfigurationError, OptionError, PayloadTooLargeError
from backroom.filtering import check_tag
from backroom.job import (
    FIRST,
    PRIORITIES,
    SECOND,
    Hold,
    JobInfo,
    JobOptions,
    JobRecord,
    duration,
    moment,
)
from backroom.keying import Keying, check_key, check_unique
from backroom.options import check_priority, check_queue, check_retries, near
from backroom.registry import JobType, Registry
from backroom.retry import read_backoff
from backroom.tie import tied

__all__ = ["JobRequest", "RecordMaker", "check_options"]

T = TypeVar("T")
R = TypeVar("R", covariant=True)

MAX_TAGS: Final = 20
MAX_METADATA: Final = 16_384


class JobRequest(Generic[R]):
    """One job of a `schedule_many`: the same arguments as `schedule`."""

    __slots__ = ("data", "options", "type")

    @overload
    def __init__(
        self: JobRequest[R], type: JobType[T, R], data: T, **options: Unpack[JobOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: JobRequest[Any],
        type: str,
        data: Mapping[str, Any] | None = None,
        **options: Unpack[JobOptions],
    ) -> None: ...
    def __init__(self, type: Any, data: Any = None, **options: Any) -> None:
        self.type = type
        self.data = data
        self.options = options

    def __repr__(self) -> str:
        return f"JobRequest({self.type!r}, {self.data!r})"


class RecordMaker:
    """Makes records for one service."""

    def __init__(self, registry: Registry, max_payload: int, make_id: Callable[[int], str]) -> None:
        self._registry = registry
        self._max_payload = max_payload
        self._make_id = make_id
        self.carried: Callable[[], Mapping[str, str] | None] | None = None
        """What each job is kept with, of whoever traces; None: nobody does."""

    def apart(self, make_id: Callable[[int], str]) -> RecordMaker:
        """The same with ids of its own: a maker belongs to one thread."""
        maker = RecordMaker(self._registry, self._max_payload, make_id)
        maker.carried = self.carried
        return maker

    def make(
        self,
        type_: str | JobType[Any, Any],
        data: Any,
        options: Mapping[str, Any],
        now: int,
        *,
        traced: bool = True,
    ) -> JobRecord:
        """A record that can be kept as it is. Not `traced`: it is a model for jobs that nobody
        makes by a call.

        Raises:
            UnknownJobTypeError, JobTypeError, OptionError, PayloadTooLargeError
        """
        known = self._registry.find(type_)
        if data is None and known.given.type is None:
            data = {}
        text = known.given.encode(data)
        if len(text) > self._max_payload // 4:  # UTF-8 has at most 4 bytes a character.
            self._check_size(known.name, text)
        expires_in = known.expires_in
        limited = self._registry.limited.concerns(known)
        carried = self.carried() if self.carried is not None and traced else None
        if not carried and not options and not limited and known.unique is None:
            expires_at = None if expires_in is None else now + round(expires_in * SECOND)
            return JobRecord(
                self._make_id(now), known.name, known.queue, known.priority, now, now, text,
                known.mark, None, expires_at,
            )  # fmt: skip
        try:
            said = check_options(options)
            key, hold = _held(said, known.unique, text, now)
        except OptionError as error:
            raise OptionError(f"{known.name}: {error}", error.option) from None
        if "expires_in" in said:
            expires_in = said["expires_in"]
        queue = said.get("queue", known.queue)
        if carried:
            said["trace"] = carried
        kept = _kept(said, known.version)
        if limited:
            hangs = self._registry.limited.hangs(known, queue, text)
            if hangs:
                kept = tied(kept, **hangs)
        return JobRecord(
            id=self._make_id(now),
            type=known.name,
            queue=queue,
            priority=said.get("priority", known.priority),
            run_at=said["run_at"] if "run_at" in said else now + said.get("delay", 0),
            created_at=now,
            data=text,
            options=kept,
            unique_key=key,
            expires_at=None if expires_in is None else now + round(expires_in * SECOND),
            hold=hold,
        )

    def copied(self, info: JobInfo, now: int) -> JobRecord:
        """A record of a job with the data, the version of its data and the options of another,
        due now. It has no unique key, which the other may hold.

        What is written stays as it is: its type need not be known here, nor its version be the one
        that is. Where its type is known, it hangs on the limits that are.

        Raises:
            JobTypeError: its data cannot be written again.
            OptionError: its data has no key of a limit.
        """
        text = encode_json(info.type, "data", info.data)
        said = {name: value for name, value in info.options.items() if name in _COPIED}
        if info.tags:
            said["tags"] = info.tags
        if info.metadata:
            said["metadata"] = info.metadata
        if self.carried is not None and (carried := self.carried()):
            said["trace"] = carried
        kept = _kept(said, info.version)
        known = self._registry.get(info.type)
        if known is not None and self._registry.limited.concerns(known):
            hangs = self._registry.limited.hangs(known, info.queue, text)
            if hangs:
                kept = tied(kept, **hangs)
        lasts = None if info.expires_at is None else info.expires_at - info.created_at
        return JobRecord(
            id=self._make_id(now),
            type=info.type,
            queue=info.queue,
            priority=PRIORITIES.index(info.priority),
            run_at=now,
            created_at=now,
            data=text,
            options=kept,
            expires_at=None if lasts is None else now + lasts // timedelta(microseconds=1),
        )

    def make_all(
        self, requests: Sequence[JobRequest[Any]], now: int, first: int = 0
    ) -> list[JobRecord]:
        """Records of all requests; an error names the index of the first bad one, counted from
        `first`."""
        records: list[JobRecord] = []
        for index, request in enumerate(requests, first):
            try:
                if not isinstance(request, JobRequest):
                    raise OptionError(f"expected a JobRequest, got {request!r}")
                records.append(self.make(request.type, request.data, request.options, now))
            except (OptionError, ConfigurationError, PayloadTooLargeError) as error:
                raise _at(index, error) from None
            except (TypeError, LookupError) as error:
                raise _at(index, error) from None
        return records

    def _check_size(self, name: str, text: str) -> None:
        size = len(text.encode())
        if size > self._max_payload:
            raise PayloadTooLargeError(
                f"{name}: the data has {size:,} bytes as JSON, the limit is {self._max_payload:,};"
                " keep large things elsewhere and schedule their address, or raise max_payload"
            )


E = TypeVar("E", bound=Exception)


def _at(index: int, error: E) -> E:
    """The same error, naming the job of a `schedule_many` it belongs to."""
    named = type(error)(f"job {index} of schedule_many: {error}")
    if isinstance(error, BackroomError):
        named.option = error.option  # type: ignore[attr-defined]  # It is of the same class.
    if hasattr(error, "index"):
        named.index = index  # type: ignore[attr-defined]  # every BackroomError has it
    return named


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of one job, as they are kept.

    Raises:
        OptionError: unknown, or out of its range.
    """
    said: dict[str, Any] = {}
    for name, value in options.items():
        check = _CHECKS.get(name)
        if check is None:
            raise OptionError(
                f"unknown option {name!r}{near(name, _CHECKS)}; known are {', '.join(_CHECKS)}"
            )
        if value is not None:
            try:
                said[name] = check(value)
            except OptionError as error:
                error.option = name
                raise
    if "delay" in said and "run_at" in said:
        raise OptionError("give delay or run_at, not both", "run_at")
    if "unique_key" in said and "unique" in said:
        raise OptionError("give unique or unique_key, which is short for Unique(key=...), not both")
    return said


def _held(
    said: dict[str, Any], of_type: Keying | None, data: str, now: int
) -> tuple[str | None, Hold | None]:
    """The unique key of a job, and how it holds it. A hold is a row of its own in a storage, so
    what people see of the job has the key among its options."""
    if "unique_key" in said:
        return said.pop("unique_key"), None
    keying: Keying | None = said.get("unique", of_type)
    if keying is None:
        return None, None
    key, hold = keying.key_of(data), keying.hold(now)
    if hold is not None:
        said["unique_key"] = key
    return key, hold


def _kept(said: Mapping[str, Any], version: int) -> str | None:
    """What a worker, or a look-up, needs of the options later, as JSON; and the version of the
    data, if it is not the first."""
    kept = {name: said[name] for name in _KEPT if name in said}
    if version != FIRST:
        kept["version"] = version
    return msgspec.json.encode(kept).decode() if kept else None


_KEPT: Final = (
    "retries", "retry_delay", "backoff", "timeout", "tags", "metadata", "unique_key", "trace"
)  # fmt: skip

_COPIED: Final = ("retries", "retry_delay", "backoff", "timeout")
"""What a job tells of them; the others are fields of their own."""


def _check_tags(value: object) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise OptionError(f"tags must be a list of words, got {value!r}")
    if len(value) > MAX_TAGS:
        raise OptionError(f"at most {MAX_TAGS} tags, got {len(value)}")
    return [check_tag(tag) for tag in value]


def _check_metadata(value: object) -> msgspec.Raw:
    if not isinstance(value, Mapping):
        raise OptionError(f"metadata must be a JSON object, got {value!r}")
    try:
        text = encode_json("metadata", "object", dict(value))
    except ValueError as error:
        raise OptionError(str(error)) from None
    if len(text.encode()) > MAX_METADATA:
        raise OptionError(f"metadata may have {MAX_METADATA:,} bytes as JSON, got {len(text):,}")
    return msgspec.Raw(text.encode())


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "priority": lambda value: PRIORITIES.index(check_priority(value)),
    "delay": lambda value: round(duration("delay", value) * SECOND),
    "run_at": lambda value: moment("run_at", value),
    "queue": check_queue,
    "retries": check_retries,
    "retry_delay": lambda value: duration("retry_delay", value),
    "backoff": read_backoff,
    "timeout": lambda value: duration("timeout", value, zero=False),
    "expires_in": lambda value: duration("expires_in", value, zero=False),
    "unique_key": lambda value: check_key("unique_key", value),
    "unique": check_unique,
    "tags": _check_tags,
    "metadata": _check_metadata,
}
