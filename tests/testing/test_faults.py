"""Failures and deaths on order, under the engine's own rules."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from backroom import Job, JobInfo, OptionError, UnknownJobTypeError
from backroom.testing import InjectedError, Jobs
from tests.testing.app import MAIL, Mail, Shop

DAY = timedelta(days=1)


def kinds(job: JobInfo) -> list[str]:
    return [error.kind for error in job.errors]


@pytest.mark.parametrize("type_", ["MAIL", "THREAD"])
async def test_fails_twice_is_killed_then_works(shop: Shop, jobs: Jobs, type_: str) -> None:
    jobs.fail(type_, times=2, error=ConnectionError("no route"))
    jobs.kill(type_)
    job_id = await shop.service.schedule(type_, {"template": "x"} if type_ == "MAIL" else None)

    await jobs.advance(DAY)

    job = await shop.service.get_job(job_id)
    assert (job.status, job.attempt, job.crashes) == ("completed", 4, 1)
    assert kinds(job) == ["ConnectionError", "ConnectionError", "crash"]
    assert job.errors[0].message == "no route"
    assert [attempt for _, attempt in shop.done] == [4]  # type: ignore[misc]


async def test_errors_of_every_form(shop: Shop, jobs: Jobs) -> None:
    jobs.fail(MAIL)
    jobs.fail(MAIL, error=LookupError)
    jobs.fail(MAIL, error=OSError(28, "disk full"), times=1)
    job_id = await shop.service.schedule(MAIL, Mail("x"))
    await jobs.advance(DAY)
    job = await shop.service.get_job(job_id)
    assert kinds(job) == [InjectedError.__name__, "LookupError", "OSError"]
    assert job.status == "completed"


async def test_always(shop: Shop, jobs: Jobs) -> None:
    jobs.fail(MAIL, times=None)
    job_id = await shop.service.schedule(MAIL, Mail("x"))
    await jobs.advance(DAY)
    job = await shop.service.get_job(job_id)
    assert (job.status, job.attempt) == ("failed", 4)


async def test_after_the_handler_has_done_its_work(shop: Shop, jobs: Jobs) -> None:
    jobs.fail(MAIL, when="after")
    jobs.kill(MAIL, when="after")
    await shop.service.schedule(MAIL, Mail("x"))
    await jobs.advance(DAY)
    assert shop.done == [("ada@example.com", attempt) for attempt in (1, 2, 3)]


@pytest.mark.parametrize("type_", ["MAIL", "THREAD"])
async def test_three_deaths_are_poison_whatever_retries_remain(
    shop: Shop, jobs: Jobs, type_: str
) -> None:
    jobs.kill(type_, times=None)
    job_id = await shop.service.schedule(
        type_, {"template": "x"} if type_ == "MAIL" else None, retries=10
    )
    await jobs.drain()
    job = await shop.service.get_job(job_id)
    assert (job.status, job.crashes) == ("failed", 3)
    assert "poison" in str(job.error)
    assert shop.done == []


async def test_a_death_consumes_the_last_attempt(shop: Shop, jobs: Jobs) -> None:
    jobs.kill(MAIL)
    job_id = await shop.service.schedule(MAIL, Mail("x"), retries=0)
    await jobs.drain()
    job = await shop.service.get_job(job_id)
    assert (job.status, job.attempt, job.crashes) == ("failed", 1, 1)


async def test_other_jobs_do_not_notice(shop: Shop, jobs: Jobs) -> None:
    @shop.service.handler("LONG")
    async def long(job: Job[object]) -> None:
        await asyncio.sleep(0.02)

    @shop.service.handler("LONG_THREAD")
    def long_thread(job: Job[object]) -> None:
        time.sleep(0.02)

    jobs.kill(MAIL)
    ids = [await shop.service.schedule(name) for name in ("LONG", "LONG_THREAD")]
    await shop.service.schedule(MAIL, Mail("x"))
    await jobs.drain()
    for job_id in ids:
        job = await shop.service.get_job(job_id)
        assert (job.status, job.attempt, job.crashes) == ("completed", 1, 0)


async def test_a_death_answers_nobody(shop: Shop, jobs: Jobs) -> None:
    jobs.kill(MAIL, when="after")
    job_id = await shop.service.schedule(MAIL, Mail("x"))
    waiting = asyncio.create_task(shop.service.result(job_id))
    await asyncio.sleep(0)
    await jobs.drain()
    assert await waiting == "sent"
    assert (await shop.service.get_job(job_id)).attempt == 2


async def test_each_type_has_its_own(shop: Shop, jobs: Jobs) -> None:
    jobs.fail("THREAD")
    await shop.service.schedule(MAIL, Mail("x"))
    [job] = await jobs.drain()
    assert job.status == "completed"


@pytest.mark.parametrize("options", [{"times": 0}, {"times": True}, {"when": "during"}])
def test_slips_are_told_at_once(jobs: Jobs, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        jobs.fail(MAIL, **options)
    with pytest.raises(UnknownJobTypeError):
        jobs.kill("MALL")
