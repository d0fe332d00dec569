"""The first page names what somebody should look at: who is dead, or drains, runs nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import httpx

from backroom import JobService
from backroom.ports import WorkerSpec

Web = Callable[..., httpx.AsyncClient]
SOON = 0.001
"""A lease that has ended as soon as anybody looks."""


async def enlist(service: JobService, lease: float = 60) -> int:
    return (await service.storage.enlist(WorkerSpec("host:1", lease))).worker


async def a_dead_worker(service: JobService) -> None:
    await enlist(service, SOON)
    while (await service.get_workers())[0].alive:
        await asyncio.sleep(0)


async def test_a_worker_that_is_dead_is_counted_nowhere_as_one_that_lives(
    service: JobService, web: Web
) -> None:
    await a_dead_worker(service)
    await service.schedule("HELLO", {})
    await service.schedule("HELLO", {})
    client = web()
    page = (await client.get("/")).text
    assert "No worker is alive, and 2 jobs wait." in page
    assert "host:1" not in page
    assert not re.search(r'title="[^"]*alive|\d alive', page)
    assert (await client.get("/api/v1/stats")).json()["workers"] == []
    await enlist(service)
    assert "No worker is alive" not in (await web().get("/")).text


async def test_a_dead_worker_is_called_gone_and_nothing_else(service: JobService, web: Web) -> None:
    await a_dead_worker(service)
    page = (await web().get("/workers")).text
    assert re.findall(r'<span class="status[^>]*>([^<]*)</span>([^<]*)', page) == [("gone", "")]


async def test_that_all_workers_drain_is_said_where_jobs_wait(
    service: JobService, web: Web
) -> None:
    drains = await enlist(service)
    await a_second(service)
    await service.drain_worker(drains)
    await service.schedule("HELLO", {})
    assert "All workers drain" not in (await web().get("/")).text
    for worker in await service.get_workers():
        await service.drain_worker(worker.id)
    page = (await web().get("/")).text
    assert "All workers drain, and 1 jobs wait." in page
    assert "Resume one" in page
    stats = (await web().get("/api/v1/stats")).json()
    assert [one["draining"] for one in stats["workers"]] == [True, True]
    await service.drain_worker(drains, False)
    assert "All workers drain" not in (await web().get("/")).text


async def a_second(service: JobService) -> None:
    await service.storage.enlist(WorkerSpec("host:2", 60))
