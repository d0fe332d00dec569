"""Durable steps: a run that begins anew goes past what is done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from backroom import (
    FailJob,
    Job,
    JobFailedError,
    JobNotFoundError,
    JobStateError,
    JobStatus,
    LeaseLostError,
    OptionError,
    PayloadTooLargeError,
    ServiceError,
    SignalTimeoutError,
    StepsChangedError,
    StorageError,
)
from backroom.step import MAX_SIGNALS, MAX_STEPS
from tests.engine.world import World

DAY = 86_400


@dataclass
class Quote:
    product: str
    cents: int


class Calls:
    """What was done, in order."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def quote(self, product: str, cents: int = 100) -> Quote:
        self.made.append(f"quote {product}")
        return Quote(product, cents)

    async def note(self, what: str) -> str:
        self.made.append(what)
        return what


@pytest.fixture
def calls() -> Calls:
    return Calls()


# -- steps ---------------------------------------------------------------------------------------


async def test_a_retry_is_given_what_was_kept_and_calls_nothing_again(
    world: World, calls: Calls
) -> None:
    service = world.service()
    quotes: list[Quote] = []

    @service.handler("ORDER", retries=2, retry_delay=10)
    async def order(job: Job[Any]) -> str:
        quotes.append(await job.step("quote", calls.quote, "tea", cents=job.attempt))
        await job.step("pay", calls.note, "pay")
        if job.attempt < 3:
            raise OSError("no route to host")
        return await job.step("ship", calls.note, "ship")

    async with service:
        job_id = await service.schedule("ORDER")
        assert await service.result(job_id) == "ship"
    assert calls.made == ["quote tea", "pay", "ship"]
    assert quotes == [Quote("tea", 1)] * 3


async def test_a_step_that_fails_is_the_handler_s_error_and_is_called_again(
    world: World, calls: Calls
) -> None:
    service = world.service()

    async def flaky() -> str:
        await calls.note("flaky")
        if len(calls.made) < 4:
            raise OSError("busy")
        return "well"

    @service.handler("ORDER", retry_delay=1)
    async def order(job: Job[Any]) -> str:
        await job.step("quote", calls.quote, "tea")
        return await job.step("flaky", flaky)

    async with service:
        job_id = await service.schedule("ORDER")
        assert await service.result(job_id) == "well"
    assert calls.made == ["quote tea", "flaky", "flaky", "flaky"]
    info = await world.look(job_id)
    assert [error.message for error in info.errors] == ["busy", "busy"]
    assert info.attempt == 3
