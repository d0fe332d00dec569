"""FastAPI: a service that starts and stops with the application, and the dependencies that
give it to path operations.

    @app.post("/orders")
    async def order(jobs: Jobs) -> ...:
        await jobs.schedule(...)

    @app.post("/reports")
    def report(jobs: BlockingJobs) -> ...:  # In a thread; waits for the same service.
        jobs.schedule(...)
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Depends
from starlette.requests import HTTPConnection

from backroom import blocking
from backroom.contrib.starlette import configure_jobs
from backroom.contrib.starlette import jobs as _jobs
from backroom.service import JobService

__all__ = ["BlockingJobs", "Jobs", "blocking_jobs", "configure_jobs", "jobs"]


async def jobs(request: HTTPConnection) -> JobService:
    """The dependency for `async def` path operations: the application's service."""
    return _jobs(request)


async def blocking_jobs(request: HTTPConnection) -> blocking.JobService:
    """The dependency for `def` path operations: the same service without async, on the loop of
    the server."""
    service, state = _jobs(request), request.app.state
    if getattr(state, "blocking_jobs", None) is None:
        state.blocking_jobs = blocking.JobService(service=service)
    return state.blocking_jobs  # type: ignore[no-any-return]


Jobs: TypeAlias = Annotated[JobService, Depends(jobs)]
BlockingJobs: TypeAlias = Annotated[blocking.JobService, Depends(blocking_jobs)]
