"""A job that is scheduled once, though somebody who had no answer asks again; on every storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from backroom import JobService, OptionError
from backroom.job import SECOND
from backroom.once import once_ids
from tests.contract.parts import Bench, Place

DAY = 24 * 3600


@pytest.fixture
async def service(bench: Bench) -> AsyncIterator[JobService]:
    service = JobService(bench.storage)
    service.declare("PAY")
    service.declare("REFUND")
    yield service
    await service.stop(0)


async def test_whoever_asks_again_gets_the_job_that_there_is(
    bench: Bench, service: JobService
) -> None:
    job_id, created = await service.schedule_once("order 1", "PAY", {"cents": 5})
    assert created
    for seconds in (0, 1, 599, 3600, 20 * 3600):
        bench.clock.advance(seconds)
        assert await service.schedule_once("order 1", "PAY", {"cents": 5}) == (job_id, False)
    assert (await service.get_stats()).by_status["pending"] == 1


async def test_another_key_is_another_job(service: JobService) -> None:
    one, _ = await service.schedule_once("order 1", "PAY", {"cents": 5})
    other, created = await service.schedule_once("order 2", "PAY", {"cents": 5})
    assert (created, one != other) == (True, True)


async def test_a_key_that_was_used_for_something_else_is_refused(service: JobService) -> None:
    await service.schedule_once("order 1", "PAY", {"cents": 5})
    for type_, data in (("PAY", {"cents": 6}), ("REFUND", {"cents": 5})):
        with pytest.raises(OptionError, match="belongs to job"):
            await service.schedule_once("order 1", type_, data)
    assert (await service.get_stats()).by_status["pending"] == 1


async def test_many_at_once_make_one_job(place: Place) -> None:
    services = [JobService(bench.storage) for bench in await place.benches(4)]
    for service in services:
        service.declare("PAY")
    asked = [service.schedule_once("order 1", "PAY", {}) for service in services for _ in range(5)]
    answers = await asyncio.gather(*asked)
    assert len({job_id for job_id, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    for service in services:
        await service.stop(0)


async def test_a_job_that_was_deleted_is_made_anew(service: JobService) -> None:
    job_id, _ = await service.schedule_once("order 1", "PAY", {})
    await service.delete_job(job_id)
    again, created = await service.schedule_once("order 1", "PAY", {})
    assert (again, created) == (job_id, True)


async def test_who_holds_the_unique_key_answers(service: JobService) -> None:
    held = await service.schedule("PAY", {}, unique_key="k")
    for _ in range(2):
        answer = await service.schedule_once("order 1", "PAY", {}, unique_key="k")
        assert answer == (held, False)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "\x00", 7, None])
async def test_a_key_that_is_none_is_refused(key: object, service: JobService) -> None:
    with pytest.raises(OptionError, match="idempotency key"):
        await service.schedule_once(key, "PAY", {})  # type: ignore[arg-type]


def test_the_ids_of_a_key_are_uuids_of_the_last_day_newest_first() -> None:
    now = 1_800_000_000 * SECOND
    ids = once_ids("order 1", now)
    assert all(UUID(one).version == 7 and str(UUID(one)) == one for one in ids)
    assert ids == sorted(ids, reverse=True)
    later = once_ids("order 1", now + (DAY - 600) * SECOND)
    assert ids[0] in later
    assert ids[0] not in once_ids("order 1", now + (DAY + 1200) * SECOND)
    assert not set(ids) & set(once_ids("order 2", now))
