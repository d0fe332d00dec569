"""Any ASGI application: a service that lives as long as it does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any, TypeAlias

from backroom.service import JobService

__all__ = ["with_jobs"]

log = logging.getLogger("backroom")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def with_jobs(app: ASGIApp, service: JobService, *, grace: float | timedelta = 30) -> ASGIApp:
    """The same application, with a service that starts before it and stops after it, when
    running jobs have `grace` seconds to end.

    Works where the server speaks the lifespan protocol (uvicorn, hypercorn, granian), whether
    or not the application does. A service that cannot start fails the server's start.
    """

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(app, service, grace, receive, send).run(scope)
        else:
            await app(scope, receive, send)

    return served


class _Lifespan:
    """One conversation of a server with the application, and what the service does meanwhile."""

    def __init__(
        self,
        app: ASGIApp,
        service: JobService,
        grace: float | timedelta,
        receive: Receive,
        send: Send,
    ) -> None:
        self._app = app
        self._service = service
        self._grace = grace
        self._receive = receive
        self._send = send
        self._startup: Message | None = None
        """The server's first word, which the application has not heard yet."""
        self._heard = "startup"
        """What the server asked for last."""
        self._answered = ""
        """The last message the application sent."""

    async def run(self, scope: Scope) -> None:
        self._startup = await self._receive()
        try:
            await self._service.start()
        except Exception as error:
            await self._send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        try:
            try:
                await self._app(scope, self._next, self._said)
            except Exception:
                if self._answered:
                    raise
                # The way in which an application says that it has no lifespan.
                log.debug("the application takes no part in its lifespan", exc_info=True)
            await self._speak_for_the_app()
        finally:
            await self._service.stop(self._grace)

    async def _next(self) -> Message:
        """What the application receives."""
        startup, self._startup = self._startup, None
        if startup is not None:
            return startup
        message = await self._receive()
        self._heard = str(message["type"]).rpartition(".")[2]
        return message

    async def _said(self, message: Message) -> None:
        """What the application sends. The service has stopped when the server hears that all
        is over."""
        self._answered = message["type"]
        if message["type"] != "lifespan.startup.complete":
            await self._service.stop(self._grace)
        await self._send(message)

    async def _speak_for_the_app(self) -> None:
        """It has returned; what it left unsaid is said."""
        if not self._answered:
            await self._said({"type": "lifespan.startup.complete"})
        if self._answered == "lifespan.startup.complete":
            if self._heard != "shutdown":
                await self._receive()
            await self._said({"type": "lifespan.shutdown.complete"})
