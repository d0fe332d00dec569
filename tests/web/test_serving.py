"""A dashboard that is served by itself, over real connections."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urljoin

import httpx

from backroom import JobService
from backroom.web import Token, dashboard
from backroom.web.serving import serve
from tests.web.conftest import client_of


async def test_no_answer_waits_for_its_head_to_be_acknowledged(service: JobService) -> None:
    """The kernel does that for 40 ms and more, on every second answer of a connection."""
    urls: asyncio.Queue[str] = asyncio.Queue()
    ended = asyncio.Event()
    serving = asyncio.create_task(
        serve(dashboard(service), service, host="127.0.0.1", port=0, ready=urls.put_nowait,
              until=ended)
    )  # fmt: skip
    took: list[float] = []
    async with httpx.AsyncClient(base_url=urljoin(await urls.get(), "/")) as client:
        for _ in range(20):
            began = time.perf_counter()
            (await client.get("/health/live")).raise_for_status()
            took.append(time.perf_counter() - began)
    ended.set()
    await serving
    # Whatever else this machine does: most are faster than what a single wait costs.
    assert sorted(took)[12] < 0.035, took


async def test_whoever_reads_the_link_of_the_start_gets_in_and_nobody_else(
    service: JobService,
) -> None:
    """No header proves that a request was made here: nginx, as it is without settings, asks as
    `Host: 127.0.0.1` from 127.0.0.1 and says nothing of whom it asks for."""
    urls: asyncio.Queue[str] = asyncio.Queue()
    ended = asyncio.Event()
    app = dashboard(service)
    serving = asyncio.create_task(
        serve(app, service, host="127.0.0.1", port=0, ready=urls.put_nowait, until=ended)
    )
    link = await urls.get()
    async with httpx.AsyncClient(base_url=urljoin(link, "/")) as client:
        refused = await client.get("/api/v1/stats")
        assert refused.status_code == 401
        wrong = await client.get("/sign-in?token=br_wrong")
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
        rebound = await client.get(link, headers={"Host": "evil.example"})
        assert (rebound.status_code, "set-cookie" in rebound.headers) == (400, False)
        led = await client.get(f"{link}&then=/jobs?status=failed")
        assert (led.status_code, led.headers["location"]) == (303, "/jobs?status=failed")
        assert (await client.get("/api/v1/stats")).status_code == 200
    ended.set()
    await serving


async def test_no_token_but_that_of_the_start_is_taken_from_an_address(service: JobService) -> None:
    secret, token = Token.make("reader", "read")
    async with client_of(dashboard(service, auth=[token])) as client:
        answer = await client.get(f"/sign-in?token={secret}")
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
