"""What happened over time, and since the store was made."""

from __future__ import annotations

from typing import Annotated

import msgspec

from backroom.history import LONGEST, SHORTEST, History
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


async def get_history(call: Call) -> History:
    """What became of jobs over time, as workers have told it."""
    query: Stretch = call.query
    return await call.service.get_history(query.last, queue=query.queue, type=query.type)


async def list_totals(call: Call) -> tuple[Total, ...]:
    """What has become of jobs since the store was made, by queue and job type."""
    names = [field.name for field in msgspec.structs.fields(Total)]
    return tuple(
        Total(**{name: getattr(one, name) for name in names})
        for one in await call.service.get_totals()
    )


def routes() -> list[Route]:
    return [
        Route("GET", "/api/v1/history", Role.READ, get_history, query=Stretch, returns=History,
              tag="store"),
        Route("GET", "/api/v1/totals", Role.READ, list_totals, returns=tuple[Total, ...],
              tag="store"),
    ]  # fmt: skip
