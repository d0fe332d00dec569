"""What a service was told of itself, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from backroom.errors import ConfigurationError, OptionError
from backroom.job import duration
from backroom.options import check_name

__all__ = [
    "Settings",
    "check_limit",
    "check_payload",
    "check_queues",
    "check_seconds",
    "check_slots",
]

LEAST_MEMORY: Final = 64 << 20
"""Bytes below which no Python starts."""

MAX_CONCURRENCY: Final = 10_000
MOST_PAYLOAD: Final = 256 << 20


class Settings(msgspec.Struct, frozen=True):
    """How a worker works."""

    concurrency: int
    queues: dict[str, int]
    """Queues with slots of their own; all others share `concurrency`."""
    only: tuple[str, ...] | None
    """The queues it serves; None: all."""
    poll_interval: float
    lease: float
    starvation_after: float
    max_payload: int
    max_memory: int | None = None
    """Bytes of one child process."""
    max_jobs_per_process: int | None = None
    threaded: bool = True
    """Whether the lease is kept in a thread; false under a virtual clock."""
    patient: bool = True
    """Whether jobs of bulk handlers wait for company; else they are run with who is there."""


def check_slots(name: str, value: object) -> int:
    """A number of slots: 1 to 10,000.

    Raises:
        ConfigurationError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_CONCURRENCY:
        raise ConfigurationError(
            f"{name} must be a whole number from 1 to {MAX_CONCURRENCY:,}, got {value!r}"
        )
    return value


def check_payload(value: object) -> int:
    """A number of bytes.

    Raises:
        ConfigurationError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PAYLOAD:
        raise ConfigurationError(f"max_payload must be 1 to {MOST_PAYLOAD:,} bytes, got {value!r}")
    return value


def check_limit(name: str, value: object, least: int) -> int | None:
    """A whole number from `least` on, or None for no limit.

    Raises:
        ConfigurationError: it is not.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(
            f"{name} must be a whole number of at least {least:,}, or None, got {value!r}"
        )
    return value


def check_seconds(name: str, value: object, least: float, most: float) -> float:
    """Seconds within bounds, from a number or a `timedelta`.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        seconds = duration(name, value)
    except OptionError as error:
        raise ConfigurationError(str(error)) from None
    if not least <= seconds <= most:
        raise ConfigurationError(f"{name} must be {least:g} to {most:g} seconds, got {value!r}")
    return seconds


def check_queues(queues: Sequence[str]) -> tuple[str, ...]:
    """Names of queues, at least one.

    Raises:
        ConfigurationError: it is not.
    """
    if isinstance(queues, str) or not queues:
        raise ConfigurationError(f"only must be a list of queue names, got {queues!r}")
    return tuple(check_name("queue", queue) for queue in queues)
