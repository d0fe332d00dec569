"""Workers on real event loops that an application uses in its own way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from backroom import FileJobStorage, Job, JobService


async def test_an_application_that_fills_its_loop_s_executor_does_not_hold_up_a_worker(
    tmp_path: Path,
) -> None:
    """Neither its start nor its stop wait for threads that `asyncio.to_thread` has taken."""
    ends = threading.Event()
    busy = [asyncio.create_task(asyncio.to_thread(ends.wait, 8)) for _ in range(40)]
    service = JobService(FileJobStorage(tmp_path))

    @service.handler("QUICK")
    async def quick(job: Job[Any]) -> str:
        return "done"

    began = time.monotonic()
    await service.start()
    job_id = await service.schedule("QUICK")
    assert await service.result(job_id, timeout=10) == "done"
    assert await service.stop(grace=5) is True
    assert time.monotonic() - began < 6
    ends.set()
    await asyncio.gather(*busy)


async def test_a_task_factory_of_the_application_is_used(tmp_path: Path) -> None:
    """Also one that knows nothing of contexts."""
    loop = asyncio.get_running_loop()
    made: list[str] = []

    class Task(asyncio.Task[Any]):
        pass

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> Any:
        made.append(coroutine.__qualname__)
        return Task(coroutine, loop=loop)

    before = loop.get_task_factory()
    loop.set_task_factory(factory)  # type: ignore[arg-type]
    try:
        service = JobService(FileJobStorage(tmp_path))

        @service.handler("QUICK")
        async def quick(job: Job[Any]) -> str:
            return type(asyncio.current_task()).__qualname__.rpartition(".")[2]

        async with service:
            job_id = await service.schedule("QUICK")
            assert await service.result(job_id, timeout=10) == "Task"
        assert any("_run" in name for name in made)
    finally:
        loop.set_task_factory(before)
