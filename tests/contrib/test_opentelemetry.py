"""Traces: from the call that schedules to each attempt, wherever it runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from backroom import (
    BulkJob,
    Cancel,
    Job,
    JobCancelledError,
    JobFailedError,
    JobRequest,
    JobService,
    blocking,
)
from backroom.contrib.opentelemetry import trace_jobs


class Traced:
    """A service in memory, and the spans that it made."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.service = JobService("memory:")
        trace_jobs(self.service, self.provider)

    def spans(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.kind is kind]

    async def processed(self, count: int) -> list[ReadableSpan]:
        """So many spans of attempts: one may end a moment after its job."""
        async with asyncio.timeout(10):
            while len(self.spans(SpanKind.CONSUMER)) < count:
                await asyncio.sleep(0.001)
        return self.spans(SpanKind.CONSUMER)


@pytest.fixture
async def traced() -> AsyncIterator[Traced]:
    traced = Traced()
    yield traced
    await traced.service.stop(0)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def links(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


async def test_each_attempt_is_a_span_that_is_linked_to_the_call_which_scheduled_it(
    traced: Traced,
) -> None:
    service = traced.service
    seen: list[Any] = []

    @service.handler("FLAKY", queue="mail", retries=1, retry_delay=0)
    async def flaky(job: Job[Any]) -> None:
        await asyncio.sleep(0)
        seen.append(trace.get_current_span())
        if job.attempt == 1:
            raise ValueError("once more")

    await service.start()
    job_id = await service.schedule("FLAKY", {"n": 1})
    await service.result(job_id)
    first, second = await traced.processed(2)
    [sent] = traced.spans(SpanKind.PRODUCER)
    assert sent.name == "send mail"
    assert attributes(sent) == {
        "messaging.system": "backroom",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "mail",
        "messaging.message.id": job_id,
        "messaging.message.body.size": 7,
        "backroom.job.type": "FLAKY",
    }
    assert sent.context is not None
    for number, span in enumerate((first, second), 1):
        assert span.name == "process mail"
        assert links(span) == [sent.context.span_id]
        assert span.parent is None
        assert attributes(span)["messaging.message.id"] == job_id
        assert attributes(span)["backroom.job.attempt"] == number
        assert attributes(span)["backroom.job.max_attempts"] == 2
    assert first.status.status_code is StatusCode.ERROR
    assert attributes(first)["error.type"] == "ValueError"
    assert [event.name for event in first.events] == ["exception"]
    assert second.status.status_code is StatusCode.UNSET
    assert [span.get_span_context() for span in seen] == [first.context, second.context]


async def test_a_job_goes_on_in_the_trace_of_whoever_schedules_it(traced: Traced) -> None:
    service = traced.service
    carried: list[Any] = []

    @service.handler("HELLO")
    def in_a_thread(job: Job[Any]) -> None:
        carried.append((job.trace, trace.get_current_span().get_span_context()))

    await service.start()
    tracer = traced.provider.get_tracer("application")
    with tracer.start_as_current_span("request") as request:
        await service.result(await service.schedule("HELLO"))
    [sent] = traced.spans(SpanKind.PRODUCER)
    [span] = await traced.processed(1)
    assert sent.parent == request.get_span_context()
    [(job_trace, current)] = carried
    assert sent.context is not None
    assert job_trace["traceparent"].split("-")[1:3] == [
        f"{sent.context.trace_id:032x}", f"{sent.context.span_id:016x}",
    ]  # fmt: skip
    assert current == span.context


async def test_what_follows_from_a_job_is_in_the_trace_of_its_attempt(traced: Traced) -> None:
    service = traced.service

    @service.handler("FIRST")
    async def first(job: Job[Any]) -> str:
        return await service.schedule("SECOND")

    @service.handler("SECOND")
    async def second(job: Job[Any]) -> None: ...

    await service.start()
    await service.result(await service.result(await service.schedule("FIRST")))
    one, _ = await traced.processed(2)
    sent = traced.spans(SpanKind.PRODUCER)
    assert one.context is not None
    assert [span.parent and span.parent.span_id for span in sent] == [None, one.context.span_id]


async def test_many_jobs_of_one_call_are_one_span_and_all_linked_to_it(traced: Traced) -> None:
    service = traced.service

    @service.handler("ONE")
    async def one(job: Job[Any]) -> None: ...

    @service.handler("TOGETHER", batch=10, within=0.05)
    async def together(jobs: Sequence[BulkJob[Any, Any]]) -> None: ...

    await service.start()
    ids = await service.schedule_many([JobRequest("ONE") for _ in range(3)])
    for job_id in ids:
        await service.result(job_id)
    [sent] = traced.spans(SpanKind.PRODUCER)
    assert attributes(sent)["messaging.batch.message_count"] == 3
    assert sent.context is not None
    assert [links(span) for span in await traced.processed(3)] == [[sent.context.span_id]] * 3
    traced.exporter.clear()
    ids = [await service.schedule("TOGETHER") for _ in range(4)]
    for job_id in ids:
        await service.result(job_id)
    calls = await traced.processed(1)
    assert sum(attributes(call)["messaging.batch.message_count"] for call in calls) == 4
    assert sum(len(links(call)) for call in calls) == 4


async def test_a_job_that_is_cancelled_or_put_off_has_no_error(traced: Traced) -> None:
    service = traced.service
    begun = asyncio.Event()

    @service.handler("HANGS")
    async def hangs(job: Job[Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    @service.handler("GIVES_UP")
    async def gives_up(job: Job[Any]) -> Cancel:
        return Cancel("no need")

    @service.handler("WAITS")
    async def waits(job: Job[Any]) -> None:
        await job.wait_for("go on")

    await service.start()
    job_id = await service.schedule("HANGS")
    await begun.wait()
    await service.cancel_job(job_id)
    with pytest.raises(JobCancelledError):
        await service.result(job_id)
    with pytest.raises(JobCancelledError):
        await service.result(await service.schedule("GIVES_UP"))
    waiting = await service.schedule("WAITS")
    await traced.processed(3)  # It is put aside, and its code is run anew.
    await service.signal(waiting, "go on")
    await service.result(waiting)
    spans = await traced.processed(4)
    assert [span.status.status_code for span in spans] == [StatusCode.UNSET] * 4
    assert [attributes(span).get("backroom.job.interrupted") for span in spans] == [
        True, None, None, None,
    ]  # fmt: skip


async def test_an_attempt_that_is_out_of_time_is_an_error(traced: Traced) -> None:
    service = traced.service

    @service.handler("SLOW", timeout=0.05, retries=0)
    async def slow(job: Job[Any]) -> None:
        await asyncio.Event().wait()

    await service.start()
    with pytest.raises(JobFailedError):
        await service.result(await service.schedule("SLOW"))
    [span] = await traced.processed(1)
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "timeout"


async def test_a_call_that_is_refused_is_an_error_of_its_span(traced: Traced) -> None:
    with pytest.raises(LookupError):
        await traced.service.schedule("UNKNOWN")
    [sent] = traced.spans(SpanKind.PRODUCER)
    assert sent.status.status_code is StatusCode.ERROR
    assert attributes(sent)["error.type"] == "UnknownJobTypeError"


async def test_jobs_of_a_schedule_are_not_of_the_trace_that_made_the_schedule(
    traced: Traced,
) -> None:
    service = traced.service
    service.declare("HELLO")
    with traced.provider.get_tracer("application").start_as_current_span("deployment"):
        await service.every(timedelta(hours=1), "HELLO", name="hourly")
    job = await service.get_job(await service.run_schedule("hourly"))
    assert "trace" not in job.options


async def test_a_service_that_is_not_traced_keeps_nothing_with_its_jobs() -> None:
    service = JobService("memory:")
    service.declare("HELLO")
    try:
        with TracerProvider().get_tracer("application").start_as_current_span("request"):
            job = await service.get_job(await service.schedule("HELLO"))
        assert job.options == {}
    finally:
        await service.stop(0)


async def test_what_is_no_trace_is_no_link_and_harms_nothing(traced: Traced) -> None:
    service = traced.service

    @service.handler("HELLO")
    async def hello(job: Job[Any]) -> dict[str, str]:
        return dict(job.trace)

    bad = {"traceparent": "00-zz\r\n-<script>-01", "tracestate": "a=b"}
    service._records.carried = lambda: bad
    await service.start()
    assert await service.result(await service.schedule("HELLO")) == bad
    [span] = await traced.processed(1)
    assert links(span) == []


def test_a_service_without_asyncio_goes_on_in_the_trace_of_the_thread_that_calls() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    service = blocking.JobService("memory:")
    trace_jobs(service, provider)
    service.declare("HELLO")
    try:
        with provider.get_tracer("application").start_as_current_span("request") as request:
            service.schedule("HELLO")
    finally:
        service.stop()
    [sent] = [one for one in exporter.get_finished_spans() if one.kind is SpanKind.PRODUCER]
    assert sent.parent == request.get_span_context()


@pytest.mark.crash
def test_a_handler_in_a_child_process_runs_in_a_span_of_its_own(tmp_path: Path) -> None:
    program = """
import asyncio
from tests.contrib.otel_app import provider, service

async def main():
    async with service:
        with provider.get_tracer("application").start_as_current_span("request") as request:
            job_id = await service.schedule("APART")
        result = await service.result(job_id, timeout=60)
        print(result["pid"], result["name"], result["links"],
              [f"{request.get_span_context().trace_id:032x}"], sep="|")

if __name__ == "__main__":
    asyncio.run(main())
"""
    (tmp_path / "program.py").write_text(program)
    root = Path(__file__).parents[2]
    env = {**os.environ, "OTEL_TEST_FOLDER": str(tmp_path), "PYTHONPATH": str(root)}
    told = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")], env=env, cwd=root, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    pid, name, linked, request = told.stdout.strip().split("|")
    assert int(pid) != os.getpid()
    assert name == "process default"
    assert linked == request
