"""OpenTelemetry: a span for each call that schedules, and one for each attempt, linked to it.

All names of the semantic conventions for messaging stand here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from backroom import __version__, blocking
from backroom.handle import Job
from backroom.handlers import is_async
from backroom.job import JobRecord
from backroom.service import JobService

__all__ = ["trace_jobs"]

SYSTEM: Final = "messaging.system"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
MESSAGE_ID: Final = "messaging.message.id"
CONVERSATION: Final = "messaging.message.conversation_id"
BODY_SIZE: Final = "messaging.message.body.size"
BATCH: Final = "messaging.batch.message_count"
ERROR: Final = "error.type"
JOB_TYPE: Final = "backroom.job.type"
ATTEMPT: Final = "backroom.job.attempt"
MAX_ATTEMPTS: Final = "backroom.job.max_attempts"
INTERRUPTED: Final = "backroom.job.interrupted"

SEND: Final = "send"
PROCESS: Final = "process"
MOST_STATE: Final = 512
"""Characters of a `tracestate` that travel with a job; a longer one is left behind, as W3C Trace
Context lets one do."""
MOST_LINKS: Final = 128

_propagator: Final = TraceContextTextMapPropagator()


def trace_jobs(
    service: JobService | blocking.JobService, tracer_provider: TracerProvider | None = None
) -> None:
    """Traces what a service schedules, and what its worker runs.

    `schedule` and `schedule_many` make a span of kind PRODUCER, whose context is kept with the
    jobs; so is the current one, where a workflow, or a connection of the application's, brings
    jobs along. Each attempt is a span of kind CONSUMER, the root of a trace of its own with a link
    to that: a job may run days later, and several times. It is the current span under the
    handler, in coroutines and threads; in child processes where this is called by importing the
    module of the handler, and the provider is set there, too. A bulk handler's call is one span
    with a link for each of its jobs.

    Args:
        tracer_provider: None: that of the process, which may be set later.
    """
    if isinstance(service, blocking.JobService):
        service = service.service
    tracing = _Tracing(trace.get_tracer("backroom", __version__, tracer_provider))
    service.trace_with(tracing)
    service.wrap_handlers(tracing.traced)


class _Tracing:
    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    # -- who schedules ---------------------------------------------------------------------------

    def carried(self) -> Mapping[str, str] | None:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        if len(carrier.get("tracestate", "")) > MOST_STATE:
            del carrier["tracestate"]
        return carrier or None

    @contextmanager
    def sending(self) -> Iterator[_Sending]:
        with self._tracer.start_as_current_span(
            SEND,
            kind=SpanKind.PRODUCER,
            attributes={SYSTEM: "backroom", OPERATION: SEND, OPERATION_TYPE: SEND},
        ) as span:
            try:
                yield _Sending(span)
            except Exception as error:
                span.set_attribute(ERROR, _name(error))
                raise

    # -- who runs --------------------------------------------------------------------------------

    def traced(self, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A handler with a span around each call."""
        if is_async(handler):

            @functools.wraps(handler)
            async def traced(given: Any) -> Any:
                with self._processing(given):
                    return await handler(given)

            return traced

        @functools.wraps(handler)
        def traced_in_thread(given: Any) -> Any:
            with self._processing(given):
                return handler(given)

        return traced_in_thread

    @contextmanager
    def _processing(self, given: Job[Any] | Sequence[Job[Any]]) -> Iterator[None]:
        jobs = [given] if isinstance(given, Job) else list(given)
        with (
            self._tracer.start_as_current_span(
                f"{PROCESS} {jobs[0].queue}",
                context=trace.set_span_in_context(trace.INVALID_SPAN),  # The root of its own trace.
                kind=SpanKind.CONSUMER,
                attributes=_of_attempt(given) if isinstance(given, Job) else _of_call(jobs),
                links=[link for job in jobs[:MOST_LINKS] if (link := _link(job)) is not None],
                record_exception=False,
                set_status_on_exception=False,
            ) as span
        ):
            try:
                yield
            except asyncio.CancelledError:
                self._interrupted(span, jobs[0])
                raise
            except Exception as error:
                span.record_exception(error)
                span.set_attribute(ERROR, _name(error))
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise

    def _interrupted(self, span: Span, job: Job[Any]) -> None:
        """It was told to stop: no error, but where it is out of time."""
        span.set_attribute(INTERRUPTED, True)
        if datetime.now(UTC) >= job.deadline:
            span.set_attribute(ERROR, "timeout")
            span.set_status(Status(StatusCode.ERROR, "out of time"))


class _Sending:
    def __init__(self, span: Span) -> None:
        self._span = span

    def made(self, jobs: Sequence[JobRecord]) -> None:
        if not self._span.is_recording() or not jobs:
            return
        queues = {job.queue for job in jobs}
        if len(queues) == 1:
            self._span.update_name(f"{SEND} {jobs[0].queue}")
            self._span.set_attribute(DESTINATION, jobs[0].queue)
        types = {job.type for job in jobs}
        if len(types) == 1:
            self._span.set_attribute(JOB_TYPE, jobs[0].type)
        if len(jobs) == 1:
            self._span.set_attribute(MESSAGE_ID, jobs[0].id)
            self._span.set_attribute(BODY_SIZE, len(jobs[0].data.encode()))
        else:
            self._span.set_attribute(BATCH, len(jobs))


def _of_call(jobs: Sequence[Job[Any]]) -> dict[str, Any]:
    return {
        SYSTEM: "backroom", OPERATION: PROCESS, OPERATION_TYPE: PROCESS,
        DESTINATION: jobs[0].queue, JOB_TYPE: jobs[0].type, BATCH: len(jobs),
    }  # fmt: skip


def _of_attempt(job: Job[Any]) -> dict[str, Any]:
    said = {
        SYSTEM: "backroom", OPERATION: PROCESS, OPERATION_TYPE: PROCESS, DESTINATION: job.queue,
        MESSAGE_ID: str(job.id), JOB_TYPE: job.type, ATTEMPT: job.attempt,
        MAX_ATTEMPTS: job.max_attempts,
    }  # fmt: skip
    if job.workflow is not None:
        said[CONVERSATION] = job.workflow
    return said


def _link(job: Job[Any]) -> Link | None:
    """To the span of the call that scheduled a job; what is no trace is none."""
    context = trace.get_current_span(_propagator.extract(job.trace)).get_span_context()
    return Link(context) if context.is_valid else None


def _name(error: BaseException) -> str:
    return type(error).__name__
