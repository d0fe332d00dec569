"""What one job does stays with it."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from backroom import Job, JobFailedError
from tests.engine.world import World

USER: ContextVar[str] = ContextVar("USER", default="nobody")


@pytest.mark.parametrize("thread", [False, True])
async def test_a_context_variable_that_a_job_sets_is_not_seen_by_the_next(
    world: World, thread: bool
) -> None:
    service = world.service(concurrency=1)

    def plain(job: Job[Any]) -> str:
        before = USER.get()
        USER.set(job.data["user"])
        return before

    async def coroutine(job: Job[Any]) -> str:
        return plain(job)

    service.register_handler("WHO", plain if thread else coroutine)
    async with service:
        with world.loop.hold():
            for user in ("ada", "grace"):
                assert await service.result(await service.schedule("WHO", {"user": user})) == (
                    "nobody"
                )
    assert USER.get() == "nobody"


@pytest.mark.parametrize("thread", [False, True])
async def test_a_context_variable_of_the_caller_is_not_seen_by_its_job(
    world: World, thread: bool
) -> None:
    """It might run in another process: that it sometimes worked would be worse."""
    service = world.service()

    def plain(job: Job[Any]) -> str:
        return USER.get()

    async def coroutine(job: Job[Any]) -> str:
        return USER.get()

    service.register_handler("WHO", plain if thread else coroutine)
    async with service:
        USER.set("the caller")
        with world.loop.hold():
            assert await service.result(await service.schedule("WHO")) == "nobody"


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Interrupt("stop it")])
@pytest.mark.parametrize("thread", [False, True])
async def test_a_base_exception_in_a_handler_ends_only_its_attempt(
    world: World, error: BaseException, thread: bool
) -> None:
    service = world.service(concurrency=1)

    def plain(job: Job[Any]) -> str:
        if job.attempt == 1:
            raise error
        return "second time"

    async def coroutine(job: Job[Any]) -> str:
        return plain(job)

    service.register_handler("RUDE", plain if thread else coroutine, retries=1, retry_delay=0)
    async with service:
        job_id = await service.schedule("RUDE")
        with world.loop.hold():
            assert await service.result(job_id) == "second time"
        [kept] = (await service.get_job(job_id)).errors
    assert kept.kind == type(error).__name__


async def test_generator_exit_and_stop_iteration_are_failures_too(world: World) -> None:
    service = world.service(concurrency=1)

    @service.handler("ODD", retries=0)
    async def odd(job: Job[Any]) -> None:
        raise {"stop": StopIteration, "exit": GeneratorExit}[job.data["which"]]

    async with service:
        for which in ("stop", "exit"):
            with pytest.raises(JobFailedError):
                await service.result(await service.schedule("ODD", {"which": which}), timeout=10)


async def test_a_job_that_changes_its_data_changes_nobody_elses(world: World) -> None:
    service = world.service()

    @service.handler("GROW", retries=1, retry_delay=0)
    async def grow(job: Job[dict[str, list[int]]]) -> list[int]:
        job.data["n"].append(1)
        if job.attempt == 1:
            raise ConnectionError
        return job.data["n"]

    async with service:
        job_id = await service.schedule("GROW", {"n": []})
        assert await service.result(job_id) == [1]
        assert (await service.get_job(job_id)).data == {"n": []}


async def test_a_task_that_a_handler_left_behind_holds_up_nothing(world: World) -> None:
    service = world.service(concurrency=1)
    left: list[asyncio.Task[None]] = []

    @service.handler("LEAVE")
    async def leave(job: Job[Any]) -> None:
        left.append(asyncio.create_task(asyncio.sleep(3600)))

    async with service:
        for _ in range(3):
            await service.result(await service.schedule("LEAVE"))
    for task in left:
        task.cancel()
