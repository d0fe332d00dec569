"""Schedules that come from another store, where some may be already."""

from __future__ import annotations

from backroom.errors import JobStateError
from backroom.schedule import ScheduleRecord

__all__ = ["arrived", "mark_of"]


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
