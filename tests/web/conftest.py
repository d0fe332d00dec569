"""The web application over a real storage, asked as a client asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from backroom import JobService
from backroom.web import Dashboard, dashboard


@pytest.fixture
async def service() -> AsyncIterator[JobService]:
    service = JobService("memory:")
    service.declare("HELLO")
    await service.open()
    yield service
    await service.stop(0)


def client_of(app: Any, host: str = "127.0.0.1", **settings: Any) -> httpx.AsyncClient:
    """Asks as if from this address."""
    transport = httpx.ASGITransport(app=app, client=(host, 50_000))
    settings.setdefault("base_url", "http://127.0.0.1")
    return httpx.AsyncClient(transport=transport, **settings)


@pytest.fixture
async def web(service: JobService) -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
    """A client of a dashboard that is made with these arguments."""
    async with AsyncExitStack() as stack:

        def make(app: Dashboard | None = None, **settings: Any) -> httpx.AsyncClient:
            client = client_of(app or dashboard(service, **settings))
            stack.push_async_callback(client.aclose)
            return client

        yield make
