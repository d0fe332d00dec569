"""Workflows that people look at as a graph, cancel, and retry from where they failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backroom import FileJobStorage, Job, JobRequest, JobService
from tests.cli.parts import backroom


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file:{tmp_path / 'jobs'}"


async def failed(folder: Path) -> tuple[str, str]:
    """A workflow of which one job has failed, and a batch that waits; their ids."""
    service = JobService(FileJobStorage(folder))

    @service.handler("FETCH", retries=0)
    async def fetch(job: Job[dict[str, str]]) -> str:
        if job.data["url"] == "b":
            raise OSError("no [route]")
        return job.data["url"]

    async with service:
        async with service.workflow("import [1]") as flow:
            pages = flow.group(JobRequest("FETCH", {"url": url}) for url in "abc")
            flow.add("FETCH", {"url": "d"}, after=pages)
        await service.wait_for_workflow(flow.id, timeout=30)
        async with service.batch("mails", on_complete=JobRequest("FETCH", {"url": "x"})) as batch:
            batch.add("FETCH", {"url": "e"}, delay=3600)
    return flow.id, batch.id


async def test_workflows_are_listed_shown_retried_and_cancelled(tmp_path: Path, url: str) -> None:
    on = ("--storage", url)
    empty = FileJobStorage(tmp_path / "jobs")
    await empty.open()
    await empty.close()
    assert backroom("workflows", "list", *on).out == "there are no workflows\n"
    flow, batch = await failed(tmp_path / "jobs")
    heading, first, second = backroom("workflows", "list", *on).out.splitlines()
    assert heading.split() == ["id", "name", "status", "jobs", "created"]
    assert first.startswith(f"{batch}  mails")
    assert "running" in first
    assert "import [1]" in second
    assert "failed   2 of 4 completed, 1 failed, 1 cancelled" in second
    page = json.loads(backroom("workflows", "list", "--limit", "1", "--json", *on).out)
    assert [one["id"] for one in page["workflows"]] == [batch]
    shown = backroom("workflows", "list", "--cursor", page["cursor"], *on).out
    assert flow in shown
    assert batch not in shown

    shown = backroom("workflows", "show", flow, *on).out
    assert "on failure  stop" in shown
    assert "no [route]" in shown
    last = shown.splitlines()[-1]
    assert last.split()[2:7] == ["FETCH", "cancelled", "1,", "2,", "3"]
    assert last.endswith("which it waited for, failed")
    info = json.loads(backroom("workflows", "show", batch, "--json", *on).out)
    assert [job["role"] for job in info["jobs"]] == ["job", "callback"]

    assert backroom("workflows", "retry", flow, *on).out == "1 job due now\n"
    assert json.loads(backroom("workflows", "cancel", flow, "--json", *on).out) == {"jobs": 2}
    there = f"file:{tmp_path / 'other'}"
    moved = backroom("move", url, there)
    assert moved.code == 0
    assert "workflows  1" in moved.out
    on = ("--storage", there)
    assert backroom("workflows", "cancel", batch, *on).out == "1 job cancelled\n"
    gone = backroom("workflows", "show", "nobody", *on)
    assert gone.code == 1
    assert "no workflow has the id 'nobody'" in gone.err
