"""Operators limit a queue of which real workers, of two processes, hold jobs ahead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backroom import JobRequest, JobService
from tests.process.parts import Entry, Family, eventually_async, none_left, scheduling
from tests.servers.fixtures import shared_place

JOBS = 3000
SLOTS = 20
"""Of each of two workers."""
AHEAD = 50
"""Jobs that they hold beside those that run, when the limit comes."""
LATE = 5.0
"""Seconds after which every worker has heard of it, whatever became of the word."""
LOOKED = 1.5


@contextmanager
def file(folder: Path) -> Iterator[str]:
    yield f"file:{folder / 'jobs'}"


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    with shared_place() as place:
        yield f"{place.url}?search_path={place.schema}"


@pytest.fixture(params=[file, postgres], ids=lambda make: make.__name__)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with request.param(tmp_path) as url:
        yield url


def most_at_once(entries: list[Entry], since: float, until: float) -> int:
    """How many ran at once at most, between two moments of the monotonic clock."""
    now = most = 0
    for entry in entries:
        if since < entry.at <= until:
            most = max(most, now)
        now += 1 if entry.event == "started" else -1
        if since < entry.at <= until:
            most = max(most, now)
    return most


async def holds_ahead(service: JobService) -> bool:
    return (await service.get_stats()).by_status["active"] >= 2 * SLOTS + AHEAD


@pytest.mark.slow
@pytest.mark.crash
async def test_it_holds_after_five_seconds_and_every_job_ends_however_it_is_changed(
    family: Family, url: str
) -> None:
    async with scheduling(url) as service:
        for _ in range(2):
            family.ready(storage=url, concurrency=SLOTS)
        nap = JobRequest("NAP", {"seconds": 0.02})
        for _ in range(JOBS // 500):
            await service.schedule_many([nap] * 500)
        await eventually_async(lambda: holds_ahead(service), "they hold jobs ahead")
        said: list[tuple[int, float, float]] = []
        for most in (3, 1, 6):  # Put, lowered, raised.
            await service.limit_queue("default", most)
            heard = time.monotonic() + LATE
            await asyncio.sleep(LATE + LOOKED)
            said.append((most, heard, time.monotonic()))
        assert not await none_left(service)
        await service.limit_queue("default", None)
        await eventually_async(lambda: none_left(service), "every job has ended", within=90)
        stats = await service.get_stats()
        assert stats.by_status["completed"] == JOBS
        assert await service.get_limits() == []
    entries = family.entries("started", "finished")
    assert set(family.starts().values()) == {1}
    for most, since, until in said:
        assert 0 < most_at_once(entries, since, until) <= most, f"{most} was said"
    assert most_at_once(entries, said[-1][2], entries[-1].at) > said[-1][0], "it was lifted"
