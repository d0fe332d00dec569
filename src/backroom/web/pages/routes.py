"""All pages, and what stands where one is refused."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from backroom.web.access import Role
from backroom.web.call import Call
from backroom.web.pages import (
    audit,
    bulk,
    failures,
    job,
    jobs,
    overview,
    queues,
    schedules,
    workers,
    workflows,
)
from backroom.web.pages.asking import Confirmed
from backroom.web.pages.rendering import page
from backroom.web.pages.saying import Asked, Said
from backroom.web.pages.shared import changing, shared
from backroom.web.problem import Problem
from backroom.web.route import Handler, Method, Route

__all__ = ["refusal", "routes", "sign_in"]


def routes() -> list[Route]:
    """What the dashboard serves beside the API; each with `api=False`."""
    return [
        _look("/", overview.overview, overview.OverviewQuery),
        _look("/jobs", jobs.jobs, jobs.JobsQuery),
        _look("/jobs/{id}", job.job),
        _change("/jobs/selected", jobs.selected, jobs.SelectedForm),
        _change("/jobs/{id}/retry", job.retry, job.RetryForm),
        _change("/jobs/{id}/cancel", job.cancel),
        _change("/jobs/{id}/copy", job.copy),
        _change("/jobs/{id}/reschedule", job.reschedule, job.RescheduleForm),
        _change("/jobs/{id}/priority", job.reprioritize, job.PriorityForm),
        _change("/jobs/{id}/signal", job.signal, job.SignalForm),
        _change("/jobs/{id}/delete", job.delete, Confirmed, role=Role.ADMIN),
        _look("/bulk", bulk.preview, bulk.Preview, role=Role.OPERATE),
        _change("/bulk", bulk.change, bulk.ChangeForm),
        _look("/operations/{id}", bulk.operation),
        _change("/operations/{id}/stop", bulk.stop),
        _look("/audit", audit.audit, audit.AuditQuery),
        _look("/queues", queues.queues),
        _change("/queues/{name:path}/limit", queues.limit, queues.LimitForm),
        _change("/queues/{name:path}/pause", queues.pause),
        _change("/queues/{name:path}/resume", queues.resume),
        _look("/workers", workers.workers),
        _change("/workers/{id}/drain", workers.drain),
        _change("/workers/{id}/resume", workers.resume),
        _look("/failures", failures.failures),
        _look("/schedules", schedules.schedules),
        _look("/schedules/{name:path}", schedules.schedule, schedules.ScheduleQuery),
        _change("/schedules/{name:path}/run", schedules.run),
        _change("/schedules/{name:path}/pause", schedules.pause),
        _change("/schedules/{name:path}/resume", schedules.resume),
        _change("/schedules/{name:path}/delete", schedules.delete, Confirmed, role=Role.ADMIN),
        _look("/workflows", workflows.workflows, workflows.WorkflowsQuery),
        _look("/workflows/{id}", workflows.workflow),
        _change("/workflows/{id}/cancel", workflows.cancel),
        _change("/workflows/{id}/retry", workflows.retry),
    ]


def _look(
    path: str, handler: Handler, query: type[Any] = Asked, *, role: Role = Role.READ
) -> Route:
    return Route("GET", path, role, shared(handler), query=query, api=False)


def _change(
    path: str, handler: Handler, body: type[Any] | None = None, *, role: Role = Role.OPERATE
) -> Route:
    method: Method = "POST"
    return Route(method, path, role, changing(handler), body=body, api=False)


async def refusal(call: Call, problem: Problem) -> Response:
    """A page that says what was wrong, and the mend."""
    document = problem.document
    method = call.request.method
    # Looked at again where that may bring more than the same refusal; a form has no such address.
    events = "/api/v1/events" if method != "POST" and problem.status >= 500 else ""
    answer = page(
        call, "refusal.html", status=problem.status, problem=document, told=problem.told,
        events=events,
    )  # fmt: skip
    answer.headers.update(problem.headers)
    return answer


async def sign_in(call: Call, then: str, problem: Problem | None) -> Response:
    """The form that a token, or a name and a password, is typed into; `problem`: why what was
    typed is not taken."""
    answer = page(
        call,
        "sign_in.html",
        then=then,
        said=None if problem is None else Said(problem.detail, "bad"),
        status=200 if problem is None else problem.status,
    )
    answer.headers.update({} if problem is None else problem.headers)
    return answer
