"""Steps on the command line: what a job waits for, the signal it gets, and how it begins anew."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from backroom import FileJobStorage, Job, JobService
from tests.cli.parts import backroom


@pytest.fixture
def service(tmp_path: Path) -> JobService:
    service = JobService(FileJobStorage(tmp_path / "jobs"))
    service.register_handler("ORDER", order)
    return service


async def quote(cents: int) -> dict[str, int]:
    return {"cents": cents}


async def order(job: Job[Any]) -> Any:
    await job.step("quote [red]", quote, 250)
    return await job.wait_for("approved", timeout="3d")


async def run(service: JobService, job_id: str | None = None) -> tuple[str, Any]:
    """Until the job waits, or has ended."""
    async with service:
        job_id = job_id or await service.schedule("ORDER")
        while True:
            info = await service.get_job(job_id)
            if info.waits_for is not None or info.status.terminal:
                return str(job_id), info.result
            await asyncio.sleep(0.01)


def test_a_job_that_waits_is_shown_signalled_and_done_anew(
    service: JobService, tmp_path: Path
) -> None:
    url = ["--storage", f"file:{tmp_path / 'jobs'}"]
    job_id, _ = asyncio.run(run(service))
    shown = backroom("jobs", "show", job_id, *url)
    assert shown.code == 0
    assert "waits       waits for signal approved until " in shown.out
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["1", "quote", "[red]", "step"] in [line[:4] for line in lines]
    assert any(line[:2] == ["2", "approved"] and line[-1] == "waits" for line in lines)
    assert '{"cents":250}' in shown.out

    assert backroom("jobs", "signal", job_id, "approved", '{"by":"Ada"}', *url).out == (
        "signal approved sent\n"
    )
    sent = backroom("jobs", "signal", job_id, "other", "--json", *url)
    assert json.loads(sent.out) == {"sent": "other"}
    shown = backroom("jobs", "show", job_id, *url)
    assert 'is not taken yet: {"by":"Ada"}' in shown.out
    assert asyncio.run(run(service, job_id)) == (job_id, {"by": "Ada"})

    refused = backroom("jobs", "signal", job_id, "approved", *url)
    assert (refused.code, "has ended" in refused.err) == (1, True)
    assert backroom("jobs", "retry", "--from-step", "2", "--yes", *url).code == 2
    assert backroom("jobs", "retry", job_id, "--from-step", "2", *url).code == 0
    shown = backroom("jobs", "show", job_id, "--json", *url)
    steps = json.loads(shown.out)["steps"]
    assert [(step["number"], step["name"]) for step in steps] == [(1, "quote [red]")]
