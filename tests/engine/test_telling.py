"""What the log of a worker says of attempts."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from backroom import Job, JobFailedError
from tests.engine.world import World


async def test_a_failed_attempt_is_told_and_the_last_one_with_its_traceback(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    service = world.service()

    @service.handler("BAD", retries=1, retry_delay=7, backoff="fixed")
    async def bad(job: Job[Any]) -> None:
        raise ValueError("no such thing")

    await service.start()
    job_id = await service.schedule("BAD")
    with pytest.raises(JobFailedError):
        await service.result(job_id)
    first, last = [record for record in caplog.records if record.name == "backroom.job"]
    assert first.levelno == logging.WARNING
    assert first.getMessage() == (
        f"BAD {job_id}: attempt 1 failed, again in 7.0 s: ValueError: no such thing"
    )
    assert last.levelno == logging.ERROR
    text, *traceback = last.getMessage().splitlines()
    assert text == f"BAD {job_id} failed after 2 attempts: ValueError: no such thing"
    assert traceback[0].startswith("Traceback")
    assert 'raise ValueError("no such thing")' in last.getMessage()


async def test_what_goes_well_is_told_to_those_who_ask(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "backroom.job")
    service = world.service()

    @service.handler("GOOD")
    async def good(job: Job[Any]) -> None: ...

    await service.start()
    job_id = await service.schedule("GOOD")
    await service.result(job_id)
    [told] = [record.getMessage() for record in caplog.records if record.name == "backroom.job"]
    assert told == f"GOOD {job_id} completed in 0.000 s"
