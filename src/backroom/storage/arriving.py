"""Schedules and flows that come from another store, where some may be already."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from backroom.baggage import Parcel, PastTick
from backroom.errors import JobStateError
from backroom.schedule import ScheduleRecord

__all__ = ["arrived", "flows_mark", "mark_of", "new_ticks", "some_flows"]

JOBS: Final = 10_000
"""Of flows that leave in one change, where these are more than one."""


def mark_of(source: int) -> str:
    """Under which it is kept, of a store of this number, which of its parcels came last."""
    return f"schedules of {source}"


def flows_mark(source: int, parcel: Parcel) -> str:
    """Under which it is kept that the flows of this parcel have come."""
    return f"flows of {source}, {parcel.number}"


def some_flows(jobs: Iterable[int]) -> int:
    """How many of these flows leave in one change, by the jobs of each; at least one of them."""
    count, room = 0, JOBS
    for number in jobs:
        room -= number
        if count and room < 0:
            break
        count += 1
    return count


def arrived(here: ScheduleRecord | None, comes: ScheduleRecord) -> ScheduleRecord:
    """What is kept then.

    Raises:
        JobStateError: the one that is here says something else.
    """
    if here is None:
        return comes
    if here.says(comes):
        return here.joined(comes)
    raise JobStateError(
        f"the schedule {here.name!r} says something else in the target: drop it there, and run"
        " the same move again; what was packed is safe"
    )


def new_ticks(here: Sequence[tuple[int, int]], come: Sequence[PastTick]) -> list[PastTick]:
    """Those of ticks of a schedule that are kept where others of it are; no two of them overlap.

    Args:
        here: the first and last moments of these, the oldest first. What is said of a moment
            here stays so.
    """
    starts = [at for at, _ in here]
    kept: list[PastTick] = []
    for tick in come:
        before = bisect_right(starts, tick.until) - 1
        if before < 0 or here[before][1] < tick.at:
            kept.append(tick)
    return kept
