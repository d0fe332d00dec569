"""How many jobs there are, from numbers that are kept: no look goes through all jobs.

Triggers write down what each statement changed (`migrations/0011_counts.sql`), and who keeps house
folds that. Here the numbers are read, kept few, compared with the jobs and made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from backroom.errors import StorageError
from backroom.job import (
    FailureGroup,
    JobId,
    JobStats,
    JobStatus,
    ParkedStats,
    QueueStats,
    State,
    WorkerStats,
    first_line,
    status_of,
    to_datetime,
)
from backroom.storage.postgres.base import Base
from backroom.storage.postgres.connecting import LONGEST
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import from_text

__all__ = ["Counts", "failures", "miscounted", "stats"]

SPAN: Final = 23
"""Jobs that wait are counted by spans of so many bits of microseconds: 8.4 s."""
PASSED: Final = 36
"""Spans that are kept apart after they have passed, 5 minutes: a clock that is set back by less
does not blur what is due."""
FOLDED: Final = 100_000
"""Changes that one call of `fold` makes one number of, at most."""
PATIENCE: Final = "500ms"
"""How long a count anew waits for those who write, and others behind it."""
TRIES: Final = 10
DUE: Final = -1
"""The place of numbers by span, beside those of all that waits."""
NAMES: Final = {
    DUE: "due", State.WAITING: "waiting", State.BLOCKED: "blocked", State.PARKED: "parked",
    State.FAILED: "failures", -2: "ended",
}  # fmt: skip


async def stats(link: Any, text: Statements, now: int) -> JobStats:
    """Counts, queues and workers."""
    names = {from_text(name): paused for name, paused in await link.fetch(text["queues"])}
    by_status = dict.fromkeys((str(status) for status in JobStatus), 0)
    scheduled: dict[str, int] = {}
    pending: dict[str, int] = {}
    blocked: dict[str, int] = {}
    oldest: dict[str, int] = {}
    parked: dict[tuple[str, int], int] = {}
    for queue, jobs, due, first in await link.fetch(text["count_waiting"], now):
        queue = from_text(queue)
        scheduled[queue], pending[queue] = jobs - due, due
        if first is not None:
            oldest[queue] = first
    for place, queue, type_, version, jobs in await link.fetch(text["count_others"]):
        queue, type_ = from_text(queue), from_text(type_)
        if place == State.BLOCKED:
            blocked[queue] = jobs
        else:
            pending[queue] = pending.get(queue, 0) + jobs
            parked[type_, version] = parked.get((type_, version), 0) + jobs
    active = {from_text(queue): jobs for queue, jobs in await link.fetch(text["count_active"])}
    for state, jobs in await link.fetch(text["count_ended"]):
        by_status[str(status_of(state, 0, 0))] += jobs
    by_status["scheduled"] = sum(scheduled.values())
    by_status["pending"] = sum(pending.values())
    by_status["active"] = sum(active.values())
    by_status["blocked"] = sum(blocked.values())
    unknown: dict[str, int] = {}
    for (type_, _), jobs in sorted(parked.items()):
        unknown[type_] = unknown.get(type_, 0) + jobs
    workers = await link.fetch(text["workers"])
    return JobStats(
        by_status,
        tuple(
            QueueStats(
                queue, paused, scheduled.get(queue, 0), pending.get(queue, 0),
                active.get(queue, 0), _moment(oldest.get(queue)), blocked.get(queue, 0),
            )
            for queue, paused in names.items()
        ),
        tuple(WorkerStats(name, to_datetime(at), int(count)) for name, at, count in workers),
        unknown,
        tuple(ParkedStats(*kind, jobs) for kind, jobs in sorted(parked.items())),
    )  # fmt: skip


def _moment(value: int | None) -> Any:
    return None if value is None else to_datetime(value)


async def failures(link: Any, text: Statements, limit: int) -> list[FailureGroup]:
    """The failed jobs that are there, by their types and the kinds of their last errors."""
    return [
        FailureGroup(
            from_text(type_), from_text(kind), jobs, to_datetime(at),
            first_line(from_text(message)), JobId(str(id_)),
        )
        for type_, kind, jobs, at, id_, message in await link.fetch(text["failures"], limit)
    ]  # fmt: skip


async def miscounted(link: Any, text: Statements) -> list[str]:
    """Which numbers are not what they should be, for people. Goes through all jobs."""
    rows = await link.fetch(text["folded_to"])
    passed = rows[0][0] if rows else -(2**62)
    kept = _numbers(await link.fetch(text["numbers"]), passed)
    there = _numbers(await link.fetch(text["numbers_there"]), passed)
    return [
        f"{' '.join(map(str, place))}: {kept.get(place, 0)} counted, {there.get(place, 0)} there"
        for place in sorted(kept.keys() | there.keys(), key=str)
        if kept.get(place, 0) != there.get(place, 0)
    ]


def _numbers(rows: Sequence[Any], passed: int) -> dict[tuple[Any, ...], int]:
    """Of what has passed, the sum alone can be told."""
    numbers: dict[tuple[Any, ...], int] = {}
    for place, queue, type_, kind, version, span, jobs in rows:
        if place == DUE and span < passed:
            span = 0
        one = (NAMES[place], queue, type_, kind, version, span)
        numbers[one] = numbers.get(one, 0) + jobs
    return numbers


class Counts:
    """What is done about the numbers, over `_base`."""

    _base: Base

    async def fold(self, now: int) -> None:
        """See the protocol. Of several who do it at once, one does."""
        text = self._base.statements

        async def fold(link: Any) -> None:
            [(alone,)] = await link.fetch(text["alone"], f"counts of {text.channel}")
            if alone:
                await link.fetch(text["fold_changed"], FOLDED)
                await link.fetch(text["fold_passed"], (now >> SPAN) - PASSED, FOLDED)

        await self._base.change(fold)

    async def recount(self) -> None:
        """See the protocol."""
        text = self._base.statements

        async def recount(link: Any) -> None:
            await link.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
            await link.execute(text["stand_still"])
            for name in ("fail_nothing", "fail_anew", "count_nothing", "count_anew"):
                await link.execute(text[name])

        for _ in range(TRIES):
            try:
                await self._base.change(recount, LONGEST)
                return
            except (asyncpg.exceptions.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                continue
        raise StorageError(
            f"the jobs of {text.name('jobs')} were not counted: somebody wrote all the time;"
            " nothing was changed; try again, or stop the workers for a moment"
        )
