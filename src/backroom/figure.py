"""What happened in a stretch of time, in numbers: frozen values, and the arithmetic of histograms.

A duration is counted in a bin, four to each power of two of microseconds, so that a percentile
read from the bins is off by less than a fifth, from a microsecond to a century.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ["Figures", "Percentiles", "Running", "WorkerReport", "bin_of", "edge_of", "percentiles"]

SHARES: Final = 4
"""Bins to each power of two."""


def bin_of(microseconds: int) -> int:
    """The bin of a duration; what is below a microsecond is in the first one."""
    if microseconds < SHARES:
        return max(0, microseconds)
    power = microseconds.bit_length() - 3
    return (power + 1) * SHARES + (microseconds >> power) - SHARES


def edge_of(number: int) -> int:
    """The shortest duration of a bin, in microseconds."""
    if number < SHARES:
        return number
    power, share = divmod(number, SHARES)
    return (SHARES + share) << (power - 1)


class Percentiles(msgspec.Struct, frozen=True):
    """Of many durations, in seconds; None: there were none."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


def percentiles(bins: Mapping[int, int]) -> Percentiles:
    """Of the durations in these bins, each taken as the middle of its bin."""
    total = sum(bins.values())
    if not total:
        return Percentiles()
    found: list[float] = []
    seen, wanted = 0, [0.5, 0.95, 0.99]
    for number in sorted(bins):
        seen += bins[number]
        while wanted and seen >= wanted[0] * total:
            found.append((edge_of(number) + edge_of(number + 1)) / 2_000_000)
            wanted.pop(0)
    return Percentiles(*found)


class Figures(msgspec.Struct, array_like=True, gc=False):
    """What became of the attempts of one queue and one job type, in one stretch of time."""

    queue: str
    type: str
    at: int = 0
    """The moment at which the stretch begins."""
    completed: int = 0
    failed: int = 0
    """Jobs that are out of retries."""
    retried: int = 0
    """Attempts that failed, whose job is tried again."""
    cancelled: int = 0
    put_off: int = 0
    """Snoozed, or waiting for a signal or the end of a sleep; given back by a worker that goes."""
    waits: dict[int, int] = msgspec.field(default_factory=dict)
    """By bin: from the moment that a job was due to the begin of its attempt."""
    runs: dict[int, int] = msgspec.field(default_factory=dict)
    """By bin: from the begin of an attempt to its end."""
    errors: dict[str, int] = msgspec.field(default_factory=dict)
    """By kind of error: how many attempts."""


class Running(msgspec.Struct, frozen=True, array_like=True):
    """One attempt that runs now."""

    id: str
    type: str
    queue: str
    attempt: int
    since: int


class WorkerReport(msgspec.Struct, frozen=True):
    """What a worker tells of itself every few seconds."""

    at: int
    pid: int
    host: str
    memory: int | None
    """Bytes that its process holds (resident); None where the system does not tell."""
    concurrency: int
    queues: str
    """Which it serves, for people."""
    running: tuple[Running, ...]
    """The 100 that have run longest."""
    active: int
    """How many run."""
    claimed: int
    """How many it has claimed ahead, which have not begun."""
    draining: bool
    """It claims nothing, since it was asked to."""
