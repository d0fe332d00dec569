"""What becomes of a job that fails: how often it is tried again, and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from backroom import (
    Backoff,
    Cancel,
    FailJob,
    Job,
    JobCancelledError,
    JobFailedError,
    JobRequest,
    JobStatus,
    RetryJob,
    Snooze,
    exponential,
    fixed,
    linear,
)
from tests.engine.world import World


class Boom(Exception):
    pass


async def failures(world: World, **options: Any) -> list[float]:
    """The moments at which a job that always fails is tried."""
    service = world.service(poll_interval=600)
    starts: list[float] = []

    @service.handler("FAILS")
    async def fails(job: Job[Any]) -> None:
        starts.append(world.elapsed)
        raise Boom("always")

    async with service:
        job_id = await service.schedule("FAILS", **options)
        with pytest.raises(JobFailedError, match=r"^always$"):
            await service.result(job_id)
    return starts


def waits(starts: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(starts)]


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        ("fixed", [10, 10, 10, 10]),
        (fixed(), [10, 10, 10, 10]),
        (linear(jitter="none"), [10, 20, 30, 40]),
        (linear(jitter="none", cap=25), [10, 20, 25, 25]),
        (exponential(jitter="none"), [10, 20, 40, 80]),
        (exponential(jitter="none", factor=3, cap=50), [10, 30, 50, 50]),
    ],
)
async def test_the_wait_grows_as_the_backoff_says(
    world: World, backoff: Any, expected: list[float]
) -> None:
    starts = await failures(world, retries=4, retry_delay=10, backoff=backoff)
    assert waits(starts) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("backoff", "least", "most"),
    [
        (None, [10, 20, 40, 80], [12.5, 25, 50, 100]),  # the default
        ("exponential", [10, 20, 40, 80], [12.5, 25, 50, 100]),
        ("linear", [10, 20, 30, 40], [12.5, 25, 37.5, 50]),
        (Backoff("fixed", jitter="up"), [10] * 4, [12.5] * 4),
        (exponential(jitter="full"), [0] * 4, [10, 20, 40, 80]),
        (exponential(jitter="up", cap=30), [10, 20, 30, 30], [12.5, 25, 37.5, 37.5]),
    ],
)
async def test_jitter_stays_within_its_bounds(
    world: World, backoff: Any, least: list[float], most: list[float]
) -> None:
    starts = await failures(world, retries=4, retry_delay=10, backoff=backoff)
    for wait, low, high in zip(waits(starts), least, most, strict=True):
        assert low - 0.01 <= wait <= high + 0.01


async def test_a_function_may_say_the_wait_of_each_retry(world: World) -> None:
    service = world.service()
    starts: list[float] = []

    @service.handler("FAILS", retries=3, backoff=lambda retry: retry * retry * 5.0)
    async def fails(job: Job[Any]) -> None:
        starts.append(world.elapsed)
        raise Boom

    async with service:
        with pytest.raises(JobFailedError):
            await service.result(await service.schedule("FAILS"))
    assert waits(starts) == pytest.approx([5, 20, 45], abs=0.01)


@pytest.mark.parametrize(
    "backoff",
    [
        lambda retry: 1 / 0,
        lambda retry: "soon",
        lambda retry: None,
        lambda retry: -1.0,
        lambda retry: float("nan"),
        lambda retry: float("inf"),
        lambda retry: 1e300,
        lambda retry: 10**400,
    ],
    ids=["raises", "text", "none", "negative", "nan", "endless", "huge", "overflow"],
)
async def test_a_backoff_function_that_goes_wrong_ends_its_job_and_no_other(
    world: World, backoff: Callable[[int], float]
) -> None:
    service = world.service(concurrency=1)

    @service.handler("FAILS", retries=3, backoff=backoff)
    async def fails(job: Job[Any]) -> None:
        raise Boom("the real reason")

    @service.handler("FINE")
    async def fine(job: Job[Any]) -> str:
        return "ok"

    async with service:
        bad, good = await service.schedule("FAILS"), await service.schedule("FINE")
        with pytest.raises(JobFailedError):
            await service.result(bad, timeout=60)
        assert await service.result(good, timeout=60) == "ok"
        [error] = (await service.get_job(bad)).errors
        assert "the real reason" in f"{error.message} {error.traceback}"


async def test_ten_thousand_jobs_that_fail_together_do_not_come_back_together(
    world: World,
) -> None:
    service = world.service(concurrency=10_000)

    @service.handler("FAILS", retries=1, retry_delay=400)
    async def fails(job: Job[Any]) -> None:
        raise Boom("the server is down")

    await service.schedule_many([JobRequest("FAILS") for _ in range(10_000)])
    async with service:
        failed_at = world.clock.wall
        await asyncio.sleep(1)
    waits: Counter[int] = Counter()
    cursor: str | None = None
    while True:
        page = await world.viewer.get_jobs(status="scheduled", limit=1000, cursor=cursor)
        waits.update(int((info.run_at - failed_at).total_seconds()) for info in page)
        cursor = page.cursor
        if cursor is None:
            break
    assert waits.total() == 10_000
    assert min(waits) == 400  # none earlier than said
    assert max(waits) <= 500  # and a quarter later at most
    mean = 10_000 / 100
    assert max(waits.values()) / mean < 1.6


@pytest.mark.parametrize("retries", [0, 1, 5])
async def test_retries_n_allows_n_plus_one_attempts(world: World, retries: int) -> None:
    starts = await failures(world, retries=retries, retry_delay=1, backoff="fixed")
    assert len(starts) == retries + 1


async def test_a_job_knows_which_attempt_it_is_and_how_many_there_are(world: World) -> None:
    service = world.service()
    seen: list[tuple[int, int]] = []

    @service.handler("FAILS", retries=2, retry_delay=1)
    async def fails(job: Job[Any]) -> None:
        seen.append((job.attempt, job.max_attempts))
        raise Boom

    async with service:
        job_id = await service.schedule("FAILS")
        with pytest.raises(JobFailedError):
            await service.result(job_id)
        await service.retry_job(job_id)
        with pytest.raises(JobFailedError):
            await service.result(job_id)
        info = await service.get_job(job_id)
    # An operator's retry grants a fresh budget; the count of attempts goes on.
    assert seen == [(1, 3), (2, 3), (3, 3), (4, 6), (5, 6), (6, 6)]
    assert info.attempt == 6
    assert [error.attempt for error in info.errors] == [1, 2, 3, 4, 5, 6]


async def test_a_job_that_waits_for_its_retry_is_scheduled_and_shows_its_error(
    world: World,
) -> None:
    service = world.service()

    @service.handler("FAILS", retries=1, retry_delay=50, backoff="fixed")
    async def fails(job: Job[Any]) -> None:
        raise Boom("not yet")

    async with service:
        job_id = await service.schedule("FAILS")
        await asyncio.sleep(1)
        info = await service.get_job(job_id)
        assert (info.status, info.error, info.attempt) == (JobStatus.SCHEDULED, "not yet", 1)
        assert info.run_at == world.clock.wall + timedelta(seconds=49)
        await service.retry_job(job_id)  # an operator does not want to wait
        await asyncio.sleep(1)
        assert (await service.get_job(job_id)).attempt == 2


async def test_snooze_costs_no_attempt(world: World) -> None:
    service = world.service()
    starts: list[tuple[float, int]] = []

    @service.handler("POLL", retries=0)
    async def poll(job: Job[Any]) -> str | Snooze:
        starts.append((world.elapsed, job.attempt))
        return Snooze(timedelta(seconds=30)) if len(starts) < 4 else "there"

    async with service:
        job_id = await service.schedule("POLL")
        assert await service.result(job_id) == "there"
        info = await service.get_job(job_id)
    assert starts == [
        (0, 1),
        (pytest.approx(30), 1),
        (pytest.approx(60), 1),
        (pytest.approx(90), 1),
    ]
    assert (info.attempt, info.errors) == (1, ())


async def test_a_handler_may_say_that_its_job_is_not_needed(world: World) -> None:
    service = world.service()

    @service.handler("NOTE")
    async def note(job: Job[Any]) -> Cancel:
        return Cancel("the user has gone")

    async with service:
        job_id = await service.schedule("NOTE")
        with pytest.raises(JobCancelledError, match="the user has gone"):
            await service.result(job_id)
        info = await service.get_job(job_id)
    assert (info.status, info.error) == (JobStatus.CANCELLED, "the user has gone")


async def test_fail_job_is_not_retried(world: World) -> None:
    service = world.service()
    starts: list[int] = []

    @service.handler("MAIL", retries=9)
    async def mail(job: Job[Any]) -> None:
        starts.append(job.attempt)
        raise FailJob("no such mailbox")

    async with service:
        job_id = await service.schedule("MAIL")
        with pytest.raises(JobFailedError, match="no such mailbox"):
            await service.result(job_id)
    assert starts == [1]


async def test_retry_job_says_its_own_delay_and_consumes_an_attempt(world: World) -> None:
    service = world.service()
    starts: list[float] = []

    @service.handler("MAIL", retries=3, retry_delay=1, backoff="fixed")
    async def mail(job: Job[Any]) -> None:
        starts.append(world.elapsed)
        if job.attempt == 1:
            raise RetryJob("greylisted", delay=77)
        if job.attempt == 2:
            raise RetryJob("greylisted", delay=timedelta(minutes=2))
        raise RetryJob

    async with service:
        job_id = await service.schedule("MAIL")
        with pytest.raises(JobFailedError, match="the handler asked for a retry"):
            await service.result(job_id)
    assert waits(starts) == pytest.approx([77, 120, 1], abs=0.01)


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), "soon", True])
@pytest.mark.parametrize("thread", [False, True])
async def test_a_retry_job_with_a_delay_that_is_none_is_a_failed_attempt(
    world: World, delay: Any, thread: bool
) -> None:
    service = world.service(concurrency=1)

    def plain(job: Job[Any]) -> None:
        raise RetryJob("later", delay=delay)

    async def coroutine(job: Job[Any]) -> None:
        raise RetryJob("later", delay=delay)

    service.register_handler("MAIL", plain if thread else coroutine, retries=0)
    async with service:
        job_id = await service.schedule("MAIL")
        with world.loop.hold(), pytest.raises(JobFailedError, match="delay must be"):
            await service.result(job_id)


async def test_errors_of_all_attempts_are_kept_the_last_fifty_of_them(world: World) -> None:
    service = world.service()

    @service.handler("FAILS", retries=59, retry_delay=1, backoff="fixed")
    async def fails(job: Job[Any]) -> None:
        raise Boom(f"attempt {job.attempt}")

    async with service:
        job_id = await service.schedule("FAILS")
        with pytest.raises(JobFailedError, match=r"^attempt 60$"):
            await service.result(job_id)
        info = await service.get_job(job_id)
    assert [error.message for error in info.errors] == [f"attempt {n}" for n in range(11, 61)]
    first = info.errors[0]
    assert (first.kind, first.attempt) == ("Boom", 11)
    assert (first.at - info.created_at).total_seconds() == pytest.approx(10, abs=0.01)
    assert 'raise Boom(f"attempt {job.attempt}")' in (first.traceback or "")


async def test_a_gigabyte_of_errors_stays_bounded(world: World) -> None:
    service = world.service(concurrency=5)
    megabyte = "x" * 1_000_000
    raised = 0

    @service.handler("FAILS", retries=199, retry_delay=0, backoff="fixed")
    async def fails(job: Job[Any]) -> None:
        nonlocal raised
        raised += 1
        raise Boom(megabyte)

    async with service:
        ids = [await service.schedule("FAILS") for _ in range(5)]
        for job_id in ids:
            with pytest.raises(JobFailedError) as caught:
                await service.result(job_id)
            assert len(str(caught.value)) <= 4096
        infos = [await service.get_job(job_id) for job_id in ids]
    assert raised == 1000
    for info in infos:
        assert len(info.errors) == 50
        assert all(len(error.message) <= 4096 for error in info.errors)
        assert all(len(error.traceback or "") <= 16_384 for error in info.errors)
    assert "characters left out" in infos[0].errors[0].message


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ValueError("\ud800 alone"), "ValueError", "? alone"),
        (ValueError("nul \0 inside"), "ValueError", "nul"),
        (ValueError(), "ValueError", "ValueError"),
        (ExceptionGroup("both", [Boom("one"), Boom("two")]), "ExceptionGroup", "both"),
    ],
    ids=["surrogate", "nul", "empty", "group"],
)
async def test_any_text_of_an_error_is_kept_so_that_it_can_be_read(
    world: World, error: Exception, kind: str, text: str
) -> None:
    service = world.service()

    @service.handler("FAILS", retries=0)
    async def fails(job: Job[Any]) -> None:
        raise error

    async with service:
        job_id = await service.schedule("FAILS")
        with pytest.raises(JobFailedError):
            await service.result(job_id, timeout=60)
        [kept] = (await service.get_job(job_id)).errors
    assert kept.kind == kind
    assert text in kept.message


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


async def test_an_error_without_a_text_is_an_error_all_the_same(world: World) -> None:
    service = world.service()

    @service.handler("FAILS", retries=0)
    async def fails(job: Job[Any]) -> None:
        raise Unprintable

    async with service:
        with pytest.raises(JobFailedError, match=r"own text failed: RuntimeError"):
            await service.result(await service.schedule("FAILS"))


async def test_the_longest_chain_of_causes_is_kept_bounded(world: World) -> None:
    service = world.service()

    @service.handler("FAILS", retries=0)
    async def fails(job: Job[Any]) -> None:
        error: Exception = Boom("the first cause")
        for n in range(2000):
            outer = Boom(f"link {n}")
            outer.__cause__ = error
            error = outer
        raise error

    async with service:
        job_id = await service.schedule("FAILS")
        with pytest.raises(JobFailedError):
            await service.result(job_id, timeout=60)
        [kept] = (await service.get_job(job_id)).errors
    assert len(kept.traceback or "") <= 16_384
