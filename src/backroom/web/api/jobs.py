"""Jobs: look at them, and steer them."""

from __future__ import annotations

from backroom.job import JobInfo
from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.route import Route

__all__ = ["routes"]


async def get_job(call: Call) -> JobInfo:
    """One job, with its errors, log, steps and signals."""
    return await call.looking.job(call.params["id"])


def routes() -> list[Route]:
    return [
        Route("GET", "/api/v1/jobs/{id}", Role.READ, get_job, returns=JobInfo, tag="jobs"),
    ]
