"""Health, metrics and the figures for an autoscaler, asked as their readers ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from backroom import Job, JobFailedError, JobService
from backroom.web import telemetry

Web = Callable[..., httpx.AsyncClient]
Samples = dict[tuple[str, ...], float]


def samples_of(text: str) -> Samples:
    """Each sample by its name and the values of its labels, as a scraper reads it."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
async def on_file(tmp_path: Path) -> AsyncIterator[JobService]:
    service = JobService(f"file:{tmp_path / 'jobs'}", concurrency=3)
    yield service
    await service.stop(0)


async def test_the_depth_and_the_age_of_each_queue_are_told(service: JobService, web: Web) -> None:
    await service.schedule("HELLO", queue="mail")
    await service.schedule("HELLO", queue="mail", delay=60)
    await service.pause_queue("mail")
    answer = await web().get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    told = samples_of(answer.text)
    assert told["backroom_jobs", "pending"] == 1
    assert told["backroom_queue_jobs", "mail", "pending"] == 1
    assert told["backroom_queue_jobs", "mail", "scheduled"] == 1
    assert told["backroom_queue_paused", "mail"] == 1
    assert 0 <= told["backroom_queue_oldest_pending_seconds", "mail"] < 60
    assert told["backroom_workers",] == 0


async def test_openmetrics_is_given_to_those_who_ask_for_it(web: Web) -> None:
    accept = "application/openmetrics-text;version=1.0.0"
    answer = await web().get("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_a_process_tells_its_slots_and_how_many_changes_its_commits_carry(
    on_file: JobService,
) -> None:
    from backroom.metrics import exposition

    let_go = asyncio.Event()
    running = asyncio.Event()

    @on_file.handler("WAITS")
    async def waits(job: Job[Any]) -> None:
        running.set()
        await let_go.wait()

    await on_file.start()
    job_id = await on_file.schedule("WAITS")
    await running.wait()
    text, _ = await exposition(on_file)
    told = samples_of(text.decode())
    assert told["backroom_process_slots", "all queues"] == 3
    assert told["backroom_process_slots_taken", "all queues"] == 1
    assert told["backroom_queue_jobs", "default", "active"] == 1
    assert told["backroom_workers",] == 1
    before = told["backroom_process_commit_changes_count",]
    assert before > 0
    assert told["backroom_process_commit_changes_sum",] >= before
    let_go.set()
    await on_file.result(job_id)
    text, _ = await exposition(on_file)
    assert samples_of(text.decode())["backroom_process_commit_changes_count",] > before


async def test_what_became_of_jobs_is_counted_by_queue_and_type(
    on_file: JobService, tmp_path: Path
) -> None:
    from backroom.metrics import exposition

    @on_file.handler("GOOD", queue="mail")
    async def good(job: Job[Any]) -> None:
        await asyncio.sleep(0.02)

    @on_file.handler("BAD", retries=1, retry_delay=0)
    async def bad(job: Job[Any]) -> None:
        raise ValueError("no")

    await on_file.start()
    ids = [await on_file.schedule("GOOD") for _ in range(3)]
    for job_id in ids:
        await on_file.result(job_id)
    with pytest.raises(JobFailedError):
        await on_file.result(await on_file.schedule("BAD"))
    await on_file.stop()  # With the last of what it counted.
    viewer = JobService(f"file:{tmp_path / 'jobs'}")
    try:
        text, _ = await exposition(viewer)
    finally:
        await viewer.stop()
    told = samples_of(text.decode())
    assert told["backroom_jobs_scheduled_total", "mail", "GOOD"] == 3
    assert told["backroom_jobs_completed_total", "mail", "GOOD"] == 3
    assert told["backroom_jobs_retried_total", "default", "BAD"] == 1
    assert told["backroom_jobs_failed_total", "default", "BAD"] == 1
    assert told["backroom_jobs_rescued_total", "default", "BAD"] == 0
    assert told["backroom_attempts_started_total", "default", "BAD"] == 2
    assert told["backroom_job_errors_total", "ValueError", "default", "BAD"] == 2
    assert told["backroom_job_running_seconds_count", "mail", "GOOD"] == 3
    assert 0.06 <= told["backroom_job_running_seconds_sum", "mail", "GOOD"] < 60
    assert told["backroom_job_running_seconds_bucket", "0.01", "mail", "GOOD"] == 0
    assert told["backroom_job_running_seconds_bucket", "+Inf", "mail", "GOOD"] == 3
    assert told["backroom_workers",] == 0


async def test_the_lag_of_a_schedule_is_how_long_its_tick_has_been_due(
    service: JobService, web: Web
) -> None:
    await service.every(timedelta(hours=1), "HELLO", name="hourly")
    told = samples_of((await web().get("/metrics")).text)
    assert told["backroom_schedule_lag_seconds", "hourly"] == 0
    from backroom.metrics import _of_schedules

    [info] = await service.get_schedules()
    [lag, _] = _of_schedules([info], info.next_runs[0] + timedelta(seconds=90))
    assert [sample.value for sample in lag.samples] == [90.0]


async def test_names_with_quotes_and_line_ends_stay_one_sample(
    service: JobService, web: Web
) -> None:
    service.declare('A"B\\C')
    queue = 'x"} 1 evil{y="'
    await service.schedule('A"B\\C', queue=queue)
    told = samples_of((await web().get("/metrics")).text)
    assert told["backroom_queue_jobs", queue, "pending"] == 1


async def test_ready_says_whether_the_storage_answers_and_nothing_else(
    service: JobService, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = web()
    assert (await client.get("/health/live")).text == "ok\n"
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    await service.stop(0)
    # It is not asked again within a second, however many ask.
    assert (await client.get("/health/ready")).status_code == 200
    monkeypatch.setattr(telemetry, "FRESH", 0.0)
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.text) == (503, "not ready\n")
    assert (await client.get("/health/live")).status_code == 200


async def test_an_autoscaler_is_told_what_waits_and_how_many_workers_it_wants(
    service: JobService, web: Web
) -> None:
    for _ in range(10):
        await service.schedule("HELLO", queue="mail")
    await service.schedule("HELLO", queue="other")
    client = web()
    answer = await client.get("/api/v1/autoscale", params={"queue": "mail", "slots": 4})
    told = answer.json()
    assert (told["backlog"], told["active"], told["workers"]) == (10, 0, 0)
    assert told["wanted_workers"] == 3
    assert told["oldest_pending_seconds"] >= 0
    assert (await client.get("/api/v1/autoscale")).json()["backlog"] == 11
    await service.pause_queue("mail")
    assert (await client.get("/api/v1/autoscale")).json()["backlog"] == 1


@pytest.mark.parametrize(
    "query", ["slots=0", "target=0", "target=nan", "least=5&most=3", "slot=3", "most=100000"]
)
async def test_a_question_that_makes_no_sense_is_refused_with_the_place(
    web: Web, query: str
) -> None:
    answer = await web().get(f"/api/v1/autoscale?{query}")
    assert answer.status_code in (400, 422)
    assert answer.json()["at"].startswith("query")


def test_the_age_of_what_is_due_is_never_negative() -> None:
    from backroom import QueueStats

    due = datetime.now(UTC) + timedelta(seconds=5)
    queue = QueueStats(name="q", paused=False, scheduled=0, pending=1, active=0, oldest_pending=due)
    assert telemetry._age(queue, datetime.now(UTC)) == 0.0
