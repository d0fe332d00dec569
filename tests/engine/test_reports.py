"""What a handler says while it runs: progress and lines, kept with the job, and bounded."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from backroom import Job, JobFailedError
from tests.engine.world import World, forever


async def test_progress_is_seen_while_the_job_runs(world: World) -> None:
    service = world.service()

    @service.handler("STEPS")
    async def steps(job: Job[Any]) -> None:
        for step in range(1, 5):
            job.progress(step / 4, f"step {step}")
            await asyncio.sleep(10)

    seen: list[tuple[float | None, str | None]] = []
    async with service:
        job_id = await service.schedule("STEPS")
        for _ in range(4):
            await asyncio.sleep(5)
            info = await service.get_job(job_id)
            seen.append((info.progress, info.progress_message))
            await asyncio.sleep(5)
    assert seen == [(n / 4, f"step {n}") for n in range(1, 5)]


async def test_the_last_progress_stays_with_the_job(world: World) -> None:
    service = world.service()

    @service.handler("STEPS")
    async def steps(job: Job[Any]) -> None:
        for step in range(1000):
            job.progress(step / 1000)
        job.progress(1, "all of it")

    async with service:
        job_id = await service.schedule("STEPS")
        await service.result(job_id)
        info = await service.get_job(job_id)
    assert (info.progress, info.progress_message) == (1.0, "all of it")


async def test_a_flood_of_progress_is_a_few_writes(world: World) -> None:
    service = world.service(world.faults.store)

    @service.handler("STEPS")
    async def steps(job: Job[Any]) -> None:
        for step in range(10_000):
            job.progress(step / 10_000)
            await asyncio.sleep(0.001)

    async with service:
        await service.result(await service.schedule("STEPS"))
    assert world.elapsed == pytest.approx(10, abs=0.1)
    assert world.faults.calls["report"] <= 41


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf")])
async def test_a_progress_that_is_none_is_an_error_of_the_handler(
    world: World, fraction: float
) -> None:
    service = world.service()

    @service.handler("STEPS", retries=0)
    async def steps(job: Job[Any]) -> None:
        job.progress(fraction)

    async with service:
        with pytest.raises(JobFailedError, match="progress must be 0 to 1, got"):
            await service.result(await service.schedule("STEPS"))


@pytest.mark.parametrize("message", ["x" * 1_000_000, "\ud800 alone", "nul \0 inside", ""])
@pytest.mark.parametrize("wait", [0, 5])
async def test_any_message_of_a_progress_harms_neither_its_job_nor_another(
    world: World, message: str, wait: int
) -> None:
    service = world.service()

    @service.handler("ODD")
    async def odd(job: Job[Any]) -> str:
        job.progress(0.5, message)
        await asyncio.sleep(wait)
        return "done"

    @service.handler("FINE")
    async def fine(job: Job[Any]) -> str:
        await asyncio.sleep(wait)
        return "fine"

    async with service:
        ids = [await service.schedule(name) for name in ("FINE", "ODD", "FINE")]
        results = [await service.result(job_id, timeout=60) for job_id in ids]
        info = await service.get_job(ids[1])
    assert results == ["fine", "done", "fine"]
    assert info.progress == 0.5
    assert len(info.progress_message or "") <= 8192


async def test_lines_are_kept_with_their_job_and_go_to_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "backroom.job")
    service = world.service()

    @service.handler("TALK")
    async def talk(job: Job[Any]) -> None:
        job.log.debug("looking")
        job.log.info("found %d of %s", 3, "them")
        await asyncio.sleep(10)
        job.log.warning("100 % sure")
        try:
            raise KeyError("gone")
        except KeyError:
            job.log.exception("one is %s", "missing")

    async with service:
        job_id = await service.schedule("TALK")
        await asyncio.sleep(5)
        early = (await service.get_job(job_id)).log
        await service.result(job_id)
        lines = (await service.get_job(job_id)).log
    assert [line.message for line in early] == ["looking", "found 3 of them"]
    assert [line.level for line in lines] == ["debug", "info", "warning", "error"]
    assert lines[2].message == "100 % sure"
    assert lines[3].message.startswith("one is missing\nTraceback")
    assert "KeyError: 'gone'" in lines[3].message
    assert {line.attempt for line in lines} == {1}
    assert (lines[2].at - lines[1].at).total_seconds() == 10
    assert f"TALK {job_id}: found 3 of them" in caplog.messages


async def test_a_line_that_cannot_be_formatted_does_not_fail_the_job(world: World) -> None:
    """As in the standard library: a slip in a log line is not worth an attempt."""
    service = world.service()

    @service.handler("TALK", retries=0)
    async def talk(job: Job[Any]) -> str:
        job.log.info("%d of %d", 1)
        job.log.info("%d %", 1)
        return "done"

    async with service:
        job_id = await service.schedule("TALK")
        assert await service.result(job_id) == "done"
        lines = (await service.get_job(job_id)).log
    assert [line.message.split(" ")[0] for line in lines] == ["%d", "%d"]


async def test_lines_of_one_attempt_are_bounded(world: World) -> None:
    service = world.service()

    @service.handler("TALK")
    async def talk(job: Job[Any]) -> None:
        for n in range(5000):
            job.log.info("line %d %s", n, "x" * 100)

    async with service:
        job_id = await service.schedule("TALK")
        await service.result(job_id)
        lines = (await service.get_job(job_id)).log
    assert len(lines) == 1000
    assert lines[0].message.startswith("line 0 ")
    assert "no more lines of this attempt are kept" in lines[-1].message


async def test_a_long_line_is_cut(world: World) -> None:
    service = world.service()

    @service.handler("TALK")
    async def talk(job: Job[Any]) -> None:
        job.log.info("y" * 1_000_000)
        job.log.info("\ud800 alone")

    async with service:
        job_id = await service.schedule("TALK")
        await service.result(job_id)
        first, second = (await service.get_job(job_id)).log
    assert len(first.message) == 8192
    assert second.message == "? alone"


async def test_the_lines_of_all_attempts_together_are_bounded(world: World) -> None:
    service = world.service()

    @service.handler("TALK", retries=4, retry_delay=0, backoff="fixed")
    async def talk(job: Job[Any]) -> None:
        for n in range(400):
            job.log.info("attempt %d line %d", job.attempt, n)
        raise ConnectionError

    async with service:
        job_id = await service.schedule("TALK")
        with pytest.raises(JobFailedError):
            await service.result(job_id)
        lines = (await service.get_job(job_id)).log
    assert len(lines) == 1000
    assert lines[-1].message == "attempt 5 line 399"
    assert {line.attempt for line in lines} == {3, 4, 5}


async def test_a_report_that_the_storage_did_not_take_harms_nothing(world: World) -> None:
    service = world.service(world.faults.store)
    world.faults.fail("report", "before")

    @service.handler("TALK")
    async def talk(job: Job[Any]) -> str:
        job.progress(0.1)
        await asyncio.sleep(1)
        job.progress(0.2)
        await asyncio.sleep(1)
        return "done"

    async with service:
        job_id = await service.schedule("TALK")
        assert await service.result(job_id) == "done"
        assert (await service.get_job(job_id)).progress == 0.2


async def test_a_job_tells_what_was_scheduled(world: World) -> None:
    service = world.service()
    seen: list[Job[Any]] = []

    @service.handler("TELL", retries=4)
    async def tell(job: Job[Any]) -> None:
        seen.append(job)

    async with service:
        job_id = await service.schedule(
            "TELL", {"n": 1}, priority="high", queue="mail", tags=["a", "b"],
            metadata={"user": {"id": 7}},
        )  # fmt: skip
        await service.result(job_id)
        info = await service.get_job(job_id)
    [job] = seen
    assert (job.id, job.type, job.data) == (job_id, "TELL", {"n": 1})
    assert (job.queue, job.priority, job.tags) == ("mail", "high", ("a", "b"))
    assert (job.metadata, job.max_attempts) == ({"user": {"id": 7}}, 5)
    assert job.run_at == info.run_at == info.created_at
    assert (info.tags, info.metadata) == (("a", "b"), {"user": {"id": 7}})


async def test_what_is_said_after_the_end_is_dropped(world: World) -> None:
    service = world.service()
    kept: list[Job[Any]] = []

    @service.handler("TELL")
    async def tell(job: Job[Any]) -> None:
        kept.append(job)

    service.register_handler("SLOW", forever)
    async with service:
        job_id = await service.schedule("TELL")
        await service.result(job_id)
        kept[0].progress(0.5, "from the grave")
        kept[0].log.info("still here")
        await asyncio.sleep(5)
        info = await service.get_job(job_id)
    assert (info.progress, info.log) == (None, ())
