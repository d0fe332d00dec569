"""What firings come to in the tables, whichever these are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from backroom.job import JobRecord
from backroom.schedule import Firing, Tick

__all__ = ["MORE_TICKS", "MOST_TICKS", "Kept", "Move", "due_jobs", "jobs_to_make", "settled"]

MOST_TICKS = 1000
"""Ticks of one schedule that are kept at least, if they are not past retention: a page of them.
One that is due every second makes 86,400 a day; with 10,000 schedules, these are a gigabyte."""
MORE_TICKS = 100
"""So many more until those above are removed: to find where they end, all are passed by."""


class Kept(NamedTuple):
    """A row of a tick."""

    schedule: int
    """The key of its schedule."""
    tick: Tick
    job: str | None
    """The id of the job that there is now."""
    asked: str | None
    """The id that it was to have, where the live one with its unique key is that job."""


class Move(msgspec.Struct):
    """What becomes of the row of a schedule."""

    next_at: int | None = None
    last_at: int | None = None
    """None: it stays."""
    last_job: str | None = None
    kept: int = 0
    """So many more ticks."""


def due_jobs(firings: Sequence[tuple[int, Firing]]) -> list[tuple[int, Tick, str]]:
    """The ticks that fire, with the keys of their schedules and the ids of their jobs."""
    return [
        (key, tick, tick.job)
        for key, firing in firings
        for tick in firing.ticks
        if tick.job is not None
    ]


def jobs_to_make(
    firings: Sequence[tuple[int, Firing]], decided: Collection[str]
) -> list[JobRecord]:
    """Those of ticks that were not `decided` before. There is nobody to be told that another job
    holds the unique key of one: the tick is of that one then."""
    jobs = [job for _, one in firings for job in one.jobs if job.id not in decided]
    return [
        job
        if job.hold is None or job.hold.on_conflict != "raise"
        else msgspec.structs.replace(
            job, hold=msgspec.structs.replace(job.hold, on_conflict="existing")
        )
        for job in jobs
    ]


def settled(
    firings: Sequence[tuple[int, Firing]], decided: Collection[str], made: Mapping[str, str]
) -> tuple[list[Kept], dict[int, Move]]:
    """What is to be written, by the keys of the schedules.

    Args:
        decided: the jobs of ticks that were decided before: neither is kept.
        made: by the id of each job that was to be made, that of the one that there is now.
    """
    rows: list[Kept] = []
    moves: dict[int, Move] = {}
    for key, firing in firings:
        move = moves.setdefault(key, Move())
        move.next_at = firing.next_at
        for tick in firing.ticks:
            if tick.job is not None and tick.job in decided:
                continue
            job = None if tick.job is None else made.get(tick.job, tick.job)
            rows.append(Kept(key, tick, job, None if job == tick.job else tick.job))
            move.kept += 1
            if job is not None and (move.last_at is None or tick.at > move.last_at):
                move.last_at, move.last_job = tick.at, job
    return rows, moves
