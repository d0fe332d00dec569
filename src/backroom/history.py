"""What happened over time, as people see it: frozen values, and how they are made of figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from backroom.figure import Figures, Histogram, Percentiles, add_counts, percentiles
from backroom.job import SECOND, to_datetime
from backroom.stats import JobStats

__all__ = [
    "COARSE",
    "FINE",
    "LONGEST",
    "SHORTEST",
    "WHOLE",
    "Depth",
    "ErrorCount",
    "History",
    "HistoryPoint",
    "Totals",
    "begin_of",
    "depths_of",
    "history_of",
    "step_of",
    "totals_of",
]

FINE: Final = 10
"""Seconds: the length of the short stretches of which figures are kept."""
COARSE: Final = 600
"""The same of the long ones."""
HOUR: Final = 3600
SHORTEST: Final = 60
"""The shortest and the longest stretch, in seconds, that can be asked for."""
LONGEST: Final = 8 * 86_400
WHOLE: Final = ""
"""The key of what all queues together have."""
MOST_QUEUES: Final = 100
"""Queues whose depth is kept by name, the deepest ones."""
QUIET: Final = 60
"""Seconds between two samples of a store in which nothing changes."""
MOST_ERRORS: Final = 100


class Depth(msgspec.Struct, frozen=True, gc=False):
    """How many jobs of a queue stood where at one moment."""

    pending: int = 0
    scheduled: int = 0
    blocked: int = 0
    active: int = 0
    oldest: float | None = None
    """For how many seconds the job that had waited longest was due; None: none was."""

    @property
    def jobs(self) -> int:
        """All of them."""
        return self.pending + self.scheduled + self.blocked + self.active


class HistoryPoint(msgspec.Struct, frozen=True):
    """One step of a history."""

    at: datetime
    """Its beginning."""
    scheduled: int
    completed: int
    failed: int
    retried: int
    cancelled: int
    put_off: int
    rescued: int
    waiting: Percentiles
    running: Percentiles
    depth: dict[str, Depth]
    """By queue, of those that held a job; empty where nobody looked."""
    total: Depth | None
    """Of all queues together; None: nobody looked, as no worker was there."""


class ErrorCount(msgspec.Struct, frozen=True):
    """Attempts of one job type that ended with one kind of error."""

    kind: str
    type: str
    attempts: int


class History(msgspec.Struct, frozen=True):
    """What happened in a stretch of time, step by step."""

    step: float
    """Seconds from one point to the next."""
    points: tuple[HistoryPoint, ...]
    """In their order, without gaps; the last one is not over yet."""
    errors: tuple[ErrorCount, ...]
    """Of the whole stretch, the most frequent ones first, at most 100."""
    waiting: Percentiles
    """Of the whole stretch."""
    running: Percentiles


class Totals(msgspec.Struct, frozen=True):
    """What has become of the jobs of one queue and one job type since the store was made, or began
    to count. Each number only grows."""

    queue: str
    type: str
    scheduled: int
    completed: int
    failed: int
    retried: int
    cancelled: int
    put_off: int
    rescued: int
    waiting: Histogram
    running: Histogram
    errors: dict[str, int]
    """By kind of error: attempts."""


def step_of(last: float) -> int:
    """The seconds of a step, for so many seconds: 1 h, 24 h and 7 d have 360, 144, and 168."""
    if last <= HOUR:
        return FINE
    if last <= 2 * HOUR:
        return 3 * FINE
    return COARSE if last <= 48 * HOUR else HOUR


def begin_of(moment: int, step: int) -> int:
    """When the step that a moment is in begins."""
    return moment - moment % (step * SECOND)


def history_of(
    step: int,
    since: int,
    until: int,
    figures: Iterable[Figures],
    errors: Iterable[tuple[str, str, int]],
    samples: Sequence[tuple[int, Mapping[str, Depth]]],
    queue: str | None = None,
) -> History:
    """The history from `since`, where a step begins, to the step that `until` is in.

    Args:
        figures: of steps of this length, or of shorter ones that fit into them; they may be added
            to each other.
        errors: kind, type and attempts.
        samples: moments and depths, in order; also from before `since`.
        queue: whose depth is wanted; None: all.
    """
    length = step * SECOND
    count = (begin_of(until, step) - since) // length + 1
    sums: list[Figures | None] = [None] * max(0, count)
    for one in figures:
        at = (one.at - since) // length
        if not 0 <= at < count:
            continue
        there = sums[at]
        if there is None:
            sums[at] = one
        else:
            there.add(one)
    whole = Figures("", "")
    points: list[HistoryPoint] = []
    seen = -1
    nothing = Figures("", "")
    valid = max(QUIET + 2 * FINE, step) * SECOND
    for number, counted in enumerate(sums):
        one = counted or nothing
        add_counts(whole.waits, one.waits)
        add_counts(whole.runs, one.runs)
        at = since + number * length
        while seen + 1 < len(samples) and samples[seen + 1][0] < at + length:
            seen += 1
        depth: Mapping[str, Depth] = {}
        total = None
        if seen >= 0 and samples[seen][0] > at - valid:
            depth = samples[seen][1]
            total = depth.get(WHOLE if queue is None else queue, Depth())
        points.append(_point(at, one, depth, total, queue))
    failed: dict[tuple[str, str], int] = {}
    for kind, type_, attempts in errors:
        failed[kind, type_] = failed.get((kind, type_), 0) + attempts
    most = sorted(failed.items(), key=lambda one: (-one[1], one[0]))[:MOST_ERRORS]
    return History(
        float(step),
        tuple(points),
        tuple(ErrorCount(kind, type_, attempts) for (kind, type_), attempts in most),
        percentiles(whole.waits),
        percentiles(whole.runs),
    )


def _point(
    at: int, sums: Figures, depth: Mapping[str, Depth], total: Depth | None, queue: str | None
) -> HistoryPoint:
    named = {
        name: one
        for name, one in depth.items()
        if name != WHOLE and (queue is None or name == queue)
    }
    return HistoryPoint(
        to_datetime(at), sums.scheduled, sums.completed, sums.failed, sums.retried, sums.cancelled,
        sums.put_off, sums.rescued, percentiles(sums.waits), percentiles(sums.runs), named, total,
    )  # fmt: skip


def totals_of(one: Figures) -> Totals:
    """The same figures, for people."""
    return Totals(
        one.queue, one.type, one.scheduled, one.completed, one.failed, one.retried, one.cancelled,
        one.put_off, one.rescued, Histogram(one.waits, one.waited / SECOND),
        Histogram(one.runs, one.ran / SECOND), one.errors,
    )  # fmt: skip


def depths_of(stats: JobStats, now: int) -> dict[str, Depth]:
    """The sample that these counts are, with that of all queues together under `WHOLE`."""
    depths: dict[str, Depth] = {}
    oldest: float | None = None
    for queue in stats.queues:
        age = None
        if queue.oldest_pending is not None:
            age = round(max(0.0, (to_datetime(now) - queue.oldest_pending).total_seconds()), 3)
            oldest = age if oldest is None else max(oldest, age)
        one = Depth(queue.pending, queue.scheduled, queue.blocked, queue.active, age)
        if one != Depth():
            depths[queue.name] = one
    deepest = sorted(depths, key=lambda name: -depths[name].jobs)[:MOST_QUEUES]
    by_status = stats.by_status
    whole = Depth(
        by_status["pending"], by_status["scheduled"], by_status["blocked"], by_status["active"],
        oldest,
    )  # fmt: skip
    return {WHOLE: whole} | {name: depths[name] for name in deepest}
