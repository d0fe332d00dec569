"""One job: what happened to it, why, and what can be done about it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from starlette.responses import Response

from backroom.errors import WorkflowNotFoundError
from backroom.flow import WorkflowInfo
from backroom.job import PRIORITIES, JobInfo, JobStatus
from backroom.web.call import Call
from backroom.web.pages import graph, timeline, tracebacks
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, said_of

__all__ = ["RetryForm", "cancel", "copy", "delete", "job", "retry"]


class RetryForm(msgspec.Struct, forbid_unknown_fields=True):
    from_step: int | None = None


async def job(call: Call) -> Response:
    """The page of one job."""
    query: Asked = call.query
    info = await call.looking.job(call.params["id"])
    stats = await call.looking.stats()
    flow = await _flow(call, info)
    failure = info.errors[-1] if info.errors and info.status is not JobStatus.COMPLETED else None
    trace = tracebacks.frames(failure.traceback) if failure and failure.traceback else []
    lanes = timeline.lanes(info, datetime.now(UTC))
    return page(
        call,
        "job.html",
        "jobs",
        stats=stats,
        said=said_of(query),
        events=f"/api/v1/jobs/{info.id}/events",
        job=info,
        failure=failure,
        trace=trace,
        lanes=lanes,
        has_unknown=any(span.kind == "unknown" for lane in lanes for span in lane.spans),
        flow=flow,
        graph=graph.draw(flow.jobs) if flow and 1 < len(flow.jobs) <= graph.MOST else None,
        extras=(),
        priorities=PRIORITIES,
        can_copy=True,
    )


async def _flow(call: Call, info: JobInfo) -> WorkflowInfo | None:
    if info.workflow is None:
        return None
    try:
        return await call.looking.workflow(info.workflow)
    except WorkflowNotFoundError:
        return None  # Removed since, or on its way to another store: the job is shown without.


async def retry(call: Call) -> Response:
    """Runs it again, or now."""
    id_ = call.params["id"]
    await call.operations.retry_job(id_, from_step=call.body.from_step)
    return call.redirect(f"/jobs/{id_}", did="retried")


async def cancel(call: Call) -> Response:
    """Cancels it, or asks its handler to stop."""
    id_ = call.params["id"]
    status = await call.operations.cancel_job(id_)
    did = {
        JobStatus.ACTIVE: "asked-to-cancel",
        JobStatus.CANCELLED: "cancelled",
    }.get(status, "ended-before")
    return call.redirect(f"/jobs/{id_}", did=did)


async def copy(call: Call) -> Response:
    """Makes a new job with the same data and options."""
    made = await call.operations.copy_job(call.params["id"])
    return call.redirect(f"/jobs/{made}", did="copied")


async def delete(call: Call) -> Response:
    """Forgets it."""
    await call.operations.delete_job(call.params["id"])
    return call.redirect("/jobs", did="deleted")
