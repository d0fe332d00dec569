"""Which jobs a caller means -> a checked filter. Words are checked before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypedDict
from uuid import UUID

from backroom.errors import ConfigurationError, JobNotFoundError, OptionError, no_cursor
from backroom.inspecting import Filter
from backroom.job import PRIORITIES, JobStatus, moment
from backroom.options import check_name, check_queue
from backroom.registry import JobType

__all__ = [
    "MAX_IDS",
    "JobFilter",
    "check_cursor",
    "check_ids",
    "check_job_id",
    "check_limit",
    "check_tag",
    "read_filter",
]

MAX_TAG: Final = 100
MAX_TEXT: Final = 200
"""Characters that are looked for."""
MAX_KIND: Final = 200
MAX_IDS: Final = 1000
"""Of one call that names jobs one by one."""


class JobFilter(TypedDict, total=False):
    """Which jobs are meant: those of which all that is said is true; None says nothing."""

    status: JobStatus | str | None
    type: str | JobType[Any, Any] | None
    queue: str | None
    tag: str | None
    error: str | None
    """The kind of the last error, as `job.errors` tells it: "ValueError"."""
    text: str | None
    """What id, type, data, tags, unique key or the text of the last error has in it; the letters
    A to Z are the same in either case. The whole id of a job means that job alone."""
    unseen: Sequence[str] | None
    """Types in whose data `text` is not looked for, as they hold what is not shown to who asks;
    "*": only ids and types are looked at, of all jobs. Without a text it says nothing."""
    worker: str | None
    """The name of the worker that holds it, "host:pid"."""
    workflow: str | UUID | None
    """The id of the workflow or batch that it belongs to."""
    priority: str | None
    since: datetime | None
    """Made at this moment or later."""
    until: datetime | None
    """Made before this moment."""


def read_filter(said: Mapping[str, Any]) -> Filter:
    """A filter of what a caller said.

    Raises:
        OptionError: a word that there is none of; an unknown status or priority; a type, queue,
            tag or moment that no job can have; a text of no or too many characters.
    """
    unknown = said.keys() - JobFilter.__annotations__.keys()
    if unknown:
        known = ", ".join(JobFilter.__annotations__)
        raise OptionError(f"jobs are not found by {', '.join(sorted(unknown))}; but by {known}")
    which = {name: _checked(name, value) for name, value in said.items() if value is not None}
    if "since" in which and "until" in which and which["since"] >= which["until"]:
        raise OptionError(
            f"since must be before until, got {said['since'].isoformat()} and"
            f" {said['until'].isoformat()}: nothing is made in that time",
            "until",
        )
    if "text" not in which:
        which.pop("unseen", None)
    return Filter(**which)


def _checked(name: str, value: object) -> Any:
    try:
        return _CHECKS[name](value)
    except OptionError as error:
        error.option = name
        raise


def check_tag(value: object) -> str:
    """One word to find a job by, as a plain `str`.

    Raises:
        OptionError: it is no text of 1 to 100 printable characters.
    """
    tag = str.__str__(value) if isinstance(value, str) else ""
    if not 0 < len(tag) <= MAX_TAG or not tag.isprintable():
        raise OptionError(f"a tag is 1 to {MAX_TAG} printable characters, got {value!r}")
    return tag


def check_job_id(value: object) -> str:
    """An id as plain text.

    Raises:
        OptionError: it is neither text nor a UUID.
        JobNotFoundError: it is text that no storage could hold.
    """
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise OptionError(f"a job id must be a text or a UUID, got {value!r}")
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise JobNotFoundError(f"no job has the id {text!r}") from None
    return text


def check_ids(value: object) -> list[str]:
    """Up to 1,000 ids of jobs, each once.

    Raises:
        OptionError: it is no list, or a longer one, or of something else.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise OptionError(f"ids must be a list of the ids of jobs, got {value!r}", "ids")
    if len(value) > MAX_IDS:
        raise OptionError(f"ids may name {MAX_IDS:,} jobs in one call, got {len(value):,}", "ids")
    return list(dict.fromkeys(check_job_id(one) for one in value))


def check_cursor(cursor: object) -> str | None:
    """Where a page begins."""
    if cursor is None:
        return None
    if not isinstance(cursor, str):
        raise no_cursor(cursor)
    return str.__str__(cursor)


def check_limit(value: object) -> int:
    """How many a page has at most."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise OptionError(f"limit must be a whole number from 1 to 1000, got {value!r}", "limit")
    return value


def _status(value: object) -> JobStatus:
    try:
        return JobStatus(value)  # type: ignore[arg-type]  # Else it says so.
    except ValueError:
        known = ", ".join(JobStatus)
        raise OptionError(f"status must be one of {known}, got {value!r}") from None


def _type(value: object) -> str:
    """The name of a type; it need not be known here."""
    if isinstance(value, JobType):
        return value.name
    try:
        return check_name("job type", value)
    except ConfigurationError as error:
        raise OptionError(str(error)) from None


def _priority(value: object) -> int:
    if not isinstance(value, str) or value not in PRIORITIES:
        raise OptionError(f"priority must be one of {', '.join(PRIORITIES)}, got {value!r}")
    return PRIORITIES.index(value)


def _words(name: str, most: int) -> Any:
    def check(value: object) -> str:
        text = str.__str__(value) if isinstance(value, str) else ""
        if not 0 < len(text) <= most or "\0" in text or not _encodable(text):
            raise OptionError(f"{name} must be a text of 1 to {most} characters, got {value!r}")
        return text

    return check


def _unseen(value: object) -> tuple[str, ...] | Literal["*"]:
    if value == "*":
        return "*"
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise OptionError(f'unseen must be "*" or a list of types, got {value!r}')
    return tuple(sorted({_type(one) for one in value}))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_CHECKS: Final[dict[str, Any]] = {
    "status": _status,
    "type": _type,
    "queue": check_queue,
    "tag": check_tag,
    "error": _words("error", MAX_KIND),
    "text": _words("text", MAX_TEXT),
    "unseen": _unseen,
    "worker": _words("worker", MAX_TEXT),
    "workflow": lambda value: str(value) if isinstance(value, UUID) else (
        _words("workflow", MAX_TEXT)(value)
    ),
    "priority": _priority,
    "since": lambda value: moment("since", value),
    "until": lambda value: moment("until", value),
}  # fmt: skip
