"""Starlette: a service that starts and stops with the application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from backroom.errors import ServiceError
from backroom.service import JobService

__all__ = ["configure_jobs", "jobs"]


def configure_jobs(app: Starlette, service: JobService, *, grace: float | timedelta = 30) -> None:
    """Starts `service` before the application's own lifespan, if it has one, and stops it after
    that, when running jobs have `grace` seconds to end. `jobs(request)` is the service.

    Raises:
        ServiceError: the application has a service already.
    """
    if getattr(app.state, "jobs", None) is not None:
        raise ServiceError("this application has a job service already; it takes one")
    app.state.jobs = service
    own = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        await service.start()
        try:
            async with own(app) as state:
                yield state
        finally:
            await service.stop(grace)

    app.router.lifespan_context = lifespan


def jobs(request: HTTPConnection) -> JobService:
    """The service of the application that this request, or websocket, came to.

    Raises:
        ServiceError: it has none.
    """
    service = getattr(request.app.state, "jobs", None)
    if not isinstance(service, JobService):
        raise ServiceError(
            "this application has no job service: call configure_jobs(app, service) where it is"
            " made (an application mounted in another needs its own call, or the service by"
            " other means)"
        )
    return service
