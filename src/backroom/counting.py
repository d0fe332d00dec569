"""What happens in this process, counted in memory until it is told.

It is on the way of every job: a batch of outcomes is one call, and no object is made for a job.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from backroom.figure import OTHER, SHARES, Figures
from backroom.job import JobRecord, State
from backroom.ports import Rescued
from backroom.transition import Claim, Transition

__all__ = ["Counts"]

BINS: Final = 256
"""More than a duration of any length comes to."""
COMPLETED: Final = int(State.COMPLETED)
"""A plain number: who compares members of an enumeration waits for it."""
MOST_SERIES: Final = 200
"""Queues and job types that are counted by name until the next telling."""
MOST_KINDS: Final = 50
"""Kinds of errors that are counted by name, of each of these."""
LONGEST_KIND: Final = 100
"""Characters of such a name."""


class _Series:
    """What has become of the jobs of one queue and one job type."""

    __slots__ = (
        "cancelled", "completed", "errors", "failed", "put_off", "ran", "rescued", "retried",
        "runs", "scheduled", "waited", "waits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.scheduled = self.completed = self.failed = self.retried = 0
        self.cancelled = self.put_off = self.rescued = self.waited = self.ran = 0
        self.waits = [0] * BINS
        self.runs = [0] * BINS
        self.errors: dict[str, int] = {}

    def figures(self, queue: str, type_: str, at: int) -> Figures:
        waits = {number: count for number, count in enumerate(self.waits) if count}
        runs = {number: count for number, count in enumerate(self.runs) if count}
        return Figures(
            queue, type_, at, self.scheduled, self.completed, self.failed, self.retried,
            self.cancelled, self.put_off, self.rescued, self.waited, self.ran, waits, runs,
            self.errors,
        )  # fmt: skip


class Counts:
    """To be used on one loop."""

    def __init__(self) -> None:
        self._queues: dict[str, dict[str, _Series]] = {}
        self._size = 0

    def __bool__(self) -> bool:
        """Whether anything was counted since the last `take`."""
        return self._size > 0

    def take(self, at: int) -> list[Figures]:
        """All that was counted since the last time, as of the stretch that begins at `at`."""
        queues, self._queues, self._size = self._queues, {}, 0
        return [
            series.figures(queue, type_, at)
            for queue, types in queues.items()
            for type_, series in types.items()
        ]

    def made(self, jobs: Iterable[JobRecord]) -> None:
        """These jobs were made."""
        for job in jobs:
            self._of(job.queue, job.type).scheduled += 1

    def rescued(self, rescued: Iterable[Rescued]) -> None:
        """These jobs were taken back from workers that had died."""
        for one in rescued:
            series = self._of(one.queue, one.type)
            series.rescued += one.jobs
            if one.crashed:
                _count(series.errors, "crash", one.crashed)

    def ended(self, outcomes: Sequence[tuple[Claim, Transition]]) -> None:
        """These outcomes stand."""
        queue = type_ = ""
        series: _Series | None = None
        waits: list[int] = []
        runs: list[int] = []
        for claim, end in outcomes:
            if series is None or claim.type != type_ or claim.queue != queue:
                queue, type_ = claim.queue, claim.type
                series = self._of(queue, type_)
                waits, runs = series.waits, series.runs
            began = end.started_at
            if end.state == COMPLETED:
                series.completed += 1
                ended_at = end.finished_at
            else:
                ended_at = _ended(series, end)
            if began is None:
                continue
            run_at, created_at = claim.run_at, claim.created_at
            wait = began - (run_at if run_at > created_at else created_at)
            if wait >= SHARES:
                series.waited += wait
                power = wait.bit_length() - 3
                waits[power * SHARES + (wait >> power)] += 1
            else:
                series.waited += _count_short(waits, wait)
            if ended_at is None:
                continue
            run = ended_at - began
            if run >= SHARES:
                series.ran += run
                power = run.bit_length() - 3
                runs[power * SHARES + (run >> power)] += 1
            else:
                series.ran += _count_short(runs, run)

    def _of(self, queue: str, type_: str) -> _Series:
        types = self._queues.get(queue)
        if types is not None:
            series = types.get(type_)
            if series is not None:
                return series
        if self._size >= MOST_SERIES and (queue, type_) != (OTHER, OTHER):
            return self._of(OTHER, OTHER)
        series = self._queues.setdefault(queue, {})[type_] = _Series()
        self._size += 1
        return series


def _ended(series: _Series, end: Transition) -> int | None:
    """An outcome that is not the usual one; when the attempt ended, if it is not put off."""
    failure = end.failure
    if failure is not None:
        if end.state == State.FAILED:
            series.failed += 1
        else:
            series.retried += 1
        _count(series.errors, failure.kind, 1)
        return failure.at
    if end.state == State.CANCELLED:
        series.cancelled += 1
        return end.finished_at
    if end.started_at is not None:
        series.put_off += 1
    return None


def _count_short(bins: list[int], duration: int) -> int:
    """A duration of less than the first bins, as it counts: a clock may have stepped back."""
    duration = max(0, duration)
    bins[duration] += 1
    return duration


def _count(errors: dict[str, int], kind: str, attempts: int) -> None:
    """What is no printable text would be none in every storage."""
    if kind not in errors:
        kind = kind[:LONGEST_KIND]
        if not kind.isprintable():
            kind = ascii(kind)[1:-1][:LONGEST_KIND]
        if kind not in errors and len(errors) >= MOST_KINDS:
            kind = OTHER
    errors[kind] = errors.get(kind, 0) + attempts
