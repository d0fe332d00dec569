"""What happened over time, and since the store was made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from backroom.figure import Percentiles
from backroom.history import LONGEST, SHORTEST, Depth, ErrorCount, HistoryPoint
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.route import Route

__all__ = ["routes"]


class Stretch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which time, and of which jobs."""

    last: Annotated[
        float, msgspec.Meta(ge=SHORTEST, le=LONGEST, description="Seconds until now.")
    ] = 3600
    queue: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    type: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None


class Stood(msgspec.Struct, frozen=True):
    """How many jobs stood where at one moment."""

    pending: int
    scheduled: int
    blocked: int
    active: int
    oldest: float | None
    """For how many seconds the job that had waited longest was due; null: none was."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One step."""

    at: datetime
    scheduled: int
    completed: int
    failed: int
    retried: int
    cancelled: int
    put_off: int
    rescued: int
    waiting: Percentiles
    running: Percentiles
    depth: dict[str, Stood]
    """By queue; empty where nobody looked."""
    total: Stood | None
    """Of all queues together; null: no worker was there to look."""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a stretch of time, step by step."""

    step: float
    """Seconds from one point to the next."""
    points: tuple[Point, ...]
    """In their order, without gaps; the last one is not over yet."""
    errors: tuple[ErrorCount, ...]
    """Of the whole stretch, the most frequent ones first."""
    waiting: Percentiles
    running: Percentiles


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of the jobs of one queue and one job type; each number only grows."""

    queue: str
    type: str
    scheduled: int
    completed: int
    failed: int
    retried: int
    cancelled: int
    put_off: int
    rescued: int
    errors: dict[str, int]
    """By kind of error: attempts."""


async def get_history(call: Call) -> Story:
    """What became of jobs over time, as workers have told it."""
    query: Stretch = call.query
    found = await call.service.get_history(query.last, queue=query.queue, type=query.type)
    return Story(
        step=found.step,
        points=tuple(_point(point) for point in found.points),
        errors=found.errors,
        waiting=found.waiting,
        running=found.running,
    )


async def list_totals(call: Call) -> tuple[Total, ...]:
    """What has become of jobs since the store was made, by queue and job type."""
    names = [field.name for field in msgspec.structs.fields(Total)]
    return tuple(
        Total(**{name: getattr(one, name) for name in names})
        for one in await call.service.get_totals()
    )


def _point(point: HistoryPoint) -> Point:
    return Point(
        at=point.at, scheduled=point.scheduled, completed=point.completed, failed=point.failed,
        retried=point.retried, cancelled=point.cancelled, put_off=point.put_off,
        rescued=point.rescued, waiting=point.waiting, running=point.running,
        depth={name: _stood(depth) for name, depth in point.depth.items()},
        total=None if point.total is None else _stood(point.total),
    )  # fmt: skip


def _stood(depth: Depth) -> Stood:
    return Stood(depth.pending, depth.scheduled, depth.blocked, depth.active, depth.oldest)


def routes() -> list[Route]:
    return [
        Route("GET", "/api/v1/history", Role.READ, get_history, query=Stretch, returns=Story,
              tag="store"),
        Route("GET", "/api/v1/totals", Role.READ, list_totals, returns=tuple[Total, ...],
              tag="store"),
    ]  # fmt: skip
