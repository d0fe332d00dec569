"""Turns: jobs of one queue and priority that are run key by key.

A job that takes turns waits at a moment like any other; but that is not when it was scheduled. It
is the moment of the first that waits there, or one microsecond behind the last of its own key,
whichever is later. So a million jobs of one key stand behind each other, and the single one of
another stands beside the first of them; and a claim reads what it always did.

Turns are taken before the jobs are kept, in a transaction that is over at once: nobody waits for
the application's, and a turn that nobody comes for is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec

from backroom.flow import Piece, Role
from backroom.job import SECOND, JobRecord
from backroom.limit import LEAD, turn_of
from backroom.step import FOREVER
from backroom.storage.postgres.statements import Statements
from backroom.storage.postgres.texts import to_text

__all__ = ["begun_in_turn", "in_turn", "take_again", "take_late", "take_later", "tidy", "turns_of"]

LATELY: Final = SECOND
"""Microseconds: who waits again since so short a time was not given back, most likely."""
LATE: Final = 1000
"""Jobs that are looked at together when they are to take their turn late."""
LOOKS: Final = 10
"""So many times in one call."""
OVER: Final = 1000
"""Turns that are forgotten in one call."""

Turn: TypeAlias = tuple[str, int, str]
"""Queue, priority and key, as the tables hold them."""


def turns_of(jobs: Sequence[JobRecord]) -> dict[int, str]:
    """Which of these jobs take turns, and by what key."""
    return {
        n: key
        for n, job in enumerate(jobs)
        if job.options is not None and (key := turn_of(job.options)) is not None
    }


async def in_turn(
    link: Any, text: Statements, jobs: Sequence[JobRecord], now: int, *, aside: bool = False
) -> Sequence[JobRecord]:
    """The same jobs, where they wait among those of other keys. `aside`: within a transaction that
    may take long."""
    fair = turns_of(jobs)
    if not fair:
        return jobs
    due = {n: key for n, key in fair.items() if jobs[n].run_at <= now}
    await take_later(link, text, [jobs[n] for n in fair if n not in due])
    stamps = await _stamps(
        link, text, [(jobs[n].queue, jobs[n].priority, key) for n, key in due.items()], now, aside
    )
    moved = list(jobs)
    for n, stamp in zip(due, stamps, strict=True):
        moved[n] = msgspec.structs.replace(jobs[n], run_at=stamp)
    return moved


async def begun_in_turn(
    link: Any, text: Statements, piece: Piece, now: int, *, aside: bool = False
) -> Piece:
    """The same of the jobs that a flow begins with. `aside`: as for `in_turn`."""
    blocked = {child for _, child in piece.edges}
    first = [
        n
        for n, one in enumerate(piece.members)
        if one.role == Role.JOB and one.record.id not in blocked
    ]
    members = list(piece.members)
    jobs = await in_turn(link, text, [members[n].record for n in first], now, aside=aside)
    for n, record in zip(first, jobs, strict=True):
        members[n] = msgspec.structs.replace(members[n], record=record)
    return msgspec.structs.replace(piece, members=members)


async def _stamps(
    link: Any, text: Statements, asked: Sequence[Turn], now: int, aside: bool = False
) -> list[int]:
    """A moment for each of these, in order."""
    if not asked:
        return []
    turns = [(to_text(queue), priority, to_text(key)) for queue, priority, key in asked]
    count: dict[Turn, int] = {}
    for turn in turns:
        count[turn] = count.get(turn, 0) + 1
    rows = await link.fetch(
        text["see_turns" if aside else "take_turns"],
        *map(list, zip(*count, strict=True)), list(count.values()), now, LEAD,
    )  # fmt: skip
    following = {
        (queue, priority, key): last - count[queue, priority, key] + 1
        for queue, priority, key, last in rows
    }
    stamps = []
    for turn in turns:
        stamps.append(following[turn])
        following[turn] += 1
    return stamps


async def take_later(link: Any, text: Statements, jobs: Sequence[JobRecord]) -> None:
    """Of these, those that take turns do so when they are due."""
    late = [jobs[n] for n in turns_of(jobs)]
    if late:
        await link.fetch(text["wait_turn"], [job.id for job in late], [job.run_at for job in late])


async def take_again(link: Any, text: Statements, ids: Sequence[Any], now: int) -> None:
    """Of these, those that take turns and wait for later, or since just now, do so when they are
    due; not those that wait for ever, since that is no moment."""
    await link.execute(text["again_turns"], ids, now - LATELY, FOREVER)


async def take_late(link: Any, text: Statements, now: int) -> int:
    """Those that have become due take their turn, if they still wait; how many, or many where it
    has not come to the end. In a transaction."""
    moved = 0
    for _ in range(LOOKS):  # Those that do not wait any more hide nobody behind them.
        rows = await link.fetch(text["due_turns"], now, LATE)
        waiting = [row for row in rows if row["waits"]]
        # The rows of jobs before their places, as all do who move them.
        there = await link.fetch(text["lock_jobs"], [row[0] for row in waiting])
        free = {row[0] for row in there}
        busy = [row[0] for row in waiting if row[0] not in free]
        if busy:  # Somebody moves them just now: they take their turn the next time.
            await link.fetch(text["wait_turn"], busy, [now + 1] * len(busy))
        asked = [
            (row[0], (row[1], row[2], turn_of(row[3]) or "")) for row in waiting if row[0] in free
        ]
        if asked:
            stamps = await _stamps(link, text, [turn for _, turn in asked], now)
            await link.execute(text["move_turns"], [id_ for id_, _ in asked], stamps)
        moved += len(asked)
        if len(rows) < LATE:
            return moved
    return max(moved, LATE)


async def tidy(link: Any, text: Statements, now: int) -> None:
    """Forgets turns that are over."""
    await link.execute(text["over_turns"], now, OVER)
