"""Options of a job type or its handler, and the names of things, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias, TypedDict

import msgspec

from backroom.errors import ConfigurationError, OptionError
from backroom.job import PRIORITIES, Priority, duration
from backroom.keying import check_unique
from backroom.keypath import KeyPath
from backroom.limit import Limit, check_slots, read_limits
from backroom.retry import Backoff, read_backoff
from backroom.unique import Unique

__all__ = [
    "WITHIN",
    "Bulk",
    "HandlerOptions",
    "Isolation",
    "check_isolation",
    "check_name",
    "check_options",
    "check_priority",
    "check_queue",
    "check_retries",
    "near",
    "take_bulk",
]

MAX_RETRIES: Final = 1000
MAX_NAME: Final = 200
MAX_BATCH: Final = 1000
"""Jobs that one call of a bulk handler takes at most."""
MAX_WITHIN: Final = 3600.0
WITHIN: Final = 0.2
"""Seconds that the first job of a batch waits for others, where nobody says how long."""


Isolation: TypeAlias = Literal["none", "process"]
"""Where a handler runs: on the loop or in a thread of the worker, or in a child process."""


class HandlerOptions(TypedDict, total=False):
    """Options of a job type, or of its handler. Durations: seconds or `timedelta`.

    `queue`, `priority`, `expires_in`, `unique`, `limit`, `slots` and `fair_by` are applied when a
    job is scheduled; the others when it runs, unless the call that scheduled it gave them.
    """

    queue: str
    priority: Priority
    expires_in: float | timedelta
    unique: Unique
    retries: int
    retry_delay: float | timedelta
    backoff: Backoff | Literal["fixed", "linear", "exponential"] | Callable[[int], float]
    timeout: float | timedelta
    isolation: Isolation
    limit: Limit | Sequence[Limit]
    """How many of its jobs run at once, or start in some time, across all workers."""
    slots: int
    """How many slots a job takes of the limit of its queue; default 1."""
    fair_by: str
    """Where in the data the key stands by which jobs of a queue take turns: "data.tenant_id"."""


class Bulk(msgspec.Struct, frozen=True):
    """What makes a handler one of many jobs at once."""

    batch: int
    """Jobs in one call, at most."""
    within: float
    """Seconds that the first of them waits for the others."""


def take_bulk(name: str, options: dict[str, Any]) -> Bulk | None:
    """Takes `batch` and `within` out of the options of a handler of this job type; None: it is one
    of single jobs.

    Raises:
        ConfigurationError: one of them is out of its range, or `within` stands alone.
    """
    within = options.pop("within", None)
    batch = options.pop("batch", None)
    if batch is None:
        if within is None:
            return None
        raise ConfigurationError(
            f"{name}: within={within!r} says how long a job waits for others; say with batch="
            " how many of them its handler takes at once"
        )
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= MAX_BATCH:
        raise ConfigurationError(
            f"{name}: batch must be a whole number from 1 to {MAX_BATCH:,}, the jobs that one call"
            f" of its handler takes at most, got {batch!r}"
        )
    return Bulk(batch, WITHIN if within is None else _check_within(name, within))


def _check_within(name: str, value: object) -> float:
    range_ = f"{name}: within must be 0 to {MAX_WITHIN:g} seconds, or a timedelta, got {value!r}"
    try:
        seconds = duration("within", value)
    except OptionError:
        raise ConfigurationError(f"{range_}; 0 waits for nobody") from None
    if seconds > MAX_WITHIN:
        raise ConfigurationError(
            f"{range_}; to gather jobs for longer, run one on a schedule that looks for all that"
            " is to be done"
        )
    return seconds


def near(name: object, known: Mapping[str, Any]) -> str:
    """A hint at the known name that looks most like a wrong one."""
    import difflib

    close = difflib.get_close_matches(str(name), known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_name(what: str, name: object) -> str:
    """A name of a type, queue or key, as a plain `str`.

    Raises:
        ConfigurationError: it is no text of 1 to 200 printable characters.
    """
    text = str.__str__(name) if isinstance(name, str) else ""
    if not 0 < len(text) <= MAX_NAME or not text.isprintable():
        raise ConfigurationError(
            f"a {what} needs a name of 1 to {MAX_NAME} printable characters, got {name!r}"
        )
    return text


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
        raise OptionError(
            f"retries must be a whole number from 0 to {MAX_RETRIES}, got {value!r}", "retries"
        )
    return int(value)


def check_priority(value: object) -> Priority:
    """One of the four.

    Raises:
        OptionError: it is not.
    """
    for priority in PRIORITIES:
        if value == priority:
            return priority
    raise OptionError(f"priority must be one of {', '.join(PRIORITIES)}, got {value!r}", "priority")


def check_queue(value: object) -> str:
    """A queue's name, as an option."""
    try:
        return check_name("queue", value)
    except ConfigurationError as error:
        raise OptionError(str(error), "queue") from None


def check_isolation(value: object) -> Isolation:
    """Where a handler runs.

    Raises:
        OptionError: it is neither "none" nor "process".
    """
    if value == "none" or value == "process":
        return value
    raise OptionError(f'isolation must be "none" or "process", got {value!r}')


def _check_backoff(value: object) -> Backoff | Callable[[int], float]:
    return value if callable(value) else read_backoff(value)


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "queue": check_queue,
    "priority": check_priority,
    "expires_in": lambda value: duration("expires_in", value, zero=False),
    "unique": check_unique,
    "retries": check_retries,
    "retry_delay": lambda value: duration("retry_delay", value),
    "backoff": _check_backoff,
    "timeout": lambda value: duration("timeout", value, zero=False),
    "isolation": check_isolation,
    "limit": read_limits,
    "slots": check_slots,
    "fair_by": KeyPath,
}
