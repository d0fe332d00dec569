"""How many jobs there are, from numbers that are kept: no look goes through all jobs.

Triggers write down what each statement changed (`migrations/0011_counts.sql`), and who keeps house
folds that. Here the numbers are read, kept few, compared with the jobs and made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from backroom.errors import StorageError
from backroom.job import JobId, JobStatus, State, status_of, to_datetime
from backroom.stats import FailureGroup, JobStats, ParkedStats, QueueStats, WorkerStats, first_line
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
FOLDED: Final = 50_000
"""Changes that one transaction of `fold` makes one number of, at most."""
ROUNDS: Final = 20
"""Such transactions of one call, at most: after a million jobs that came while no worker ran,
looks are slow until their changes are folded."""
MANY: Final = 5_000
"""Changes that were folded, from which on their room is cleared at once."""
PATIENCE: Final = "500ms"
"""How long a count anew waits for those who write, and others behind it."""
TRIES: Final = 10
QUEUE: Final = 7
WORKER: Final = 8
"""What the statement `stats` tells of, beside states of jobs."""
DUE: Final = -1
"""The place of numbers by span, beside those of all that waits."""
NAMES: Final = {
    DUE: "due", State.WAITING: "waiting", State.BLOCKED: "blocked", State.PARKED: "parked",
    State.FAILED: "failures", -2: "ended",
}  # fmt: skip


class _Queue(msgspec.Struct):
    """Counts of one queue, while they are gathered."""

    known: bool = False
    paused: bool = False
    scheduled: int = 0
    pending: int = 0
    blocked: int = 0
    active: int = 0
    oldest: int | None = None


def stats(rows: Sequence[Any]) -> JobStats:
    """Counts, queues and workers, from what the statement of this name found."""
    by_status = dict.fromkeys((str(status) for status in JobStatus), 0)
    queues: dict[str, _Queue] = {}
    parked: dict[tuple[str, int], int] = {}
    workers: list[tuple[int, WorkerStats]] = []
    for what, name, type_, version, jobs, more, at in rows:
        name, jobs = from_text(name), int(jobs)
        if what == WORKER:
            workers.append((more, WorkerStats(name, to_datetime(at), jobs)))
        elif what in (State.COMPLETED, State.FAILED, State.CANCELLED):
            by_status[str(status_of(what, 0, 0))] += jobs
        else:
            queue = queues.setdefault(name, _Queue())
            if what == QUEUE:
                queue.known, queue.paused = True, bool(jobs)
            elif what == State.WAITING:
                queue.scheduled, queue.pending = jobs - more, queue.pending + more
                queue.oldest = at
            elif what == State.ACTIVE:
                queue.active = jobs
            elif what == State.BLOCKED:
                queue.blocked = jobs
            else:
                queue.pending += jobs
                kind = from_text(type_), version
                parked[kind] = parked.get(kind, 0) + jobs
    for queue in queues.values():
        by_status["scheduled"] += queue.scheduled
        by_status["pending"] += queue.pending
        by_status["active"] += queue.active
        by_status["blocked"] += queue.blocked
    unknown: dict[str, int] = {}
    for (type_, _), jobs in sorted(parked.items()):
        unknown[type_] = unknown.get(type_, 0) + jobs
    return JobStats(
        by_status,
        tuple(
            QueueStats(
                name, queue.paused, queue.scheduled, queue.pending, queue.active,
                None if queue.oldest is None else to_datetime(queue.oldest), queue.blocked,
            )
            for name, queue in sorted(queues.items())
            if queue.known
        ),
        tuple(worker for _, worker in sorted(workers, key=lambda one: one[0])),
        unknown,
        tuple(ParkedStats(*kind, jobs) for kind, jobs in sorted(parked.items())),
    )  # fmt: skip


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

        async def fold(link: Any) -> int:
            [(alone,)] = await link.fetch(text["alone"], f"counts of {text.channel}")
            if not alone:
                return 0
            [(folded,)] = await link.fetch(text["fold_changed"], FOLDED)
            await link.fetch(text["fold_passed"], (now >> SPAN) - PASSED, FOLDED)
            return int(folded)

        total = 0
        for _ in range(ROUNDS):
            folded = await self._base.change(fold)
            total += folded
            if folded < FOLDED:
                break
        if total >= MANY:  # The server itself would come once a minute.
            await self._base.links.run(lambda link: link.execute(text["clear_changed"]))

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
            " nothing was changed; try again, or stop the workers for a moment",
            unchanged=True,
        )
