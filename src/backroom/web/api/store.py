"""The store as a whole: counts, limits, and the job types that are known."""

from __future__ import annotations

import msgspec

from backroom.describing import TypeInfo
from backroom.limit import LimitInfo
from backroom.stats import FailureGroup, JobStats
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.filters import Limit
from backroom.web.route import Route

__all__ = ["routes"]


async def get_stats(call: Call) -> JobStats:
    """Counts by status, queues, workers, and job types that nobody here knows."""
    return await call.looking.stats()


class Most(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many groups."""

    limit: Limit = 100


async def list_failures(call: Call) -> tuple[FailureGroup, ...]:
    """The failed jobs that are there now, by type and kind of their last error; the most first."""
    query: Most = call.query
    return await call.looking.failures(query.limit)


async def list_limits(call: Call) -> tuple[LimitInfo, ...]:
    """Every limit: its number, how much of it is taken, and how many jobs wait for room."""
    return await call.looking.limits()


async def list_types(call: Call) -> tuple[TypeInfo, ...]:
    """The job types that this process knows, with the JSON schema of their data."""
    return tuple(call.service.known_types)


def routes() -> list[Route]:
    return [
        Route("GET", "/api/v1/stats", Role.READ, get_stats, returns=JobStats, tag="store"),
        Route("GET", "/api/v1/failures", Role.READ, list_failures, query=Most,
              returns=tuple[FailureGroup, ...], tag="store"),
        Route("GET", "/api/v1/limits", Role.READ, list_limits, returns=tuple[LimitInfo, ...],
              tag="store"),
        Route("GET", "/api/v1/types", Role.READ, list_types, returns=tuple[TypeInfo, ...],
              tag="store"),
    ]  # fmt: skip
