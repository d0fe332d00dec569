"""The store as a whole: counts."""

from __future__ import annotations

from backroom.job import JobStats
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.route import Route

__all__ = ["routes"]


async def get_stats(call: Call) -> JobStats:
    """Counts by status, queues, workers, and job types that nobody here knows."""
    return await call.looking.stats()


def routes() -> list[Route]:
    return [
        Route("GET", "/api/v1/stats", Role.READ, get_stats, returns=JobStats, tag="store"),
    ]
