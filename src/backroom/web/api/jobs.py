"""Jobs: look at them, schedule them, and steer them one by one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from backroom.job import JobInfo, Priority
from backroom.once import check_once_key
from backroom.web.access import Role
from backroom.web.answering import Answer
from backroom.web.call import Call
from backroom.web.filters import ListJobs
from backroom.web.looking import JobList
from backroom.web.route import Route

__all__ = ["routes"]

Seconds = Annotated[float, msgspec.Meta(ge=0, description="Seconds.")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ScheduleJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job to be made: as `JobService.schedule` takes it."""

    type: Name
    data: dict[str, Any] = {}
    priority: Priority | None = None
    delay: Seconds | None = None
    run_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    queue: Name | None = None
    retries: Annotated[int, msgspec.Meta(ge=0)] | None = None
    retry_delay: Seconds | None = None
    backoff: Literal["fixed", "linear", "exponential"] | None = None
    timeout: Seconds | None = None
    expires_in: Seconds | None = None
    unique_key: Name | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None


class Made(msgspec.Struct, frozen=True):
    """A job that is kept."""

    id: str
    created: bool
    """False: an earlier request with this key has made it, or another job holds its unique key."""


class RetryJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From which of its steps on it is done anew; null: none is forgotten."""

    from_step: Annotated[int, msgspec.Meta(ge=1)] | None = None


class SignalJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that its handler waits for."""

    name: Name
    value: Any = None


class RescheduleJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it is to run: at a moment, or so many seconds from now."""

    run_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    delay: Seconds | None = None


class ReprioritizeJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In which priority it is to wait."""

    priority: Priority


async def list_jobs(call: Call) -> JobList:
    """Jobs that match, newest first."""
    query: ListJobs = call.query
    return await call.looking.jobs(limit=query.limit, cursor=query.cursor, **query.said())


async def get_job(call: Call) -> JobInfo:
    """One job, with its errors, log, steps and signals."""
    return await call.looking.job(call.params["id"])


async def schedule_job(call: Call) -> Answer:
    """Schedules a job: 201 where it is new. With an `Idempotency-Key` header, whoever says the same
    again within a day gets the same job (200)."""
    body: ScheduleJob = call.body
    options = {
        name: getattr(body, name)
        for name in body.__struct_fields__
        if name not in ("type", "data") and getattr(body, name) is not None
    }
    key = call.request.headers.get("idempotency-key")
    if key is not None:  # An empty one would make one job of all that come with none.
        check_once_key(key)
    job_id, created = await call.operations.schedule_job(body.type, body.data, options, key)
    headers = {"Location": call.url(f"/api/v1/jobs/{job_id}")}
    return Answer(Made(job_id, created), 201 if created else 200, headers)


async def copy_job(call: Call) -> Answer:
    """Schedules a new job with the data and options of this one."""
    job_id = await call.operations.copy_job(call.params["id"])
    return Answer(Made(job_id, True), 201, {"Location": call.url(f"/api/v1/jobs/{job_id}")})


async def retry_job(call: Call) -> JobInfo:
    """An ended job runs again at once with a fresh budget; one that waits for its time runs now."""
    body: RetryJob = call.body
    await call.operations.retry_job(call.params["id"], from_step=body.from_step)
    return await call.looking.job(call.params["id"])


async def cancel_job(call: Call) -> JobInfo:
    """Cancels a job that waits, and asks for it where it runs. One that has ended stays so."""
    await call.operations.cancel_job(call.params["id"])
    return await call.looking.job(call.params["id"])


async def delete_job(call: Call) -> None:
    """Forgets a job that is not active, and all that was kept with it."""
    await call.operations.delete_job(call.params["id"])


async def reschedule_job(call: Call) -> JobInfo:
    """A job that waits gets another moment."""
    body: RescheduleJob = call.body
    await call.operations.reschedule_job(call.params["id"], run_at=body.run_at, delay=body.delay)
    return await call.looking.job(call.params["id"])


async def reprioritize_job(call: Call) -> JobInfo:
    """A job that waits does so in another priority."""
    body: ReprioritizeJob = call.body
    await call.operations.reprioritize_job(call.params["id"], body.priority)
    return await call.looking.job(call.params["id"])


async def signal_job(call: Call) -> None:
    """Sends a job a value that its handler waits for."""
    body: SignalJob = call.body
    await call.operations.signal_job(call.params["id"], body.name, body.value)


def routes() -> list[Route]:
    return [
        Route("GET", "/api/v1/jobs", Role.READ, list_jobs, query=ListJobs, returns=JobList,
              tag="jobs"),
        Route("POST", "/api/v1/jobs", Role.ADMIN, schedule_job, body=ScheduleJob, returns=Made,
              statuses=(201, 200), headers={"Idempotency-Key": "Makes it safe to ask again."},
              tag="jobs"),
        Route("GET", "/api/v1/jobs/{id}", Role.READ, get_job, returns=JobInfo, tag="jobs"),
        Route("DELETE", "/api/v1/jobs/{id}", Role.ADMIN, delete_job, tag="jobs"),
        Route("POST", "/api/v1/jobs/{id}/retry", Role.OPERATE, retry_job, body=RetryJob,
              returns=JobInfo, tag="jobs"),
        Route("POST", "/api/v1/jobs/{id}/cancel", Role.OPERATE, cancel_job, returns=JobInfo,
              tag="jobs"),
        Route("POST", "/api/v1/jobs/{id}/copy", Role.OPERATE, copy_job, returns=Made,
              statuses=(201,), tag="jobs"),
        Route("POST", "/api/v1/jobs/{id}/reschedule", Role.OPERATE, reschedule_job,
              body=RescheduleJob, returns=JobInfo, tag="jobs"),
        Route("POST", "/api/v1/jobs/{id}/reprioritize", Role.OPERATE, reprioritize_job,
              body=ReprioritizeJob, returns=JobInfo, tag="jobs"),
        Route("POST", "/api/v1/jobs/{id}/signal", Role.OPERATE, signal_job, body=SignalJob,
              tag="jobs"),
    ]  # fmt: skip
