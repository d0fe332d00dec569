"""What happened in a stretch of time, in numbers: values, and the arithmetic of histograms.

A duration is counted in a bin, four to each power of two of microseconds, so that a percentile
read from the bins is off by less than a fifth, from a microsecond to a century.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

__all__ = [
    "OTHER",
    "Figures",
    "Histogram",
    "Percentiles",
    "add_counts",
    "bin_of",
    "edge_of",
    "percentiles",
]

K = TypeVar("K", int, str)

SHARES: Final = 4
"""Bins to each power of two."""
OTHER: Final = "(other)"
"""Stands for queues, types and kinds of errors beyond those that are counted by name."""


def bin_of(microseconds: int) -> int:
    """The bin of a duration; what is below a microsecond is in the first one."""
    if microseconds < SHARES:
        return max(0, microseconds)
    power = microseconds.bit_length() - 3
    return power * SHARES + (microseconds >> power)


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


class Histogram(msgspec.Struct, frozen=True):
    """Many durations."""

    bins: dict[int, int] = msgspec.field(default_factory=dict)
    """By bin (`bin_of`): how many."""
    total: float = 0.0
    """The sum of all, in seconds, exact."""

    @property
    def count(self) -> int:
        """How many."""
        return sum(self.bins.values())

    @property
    def percentiles(self) -> Percentiles:
        return percentiles(self.bins)

    def below(self, bounds: Sequence[float]) -> list[int]:
        """For each of these bounds, in seconds and rising: how many are in bins that end at or
        before it. A bin that a bound falls into counts as above it."""
        counts: list[int] = []
        numbers = sorted(self.bins)
        at, seen = 0, 0
        for bound in bounds:
            most = bound * 1_000_000
            while at < len(numbers) and edge_of(numbers[at] + 1) <= most:
                seen += self.bins[numbers[at]]
                at += 1
            counts.append(seen)
        return counts


class Figures(msgspec.Struct, array_like=True, gc=False):
    """What became of the jobs of one queue and one job type, in one stretch of time."""

    queue: str
    type: str
    at: int = 0
    """The moment at which the stretch begins."""
    scheduled: int = 0
    """Jobs that were made."""
    completed: int = 0
    failed: int = 0
    """Jobs that are out of retries."""
    retried: int = 0
    """Attempts that failed, whose job is tried again."""
    cancelled: int = 0
    """Jobs that people or their handler gave up, or that expired: under a worker, or while they
    waited."""
    put_off: int = 0
    """Attempts that had begun, and were snoozed, or wait for a signal or the end of a sleep, or
    were given back by a worker that goes."""
    rescued: int = 0
    """Jobs that were taken back from workers that had died."""
    waited: int = 0
    """The sum of all that is in `waits`, in microseconds."""
    ran: int = 0
    """The same of `runs`."""
    waits: dict[int, int] = msgspec.field(default_factory=dict)
    """By bin: from the moment that a job was due to the begin of its attempt."""
    runs: dict[int, int] = msgspec.field(default_factory=dict)
    """By bin: from the begin of an attempt to its end, of those that were not put off."""
    errors: dict[str, int] = msgspec.field(default_factory=dict)
    """By kind of error, a printable text: how many attempts."""

    def add(self, other: Figures) -> None:
        """Counts what another one has, too."""
        self.scheduled += other.scheduled
        self.completed += other.completed
        self.failed += other.failed
        self.retried += other.retried
        self.cancelled += other.cancelled
        self.put_off += other.put_off
        self.rescued += other.rescued
        self.waited += other.waited
        self.ran += other.ran
        add_counts(self.waits, other.waits)
        add_counts(self.runs, other.runs)
        add_counts(self.errors, other.errors)


def add_counts(counts: dict[K, int], more: Mapping[K, int]) -> None:
    """Adds counts to others of the same kind."""
    for name, number in more.items():
        counts[name] = counts.get(name, 0) + number
