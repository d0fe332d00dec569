"""Schedules that come from another store, where some may be already."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from backroom.baggage import PastTick
from backroom.errors import JobStateError
from backroom.schedule import ScheduleRecord

__all__ = ["arrived", "mark_of", "new_ticks"]


def mark_of(source: int) -> str:
    """Under which it is kept, of a store of this number, which of its parcels came last."""
    return f"schedules of {source}"


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
