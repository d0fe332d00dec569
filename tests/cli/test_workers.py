"""`backroom workers`: what runs where, and a worker that is to claim nothing more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from backroom import Job, JobService
from tests.cli.parts import backroom


async def test_workers_are_listed_with_what_they_run_drained_and_resumed(tmp_path: Path) -> None:
    url = f"file:{tmp_path / 'jobs'}"
    service = JobService(url, concurrency=2, poll_interval=0.05)
    ended = asyncio.Event()

    @service.handler("LONG")
    async def long(job: Job[Any]) -> None:
        await ended.wait()

    on = ("--storage", url)
    async with service:
        assert "no worker is running" not in backroom("workers", "list", *on).out
        jobs = [await service.schedule("LONG", queue="slow") for _ in range(3)]
        while not (report := (await service.get_workers())[0].report) or report.active < 2:
            service._worker._reporter.signal()  # type: ignore[union-attr]
            await asyncio.sleep(0.02)
        [worker] = json.loads(backroom("workers", "list", "--json", *on).out)
        assert [one["id"] for one in worker["report"]["running"]] == jobs[:2]
        shown = await asyncio.to_thread(backroom, "workers", "list", *on)
        assert "working" in shown.out
        assert f"LONG {jobs[0]}, attempt 1" in shown.out
        number = str(worker["id"])
        shown = await asyncio.to_thread(backroom, "workers", "drain", number, *on)
        assert shown == (0, f"{number}  draining\n", "")
        while service._worker is not None and not service._worker.draining:
            await asyncio.sleep(0.02)
        ended.set()
        await asyncio.gather(*(service.result(job, timeout=20) for job in jobs[:2]))
        assert str(await service.get_job_status(jobs[2])) == "pending"
        assert "draining" in backroom("workers", "list", *on).out
        shown = await asyncio.to_thread(backroom, "workers", "resume", number, "--json", *on)
        assert json.loads(shown.out) == {number: "resumed"}
        await service.result(jobs[2], timeout=20)
        actions = [(one.verb, one.target) for one in await service.get_actions()]
        assert actions == [(verb, f"worker {worker['name']}") for verb in ("resume", "drain")]
    assert backroom("workers", "list", *on).out == "no worker is running\n"


async def test_nobody_drains_a_worker_that_is_not_there(tmp_path: Path) -> None:
    service = JobService(f"file:{tmp_path / 'jobs'}")
    await service.open()
    on = ("--storage", f"file:{tmp_path / 'jobs'}")
    shown = backroom("workers", "drain", "77", *on)
    assert (shown.code, shown.out) == (1, "")
    assert "no worker with the id 77 lives" in shown.err
    assert backroom("workers", "drain", "none", *on).code == 2
    await service.stop()
