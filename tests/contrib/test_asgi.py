"""The lifespan of an application and of its service, word by word."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from backroom import JobService, MemoryJobStorage, ServiceError, StorageError
from backroom.contrib import fastapi, starlette
from backroom.contrib.asgi import with_jobs

App = Callable[[Any, Any, Any], Awaitable[None]]
STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}


class Server:
    """Speaks the lifespan protocol with an application; notes what it hears, and whether the
    service worked then."""

    def __init__(self, service: JobService) -> None:
        self.service = service
        self.heard: list[tuple[str, bool]] = []
        self.words = [STARTUP, SHUTDOWN]

    async def run(self, app: App) -> list[tuple[str, bool]]:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, self.say, self.hear)
        return self.heard

    async def say(self) -> Any:
        return self.words.pop(0)

    async def hear(self, message: Any) -> None:
        self.heard.append((message["type"].removeprefix("lifespan."), self.service.started))


WELL = [("startup.complete", True), ("shutdown.complete", False)]


@pytest.fixture
def service() -> JobService:
    return JobService(MemoryJobStorage())


@pytest.fixture
def server(service: JobService) -> Server:
    return Server(service)


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError(scope["type"])


async def returns(scope: Any, receive: Any, send: Any) -> None:
    return None


async def listens_and_returns(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def starts_and_returns(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})


async def leaves_the_last_word(scope: Any, receive: Any, send: Any) -> None:
    await starts_and_returns(scope, receive, send)
    assert await receive() == SHUTDOWN


async def speaks(scope: Any, receive: Any, send: Any) -> None:
    assert await receive() == STARTUP
    await send({"type": "lifespan.startup.complete"})
    assert await receive() == SHUTDOWN
    await send({"type": "lifespan.shutdown.complete"})


@pytest.mark.parametrize(
    "app",
    [refuses, returns, listens_and_returns, starts_and_returns, leaves_the_last_word, speaks],
)
async def test_whatever_part_the_application_takes_the_service_lives_as_long(
    service: JobService, server: Server, app: App
) -> None:
    assert await server.run(with_jobs(app, service)) == WELL
    assert not server.words


async def test_an_application_that_cannot_start_leaves_no_service(
    service: JobService, server: Server
) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        await server.run(with_jobs(fails, service))
    assert server.heard == [("startup.failed", False)]
    assert service.loop is None


async def test_a_service_that_cannot_start_fails_the_start_of_the_server() -> None:
    class Away(MemoryJobStorage):
        async def open(self) -> None:
            raise StorageError("it is away")

    server = Server(JobService(Away()))
    with pytest.raises(StorageError):
        await server.run(with_jobs(speaks, server.service))
    assert server.heard == [("startup.failed", False)]


async def test_other_scopes_pass_through(service: JobService) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    await with_jobs(app, service)({"type": "websocket"}, "receive", "send")  # type: ignore[arg-type]
    assert seen == [({"type": "websocket"}, "receive", "send")]


@pytest.mark.parametrize(
    ("make", "configure"),
    [(Starlette, starlette.configure_jobs), (FastAPI, fastapi.configure_jobs)],
)
@pytest.mark.parametrize("own", [True, False])
async def test_a_lifespan_of_the_application_runs_within_that_of_the_service(
    service: JobService, server: Server, make: Any, configure: Any, own: bool
) -> None:
    seen: list[tuple[str, bool]] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        seen.append(("up", service.started))
        yield {"of": "the application"}
        seen.append(("down", service.started))

    app = make(lifespan=lifespan) if own else make()
    configure(app, service)
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "state": state, "app": app}
    await app(scope, server.say, server.hear)
    assert server.heard == WELL
    assert seen == ([("up", True), ("down", True)] if own else [])
    assert state == ({"of": "the application"} if own else {})
    with pytest.raises(ServiceError, match="already"):
        configure(app, service)


async def test_an_application_without_a_service_says_what_to_do() -> None:
    from starlette.requests import Request

    request = Request({"type": "http", "app": Starlette()})
    with pytest.raises(ServiceError, match="configure_jobs"):
        starlette.jobs(request)
    with pytest.raises(ServiceError, match="configure_jobs"):
        await fastapi.jobs(request)
