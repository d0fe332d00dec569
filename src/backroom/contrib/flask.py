"""Flask: handlers that have the application's context, and `flask jobs ...`."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, Final

from flask import Flask

from backroom import blocking
from backroom.cli.group import group_for
from backroom.errors import ServiceError
from backroom.handle import Job
from backroom.handlers import is_async
from backroom.service import JobService

__all__ = ["Jobs", "configure_jobs"]


class Jobs:
    """A service for a Flask application: `Jobs(app, service)`, or `init_app` later.

    Each handler runs in the application's context, so that `current_app` and extensions work,
    and teardown functions are called when it ends. `flask jobs worker` works; `flask jobs
    list|show|retry|cancel|stats` look and steer. A web process only schedules, unless it calls
    `service.start()`.

    Where several applications are made of one service, as in tests, its handlers run in the
    context of the last.
    """

    def __init__(
        self,
        app: Flask | None = None,
        service: blocking.JobService | JobService | None = None,
    ) -> None:
        if isinstance(service, JobService):
            service = blocking.JobService(service=service)
        self.service = blocking.JobService() if service is None else service
        self._app: Flask | None = None
        self.service.wrap_handlers(self._in_context)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Gives the service to an application: `app.extensions["backroom"]` is this."""
        self._app = app
        app.extensions["backroom"] = self
        app.cli.add_command(group_for(f"Flask application {app.name}", self._for_commands))

    def _for_commands(self) -> JobService:
        """The async service, which a command runs on a loop of its own: the application may
        have used it while it was made."""
        if self.service.service.loop is not None:
            self.service.stop(0)
        return self.service.service

    @property
    def app(self) -> Flask:
        """The application.

        Raises:
            ServiceError: `init_app` was not called.
        """
        if self._app is None:
            raise ServiceError("a job of a Flask service needs its application: call init_app(app)")
        return self._app

    def _in_context(self, handler: Callable[[Job[Any]], Any]) -> Callable[[Job[Any]], Any]:
        if is_async(handler):

            @functools.wraps(handler)
            async def run_async(job: Job[Any]) -> Any:
                with self.app.app_context():
                    return await handler(job)

            return run_async

        @functools.wraps(handler)
        def run(job: Job[Any]) -> Any:
            with self.app.app_context():
                return handler(job)

        return run


_made: Final[weakref.WeakValueDictionary[int, Jobs]] = weakref.WeakValueDictionary()
"""By the identity of their service, which keeps them, since they wrap its handlers."""


def configure_jobs(app: Flask, service: blocking.JobService | JobService) -> Jobs:
    """`Jobs(app, service)`, which may be called for each application that is made of a service."""
    key = service.service if isinstance(service, blocking.JobService) else service
    jobs = _made.get(id(key))
    if jobs is None:
        jobs = _made[id(key)] = Jobs(service=service)
    jobs.init_app(app)
    return jobs
